"""Training on one NVIDIA GPU: tokens/s, share of the peak (MFU), memory, and what the engine costs over plain torch.

python benchmarks/gpu_training.py [--only 124M] [--minutes 9] [--out gpu_training.jsonl]

GPT of 124M, 350M (1,024 tokens a sample) and 1.3B parameters (2,048) in bf16, random tokens. Contenders: our engine
at ZeRO 1, 2 and 3, one rank on NCCL, and a plain-torch loop (plain_loop.py) of the same model, loss, optimizer,
batches and staging. Each is compiled in parts (blocks and loss, as `train.compile` does) and not at all, the plain one
also as a whole: what the engine would gain by that; with and without the document mask. Every measurement is a process
of its own and they take turns, for `--rounds` rounds; one that `--out` already holds is not repeated, so that calls of
a few minutes (`--minutes`) add up. A fresh engine that loads a checkpoint must also have the next losses bit for bit.

MFU counts 6 N + 12 L d T FLOPs a token (pretrain/cost.py) over the data sheet's peak (pretrain/peak.py).
`--cpu-smoke` runs all of it with a toy on the CPU: it proves the script, not the speed.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import torch
from training_speed import ROOT, STEPS, job

from data_prep.files import read_json_lines
from pretrain.architecture import ModelSettings
from pretrain.presets import PRESETS
from pretrain.settings import TrainingJob

VOCAB = 50_257
MFU_BARS = {"124M": 0.45, "350M": 0.48, "1.3B": 0.50}
MODELS = {"124M": "gpt2-small", "350M": "gpt2-medium", "1.3B": "gpt3-1.3b"}
OVERHEAD_BAR = 0.05
TOY, TOY_VOCAB = ModelSettings(context_length=64, n_layers=2, n_heads=2, d_model=64), 512
STEP_TOKENS = 131_072  # an optimizer step's: what each of a few GPUs gets of the usual half a million
FIRST_GUESS = 90.0  # seconds a measurement, until one is known


@dataclass(frozen=True)
class Measurement:
    """What one process finds out."""

    size: str
    contender: str  # "ours", "plain"; "search" for the micro-batch, "resume" for the checkpoint
    stage: int = 0  # ZeRO; 0 where there is none
    compile: str = "off"  # or "parts", "whole"
    mask: bool = False  # the document mask
    round: int = 0


def training_job(asked: Measurement, micro_batch: int, smoke: bool) -> TrainingJob:
    model = TOY if smoke else ModelSettings(**PRESETS[MODELS[asked.size]]["model"])
    micro_batches = 2 if smoke else max(1, STEP_TOKENS // (micro_batch * model.context_length))
    tokens = micro_batches * micro_batch * model.context_length
    base = job("bf16", 1, asked.stage or 1)
    settings = {
        "tokens": STEPS * tokens,
        "global_batch_tokens": tokens,
        "micro_batch_size": micro_batch,
        "document_mask": asked.mask,
        "compile": asked.compile == "parts",
    }
    vocab_size = TOY_VOCAB if smoke else VOCAB
    return replace(base, vocab_size=vocab_size, model=model, train=replace(base.train, **settings))


def plan(sizes: list[str], options: argparse.Namespace) -> Iterator[Measurement]:
    """All that is to be measured, the most telling first. A size's micro-batch is searched for before all else."""
    for size in sizes:
        if not options.micro_batch:
            yield Measurement(size, "search", 1)
        for number in range(options.rounds):
            for mask in options.mask:
                for how in options.compile:
                    yield Measurement(size, "plain", 0, how, mask == "on", number)
                    stages = [] if how == "whole" else [s for s in options.stages if how == "off" or s < 3]
                    for stage in stages:
                        yield Measurement(size, "ours", stage, how, mask == "on", number)
    for stage in options.stages:
        yield Measurement(sizes[0], "resume", stage)


def ask(asked: Measurement, micro_batch: int, smoke: bool) -> dict[str, Any]:
    """Measure in a process of its own."""
    question, script = json.dumps(asdict(asked)), Path(__file__).with_name("gpu_measurement.py")
    command = [sys.executable, str(script), question, str(micro_batch), "smoke" if smoke else "full"]
    environment = os.environ | {"PYTHONPATH": str(ROOT)} | ({"CUDA_VISIBLE_DEVICES": ""} if smoke else {})
    done = subprocess.run(command, env=environment, capture_output=True, text=True)
    if done.returncode:
        raise SystemExit(f"{question} failed:\n{done.stderr[-3000:]}")
    found: dict[str, Any] = json.loads(done.stdout.strip().splitlines()[-1])
    return asdict(asked) | found


