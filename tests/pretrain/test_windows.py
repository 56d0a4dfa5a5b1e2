"""Proves, on streams whose every token is its own place, what each way of cutting trains on, and that it is counted.

Token i of a stream of N tokens has the id i: a row shows by itself which tokens it holds.
"""

from __future__ import annotations

import itertools
import json
import tempfile
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
import tiny_run
from hypothesis import given, settings
from hypothesis import strategies as st

from data_prep.files import UserError
from data_prep.tokens import DocumentRow, TokenStream, TokenWriter
from pretrain import window_index
from pretrain.checks import job_problems
from pretrain.settings import TrainingJob
from pretrain.window_index import best_fit, sentence_ends
from pretrain.windows import IGNORED, Account, Windows, open_windows, write_indexes

PADDING = 100_000
FILES = st.lists(st.lists(st.integers(1, 30), min_size=1, max_size=12), min_size=1, max_size=3)
KINDS = ("contiguous", "overlapping", "sentence", "document")


def write(directory: Path, files: list[list[int]]) -> TokenStream:
    """Token files of documents with these lengths."""
    at = 0
    for number, lengths in enumerate(files):
        with TokenWriter(directory / f"web-{number:05d}", PADDING + 1) as writer:
            for length in lengths:
                writer.add(np.arange(at, at + length), DocumentRow(f"web:{at}", length))
                at += length
    return TokenStream(directory, "web")


def job_for(kind: str, width: int, *, stride: int = 0, mask: bool = True, seed: int = 1) -> TrainingJob:
    job = tiny_run.job(model={"context_length": width}, windows=kind, stride=stride, document_mask=mask)
    return TrainingJob(**(vars(job) | {"sources": {"web": 1.0}, "end_of_text": PADDING, "seed": seed}))


@contextmanager
def cut(files: list[list[int]], job: TrainingJob, ends: list[int] | None = None) -> Iterator[tuple[int, Windows]]:
    """(tokens of the stream, its windows)."""
    with tempfile.TemporaryDirectory() as name:
        directory = Path(name)
        stream = write(directory, files)
        write_indexes(job, directory, directory / "windows", ends or [])
        yield len(stream), open_windows(job, stream, directory / "windows")


