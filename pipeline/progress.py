"""Progress for people: a bar in a terminal, a plain line now and then in a log; and what others write into theirs."""

from __future__ import annotations

import sys
import time
from pathlib import Path
from typing import IO

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeElapsedColumn, TimeRemainingColumn

LOG_SECONDS = 10.0


class ProgressDisplay:
    """Shows one piece of work at a time. `say` prints a line that stays."""

    def __init__(self, out: IO[str] | None = None) -> None:
        self.out = out or sys.stdout
        self.terminal = self.out.isatty()
        self._bar: Progress | None = None
        self._task = TaskID(0)
        self._name = ""
        self._last_line = 0.0

    def begin(self, name: str, total: float) -> None:
        self._name, self._last_line = name, time.monotonic()
        if self.terminal:
            columns = (
                TextColumn("{task.description:<16}"),
                BarColumn(),
                TextColumn("{task.fields[text]}"),
                TimeElapsedColumn(),
                TimeRemainingColumn(),
            )
            self._bar = Progress(*columns, console=Console(file=self.out), transient=True)
            self._task = self._bar.add_task(name, total=total, text="")
            self._bar.start()

    def update(self, done: float, text: str) -> None:
        """How far the work is, in the units of `begin`, and in words."""
        if self._bar:
            self._bar.update(self._task, completed=done, text=text)
        elif time.monotonic() - self._last_line >= LOG_SECONDS:
            self._last_line = time.monotonic()
            self.say(f"{self._name}: {text}")

    def end(self) -> None:
        if self._bar:
            self._bar.stop()
            self._bar = None

    def say(self, line: str) -> None:
        if self._bar:  # it would be drawn over the line
            self._bar.console.print(line, markup=False, highlight=False, soft_wrap=True)
        else:
            print(line, file=self.out, flush=True)


class GrowingLog:
    """What is appended to a file from now on, whether it is there yet or not."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._read = path.stat().st_size if path.exists() else 0  # bytes

    def new_lines(self) -> list[str]:
        """The lines that were finished since the last call."""
        if not self.path.exists():
            return []
        with self.path.open("rb") as file:
            file.seek(self._read)
            lines, end, _ = file.read().rpartition(b"\n")
        self._read += len(lines + end)
        return lines.decode(errors="replace").splitlines()
