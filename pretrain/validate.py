"""A look at held-out text during training: a fixed subset, shared among the ranks."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import torch

from pretrain.batches import Batch, together, validation_streams, validation_windows
from pretrain.engine import Engine
from pretrain.settings import TrainingJob


class Scores(NamedTuple):
    """Over the subset of all sources together."""

    loss: float  # mean nats a token
    bits_per_byte: float  # bytes by each source's average a token over its whole validation text


class Validation:
    """The subset, read once."""

    def __init__(self, job: TrainingJob, directory: Path) -> None:
        self._batches: list[Batch] = []
        self._tokens, self._bytes = 0, 0.0
        for stream in validation_streams(job, directory).values():
            windows = validation_windows(job, stream)
            tokens = sum(window.targets.size for window in windows)
            self._tokens += tokens
            self._bytes += tokens * stream.text_bytes / len(stream)
            self._batches += together(windows, job.train.micro_batch_size)

    def score(self, engine: Engine, stop_requested: Callable[[], bool]) -> Scores | None:
        """Score the model as it is; None when some rank asked to stop meanwhile."""
        nats = 0.0
        engine.model.eval()
        for first in range(0, len(self._batches), engine.ranks):
            if first + engine.rank < len(self._batches):
                batch = self._batches[first + engine.rank]
                with torch.no_grad():
                    tokens, targets = (torch.from_numpy(array).to(engine.device) for array in batch)
                    nats += engine.model(tokens, targets).item()
            if engine.sum_over_ranks([float(stop_requested())])[0]:  # every rank takes every turn, so all agree
                engine.model.train()
                return None
        engine.model.train()
        (total,) = engine.sum_over_ranks([nats])
        return Scores(total / self._tokens, total / math.log(2) / self._bytes)
