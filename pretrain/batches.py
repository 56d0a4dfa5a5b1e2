"""Token arrays of a training step, read from the token files. numpy only: usable without torch."""

from __future__ import annotations

import hashlib
import math
import queue
import threading
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from data_prep.files import UserError
from data_prep.tokens import TokenStream, token_files
from pretrain.order import Order, Phase
from pretrain.settings import TrainingJob
from pretrain.windows import IGNORED, Account, Windows, open_windows, positions_from

Array = npt.NDArray[np.int64]
POLL_SECONDS = 0.1
VALIDATION_TOKENS = 65_536  # a source; a fixed subset is enough to watch a curve, `evaluate` scores everything


class Batch(NamedTuple):
    """`targets[b, t]` is the token after `tokens[b, t]`, or IGNORED."""

    tokens: Array  # (B, T)
    targets: Array  # (B, T)
    positions: Array | None = None  # (B, T) from 0 in each document of a row; None: documents see each other
    prefix: Array | None = None  # (B,) tokens at the beginning of a row that see each other both ways


class TrainingData:
    """The training streams of a job's sources, cut into windows, in the job's order.

    `directory` holds the training token files, `index_dir` the window indexes where `train.windows` wants them.
    """

    def __init__(self, job: TrainingJob, directory: Path, index_dir: Path | None = None) -> None:
        self.job = job
        self.order = Order(_phases(job))
        self.streams = {name: TokenStream(directory, name) for name in self.order.sources}
        self.windows: dict[str, Windows] = {
            name: open_windows(job, stream, index_dir) for name, stream in self.streams.items()
        }

    def micro_batches(self, step: int, rank: int = 0, ranks: int = 1) -> Iterator[Batch]:
        """`rank`'s part of optimizer step `step` (from 0), `micro_batch_size` samples at a time.

        The ranks slice the step's samples evenly.
        """
        first, past = self.job.samples_before(step), self.job.samples_before(step + 1)
        share = (past - first) // ranks
        numbers = range(first + rank * share, first + (rank + 1) * share)
        size = self.job.train.micro_batch_size
        for start in range(0, share, size):
            yield self._batch(numbers[start : start + size])

    def _batch(self, numbers: range) -> Batch:
        samples = [self.order.sample(number) for number in numbers]
        rows = [self.windows[source].row(number) for source, number in samples]
        tokens, targets = np.stack([row.tokens for row in rows]), np.stack([row.targets for row in rows])
        largest = max(int(tokens.max()), int(targets.max()))
        if largest >= self.job.vocab_size:
            sources = ", ".join(sorted({source for source, _ in samples}))
            raise UserError(
                f"the token files of {sources} hold the id {largest}, the vocabulary has {self.job.vocab_size} ids; "
                "run again with --from tokens"
            )
        begins = [row.positions for row in rows if row.positions is not None]
        prefix = None
        if self.job.train.objective == "prefix":
            T = self.job.model.context_length
            prefix = np.array([prefix_length(self.job.seed, number, T) for number in numbers])
            # the prefix's last token predicts the first one after it
            targets = np.where(np.arange(T) < prefix[:, None] - 1, IGNORED, targets)
        return Batch(tokens, targets, np.stack(begins) if begins else None, prefix)

    def epochs(self) -> dict[str, float]:
        """Passes over each source that the whole training makes."""
        return {name: count / self.windows[name].samples_per_epoch for name, count in self._samples().items()}

    def accounting(self) -> dict[str, dict[str, int]]:
        """What the whole training does with each source's tokens; the key "" holds all sources together.

        By the cutting alone: that a prefix is not predicted, or a step skipped, is not looked at.
        """
        accounts = {name: self.windows[name].account(count) for name, count in self._samples().items()}
        total = Account(*map(sum, zip(*accounts.values(), strict=True)))
        return {name: account._asdict() for name, account in [("", total), *accounts.items()]}

    def _samples(self) -> dict[str, int]:
        total = self.job.samples_before(self.job.train.steps)
        return {name: self.order.count(name, total) for name in self.order.sources}


