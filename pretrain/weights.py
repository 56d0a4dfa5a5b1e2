"""A trained model, for looking at it: whole, on one device, without DeepSpeed."""

from __future__ import annotations

import sys
from pathlib import Path

import torch

from data_prep.files import UserError
from pretrain.checkpoint import Checkpoint, CheckpointStore
from pretrain.fragments import read_full
from pretrain.model import GPT, build_model
from pretrain.settings import TrainingJob


def find_checkpoint(job: TrainingJob, checkpoints: Path, step: int | None = None) -> Checkpoint:
    """The checkpoint of a step, or (None) the newest that is good, verified; `UserError` when there is none."""
    store = CheckpointStore(checkpoints, job)
    if step is not None:
        return store.at(step)
    found = store.newest_good(lambda line: print(line, file=sys.stderr))
    if found is None:
        raise UserError(f"no checkpoint in {checkpoints}; train first: text2lm run CONFIG")
    return found


def load_model(job: TrainingJob, checkpoint: Checkpoint) -> GPT:
    """The model of a checkpoint in evaluation mode, on a GPU where there is one, in the job's precision."""
    model = build_model(job)
    model.load_state_dict(read_full(checkpoint.files))
    dtype = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}[job.train.precision]
    return model.to("cuda" if torch.cuda.is_available() else "cpu", dtype).eval()
