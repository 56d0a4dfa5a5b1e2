"""A request to stop, set by a signal and looked at by the loop at every boundary.

The handler does nothing else: saving inside a signal handler can interrupt a collective half way.
"""

from __future__ import annotations

import signal
from types import FrameType

# SIGTERM: a scheduler's or an operator's kill. SIGINT: Ctrl-C. SIGUSR1: what `sbatch --signal` sends before the limit
SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGUSR1)


class StopRequest:
    """`requested` turns True at the first signal and stays so."""

    def __init__(self) -> None:
        self.requested = False

    def install(self) -> None:
        """Listen to the signals, in this process."""
        for number in SIGNALS:
            signal.signal(number, self._on_signal)

    def _on_signal(self, number: int, frame: FrameType | None) -> None:
        self.requested = True
