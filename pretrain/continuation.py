"""Whether a training that has begun may go on under other settings: only if no step already taken would differ."""

from __future__ import annotations

from dataclasses import fields
from typing import Any

from pretrain.architecture import ModelSettings
from pretrain.schedule import lr_at
from pretrain.settings import PhaseSettings, TrainingJob, TrainSettings

# The settings of `[train]` that say when a training ends and what comes last: a longer one may have others
EXTENDABLE = ("tokens", "phase", "decay_steps")
# Fields of a job that say how to run, and the tables that are looked into
EXECUTION_TABLES = ("model", "train", "ranks", "checkpoint", "wandb", "deepspeed")


def learning_rate(job: TrainingJob, step: int) -> float:
    """The learning rate of optimizer step `step`, from 0."""
    train = job.train
    return lr_at(
        step,
        schedule=train.schedule,
        peak=train.lr,
        min_ratio=train.min_lr_ratio,
        warmup_steps=train.warmup_steps,
        total_steps=train.steps,
        decay_steps=train.decay_steps,
        d_model=job.model.d_model,
    )


def continuation_problems(old: TrainingJob, new: TrainingJob, steps: int) -> list[str]:
    """Why `new` cannot go on where `old`, which differs in nothing but EXTENDABLE, stands after `steps` steps."""
    tokens = old.train.tokens_after(steps)
    if new.train.steps < steps:
        return [f"it has trained on {tokens} tokens already, train.tokens is {new.train.tokens} now"]
    found = []
    if any(learning_rate(old, step) != learning_rate(new, step) for step in range(steps)):
        found.append(
            f'the learning rates of the {steps} steps it took would be others (with train.schedule = "constant", or '
            '"wsd" before its decay, they are not); to train a finished model further, start a new run with '
            "train.init_from = its export"
        )
    if _until(old.phases, tokens) != _until(new.phases, tokens):
        found.append(
            f"the mix of sources of the {tokens} tokens it has trained on would be another; append phases only"
        )
    return found


def _until(phases: list[PhaseSettings], tokens: int) -> list[tuple[int, dict[str, float]]]:
    """(first token, weights) of each phase that begins before `tokens` tokens; equal neighbours are one."""
    found: list[tuple[int, dict[str, float]]] = []
    start = 0
    for phase in phases:
        if start < tokens and not (found and found[-1][1] == phase.weights):
            found.append((start, phase.weights))
        start += phase.tokens
    return found


def differences(old: dict[str, Any], new: dict[str, Any]) -> list[str]:
    """What makes `new` another training than `old`, both as `TrainingJob.to_json` gives them, with both values."""
    found = []
    for table, kind in (("model", ModelSettings), ("train", TrainSettings), ("", TrainingJob)):
        for item in fields(kind):
            before, after = (job[table] if table else job for job in (old, new))
            if item.name in (*EXECUTION_TABLES, *EXTENDABLE, "key") or item.metadata.get("execution"):
                continue
            if before.get(item.name) != after.get(item.name):
                name = f"{table}.{item.name}" if table else item.name
                found.append(f"its {name} is {before.get(item.name)}, this run's is {after.get(item.name)}")
    return found or [f"its key is {old['key']}, this run's is {new['key']}"]
