"""Token arrays of a training step, read from the token files. numpy only: usable without torch."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from data_prep.tokens import TokenStream, token_files
from pretrain.order import Order, Source, step_range
from pretrain.settings import TrainingJob

Array = npt.NDArray[np.int64]
VALIDATION_TOKENS = 65_536  # a source; a fixed subset is enough to watch a curve, `evaluate` scores everything


class Batch(NamedTuple):
    """`targets[b, t]` is the token after `tokens[b, t]`."""

    tokens: Array  # (B, T)
    targets: Array  # (B, T)


class TrainingData:
    """The training streams of a job's sources, in the job's order."""

    def __init__(self, job: TrainingJob, directory: Path) -> None:
        self.job = job
        self.streams = {name: TokenStream(directory, name) for name in job.sources}
        windows = {name: (len(stream) - 1) // job.model.context_length for name, stream in self.streams.items()}
        self.order = Order(job.seed, [Source(name, weight, windows[name]) for name, weight in job.sources.items()])

    def micro_batches(self, step: int, rank: int = 0, ranks: int = 1) -> Iterator[Batch]:
        """`rank`'s part of optimizer step `step` (from 0), `micro_batch_size` samples at a time."""
        size, T = self.job.train.micro_batch_size, self.job.model.context_length
        numbers = step_range(step, self.job.samples_per_step, rank, ranks)
        for start in range(0, len(numbers), size):
            samples = [self.order.sample(number) for number in numbers[start : start + size]]
            rows = np.stack([self.streams[source].read(window * T, T + 1) for source, window in samples])  # (B, T + 1)
            yield Batch(rows[:, :-1], rows[:, 1:])

    def epochs(self) -> dict[str, float]:
        """Passes over each source that the whole training makes."""
        total_weight = sum(self.job.sources.values())
        samples = self.job.train.steps * self.job.samples_per_step
        return {s.name: samples * s.weight / total_weight / s.windows for s in self.order.sources}


def documents_of_step(job: TrainingJob, directory: Path, step: int) -> list[str]:
    """Ids of the documents that optimizer step `step` trains on, in order, each once.

    `step` counts from 1, as the lines of metrics.jsonl do. `directory` holds the training token files.
    """
    data, T = TrainingData(job, directory), job.model.context_length
    found: dict[str, None] = {}
    for number in step_range(step - 1, job.samples_per_step):
        source, window = data.order.sample(number)
        found.update(dict.fromkeys(data.streams[source].documents(window * T, window * T + T + 1)))
    return list(found)


def scoring_windows(stream: TokenStream, end_of_text: int, context_length: int) -> Iterator[Batch]:
    """Consecutive windows (1, T) of a stream in which every token is a target once.

    The input is the stream moved on by one, with an end-of-text in front; the last window is what remains.
    """
    for start in range(0, len(stream), context_length):
        count = min(context_length, len(stream) - start)
        targets = stream.read(start, count)
        first = end_of_text if start == 0 else int(stream.read(start - 1, 1)[0])
        yield Batch(np.concatenate([[first], targets[:-1]])[None], targets[None])


def validation_streams(job: TrainingJob, directory: Path) -> dict[str, TokenStream]:
    """The validation streams by source; a small source may have none."""
    return {name: TokenStream(directory, name) for name in job.sources if token_files(directory, name)}


def validation_windows(job: TrainingJob, stream: TokenStream) -> list[Batch]:
    """The first windows of a validation stream, always the same: what training looks at now and then."""
    count = math.ceil(VALIDATION_TOKENS / job.model.context_length)
    windows = scoring_windows(stream, job.end_of_text, job.model.context_length)
    return [window for window, _ in zip(windows, range(count), strict=False)]


def together(windows: Iterable[Batch], size: int) -> Iterator[Batch]:
    """Windows of one length stacked up to `size` at a time, in order."""
    group: list[Batch] = []
    for window in windows:
        if group and (len(group) == size or group[0].tokens.shape != window.tokens.shape):
            yield _stack(group)
            group = []
        group.append(window)
    if group:
        yield _stack(group)


def _stack(group: list[Batch]) -> Batch:
    tokens, targets = zip(*group, strict=True)
    return Batch(np.concatenate(tokens), np.concatenate(targets))
