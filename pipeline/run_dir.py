"""Every path under a run directory, and the lock that gives it one writer."""

from __future__ import annotations

import contextlib
import json
import os
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from data_prep.files import UserError
from launch.job import JobError
from launch.slurm import SlurmRefused, is_running, this_job

HEARTBEAT_SECONDS = 30
SILENT_SECONDS = 600  # a holder on another host that has not been heard of for so long is gone


@dataclass(frozen=True)
class RunDir:
    """The layout of RUN. Everything in it is addressed relative to it, so a run can be moved."""

    root: Path

    @property
    def config(self) -> Path:
        return self.root / "config.toml"

    @property
    def logs(self) -> Path:
        return self.root / "logs"

    @property
    def slurm(self) -> Path:
        """What was put into the queue, and what became of it."""
        return self.root / "slurm"

    @property
    def tokenizer(self) -> Path:
        return self.root / "tokenizer" / "tokenizer.json"

    @property
    def tokens(self) -> Path:
        return self.root / "tokens"

    @property
    def checkpoints(self) -> Path:
        return self.root / "pretrain" / "checkpoints"

    @property
    def windows(self) -> Path:
        return self.root / "pretrain" / "windows"

    @property
    def metrics(self) -> Path:
        return self.root / "pretrain" / "metrics.jsonl"

    @property
    def started(self) -> Path:
        return self.root / "pretrain" / "started.json"

    @property
    def outcome(self) -> Path:
        return self.root / "pretrain" / "outcome.json"

    @property
    def results(self) -> Path:
        return self.root / "evaluate" / "results.json"

    @property
    def export(self) -> Path:
        return self.root / "export" / "hf"

    def export_of(self, step: int) -> Path:
        """A step that the user asked for: it stays with its training, whatever becomes of the stage `export`."""
        return self.root / "pretrain" / "exports" / f"step-{step:08d}"

    @property
    def report(self) -> Path:
        return self.root / "report.html"

    def stage(self, name: str) -> Path:
        return self.root / name

    def manifest(self, stage: str) -> Path:
        return self.root / stage / "manifest.json"

    def plan(self, stage: str) -> Path:
        return self.root / stage / "plan.json"

    def receipts(self, stage: str) -> Path:
        return self.root / stage / "receipts"

    def receipt(self, stage: str, step: str, task: int) -> Path:
        return self.receipts(stage) / f"{step}-{task:05d}.json"

    def pack(self, stage: str, step: str) -> Path:
        """The receipts of a sealed stage's step."""
        return self.receipts(stage) / f"{step}.jsonl"

    def claims(self, stage: str) -> Path:
        """Which element of an array does which task."""
        return self.root / stage / "claims"

    def work(self, stage: str, step: str) -> Path:
        """Intermediate files between a stage's steps; gone once the stage is sealed."""
        return self.root / stage / "work" / step

    @contextmanager
    def lock(self) -> Iterator[None]:
        """Hold the run for this process. No flock: network file systems do not keep its promise.

        The lock is a file made by exclusive link, with host, process, batch job and a heartbeat. One whose process or
        job is gone, or whose host has been silent for ten minutes, is taken over. Raises `UserError` when somebody else
        holds it.
        """
        self.root.mkdir(parents=True, exist_ok=True)
        path = self.root / "lock.json"
        host, pid = socket.gethostname(), os.getpid()
        mine = {"host": host, "pid": pid, "started": process_start(pid), "job": this_job()}
        self._take(path, mine)
        stop = threading.Event()
        heart = threading.Thread(target=beat, args=(path, stop), daemon=True)
        heart.start()
        try:
            for leftover in self.root.glob(".*.tmp"):  # of a killed command
                leftover.unlink()
            yield
        finally:
            stop.set()
            heart.join()
            if read_lock(path) == mine:
                path.unlink()

    def take_for_job(self, job: str) -> None:
        """Hold the run for a batch job, beyond the life of this process: until the job ends, or `leave_for_job`."""
        self._take(self.root / "lock.json", {"host": socket.gethostname(), "pid": 0, "started": 0, "job": job})

    def leave_for_job(self, job: str) -> None:
        holder = read_lock(self.root / "lock.json")
        if holder and holder["pid"] == 0 and holder["job"] == job:
            (self.root / "lock.json").unlink()

    def _take(self, path: Path, mine: dict[str, Any]) -> None:
        claim = self.root / f".lock.{socket.gethostname()}.{os.getpid()}"
        try:
            claim.write_text(json.dumps(mine))
            try:
                os.link(claim, path)
            except FileExistsError:
                take_over(path, claim)
        finally:
            claim.unlink(missing_ok=True)