@settings(max_examples=150, deadline=None)
@given(FILES, st.sampled_from(KINDS), st.integers(2, 16), st.data())
def test_rows_and_accounts_by_brute_force(files: list[list[int]], kind: str, width: int, data: st.DataObject) -> None:
    size, starts = sum(map(sum, files)), {0, *itertools.accumulate(itertools.chain(*files))}
    stride = data.draw(st.integers(1, width)) if kind == "overlapping" else 0
    ends = data.draw(st.lists(st.integers(0, size - 1)))
    samples = data.draw(st.integers(0, 3 * size // (stride or width) + 3))
    job = job_for(kind, width, stride=stride, seed=data.draw(st.integers(0, 99)))
    with cut(files, job, ends) as (tokens, windows):
        rows = [windows.row(number) for number in range(samples)]
        account = windows.account(samples)
        spans = [windows.spans(number) for number in range(samples)]
    counts: Counter[int] = Counter()
    padded = 0
    for row, parts in zip(rows, spans, strict=True):
        assert {row.tokens.shape, row.targets.shape, row.positions.shape} == {(width,)}
        predicted = row.targets != IGNORED
        assert np.array_equal(row.tokens[predicted], (row.targets[predicted] - 1) % size)  # the token before it
        assert (row.tokens[~predicted] == PADDING).all() and not (np.diff(predicted.astype(int)) > 0).any()
        counts.update(row.targets[predicted].tolist())
        padded += int((~predicted).sum())
        assert {*row.targets[predicted]} <= {token for start, stop in parts for token in range(start, stop)}
        begins = np.flatnonzero(row.positions == 0).tolist()
        assert begins == [t for t in range(width) if t == 0 or row.positions[t] != row.positions[t - 1] + 1]
        wanted = {0}
        for t in range(1, width):
            if kind in ("contiguous", "overlapping"):
                new = row.targets[t] in starts
            elif row.targets[t] == IGNORED:
                new = row.targets[t - 1] != IGNORED
            else:
                new = row.targets[t] in starts or row.targets[t] != row.targets[t - 1] + 1
            wanted |= {t} if new else set()
        assert set(begins) == wanted
    assert account == Account(
        trained=counts.total(),
        repeated=counts.total() - len(counts),
        padded=padded,
        lost=0,
        unread=tokens - len(counts),
    )
    assert account.trained - account.repeated + account.lost + account.unread == tokens == size


@settings(max_examples=60, deadline=None)
@given(FILES, st.sampled_from(KINDS), st.integers(2, 16), st.integers(0, 99))
def test_one_pass_meets_every_token(files: list[list[int]], kind: str, width: int, seed: int) -> None:
    """As a target; once, where the pass is a whole number of windows."""
    job = job_for(kind, width, stride=width // 2 if kind == "overlapping" else 0, seed=seed)
    with cut(files, job, ends=list(range(0, 300, 7))) as (tokens, windows):
        samples = int(np.ceil(windows.samples_per_epoch))
        targets = Counter(
            target for number in range(samples) for target in windows.row(number).targets.tolist() if target != IGNORED
        )
        assert sorted(targets) == list(range(tokens))
        if kind in ("sentence", "document"):
            assert set(targets.values()) == {1}


def test_contiguous_windows_by_hand() -> None:
    with cut([[3, 4], [3]], job_for("contiguous", 4)) as (_, windows):
        rows = [windows.row(number) for number in range(10)]
        first = int(rows[0].tokens[0])
        assert [row.tokens.tolist() for row in rows] == [
            [(first + 4 * number + t) % 10 for t in range(4)] for number in range(10)
        ]
        row = next(row for row in rows if row.tokens[0] == (6 if first % 2 == 0 else 5))  # 6 7 8 | 9 or 5 | 6 7 8
        assert row.positions.tolist() == ([0, 1, 2, 0] if first % 2 == 0 else [0, 0, 1, 2])


def test_sentence_windows_by_hand() -> None:
    """Documents of 7 and 6; sentences end with tokens 1, 4, 5 and 8; windows of 5, so 9 .. 12 is a sentence of 4."""
    with cut([[7, 6]], job_for("sentence", 5), ends=[1, 4, 5, 8]) as (_, windows):
        spans = sorted(windows.spans(number)[0] for number in range(int(windows.samples_per_epoch)))
        assert spans == [(0, 5), (5, 9), (9, 13)]
        row = next(windows.row(number) for number in range(3) if windows.spans(number) == [(5, 9)])
        assert row.tokens.tolist() == [4, 5, 6, 7, PADDING]
        assert row.targets.tolist() == [5, 6, 7, 8, IGNORED]
        assert row.positions.tolist() == [0, 1, 0, 1, 0]  # the end of the first document is what 7 is told from
    with cut([[7, 6]], job_for("sentence", 3), ends=[1, 4, 5, 8]) as (_, windows):
        spans = sorted(windows.spans(number)[0] for number in range(int(windows.samples_per_epoch)))
        assert spans == [(0, 2), (2, 5), (5, 7), (7, 9), (9, 12), (12, 13)]  # 9 .. 12 is cut at 3


@settings(max_examples=80, deadline=None)
@given(FILES, st.integers(2, 16), st.sets(st.integers(0, 400)), st.sampled_from([1, 8, 64, 2**22]))
def test_sentence_windows_end_as_late_as_they_may(
    files: list[list[int]], width: int, ends: set[int], chunk: int
) -> None:
    """Whatever part of the stream is looked at together."""
    size = sum(map(sum, files))
    places = {*itertools.accumulate(itertools.chain(*files)), *(token + 1 for token in ends if token < size)}
    wanted, begin = [], 0
    while begin < size:
        end = max((place for place in places if begin < place <= begin + width), default=begin + width)
        wanted.append((begin, end))
        begin = end
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(window_index, "GROUP_TOKENS", chunk)
        with cut(files, job_for("sentence", width), sorted(ends)) as (_, windows):
            assert sorted(windows.spans(number)[0] for number in range(int(windows.samples_per_epoch))) == wanted


@settings(max_examples=80, deadline=None)
@given(FILES, st.integers(2, 16), st.sampled_from([1, 50, 2**22]))
def test_document_windows_cut_no_document_that_fits(files: list[list[int]], width: int, group: int) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(window_index, "GROUP_TOKENS", group)
        with cut(files, job_for("document", width)) as (_, windows):
            spans = [windows.spans(number) for number in range(int(windows.samples_per_epoch))]
    ends = [0, *itertools.accumulate(itertools.chain(*files))]
    wanted = [
        (start, min(start + width, stop)) for low, stop in itertools.pairwise(ends) for start in range(low, stop, width)
    ]
    assert sorted(itertools.chain(*spans)) == wanted
    assert all(sum(stop - start for start, stop in window) <= width for window in spans)


@settings(max_examples=150, deadline=None)
@given(
    st.integers(1, 40).flatmap(lambda width: st.tuples(st.just(width), st.lists(st.integers(1, width), max_size=80)))
)
def test_best_fit_equals_the_textbook_one(case: tuple[int, list[int]]) -> None:
    """One piece at a time, from long to short, into the fullest bin that holds it."""
    capacity, lengths = case
    rooms: list[int] = []
    for length in sorted(lengths, reverse=True):
        fitting = [(room, number) for number, room in enumerate(rooms) if room >= length]
        if fitting:
            rooms[min(fitting)[1]] -= length
        else:
            rooms.append(capacity - length)
    bins = best_fit(np.array(lengths, np.int64), capacity)
    filled = np.bincount(bins, weights=lengths, minlength=len(rooms)).astype(int)
    assert sorted(capacity - filled) == sorted(rooms)


def test_packing_by_hand() -> None:
    """Documents of 9, 5, 2, 3, 7, 4 in windows of 8: 9 is cut into 8 and 1, then 7 + 1, 5 + 3 and 4 + 2."""
    with cut([[9, 5, 2, 3, 7, 4]], job_for("document", 8)) as (_, windows):
        spans = [windows.spans(number) for number in range(int(windows.samples_per_epoch))]
    first = spans.index([(0, 8)])
    assert spans[first:] + spans[:first] == [
        [(0, 8)], [(9, 14), (16, 19)], [(8, 9), (19, 26)], [(14, 16), (26, 30)],
    ]  # fmt: skip


def test_what_ends_a_sentence() -> None:
    texts = ["word", ".", "?", '!"', ".) ", "…", "。」", "\n", "\n\n  ", ",", " (", '"', "3.14", "", " \t"]
    assert [texts[number] for number in sentence_ends(texts)] == [".", "?", '!"', ".) ", "…", "。」", "\n", "\n\n  "]


def test_an_index_that_does_not_belong_is_named(tmp_path: Path) -> None:
    job, directory = job_for("document", 8), tmp_path / "windows"
    stream = write(tmp_path, [[9, 5, 2]])
    with pytest.raises(UserError, match=r"window index .*web\.windows\.json of source 'web' is missing"):
        open_windows(job, stream, directory)
    paths = write_indexes(job, tmp_path, directory, [])
    assert [path.name for path in paths] == ["web.pieces.bin", "web.windows.bin", "web.windows.json"]
    assert json.loads(paths[2].read_text()) == {
        "kind": "document", "context_length": 8, "tokens": 16, "windows": 2, "pieces": 4
    }  # fmt: skip
    for other in (job_for("sentence", 8), job_for("document", 4)):
        with pytest.raises(UserError, match="cut short or of another training"):
            open_windows(other, stream, directory)
    paths[0].write_bytes(paths[0].read_bytes()[:-16])
    with pytest.raises(UserError, match="cut short or of another training"):
        open_windows(job, stream, directory)


def test_a_stride_that_loses_text_is_refused() -> None:
    job = job_for("overlapping", 8, stride=9)
    assert any("train.stride must be at most model.context_length (8), got 9" in said for said in job_problems(job, {}))


def test_cuts_without_an_index_write_none(tmp_path: Path) -> None:
    assert write_indexes(job_for("contiguous", 8), tmp_path, tmp_path / "windows", []) == []