class Loader:
    """The steps' batches for one rank, each prepared in a thread while the step before it computes.

    Yields (step, its batches) from `first_step` up to `steps`, both counted from 0. A step that `train.skip_steps`
    names (counted from 1) comes without batches; every other step is what it would be without it. While batches are
    waited for, `give_up` is asked again and again; when it says so, None comes in their place, and nothing after it.
    """

    def __init__(
        self,
        data: TrainingData,
        rank: int,
        ranks: int,
        first_step: int,
        steps: int,
        give_up: Callable[[], bool] = lambda: False,
    ) -> None:
        self.data, self.rank, self.ranks = data, rank, ranks
        self.steps = range(first_step, steps)
        self._give_up = give_up
        self._ready: queue.Queue[list[Batch] | Exception] = queue.Queue(maxsize=1)
        self._closed = False

    def __enter__(self) -> Loader:
        # A daemon: the process must be able to end while a file system hangs
        self._thread = threading.Thread(target=self._read_ahead, name="loader", daemon=True)
        self._thread.start()
        return self

    def __exit__(self, *exception: object) -> None:
        self._closed = True
        self._thread.join(timeout=10 * POLL_SECONDS)

    def __iter__(self) -> Iterator[tuple[int, list[Batch] | None]]:
        for step in self.steps:
            while True:
                try:
                    found = self._ready.get(timeout=POLL_SECONDS)
                    break
                except queue.Empty:
                    if self._give_up():
                        yield step, None
                        return
            if isinstance(found, Exception):
                raise found
            yield step, found

    def _read_ahead(self) -> None:
        for step in self.steps:
            found: list[Batch] | Exception
            try:
                skipped = step + 1 in self.data.job.train.skip_steps
                found = [] if skipped else list(self.data.micro_batches(step, self.rank, self.ranks))
            except Exception as error:  # raised where it is waited for
                found = error
            while True:
                if self._closed:
                    return
                try:
                    self._ready.put(found, timeout=POLL_SECONDS)
                    break
                except queue.Full:
                    pass


def prefix_length(seed: int, sample: int, context_length: int) -> int:
    """How many tokens of a sample are its prefix: 1 .. context_length - 1, all equally likely."""
    digest = hashlib.sha256(f"{seed}:prefix:{sample}".encode()).digest()
    return 1 + int.from_bytes(digest[:8], "big") % (context_length - 1)


def documents_of_step(job: TrainingJob, directory: Path, step: int, index_dir: Path | None = None) -> list[str]:
    """Ids of the documents that optimizer step `step` trains on, in order, each once.

    `step` counts from 1, as the lines of metrics.jsonl do. `directory` holds the training token files.
    """
    data = TrainingData(job, directory, index_dir)
    found: dict[str, None] = {}
    for number in range(job.samples_before(step - 1), job.samples_before(step)):
        source, window = data.order.sample(number)
        for start, stop in data.windows[source].spans(window):
            found.update(dict.fromkeys(data.streams[source].documents(start, stop)))
    return list(found)


def _phases(job: TrainingJob) -> list[Phase]:
    """The job's phases in samples: a sample belongs to the phase in which it is complete."""
    found, tokens, T = [], 0, job.model.context_length
    for phase in job.phases:
        found.append(Phase((tokens + phase.tokens) // T - tokens // T, phase.weights))
        tokens += phase.tokens
    return found


def scoring_windows(
    stream: TokenStream, end_of_text: int, context_length: int, *, document_mask: bool = False
) -> Iterator[Batch]:
    """Consecutive windows (1, T) of a stream in which every token is a target once.

    The input is the stream moved on by one, with an end-of-text in front; the last window is what remains. With a
    document mask each document stands alone, from the end-of-text on which it follows, as when a text is generated.
    """
    for start in range(0, len(stream), context_length):
        count = min(context_length, len(stream) - start)
        targets = stream.read(start, count)
        first = end_of_text if start == 0 else int(stream.read(start - 1, 1)[0])
        tokens = np.concatenate([[first], targets[:-1]])
        positions = positions_from(tokens == end_of_text) if document_mask else None
        yield Batch(tokens[None], targets[None], None if positions is None else positions[None])


def validation_streams(job: TrainingJob, directory: Path) -> dict[str, TokenStream]:
    """The validation streams by source; a small source may have none."""
    return {name: TokenStream(directory, name) for name in job.sources if token_files(directory, name)}


def validation_windows(job: TrainingJob, stream: TokenStream) -> list[Batch]:
    """The first windows of a validation stream, always the same: what training looks at now and then."""
    count = math.ceil(VALIDATION_TOKENS / job.model.context_length)
    windows = scoring_windows(stream, job.end_of_text, job.model.context_length, document_mask=job.train.document_mask)
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
    positions = [window.positions for window in group if window.positions is not None]
    return Batch(
        np.concatenate([window.tokens for window in group]),
        np.concatenate([window.targets for window in group]),
        np.concatenate(positions) if positions else None,
    )