def take_over(path: Path, claim: Path) -> None:
    """Put `claim` in the place of a lock whose holder is gone; `UserError` when it is not, or when another is faster.

    Several may find the same dead lock: a guard, taken like the lock, lets one of them look again and replace it.
    """
    holder = read_lock(path)
    if holder and is_alive(holder, path):
        who = f"process {holder['pid']} on {holder['host']}" if holder["pid"] else f"Slurm's job {holder['job']}"
        raise UserError(f"{path.parent} is in use by {who}; wait for it, or name another directory with --run")
    guard = path.with_name(".lock.takeover")
    try:
        os.link(claim, guard)
    except FileExistsError:
        other = read_lock(guard)
        if not (other and is_alive(other, guard)):
            guard.unlink(missing_ok=True)  # its owner died within these few lines
        raise UserError(f"{path.parent} is being taken by another process; try again in a moment") from None
    try:
        if read_lock(path) != holder:
            raise UserError(f"{path.parent} was just taken by another process; wait for it")
        claim.rename(path)
    finally:
        guard.unlink(missing_ok=True)


def beat(path: Path, stop: threading.Event) -> None:
    while not stop.wait(HEARTBEAT_SECONDS):
        with contextlib.suppress(FileNotFoundError):  # the run was moved
            os.utime(path)


def read_lock(path: Path) -> dict[str, Any] | None:
    try:
        holder = json.loads(path.read_text())
    except (FileNotFoundError, ValueError):
        return None
    return holder if isinstance(holder, dict) and holder.keys() >= {"host", "pid", "started"} else None


def is_alive(holder: dict[str, Any], path: Path) -> bool:
    """Of a process on another host it is known by its job, or by how long it has been silent."""
    if holder["pid"] and holder["host"] == socket.gethostname():
        return bool(process_start(holder["pid"]) == holder["started"])
    if job := holder.get("job"):
        if job == this_job():  # an earlier attempt: it has ended, or this one would not run
            return False
        with contextlib.suppress(SlurmRefused, JobError):
            return is_running(job)
    return not holder["pid"] or time.time() - path.stat().st_mtime < SILENT_SECONDS


def process_start(pid: int) -> int | None:
    """When a process started, in clock ticks since boot: with its pid a name for good. None: it has ended."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except (FileNotFoundError, ProcessLookupError):
        return None
    return None if fields[0] == "Z" else int(fields[19])


def open_run(root: Path) -> RunDir:
    """An existing run, or a `UserError`."""
    run = RunDir(root)
    if not run.config.exists():
        raise UserError(
            f"{root} is no run directory: it has no config.toml; start one with: text2lm run CONFIG --run {root}"
        )
    return run


def prepare(root: Path) -> RunDir:
    """The run directory for `text2lm run`, new or not; a place that holds something else is refused."""
    run = RunDir(root)
    if root.exists() and not root.is_dir():
        raise UserError(f"--run {root} is a file, wanted a directory")
    found = [item.name for item in root.iterdir()] if root.exists() and not run.config.exists() else []
    if any(not name.startswith(".") and name != "lock.json" for name in found):
        raise UserError(f"--run {root} holds other files and is no run directory; name a new one")
    return run
