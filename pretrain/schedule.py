"""The learning rate and the batch size as functions of the step: nothing to save, nothing to restore."""

from __future__ import annotations

import math
from bisect import bisect_right
from typing import NamedTuple

SCHEDULES = ("cosine", "linear", "inverse-sqrt", "constant", "wsd", "noam")


def lr_at(
    step: int,
    *,
    schedule: str,
    peak: float,
    min_ratio: float,
    warmup_steps: int,
    total_steps: int,
    decay_steps: int = 0,
    d_model: int = 1,
) -> float:
    """Learning rate of optimizer step `step`, counted from 0.

    All but "noam" warm up linearly: step 0 takes peak / warmup_steps (never 0), step warmup_steps - 1 takes the peak.
    Then
    - "cosine": half a cosine to peak x min_ratio at the last step (Loshchilov & Hutter 2017; Brown et al. 2020);
    - "linear": a line to the same end;
    - "inverse-sqrt": peak x sqrt(warmup_steps / step), as T5 (Raffel et al. 2020, 3.1.2); min_ratio is not used;
    - "constant": the peak;
    - "wsd": the peak, then a line to peak x min_ratio over the last decay_steps (Hu et al. 2024, section 4);
    - "noam": peak x d_model^-0.5 x min(n^-0.5, n x warmup_steps^-1.5), n from 1 (Vaswani et al. 2017, eq. 3, where
      "peak" is 1: here it only scales).

    >>> [lr_at(n, schedule="cosine", peak=1.0, min_ratio=0.1, warmup_steps=2, total_steps=4) for n in range(4)]
    [0.5, 1.0, 0.55, 0.1]
    """
    completed = step + 1
    if schedule == "noam":
        warmup = max(1, warmup_steps)
        return peak * min(1 / math.sqrt(completed), completed / warmup / math.sqrt(warmup)) / math.sqrt(d_model)
    if completed <= warmup_steps:
        return peak * completed / warmup_steps
    if schedule == "constant":
        return peak
    if schedule == "inverse-sqrt":
        return peak * math.sqrt(max(1, warmup_steps) / completed)
    start = max(warmup_steps, total_steps - decay_steps) if schedule == "wsd" else warmup_steps
    if completed <= start:
        return peak
    progress = (completed - start) / (total_steps - start)
    left = (1 + math.cos(math.pi * progress)) / 2 if schedule == "cosine" else 1 - progress
    return peak * (min_ratio + (1 - min_ratio) * left)


class Level(NamedTuple):
    """A run of steps of one batch size."""

    first_step: int
    first_token: int
    batch_tokens: int


class BatchSizes:
    """Tokens an optimizer step: constant, or growing to `full` in steps of `start` over the first `ramp_tokens`.

    GPT-3's ramp (Brown et al. 2020, appendix B: from 32k tokens to the full size over 4 to 12 billion): batches of
    start, 2 start, 3 start ... tokens, each size for an equal part of `ramp_tokens`, rounded up to whole steps.

    >>> sizes = BatchSizes(full=40, start=10, ramp_tokens=120)
    >>> [sizes.batch_tokens(step) for step in range(9)], sizes.tokens_before(8), sizes.steps(199)
    ([10, 10, 10, 10, 20, 20, 30, 30, 40], 140, 9)
    """

    def __init__(self, *, full: int, start: int = 0, ramp_tokens: int = 0) -> None:
        self.levels: list[Level] = []
        step = token = 0
        sizes = range(start, full, start) if start else range(0)
        for batch in sizes:
            self.levels.append(Level(step, token, batch))
            steps = math.ceil(ramp_tokens / len(sizes) / batch)
            step, token = step + steps, token + steps * batch
        self.levels.append(Level(step, token, full))

    def batch_tokens(self, step: int) -> int:
        """Tokens that step `step`, from 0, trains on."""
        return self._level(step).batch_tokens

    def tokens_before(self, step: int) -> int:
        """Tokens of all steps before `step`."""
        level = self._level(step)
        return level.first_token + (step - level.first_step) * level.batch_tokens

    def steps(self, tokens: int) -> int:
        """Whole steps that `tokens` tokens make."""
        level = self.levels[bisect_right(self.levels, tokens, key=lambda level: level.first_token) - 1]
        return level.first_step + (tokens - level.first_token) // level.batch_tokens

    def _level(self, step: int) -> Level:
        return self.levels[bisect_right(self.levels, step, key=lambda level: level.first_step) - 1]
