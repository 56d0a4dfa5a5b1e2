"""Looks after work that may never end: a rank whose peer died waits in a collective, a file system stands still.

A step far slower than the last ones leaves every thread's stack in this rank's file and goes on. One past the bound
ends the process, so that a job does not hold its machines over a weekend. A rank that only waits for the others is
more patient, so that the one they wait for speaks first.
"""

from __future__ import annotations

import faulthandler
import math
import os
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from statistics import median
from typing import NamedTuple

RECENT = 100  # steps that the median is taken over
ENOUGH = 5  # steps that make a median: the first compile kernels
FLOOR_SECONDS = 10.0  # nobody minds a step that took less
LOOK_SECONDS = 1.0
GRACE_SECONDS = 3.0  # past the bound: until the interpreter is given up on
WAITING_SECONDS = 10.0  # past the bound: for one who waits for other ranks


def log_line(line: str) -> None:
    """A line for the log of this rank. A full disk loses it, and not the training."""
    with suppress(OSError):
        print(line, flush=True)


class Watched(NamedTuple):
    what: str
    start: float  # time.monotonic()
    patience: float  # seconds
    limit: float  # seconds


class Watchdog:
    """Watches one piece of work at a time; Python's faulthandler, which it uses, has one timer a process."""

    def __init__(self, stacks: Path, *, factor: float, limit_seconds: float, say: Callable[[str], None]) -> None:
        """Stacks are appended to the file `stacks`, and `say` gets a line, of a step that takes more than `factor`
        times the median; past `limit_seconds` the process exits with code 1."""
        self._path, self._file = stacks, stacks.open("a")  # opened now: a dead file system may be what hangs
        self._factor, self._limit, self._say = factor, limit_seconds, say
        self._recent: deque[float] = deque(maxlen=RECENT)  # seconds
        self._watched: Watched | None = None
        threading.Thread(target=self._look, name="watchdog", daemon=True).start()

    @contextmanager
    def step(self, number: int) -> Iterator[None]:
        """Around an optimizer step."""
        known = len(self._recent) >= ENOUGH
        patience = max(FLOOR_SECONDS, self._factor * median(self._recent)) if known else math.inf
        start = time.monotonic()
        with self.watch(f"step {number}", patience):
            yield
        self._recent.append(time.monotonic() - start)

    @contextmanager
    def watch(self, what: str, patience: float = math.inf, *, waiting: bool = False) -> Iterator[None]:
        """Around anything else that must end: reading, saving, validating; or `waiting` for the other ranks."""
        limit = self._limit + WAITING_SECONDS * waiting
        # A C thread: it fires even when the main thread holds the interpreter's lock
        faulthandler.dump_traceback_later(limit + GRACE_SECONDS, exit=True, file=self._file)
        self._watched = Watched(what, time.monotonic(), patience, limit)
        try:
            yield
        finally:
            self._watched = None
            faulthandler.cancel_dump_traceback_later()

    def _look(self) -> None:
        dumped: Watched | None = None
        while True:
            time.sleep(LOOK_SECONDS)
            watched = self._watched
            seconds = time.monotonic() - watched.start if watched else 0.0
            if watched and seconds > watched.limit:
                faulthandler.dump_traceback()  # to the log, where people look first
                self._dump(f"{watched.what} is not done after {seconds:.0f} s, the process ends")
                os._exit(1)  # the main thread cannot be asked to
            if watched and seconds > watched.patience and watched is not dumped:
                dumped = watched
                self._dump(f"{watched.what} takes long, {seconds:.0f} s so far")

    def _dump(self, line: str) -> None:
        with suppress(OSError):  # a full disk
            self._file.write(f"{time.strftime('%Y-%m-%d %H:%M:%S')} {line}\n")
            self._file.flush()
            faulthandler.dump_traceback(self._file)
        self._say(f"{line}; the stacks are in {self._path}")
