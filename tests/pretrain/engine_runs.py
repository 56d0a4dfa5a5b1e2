"""Launches engine_cases.py and reads what it leaves."""

from __future__ import annotations

import json
import signal
import time
from pathlib import Path
from typing import Any

import engine_cases
import tiny_run
import torch

from pretrain.fragments import Piece, read_full, read_into

FP32 = ["fp32-0", "fp32-1", "fp32-2", "fp32-3"]
BF16 = ["bf16-1", "bf16-2", "bf16-3"]
FP16 = ["fp16-1", "fp16-2", "fp16-3"]
SETUPS = FP32 + BF16 + FP16
SAME_NUMBERS = [  # a setup that must train as another
    ("fp32-1-offload", "fp32-1"),
    ("fp32-3-offload_all", "fp32-3"),
    ("bf16-2-offload", "bf16-2"),
    ("fp32-1-checkpointing", "fp32-1"),
    ("fp32-3-checkpointing", "fp32-3"),
    ("fp32-1-compile", "fp32-1"),
]
POISONED = [*FP32, *BF16, "bf16-2-offload"]
FRESH = ["fp32-0", "bf16-1", "bf16-2", "fp16-3"]
LOOKED_AT = ["fp32-1", "fp32-3"]

Results = dict[str, Any]
Numbers = list[list[float]]  # a StepResult each: loss, gradient's norm, skipped, loss scale


def launch(directory: Path, name: str, ranks: int, cases: list[str]) -> None:
    """Run the cases as ranks, and kill them when they have written what they found."""
    cases = sorted(cases, key=stage_of)  # DeepSpeed's stage 3 replaces `F.linear` for the rest of the process
    started = tiny_run.Ranks(ranks, str(Path(engine_cases.__file__)), str(directory), name, *cases)
    written = [directory / f"results-{name}-{rank}.json" for rank in range(ranks)]
    deadline = time.monotonic() + 600
    while not all(path.exists() for path in written) and time.monotonic() < deadline:
        if any(process.poll() is not None for process in started.processes):
            break
        time.sleep(0.05)
    started.send(signal.SIGKILL)
    outcome = started.wait()
    assert all(path.exists() for path in written), outcome
    assert [code for code, _, _ in outcome] == [-signal.SIGKILL] * ranks


def launch_first(directory: Path) -> None:
    """All that trains from the start, on two ranks."""
    cases = [f"from_scratch,{setup}" for setup in SETUPS + [setup for setup, _ in SAME_NUMBERS]]
    cases += [f"poisoned,{setup}" for setup in POISONED] + [f"looked_at,{setup}" for setup in LOOKED_AT]
    cases += [*(f"fresh,{setup}" for setup in FRESH), "with_documents,fp32-3", "memory"]
    launch(directory, "first", 2, cases)


def stage_of(case: str) -> int:
    """The ZeRO stage that a case trains at."""
    setup = case.split(",")[1:2]
    return int(setup[0].split("-")[1]) if setup else 0


def results_of(directory: Path, name: str, rank: int = 0) -> Results:
    """What a rank of a launch found, by case."""
    found: Results = json.loads((directory / f"results-{name}-{rank}.json").read_text())
    return found


def losses(numbers: Numbers) -> torch.Tensor:
    return torch.tensor([row[0] for row in numbers], dtype=torch.float64)


def everything(step_dir: Path) -> dict[str, torch.Tensor]:
    """The fp32 weights and both moments of a checkpoint, whole, by kind and name."""
    kinds = ("weight", "exp_avg", "exp_avg_sq")
    files = sorted(step_dir.glob("*.safetensors"))
    whole = {name: {kind: torch.empty(w.numel()) for kind in kinds} for name, w in read_full(files).items()}
    read_into(files, {name: Piece(0, views) for name, views in whole.items()})
    return {f"{kind}/{name}": tensor for name, views in whole.items() for kind, tensor in views.items()}


def same_values(one: Path, other: Path) -> bool:
    """Whether two checkpoints hold the same bits."""
    a, b = everything(one), everything(other)
    return a.keys() == b.keys() and all(torch.equal(a[name], b[name]) for name in a)


def state_of(step_dir: Path) -> dict[str, Any]:
    state: dict[str, Any] = json.loads((step_dir / "state.json").read_text())
    return state


def same(one: Path, other: Path) -> bool:
    """Whether two checkpoints hold the same bits and the same `state()`."""
    return same_values(one, other) and state_of(one) == state_of(other)
