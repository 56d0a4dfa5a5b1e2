"""Replays a training's metrics.jsonl into one wandb run, whatever happened while it trained.

Offline wandb cannot resume: each start of a training leaves a run of its own under the same id, and uploading one
replaces the one before (wandb#3841). metrics.jsonl has every step once, so a replay of it is the whole curve.
"""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

from data_prep.files import UserError, read_record
from pretrain.metrics import WandbTracker, read_rows
from pretrain.settings import TrainingJob


class Synced(NamedTuple):
    run_id: str | None
    rows: int
    place: str  # the run's page, or the directory that `wandb sync` uploads


def sync(directory: Path, *, online: bool, project: str | None = None) -> Synced:
    """Send the rows of the training in `directory` (RUN/pretrain) to wandb, or write them for `wandb sync`.

    `project` None takes the one it trained for. Again, later: online it appends the steps that are new; offline it
    writes all, and uploading that replaces the run of before.
    """
    metrics = directory / "metrics.jsonl"
    if not metrics.exists() or metrics.stat().st_size == 0:
        raise UserError(f"{metrics} has no rows; train first: text2lm run CONFIG --run {directory.parent}")
    job = read_record(directory / "started.json", TrainingJob.from_json)
    tracker = WandbTracker(job, directory, online=online, project=project or job.wandb.project)
    rows = 0
    with metrics.open("rb") as file:
        for row in read_rows(file):
            tracker.log(row)
            rows += 1
    tracker.close()
    return Synced(tracker.run_id, rows, tracker.place)
