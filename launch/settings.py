"""What a config says of where and how wide to run. None of it changes a result."""

from __future__ import annotations

import os
from dataclasses import dataclass, field

EXECUTION = {"execution": True}  # never part of a stage's identity


@dataclass(frozen=True)
class LaunchSettings:
    on: str = field(default="local", metadata=EXECUTION)
    workers: int = field(default_factory=lambda: os.cpu_count() or 1, metadata=EXECUTION)  # processes for data
    ranks: int = field(default=1, metadata=EXECUTION)  # processes for training

    def problems(self) -> list[str]:
        found = []
        if self.on != "local":
            found.append(f"launch.on must be local (slurm is not built yet), got '{self.on}'")
        if self.workers < 1:
            found.append(f"launch.workers must be at least 1, got {self.workers}")
        if self.ranks < 1:
            found.append(f"launch.ranks must be at least 1, got {self.ranks}")
        return found
