"""Whether a training that has begun may go on under other settings: only if no step already taken would differ."""

from __future__ import annotations

from pretrain.schedule import lr_at
from pretrain.settings import PhaseSettings, TrainingJob

# The settings of `[train]` that say when a training ends and what comes last: a longer one may have others
EXTENDABLE = ("tokens", "phase", "decay_steps")


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
