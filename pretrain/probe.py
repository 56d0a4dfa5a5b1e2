"""One rank of the job that `text2lm doctor --on slurm` puts into the queue: `python -m pretrain.probe --directory DIR`.

Each rank writes what it sees of its node to DIR/rank-00000.json; rank 0 writes how fast all ranks together sum a vector
to DIR/all-reduce.json. The files themselves prove that the submitting side and the node share DIR.
"""

from __future__ import annotations

import argparse
import importlib
import importlib.metadata
import os
import platform
import shutil
import socket
import sys
import time
from pathlib import Path
from typing import Any

from data_prep.files import UserError, write_json
from pretrain.worker import RankVariables, rank_variables

NEEDED = ("torch", "deepspeed", "tokenizers")  # loaded, not only looked up: what is broken often breaks there
ANSWER_SECONDS = 90.0  # network file systems show a new name after a minute at the latest
LOOK_SECONDS = 0.05
CPU_BYTES, GPU_BYTES = 16 << 20, 1 << 30  # of the vector
REPEATS = 5
JOIN_MINUTES = 3.0


def versions() -> dict[str, str]:
    """Of Python and of the packages that training loads; one that cannot be loaded says why."""
    found = {"python": platform.python_version()}
    for name in NEEDED:
        try:
            importlib.import_module(name)
            found[name] = importlib.metadata.version(name)
        except Exception as error:  # whatever a broken installation raises
            found[name] = f"cannot be loaded ({' '.join(f'{type(error).__name__}: {error}'.split())})"
    return found


def look() -> dict[str, Any]:
    """What a rank sees of its node. `gpus` are those it may use."""
    found: dict[str, Any] = {"host": socket.gethostname(), "versions": versions(), "gpus": 0, "gpu": ""}
    if not found["versions"]["torch"].startswith("cannot"):
        import torch

        found["gpus"] = torch.cuda.device_count()
        found["gpu"] = torch.cuda.get_device_name(0) if found["gpus"] else ""
    scratch = os.environ.get("SLURM_TMPDIR") or os.environ.get("TMPDIR") or "/tmp"
    found["scratch"] = scratch
    found["scratch_bytes"] = shutil.disk_usage(scratch).free if Path(scratch).is_dir() else 0
    return found


def round_trip(directory: Path, rank: int) -> float | None:
    """Seconds until a file that is written here was seen there and the answer to it here; None: it never came."""
    begun = time.monotonic()
    try:
        (directory / f"call-{rank:05d}").touch()
    except OSError as error:
        raise UserError(f"{directory} cannot be written to from {socket.gethostname()}: {error.strerror}") from None
    while not (directory / f"answer-{rank:05d}").exists():
        if time.monotonic() - begun > ANSWER_SECONDS:
            return None
        time.sleep(LOOK_SECONDS)
    return time.monotonic() - begun


def all_reduce(ranks: RankVariables) -> dict[str, Any]:
    """Sum a vector over all ranks: {"backend", "bytes", "ranks", "seconds"}, the time of one sum on the slowest rank.

    `RuntimeError` when the sum is wrong.
    """
    import torch
    import torch.distributed as dist

    from pretrain.engine import connect, disconnect

    os.environ["LOCAL_RANK"] = str(ranks.local_rank)  # as in pretrain.worker
    device = connect(
        rank=ranks.rank, local_rank=ranks.local_rank, world_size=ranks.world_size, timeout_minutes=JOIN_MINUTES
    )
    size = GPU_BYTES if device.type == "cuda" else CPU_BYTES
    vector = torch.ones(size // 4, device=device)
    dist.all_reduce(vector)
    if not bool((vector == ranks.world_size).all()):
        raise RuntimeError(
            f"the sum of a one from each of {ranks.world_size} ranks is {float(vector.min())} to {float(vector.max())}"
        )
    vector.zero_()  # a sum of sums would overflow
    dist.all_reduce(vector)

    def now() -> float:
        if device.type == "cuda":
            torch.cuda.synchronize(device)
        return time.perf_counter()

    dist.barrier()
    begun = now()
    for _ in range(REPEATS):
        dist.all_reduce(vector)
    seconds = torch.tensor((now() - begun) / REPEATS, device=device)
    dist.all_reduce(seconds, dist.ReduceOp.MAX)
    backend = dist.get_backend()
    disconnect()
    return {"backend": backend, "bytes": size, "ranks": ranks.world_size, "seconds": float(seconds)}


def main(argv: list[str]) -> int:
    parser = argparse.ArgumentParser(prog="python -m pretrain.probe", description="Look at a compute node, as a rank.")
    parser.add_argument("--directory", type=Path, required=True)
    directory = parser.parse_args(argv).directory
    try:
        ranks = rank_variables(os.environ)
        found = look()
        found["called"] = ranks.local_rank == 0  # one rank of a node is enough
        found["round_trip"] = round_trip(directory, ranks.rank) if found["called"] else None
        write_json(directory / f"rank-{ranks.rank:05d}.json", found)
        if ranks.world_size > 1:
            measured = all_reduce(ranks)
            if ranks.rank == 0:
                write_json(directory / "all-reduce.json", measured)
    except UserError as error:
        print(f"text2lm: {' '.join(str(error).split())}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
