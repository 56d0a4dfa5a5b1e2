"""How a source's stream of tokens becomes training windows of T inputs and T targets: `train.windows`.

"contiguous" (the default, as GPT-2 and GPT-3) and "overlapping": the stream is a circle. Window n reads T + 1 tokens
from start + n x stride on; "contiguous" takes a stride of T, so that every token is a target once in a pass.

"sentence" and "document": windows of whole sentences, or of whole documents packed together, from an index
(window_index.py). A piece of k tokens gives k targets, and as inputs the token before the piece and its first k - 1:
so here too every token is a target once in a pass. The token before a document closes the one before it; the first
document's is the last of the stream. The rest of the window is padded: end-of-text as input, no target.

With a document mask a document's inputs are, in every kind, the end-of-text before it and its own tokens but the last:
what a text is sampled from and scored with.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple, Protocol

import numpy as np
import numpy.typing as npt

from data_prep.tokens import TokenStream
from pretrain.settings import TrainingJob
from pretrain.window_index import KINDS, WindowIndex, open_index, write_index

Integers = npt.NDArray[np.int64]
IGNORED = -100  # the target where nothing is predicted


class Row(NamedTuple):
    """One window: `targets[t]` is the token after `tokens[t]`."""

    tokens: Integers  # (T,)
    targets: Integers  # (T,)
    positions: Integers | None  # (T,) from 0 in each document, and in the padding; None without a document mask


class Account(NamedTuple):
    """What becomes of a stream's tokens: trained - repeated + lost + unread are all of them."""

    trained: int  # targets
    repeated: int  # targets that had been one before
    padded: int  # positions without a target
    lost: int  # tokens that are a target in no window
    unread: int  # tokens that this training does not come to


class Windows(Protocol):
    """Windows of one source, numbered without end: after a pass they begin anew."""

    samples_per_epoch: float

    def row(self, number: int) -> Row:
        """Window `number`, from 0."""

    def spans(self, number: int) -> list[tuple[int, int]]:
        """The parts (start, stop) of the stream that window `number` trains on."""

    def account(self, samples: int) -> Account:
        """Of a training on the first `samples` windows."""


class CircleWindows:
    """ "contiguous" and "overlapping"."""

    def __init__(
        self, stream: TokenStream, *, context_length: int, stride: int, seed: int, document_mask: bool
    ) -> None:
        self.stream, self.T = stream, context_length
        self.stride, self.document_mask = stride, document_mask
        self.start = _start(seed, stream.source, len(stream))
        self.samples_per_epoch = len(stream) / stride

    def row(self, number: int) -> Row:
        first = self.start + number * self.stride
        ids = _read(self.stream, first, self.T + 1)
        positions = None
        if self.document_mask:
            begins = np.zeros(self.T, np.bool_)
            for offset, low, high in _parts(len(self.stream), first + 1, self.T):  # of the targets
                begins[self.stream.document_starts(low, high) - low + offset] = True
            positions = positions_from(begins)
        return Row(ids[:-1], ids[1:], positions)

    def spans(self, number: int) -> list[tuple[int, int]]:
        parts = _parts(len(self.stream), self.start + number * self.stride, self.T + 1)
        return [(low, high) for _, low, high in parts]

    def account(self, samples: int) -> Account:
        trained, tokens = samples * self.T, len(self.stream)
        met = min(tokens, (samples - 1) * self.stride + self.T) if samples else 0
        return Account(trained, trained - met, padded=0, lost=0, unread=tokens - met)


