"""The record of a training: metrics.jsonl, and the same rows to wandb."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any, BinaryIO, Protocol

import wandb

from data_prep.files import atomic_write, read_json_lines
from pretrain.settings import TrainingJob

Row = dict[str, Any]


def cut_back(path: Path, step: int) -> None:
    """Keep the rows of the first `step` steps: what comes after the checkpoint will be trained, and written, again."""
    rows = [row for row in read_json_lines(path) if row["step"] <= step]
    atomic_write(path, "".join(json.dumps(row) + "\n" for row in rows))


class MetricsFile:
    """Appends one JSON line a step; a kill can tear only the last."""

    def __init__(self, path: Path) -> None:
        self._file: BinaryIO = path.open("ab")

    def append(self, row: Row) -> None:
        """Write a row where other processes see it."""
        self._file.write(json.dumps(row).encode() + b"\n")
        self._file.flush()

    def sync(self) -> None:
        """Force the rows to disk: call before a checkpoint, so that no published step lacks its row."""
        os.fsync(self._file.fileno())

    def close(self) -> None:
        self._file.close()


class Tracker(Protocol):
    """Somewhere that rows are shown."""

    run_id: str | None  # kept in checkpoints, so that a resumed training continues the same curve

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
    """A wandb run, kept under `directory`/wandb when offline."""

    def __init__(self, job: TrainingJob, directory: Path, run_id: str | None) -> None:
        self._run = wandb.init(
            project=job.wandb.project,
            mode="online" if job.wandb.mode == "online" else "offline",
            dir=directory,
            id=run_id,
            resume="allow" if job.wandb.mode == "online" else None,  # offline runs of one id join when they are synced
            config=job.to_json(),
            settings=wandb.Settings(silent=True, console="off"),
        )
        self.run_id: str | None = self._run.id
        # An x-axis of our own: wandb's step counter drops rows that a resumed run sends again
        self._run.define_metric("*", step_metric="tokens")

    def log(self, row: Row) -> None:
        self._run.log(row)

    def close(self) -> None:
        self._run.finish()


def open_tracker(job: TrainingJob, directory: Path, run_id: str | None) -> Tracker:
    """The tracker that the job asks for; `run_id` continues an earlier one."""
    return NullTracker() if job.wandb.mode == "disabled" else WandbTracker(job, directory, run_id)
