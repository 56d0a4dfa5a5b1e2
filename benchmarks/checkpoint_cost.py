"""What a checkpoint costs, beside its peers: DeepSpeed's own `save_checkpoint`, memcpy and `dd` with fsync.

python benchmarks/checkpoint_cost.py [--directory DIR] [--ranks 2] [--stage 1] [--precision bf16] [--rounds 5]

GPT-2 124M, its training state as after a step, by real ranks (gloo, or NCCL where there are GPUs). All take turns, in
one run; each round measures everything. Every number is that of the slowest rank. Needs 6 GB on the disk of `DIR`
(the one that checkpoints go to) and 11 GB of memory; removes all that it writes. Linux.
`--smoke`: a toy, which proves the script.
"""

from __future__ import annotations

import argparse
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from training_speed import ROOT

from data_prep.files import read_json
from launch.job import Job, State
from launch.local import LocalLauncher
from pretrain.memory import FRAGMENT_BYTES

STALL_BAR, WRITING_BAR, SNAPSHOT_BAR = 0.25, 0.8, 0.5


def measure(options: argparse.Namespace, directory: Path) -> dict[str, Any]:
    """What the ranks found, with `directory` to write in."""
    script = str(Path(__file__).with_name("checkpoint_measurement.py"))
    question = [str(directory), str(options.stage), options.precision, str(options.rounds)]
    command = (sys.executable, script, *question, "smoke" if options.smoke else "full")
    threads = str(max(1, len(os.sched_getaffinity(0)) // options.ranks))
    environment = {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": threads}
    launcher = LocalLauncher()
    job = launcher.submit(Job("rank", (command,) * options.ranks, directory, ranks=True, environment=environment))
    while (status := launcher.state(job)).state is State.RUNNING:
        time.sleep(0.1)
    if status.state is State.FAILED:
        raise SystemExit("\n".join(["the ranks failed:", *status.tail]))
    found: dict[str, Any] = read_json(directory / "found.json")
    return found


def report(found: dict[str, Any]) -> Iterator[str]:
    """The lines of the table: medians, (lowest to highest)."""
    seconds: dict[str, list[float]] = found["seconds"]
    middle = {what: statistics.median(values) for what, values in seconds.items()}
    saved, ranks = sum(found["snapshot_bytes"]), len(found["snapshot_bytes"])

    def row(text: str, what: str, size: int = 0) -> str:
        """With `size`, in bytes, the speed too."""
        low, high = min(seconds[what]), max(seconds[what])
        speed = f"  {size / middle[what] / 1e9:7.3f} GB/s" if size else ""
        return f"  {text:50} {middle[what]:10.4g} s  ({low:.4g} to {high:.4g}){speed}"

    yield f"a save of {saved / 1e6:,.1f} MB by {ranks} ranks"
    yield row("ours, async: the stall", "stall")
    yield row("  until it is published, the training idle", "async, published", saved)
    yield row("ours, async = false: until it is published", "at once, published", saved)
    yield row("engine.save_checkpoint", "DeepSpeed", found["deepspeed_bytes"])
    yield row("  and until its files are synced", "DeepSpeed, synced", found["deepspeed_bytes"])
    yield "training steps, small ones"
    yield row("alone", "step alone")
    yield row("while a save is written behind them", "step beside a save")
    yield row("a save takes from the training, its stall included", "lost to a save")
    yield f"memory: {found['snapshot_bytes'][0] / 1e6:,.1f} MB in each rank, all at the same time"
    yield row("memcpy", "memcpy", found["snapshot_bytes"][0])
    yield row("the snapshot", "snapshot", found["snapshot_bytes"][0])
    yield f"the disk: one file of {found['file_bytes'] / 1e6:,.1f} MB by one writer"
    yield row("dd with fsync", "dd", found["file_bytes"])
    yield row("ours, hashed, with fsync", "write", found["file_bytes"])
    yield row("read back from the disk and hashed", "read back", found["file_bytes"])
    yield "the bars"

    def ratio(text: str, value: float, bar: float, at_least: bool) -> str:
        verdict = "met" if (value >= bar if at_least else value <= bar) else "missed"
        return f"  {text:50} {value:10.3f}    at {'least' if at_least else 'most'} {bar:.2f}: {verdict}"

    yield ratio("stall / engine.save_checkpoint", middle["stall"] / middle["DeepSpeed"], STALL_BAR, False)
    yield ratio("speed of the snapshot / memcpy", middle["memcpy"] / middle["snapshot"], SNAPSHOT_BAR, True)
    yield ratio("speed of writing / dd", middle["dd"] / middle["write"], WRITING_BAR, True)
    expected = FRAGMENT_BYTES * found["parameters"]
    yield (
        f"async takes {found['extra_bytes'] / 1e6:,.1f} MB more of the host's memory, all ranks together; "
        f"{FRAGMENT_BYTES} bytes a parameter are {expected / 1e6:,.1f} MB"
    )


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--directory", type=Path, default=Path(), help="where to write; the disk that is measured")
    parser.add_argument("--ranks", type=int, default=2)
    parser.add_argument("--stage", type=int, choices=(0, 1, 2, 3), default=1, help="ZeRO; 0 in fp32 only")
    parser.add_argument("--precision", choices=("fp32", "bf16"), default="bf16")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--smoke", action="store_true", help="a toy")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=options.directory) as directory:
        found = measure(options, Path(directory))
    print(
        f"{'a toy' if options.smoke else 'GPT-2 124M'} of {found['parameters']:,} parameters, {options.ranks} ranks, "
        f"ZeRO {options.stage}, {options.precision}; medians of {options.rounds} rounds (lowest to highest)"
    )
    print("\n".join(report(found)))


if __name__ == "__main__":
    main()
