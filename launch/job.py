"""A job: commands to run side by side, and what a launcher must be able to do with one.

A launcher knows commands and resources, nothing of stages. Adding one is a class with these three methods.
"""

from __future__ import annotations

import enum
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

JobId = str


@dataclass(frozen=True)
class Job:
    """Processes to start together.

    One that fails ends the others. `ranks`: they are the ranks of one parallel program, and each is told its place.
    """

    name: str  # log files are NAME-0.log, NAME-1.log, ...
    commands: tuple[tuple[str, ...], ...]
    log_directory: Path
    ranks: bool = False
    environment: Mapping[str, str] = field(default_factory=dict)


class State(enum.Enum):
    RUNNING = "running"
    DONE = "done"  # every process ended with 0
    FAILED = "failed"


@dataclass(frozen=True)
class Status:
    state: State
    exit_code: int = 0  # of the first process that failed; negative: the signal that killed it
    log: Path | None = None  # of that process
    tail: tuple[str, ...] = ()  # the last lines it wrote since it was started


class JobError(Exception):
    """A job that failed while running. Its text is one line that names the log."""


class Launcher(Protocol):
    def submit(self, job: Job) -> JobId:
        """Start or queue the job."""

    def state(self, job_id: JobId) -> Status:
        """How it stands. Never blocks."""

    def signal(self, job_id: JobId, number: int) -> None:
        """Send a signal to every process of the job that still runs."""
