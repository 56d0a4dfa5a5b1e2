"""What a config says of where and how wide to run. None of it changes a result."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass, field
from typing import Any

EXECUTION: dict[str, Any] = {"execution": True}  # never part of a stage's identity
WHERE = ("local", "slurm")
GPU_BINDINGS = ("all", "one")
WARNING_SIGNALS = ("TERM", "USR1", "USR2")
MEMORY = re.compile(r"[0-9]+[KMGT]?")  # sbatch --mem
DURATION = re.compile(r"[0-9]+(:[0-9]{2}){0,2}|[0-9]+-[0-9]{1,2}(:[0-9]{2}){0,2}|UNLIMITED")  # sbatch --time
NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")  # of an environment variable


@dataclass(frozen=True)
class LaunchSettings:
    on: str = field(default="local", metadata=EXECUTION)
    workers: int = field(default_factory=lambda: os.cpu_count() or 1, metadata=EXECUTION)  # processes for data
    ranks: int = field(default=1, metadata=EXECUTION)  # processes for training
    keep_intermediates: bool = field(default=True, metadata=EXECUTION)  # parts that a sealed stage has read

    def problems(self) -> list[str]:
        found = []
        if self.on not in WHERE:
            found.append(f"launch.on must be one of {', '.join(WHERE)}, got '{self.on}'")
        if self.workers < 1:
            found.append(f"launch.workers must be at least 1, got {self.workers}")
        if self.ranks < 1:
            found.append(f"launch.ranks must be at least 1, got {self.ranks}")
        return found


@dataclass(frozen=True)
class SiteSettings:
    """What one kind of job asks of the site. An empty value leaves it to Slurm's default."""

    partition: str = field(default="", metadata=EXECUTION)
    account: str = field(default="", metadata=EXECUTION)
    qos: str = field(default="", metadata=EXECUTION)
    constraint: str = field(default="", metadata=EXECUTION)
    time: str = field(default="", metadata=EXECUTION)  # as sbatch takes it: minutes, H:M:S or D-H:M:S
    memory: str = field(default="", metadata=EXECUTION)  # of a node, with K, M, G or T
    options: list[str] = field(default_factory=list, metadata=EXECUTION)  # more of sbatch's, "--reservation=mine"

    def problems_of(self, table: str) -> list[str]:
        found = []
        for name in ("partition", "account", "qos", "constraint"):
            found += unprintable(f"{table}.{name}", getattr(self, name))
        if self.time and not DURATION.fullmatch(self.time):
            found.append(f"{table}.time must be minutes, H:M:S or D-H:M:S, got {self.time!r}")
        if self.memory and not MEMORY.fullmatch(self.memory):
            found.append(f"{table}.memory must be a number with K, M, G or T, such as 64G, got {self.memory!r}")
        for option in self.options:
            found += unprintable(f"{table}.options", option)
            if not option.startswith("-"):
                found.append(
                    f"{table}.options wants options of sbatch in one piece, such as --reservation=mine, got {option!r}"
                )
        return found


@dataclass(frozen=True)
class SlurmSettings(SiteSettings):
    """The `[slurm]` table: how this project's jobs are queued at a site. `data` and `train` have the last word on what
    the jobs of data preparation and of training ask for."""

    data: SiteSettings = field(default_factory=SiteSettings)
    train: SiteSettings = field(default_factory=SiteSettings)
    elements: int = field(default=16, metadata=EXECUTION)  # jobs that share the work of a data stage
    elements_at_once: int = field(default=0, metadata=EXECUTION)  # of them, at most; 0: no limit
    cpus: int = field(default=8, metadata=EXECUTION)  # of a data job
    gpus_per_node: int = field(default=0, metadata=EXECUTION)  # 0: ranks train on CPUs
    gpu_type: str = field(default="", metadata=EXECUTION)  # "a100", where a site has several
    gpu_binding: str = field(default="all", metadata=EXECUTION)  # that a rank sees: all of its node, or one
    ranks_per_node: int = field(default=0, metadata=EXECUTION)  # 0: gpus_per_node, or all ranks on one
    cpus_per_rank: int = field(default=8, metadata=EXECUTION)
    warning_signal: str = field(default="USR1", metadata=EXECUTION)  # that says the time limit is near,
    warning_seconds: int = field(default=300, metadata=EXECUTION)  # so long before it
    requeue: bool = field(default=True, metadata=EXECUTION)  # false: where jobs may not queue themselves again
    max_restarts: int = field(default=100, metadata=EXECUTION)
    poll_seconds: float = field(default=30.0, metadata=EXECUTION)  # between two questions to the controller
    interface: str = field(default="", metadata=EXECUTION)  # network interface of NCCL and gloo
    modules: list[str] = field(default_factory=list, metadata=EXECUTION)  # "cuda/12.4", loaded first in every job
    setup: list[str] = field(default_factory=list, metadata=EXECUTION)  # lines for bash, after them
    environment: dict[str, str] = field(default_factory=dict, metadata=EXECUTION)  # variables, after these
    container: list[str] = field(default_factory=list, metadata=EXECUTION)  # "apptainer", "exec", "--nv", "text2lm.sif"
    python: str = field(default="", metadata=EXECUTION)  # interpreter in jobs (default: the one that submits)

    def problems(self) -> list[str]:
        found = self.problems_of("slurm") + self.data.problems_of("slurm.data") + self.train.problems_of("slurm.train")
        smallest = {"elements": 1, "elements_at_once": 0, "cpus": 1, "gpus_per_node": 0, "ranks_per_node": 0}
        smallest |= {"cpus_per_rank": 1, "warning_seconds": 1, "max_restarts": 0}
        for name, least in smallest.items():
            if getattr(self, name) < least:
                found.append(f"slurm.{name} must be at least {least}, got {getattr(self, name)}")
        if not 0.1 <= self.poll_seconds <= 3600:
            found.append(f"slurm.poll_seconds must be 0.1 to 3600, got {self.poll_seconds:g}")
        for name, known in (("gpu_binding", GPU_BINDINGS), ("warning_signal", WARNING_SIGNALS)):
            if getattr(self, name) not in known:
                found.append(f"slurm.{name} must be one of {', '.join(known)}, got '{getattr(self, name)}'")
        for name in ("gpu_type", "interface", "python"):
            found += unprintable(f"slurm.{name}", getattr(self, name))
        for name in self.environment:
            if not NAME.fullmatch(name):
                found.append(f"slurm.environment: {name!r} is no name of a variable")
        for text in (*self.modules, *self.setup, *self.environment.values(), *self.container):
            if "\0" in text:
                found.append(f"slurm: no argument of a program can hold a zero byte, got {text!r}")
        return found


def unprintable(name: str, value: str) -> list[str]:
    """A sentence, when a value for sbatch holds a newline or another character that no option of it has."""
    return [] if value.isprintable() else [f"{name} holds a character that no option of sbatch has: {value!r}"]
