"""A request to stop, set by a signal and looked at by the loop at every boundary.

The handler does nothing else: saving inside a signal handler can interrupt a collective half way.
"""

from __future__ import annotations

import signal
from types import FrameType
from typing import Any

from pretrain.settings import STOP_SIGNALS

# A scheduler's or an operator's kill, and Ctrl-C. Of the others one is what `sbatch --signal` sends before the limit
ALWAYS = (signal.SIGTERM, signal.SIGINT)


class StopRequest:
    """`requested` turns True at the first signal and stays so."""

    def __init__(self) -> None:
        self.requested = False
        self._before: dict[int, Any] = {}  # handlers of the signals listened to

    def install(self) -> None:
        """Listen to every signal that may mean stop, in this process: which do is not known yet."""
        for number in (*ALWAYS, *(signal.Signals[name] for name in STOP_SIGNALS)):
            self._before[number] = signal.signal(number, self._on_signal)

    def keep(self, names: list[str]) -> None:
        """Of the STOP_SIGNALS listen only to these; the others are as they were found."""
        for name in set(STOP_SIGNALS) - set(names):
            signal.signal(signal.Signals[name], self._before.pop(signal.Signals[name]))

    def obeyed(self) -> None:
        """Nothing is left to stop. One that comes while Python shuts down would end the process with its code."""
        for number in self._before:
            signal.signal(number, signal.SIG_IGN)

    def _on_signal(self, number: int, frame: FrameType | None) -> None:
        self.requested = True
