"""The record of a training: metrics.jsonl, which is the truth, and the same rows to wandb."""

from __future__ import annotations

import contextlib
import json
import os
import secrets
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO, Protocol

import wandb

from data_prep.files import UserError, atomic_write
from pretrain.settings import TrainingJob
from pretrain.watchdog import log_line

Row = dict[str, Any]
PATIENCE_SECONDS = 30.0  # with a slow network when a training ends: one that is told to stop has not much longer


def read_rows(file: BinaryIO) -> Iterator[Row]:
    """The rows of an open metrics.jsonl, one at a time; after each the file stands behind it.

    A line that is not whole ends them: rows are forced to disk before a checkpoint, so it comes after the last one.
    """
    for line in file:
        try:
            row: Row = json.loads(line)
        except ValueError:
            return
        if not line.endswith(b"\n"):
            return
        yield row


def cut_back(path: Path, step: int) -> None:
    """Keep the rows of the first `step` steps: what comes after the checkpoint will be trained, and written, again."""
    with path.open("ab+") as file:
        file.seek(0)
        end = 0
        for row in read_rows(file):
            if row["step"] > step:
                break
            end = file.tell()
        file.truncate(end)


def complete_last(path: Path, row: Row) -> None:
    """Replace the last row by one that has more in it: in one write, so that a kill leaves the one or the other."""
    with path.open("r+b", buffering=0) as file:
        before = file.read().rstrip(b"\n").rfind(b"\n")
        file.seek(before + 1)
        file.write(json.dumps(row).encode() + b"\n")
        os.fsync(file.fileno())


class MetricsFile:
    """Appends JSON lines, each of a step; a kill can tear only the last.

    Rows that a full disk does not take are kept, and written when it does.
    """

    def __init__(self, path: Path) -> None:
        self._file: BinaryIO = path.open("ab", buffering=0)
        self._waiting = b""
        self._lock = threading.Lock()  # checkpoints are published in a thread of their own

    def append(self, row: Row) -> None:
        """Write a row where other processes see it."""
        with self._lock:
            self._waiting += json.dumps(row).encode() + b"\n"
            with contextlib.suppress(OSError):
                self._write()

    def sync(self) -> None:
        """Force the rows to disk: before a checkpoint is published, so that none lacks a row. Raises `OSError`."""
        with self._lock:
            self._write()
            os.fsync(self._file.fileno())

    def close(self) -> None:
        self._file.close()

    def _write(self) -> None:
        while self._waiting:
            self._waiting = self._waiting[self._file.write(self._waiting) :]


class Tracker(Protocol):
    """Somewhere that rows are shown."""

    run_id: str | None  # by which a resumed training continues the same curves

    def log(self, row: Row) -> None: ...

    def close(self) -> None: ...


class NullTracker:
    """Tracks nothing: the loop needs no branch for it."""

    run_id: str | None = None

    def log(self, row: Row) -> None:
        pass

    def close(self) -> None:
        pass


class WandbTracker:
    """A wandb run of the training in `directory`, kept under its wandb/ when offline.

    Online, a training that is resumed or replayed continues its run: rows of steps that the run has already are left
    out by wandb. Offline it cannot, and every start makes a run of its own (wandb#3841): `sync` makes them one.
    """

    def __init__(
        self, job: TrainingJob, directory: Path, *, online: bool, project: str, patience_seconds: float = 0
    ) -> None:
        """`close` waits so long for what is not sent yet; 0: until it is."""
        self.run_id: str | None = _run_id(directory)
        try:
            self._run = wandb.init(
                project=project,
                mode="online" if online else "offline",
                dir=directory,
                id=self.run_id,
                resume="allow" if online else None,
                config=job.to_json(),
                settings=wandb.Settings(silent=True, console="off", finish_timeout=patience_seconds),
            )
        except wandb.Error as error:
            raise UserError(f"wandb: {str(error).rstrip('.')}; without an account take the mode offline") from None
        self._run.define_metric("*", step_metric="tokens")  # the x-axis
        self.place: str = (self._run.url if online else None) or self._run.settings.sync_dir  # where it can be seen

    def log(self, row: Row) -> None:
        self._run.log(flat(row), step=row["step"])

    def close(self) -> None:
        self._run.finish()
        wandb.teardown()  # waits for wandb's own process, which may still be writing


class ExpendableTracker:
    """A tracker that a training can lose: it says so once and goes on.

    wandb's own process dies of the signals that a scheduler sends to all processes of a job, before the last rows.
    """

    def __init__(self, tracker: Tracker) -> None:
        self.run_id = tracker.run_id
        self._tracker = tracker

    def log(self, row: Row) -> None:
        try:
            self._tracker.log(row)
        except Exception as error:  # whatever it is, the training is worth more
            self._lose(error)

    def close(self) -> None:
        try:
            self._tracker.close()
        except (Exception, SystemExit) as error:  # wandb exits when its process did not end well
            self._lose(error)

    def _lose(self, error: BaseException) -> None:
        why = str(error) or type(error).__name__
        log_line(f"wandb gets no more rows ({why}); metrics.jsonl has them all, and text2lm sync sends them")
        self._tracker = NullTracker()
        with contextlib.suppress(Exception, SystemExit):
            wandb.teardown()  # or it would complain again, at length, when this process ends


def _run_id(directory: Path) -> str:
    """A training's name at wandb: chosen once, and moved with the directory when the training is set aside."""
    path = directory / "wandb-run-id"
    if not path.exists():
        atomic_write(path, secrets.token_hex(4))
    return path.read_text()


def flat(row: Row, prefix: str = "") -> Row:
    """Nested tables as paths, which wandb groups by their first part.

    >>> flat({"step": 1, "val": {"web": {"loss": 2.5}}})
    {'step': 1, 'val/web/loss': 2.5}
    """
    flattened: Row = {}
    for key, value in row.items():
        flattened |= flat(value, f"{prefix}{key}/") if isinstance(value, dict) else {prefix + key: value}
    return flattened


def open_tracker(job: TrainingJob, directory: Path) -> Tracker:
    """The tracker that the job asks for, as a training wants it."""
    if job.wandb.mode == "disabled":
        return NullTracker()
    return ExpendableTracker(
        WandbTracker(
            job,
            directory,
            online=job.wandb.mode == "online",
            project=job.wandb.project,
            patience_seconds=PATIENCE_SECONDS,
        )
    )