def table(rows: list[dict[str, Any]], size: str) -> list[str]:
    """Medians over the rounds of every contender of a size, its step beside plain torch's of the same round."""
    rows = [row for row in rows if row["size"] == size]
    lines = [
        f"{size}, {row['micro_batch']} samples a micro-batch: {name(row)} runs out of memory"
        for row in rows
        if row.get("out_of_memory")
    ]
    rows = [row for row in rows if "seconds" in row]
    if not rows:
        return lines
    lines += [
        f"{size} on {rows[0]['device']}: {rows[0]['micro_batch']} samples a micro-batch, {rows[0]['tokens']:,} tokens "
        f"a step; step / plain: medians of {1 + max(row['round'] for row in rows)} rounds",
        f"  {'contender':8} {'compile':8} {'mask':4} {'tokens/s':>10} {'MFU':>6} {'GB':>6} {'step ms':>9} "
        f"{'/ plain':>8} {'loss':>7}",
    ]
    alike: dict[tuple[Any, ...], list[dict[str, Any]]] = {}
    for row in rows:
        alike.setdefault((name(row), row["compile"], row["mask"]), []).append(row)
    best = 0.0
    for (who, how, mask), group in alike.items():
        seconds = statistics.median(row["seconds"] for row in group)
        mfu = statistics.median(row["mfu"] or 0.0 for row in group)
        ratio = over_plain(rows, group)
        memory = max(row["peak_bytes"] or 0 for row in group)
        lines.append(
            f"  {who:8} {how:8} {'on' if mask else 'off':4} {group[0]['tokens'] / seconds:10,.0f} {mfu:6.1%} "
            f"{memory / 1e9:6.1f} {1000 * seconds:9.1f} {f'{ratio:.3f}' if ratio else '-':>8} {group[-1]['loss']:7.4f}"
        )
        if who != "plain" and not mask:
            best = max(best, mfu)
        if who != "plain" and ratio:
            lines.append(
                f"    engine overhead {ratio - 1:+.1%}, at most {OVERHEAD_BAR:.0%}: {met(ratio - 1 <= OVERHEAD_BAR)}"
            )
    if best and size in MFU_BARS:
        lines.append(
            f"  best MFU without the mask {best:.1%}, at least {MFU_BARS[size]:.0%}: {met(best >= MFU_BARS[size])}"
        )
    return lines


def name(row: dict[str, Any]) -> str:
    return f"ZeRO {row['stage']}" if row["stage"] else "plain"


def met(is_met: bool) -> str:
    return "met" if is_met else "missed"


def over_plain(rows: list[dict[str, Any]], group: list[dict[str, Any]]) -> float | None:
    """The median ratio of each row's step to the plain loop's of the same round and device, compiled alike."""
    same = ("round", "compile", "mask", "device", "micro_batch")
    plain = {tuple(row[key] for key in same): row["seconds"] for row in rows if row["contender"] == "plain"}
    pairs = [(row["seconds"], plain.get(tuple(row[key] for key in same))) for row in group]
    ratios = [ours / theirs for ours, theirs in pairs if theirs]
    return statistics.median(ratios) if ratios else None


def main() -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("--only", nargs="+", choices=MODELS, default=list(MODELS))
    parser.add_argument("--compile", nargs="+", choices=("off", "parts", "whole"), default=["parts", "whole", "off"])
    parser.add_argument("--mask", nargs="+", choices=("off", "on"), default=["off", "on"], help="the document mask")
    parser.add_argument("--stages", nargs="+", type=int, choices=(1, 2, 3), default=[1, 2, 3])
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument(
        "--micro-batch", type=int, default=0, help="0: the most that fit; else give an --out of its own"
    )
    parser.add_argument("--minutes", type=float, default=float("inf"), help="begin nothing that may end later")
    parser.add_argument("--out", type=Path, default=Path("gpu_training.jsonl"), help="added to, never repeated")
    parser.add_argument("--cpu-smoke", action="store_true", help="a toy on the CPU")
    options = parser.parse_args()

    if not options.cpu_smoke and not torch.cuda.is_available():
        print("gpu_training: torch sees no CUDA device here; --cpu-smoke tries the script without", file=sys.stderr)
        return 2
    sizes = ["toy"] if options.cpu_smoke else options.only
    rows = read_json_lines(options.out) if options.out.exists() else []
    start, longest, left = time.monotonic(), 0.0 if options.cpu_smoke else FIRST_GUESS, 0
    for asked in plan(sizes, options):
        if any(asdict(asked).items() <= row.items() for row in rows):
            continue
        began = time.monotonic()
        searched = [
            row.get("micro_batch", 0) for row in rows if (row["size"], row["contender"]) == (asked.size, "search")
        ]
        if left or began - start + longest > 60 * options.minutes:
            left += 1
            continue
        row = ask(asked, options.micro_batch or (searched or [1])[0], options.cpu_smoke)
        with options.out.open("a") as file:
            file.write(json.dumps(row) + "\n")
        rows.append(row)
        longest = max(longest, time.monotonic() - began)
        print(json.dumps(row), flush=True)
    for size in sizes:
        print("\n".join(table(rows, size)))
    for row in rows:
        if row["contender"] == "resume" and "equal" in row:
            print(
                f"{row['size']}, ZeRO {row['stage']}: the {len(row['found'])} steps after a checkpoint is loaded are "
                f"{'the same bit for bit' if row['equal'] else 'NOT the same'}"
            )
    if left:
        print(f"{left} measurements did not fit into {options.minutes:g} minutes; the same command goes on with them")
    return 0


if __name__ == "__main__":
    sys.exit(main())
