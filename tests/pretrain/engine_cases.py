"""What test_engine.py launches as ranks: several trainings in one process group, their numbers written as JSON.

usage: engine_cases.py DIRECTORY CASE...   (rank variables in the environment)
"""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import Any

import tiny_run
import torch

from pretrain.engine import Engine, connect, disconnect
from pretrain.model import build_model
from pretrain.settings import TrainingJob

STEPS, SAVED_AT = 20, 10


def batch_of(step: int) -> tuple[torch.Tensor, torch.Tensor]:
    """The global batch of a step: tokens and targets (16, 64). Most ids are rare, so that there is much to learn."""
    generator = torch.Generator().manual_seed(step)
    rows = (torch.rand(16, tiny_run.CONTEXT + 1, generator=generator) ** 4 * tiny_run.VOCAB).long()
    return rows[:, :-1], rows[:, 1:]


def lr_of(step: int) -> float:
    return 0.0005 * (1 + step % 3)  # gentle: a high one makes the last digits of the gradients chaotic


def job_of(ranks: int, precision: str = "fp32", stage: int = 1, clip: float = 0.5) -> TrainingJob:
    return tiny_run.job(ranks=ranks, precision=precision, zero_stage=stage, grad_clip=clip)


def build(job: TrainingJob) -> Engine:
    return Engine(build_model(job), job, torch.device("cpu"))


def train(engine: Engine, first: int, last: int) -> list[list[float]]:
    """[loss, grad norm] of each step."""
    numbers = []
    share = 16 // engine.ranks
    mine = slice(engine.rank * share, (engine.rank + 1) * share)
    for step in range(first, last):
        tokens, targets = (tensor[mine].split(4) for tensor in batch_of(step))
        result = engine.train_step(zip(tokens, targets, strict=True), lr=lr_of(step), target_tokens=1024)
        numbers.append([result.loss, result.grad_norm])
    return numbers


def weights(engine: Engine) -> dict[str, Any]:
    return {name: tensor.float().tolist() for name, tensor in engine.model.state_dict().items() if "mlp" in name}


def save(engine: Engine, directory: Path) -> None:
    directory.mkdir(exist_ok=True)
    engine.save(directory / f"rank-{engine.rank:05d}.safetensors")
    engine.barrier()


def from_scratch(directory: Path, ranks: int, precision: str, stage: str) -> Any:
    engine = build(job_of(ranks, precision, int(stage)))
    numbers = train(engine, 0, SAVED_AT)
    save(engine, directory / f"{precision}-{stage}-{ranks}")
    return numbers + train(engine, SAVED_AT, STEPS)


def resumed(directory: Path, ranks: int, precision: str, stage: str, saved: str) -> Any:
    """Go on, with this many ranks and this stage, from what `saved` (precision-stage-ranks) left."""
    engine = build(job_of(ranks, precision, int(stage)))
    engine.load(directory / saved, SAVED_AT)
    return train(engine, SAVED_AT, STEPS)


def poisoned(directory: Path, ranks: int) -> Any:
    """A weight that is not finite on rank 0 only."""
    engine = build(job_of(ranks))
    before = weights(engine)
    if engine.rank == 0:
        with torch.no_grad():
            engine.model.norm.weight[0] = float("nan")
    try:
        train(engine, 0, 1)
    except FloatingPointError as error:
        return {"error": str(error), "unchanged": weights(engine) == before}
    return None


def stop(directory: Path, ranks: int) -> Any:
    """Only the last rank wants to stop."""
    engine = build(job_of(ranks))
    tokens, targets = (tensor[:8].split(4) for tensor in batch_of(0))
    batches = list(zip(tokens, targets, strict=True))
    wanted = engine.rank == ranks - 1
    return [engine.train_step(batches, lr=0.001, target_tokens=1024, stop=flag).stop for flag in (False, wanted)]


if __name__ == "__main__":
    torch.set_num_threads(1)
    out, rank, world_size = Path(sys.argv[1]), int(os.environ["RANK"]), int(os.environ["WORLD_SIZE"])
    connect(rank=rank, local_rank=rank, world_size=world_size)
    results = {}
    for case in sys.argv[2:]:
        name, *arguments = case.split(",")
        results[case] = globals()[name](out, world_size, *arguments)
    (out / f"results-{world_size}-{rank}.json").write_text(json.dumps(results))
    disconnect()