class IndexedWindows:
    """ "sentence" and "document", in the order of the index, from a window that `seed` picks."""

    def __init__(
        self,
        stream: TokenStream,
        index: WindowIndex,
        *,
        context_length: int,
        seed: int,
        end_of_text: int,
        document_mask: bool,
    ) -> None:
        self.stream, self.index, self.T = stream, index, context_length
        self.end_of_text, self.document_mask = end_of_text, document_mask
        self.count = len(index.before) - 1
        self.start = _start(seed, stream.source, self.count)
        self.samples_per_epoch = float(self.count)

    def row(self, number: int) -> Row:
        tokens, targets = np.full(self.T, self.end_of_text, np.int64), np.full(self.T, IGNORED, np.int64)
        begins = np.zeros(self.T, np.bool_)
        at = 0
        for start, stop in self.spans(number):
            end = at + stop - start
            ids = _read(self.stream, start - 1, stop - start + 1)
            tokens[at:end], targets[at:end] = ids[:-1], ids[1:]
            if self.document_mask:
                begins[at] = True
                begins[self.stream.document_starts(start, stop) - start + at] = True
            at = end
        begins[at : at + 1] = True
        return Row(tokens, targets, positions_from(begins) if self.document_mask else None)

    def spans(self, number: int) -> list[tuple[int, int]]:
        window = (self.start + number) % self.count
        low, high = self.index.before[window : window + 2, 0]
        return [(start, start + length) for start, length in self.index.pieces[low:high].tolist()]

    def account(self, samples: int) -> Account:
        tokens = len(self.stream)
        passes, rest = divmod(samples, self.count)
        turns, window = divmod(self.start + rest, self.count)
        before = self.index.before[:, 1]
        last_pass = turns * tokens + int(before[window]) - int(before[self.start])
        trained, met = passes * tokens + last_pass, tokens if passes else last_pass
        return Account(trained, trained - met, padded=samples * self.T - trained, lost=0, unread=tokens - met)


def open_windows(job: TrainingJob, stream: TokenStream, index_dir: Path | None) -> Windows:
    """The windows of a source as the job cuts them; `index_dir` holds the indexes, where it wants them."""
    T, train = job.model.context_length, job.train
    if train.windows not in KINDS:
        return CircleWindows(
            stream, context_length=T, stride=train.stride or T, seed=job.seed, document_mask=train.document_mask
        )
    assert index_dir is not None, f"windows of kind {train.windows} want an index"
    index = open_index(stream, index_dir, kind=train.windows, context_length=T)
    return IndexedWindows(
        stream, index, context_length=T, seed=job.seed, end_of_text=job.end_of_text, document_mask=train.document_mask
    )


def write_indexes(job: TrainingJob, directory: Path, index_dir: Path, sentence_ends: list[int]) -> list[Path]:
    """Index the sources' token files in `directory`, if the job's windows want it; returns the files written."""
    if job.train.windows not in KINDS:
        return []
    paths = []
    for source in dict.fromkeys(name for phase in job.phases for name in phase.weights):
        stream, kind = TokenStream(directory, source), job.train.windows
        paths += write_index(stream, index_dir, kind=kind, context_length=job.model.context_length, ends=sentence_ends)
    return paths


def _start(seed: int, source: str, count: int) -> int:
    """Where a source begins: each seed reads its text from another place."""
    digest = hashlib.sha256(f"{seed}:{source}".encode()).digest()
    return int.from_bytes(digest[:8], "big") % count


def positions_from(begins: npt.NDArray[np.bool_]) -> Integers:
    """Positions that begin anew where `begins` (T,) is true."""
    index = np.arange(len(begins))
    return index - np.maximum.accumulate(np.where(begins, index, 0))


def _parts(size: int, start: int, count: int) -> Iterator[tuple[int, int, int]]:
    """(offset, first, past the last) of the straight parts of `count` tokens on a circle of `size`, from `start` on.

    >>> list(_parts(10, 8, 5))
    [(0, 8, 10), (2, 0, 3)]
    """
    offset = 0
    while offset < count:
        low = (start + offset) % size
        high = min(size, low + count - offset)
        yield offset, low, high
        offset += high - low


def _read(stream: TokenStream, start: int, count: int) -> Integers:
    """Ids of `count` tokens of the stream, as a circle."""
    parts = [stream.read(low, high - low) for _, low, high in _parts(len(stream), start, count)]
    return parts[0] if len(parts) == 1 else np.concatenate(parts)
