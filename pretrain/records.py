"""What rank 0 writes down of a training: a row a step, the model's own texts, and the rows to wandb."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from data_prep.files import last_json_line
from pretrain.metrics import MetricsFile, NullTracker, Row, Tracker, complete_last, cut_back, open_tracker
from pretrain.settings import TrainingJob


class Records:
    """The records of the training in `directory`, as they were after `completed` steps."""

    def __init__(self, job: TrainingJob, directory: Path, completed: int, stop_requested: Callable[[], bool]) -> None:
        self._rows, self._texts = directory / "metrics.jsonl", directory / "samples.jsonl"
        for path in (self._rows, self._texts):
            cut_back(path, completed)
        self._metrics, self._samples = MetricsFile(self._rows), MetricsFile(self._texts)
        self._tracker: Tracker = NullTracker()
        try:
            self._tracker = open_tracker(job, directory)
        except Exception:
            if not stop_requested():  # a signal to all processes of a job ends wandb's own, too
                raise

    @property
    def wandb_run_id(self) -> str | None:
        return self._tracker.run_id

    def row(self, row: Row) -> None:
        """Of a step."""
        self._metrics.append(row)
        self._tracker.log(row)

    def text(self, step: int, text: str) -> None:
        """What the model wrote after a step."""
        self._samples.append({"step": step, "text": text})

    def last(self) -> Row:
        """The last row; {} when there is none."""
        return last_json_line(self._rows) or {}

    def forget_text(self, step: int) -> None:
        """What the model wrote after this step: it is to write it again."""
        cut_back(self._texts, step - 1)

    def complete(self, row: Row) -> None:
        """Write the last row again, with more in it."""
        complete_last(self._rows, row)
        self._tracker.log(row)

    def sync(self) -> None:
        """Force all to disk. Raises `OSError`."""
        self._metrics.sync()
        self._samples.sync()

    def close(self) -> None:
        self._metrics.close()
        self._samples.close()
        self._tracker.close()
