"""The learning rate as a function of the step: nothing to save, nothing to restore."""

from __future__ import annotations

import math


def lr_at(step: int, *, peak: float, min_ratio: float, warmup_steps: int, total_steps: int) -> float:
    """Learning rate of optimizer step `step`, counted from 0: linear warm-up, then half a cosine.

    Step 0 takes peak / warmup_steps (never 0), step warmup_steps - 1 takes the peak, and the last step,
    total_steps - 1, takes peak x min_ratio (Loshchilov & Hutter 2017, one cycle; warm-up as in Brown et al. 2020).

    >>> [lr_at(step, peak=1.0, min_ratio=0.1, warmup_steps=2, total_steps=4) for step in range(4)]
    [0.5, 1.0, 0.55, 0.1]
    """
    completed = step + 1
    if completed <= warmup_steps:
        return peak * completed / warmup_steps
    progress = (completed - warmup_steps) / (total_steps - warmup_steps)
    cosine = (1 + math.cos(math.pi * progress)) / 2
    return peak * (min_ratio + (1 - min_ratio) * cosine)
