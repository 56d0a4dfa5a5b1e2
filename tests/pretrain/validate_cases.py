"""What test_validate.py launches as ranks: `validate_cases.py DIRECTORY` scores an untrained model and writes JSON."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import Any

import tiny_run
import torch
from tokenizer_file import write_tokenizer

from pretrain.engine import Engine, connect, disconnect
from pretrain.model import build_model
from pretrain.settings import TrainingJob
from pretrain.validate import Validation, write_sample

STAGES, RANKS = (1, 3), 2


def job_of(stage: int) -> TrainingJob:
    # Otherwise stage 3 keeps the parameters of a model this small whole on every rank
    deepspeed: dict[str, Any] = {"zero_optimization": {"stage3_param_persistence_threshold": 0}}
    return tiny_run.job(ranks=RANKS, zero_stage=stage, deepspeed=deepspeed if stage == 3 else None)


def main(run: Path, rank: int) -> None:
    connect(rank=rank, local_rank=rank, world_size=RANKS, timeout_minutes=10)
    tokenizer = write_tokenizer(run / f"tokenizer-{rank}.json")
    found: dict[str, Any] = {}
    for stage in STAGES:
        job = job_of(stage)
        engine = Engine(build_model(job), job, torch.device("cpu"))
        validation = Validation(job, run / "tokens/val")
        assert len(validation._batches) % RANKS, "the last turn should leave a rank without a batch"
        scores = validation.score(engine, lambda: False)
        assert scores is not None
        answers = iter([False, False, rank == 1])  # the other rank is not asked to
        stopped = validation.score(engine, lambda answers=answers: next(answers))  # type: ignore[misc]
        found[str(stage)] = {
            "scores": scores._asdict(),
            "stopped": stopped,
            "asked": len(list(answers)),
            "sample": write_sample(job, engine, tokenizer),
            "training": engine.model.training,
        }
    (run / f"found-{rank}.json").write_text(json.dumps(found))
    disconnect()


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(os.environ["RANK"]))
