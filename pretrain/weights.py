"""A trained model, for looking at it: whole, on one device, without DeepSpeed."""

from __future__ import annotations

import sys
from pathlib import Path

import torch

from data_prep.files import UserError
from pretrain.checkpoint import CheckpointStore
from pretrain.fragments import read_full
from pretrain.model import GPT, build_model
from pretrain.settings import TrainingJob


def newest_checkpoint(job: TrainingJob, checkpoints: Path) -> Path:
    """The directory of the newest checkpoint that verifies; `UserError` when there is none."""
    found = CheckpointStore(checkpoints, key=job.key, keep_last=job.checkpoint.keep_last).newest_good(
        lambda line: print(line, file=sys.stderr)
    )
    if found is None:
        raise UserError(f"no checkpoint in {checkpoints}; train first: text2lm run CONFIG")
    return found.path


def load_model(job: TrainingJob, step_dir: Path) -> GPT:
    """The model of a checkpoint in evaluation mode, on a GPU where there is one, in the job's precision."""
    model = build_model(job)
    model.load_state_dict(read_full(step_dir))
    dtype = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}[job.train.precision]
    return model.to("cuda" if torch.cuda.is_available() else "cpu", dtype).eval()
