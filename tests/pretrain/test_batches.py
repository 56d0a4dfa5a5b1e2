"""Proves that training reads the same ids in the same order however it is shared out, resumed or loaded, and that
scoring meets every token once.

The reference is written anew here, from the words of pretrain/mix.py and pretrain/windows.py: plain loops over the
raw files, without a line of ours.
"""

from __future__ import annotations

import dataclasses
import hashlib
import itertools
import math
import threading
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tiny_run

from data_prep.files import UserError
from data_prep.tokens import TokenStream
from pretrain.batches import (
    Batch,
    Loader,
    TrainingData,
    documents_of_step,
    prefix_length,
    scoring_windows,
    together,
    validation_windows,
)
from pretrain.settings import PhaseSettings, TrainingJob
from pretrain.windows import IGNORED, write_indexes

T = tiny_run.CONTEXT
SENTENCE_ENDS = list(range(0, 300, 30))
STEPS = 16
RAMP_AND_PHASES = {
    # batches of 4, 8, 12 and 16 samples: 2 + 1 + 1 steps of the ramp, then 12 full ones
    "tokens": (2 * 4 + 8 + 12 + 12 * 16) * T,
    "global_batch_tokens": 16 * T,
    "batch_ramp_start": 4 * T,
    "batch_ramp_tokens": 24 * T,
    "phase": [PhaseSettings(150 * T, {"web": 0.7, "papers": 0.3}), PhaseSettings(70 * T, {"papers": 1.0, "web": 0.4})],
}
CUTS: list[dict[str, Any]] = [
    {},
    {"document_mask": True},
    {"windows": "overlapping", "stride": 24},
    {"windows": "sentence", "document_mask": True},
    {"windows": "document", "document_mask": True},
    {"objective": "prefix"},
]


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    run = tiny_run.make_run(tmp_path_factory.mktemp("run"), tiny_run.job())
    for kind in ("sentence", "document"):
        write_indexes(tiny_run.job(windows=kind), run / "tokens/train", run / kind, SENTENCE_ENDS)
    return run


def open_data(run: Path, job: TrainingJob) -> TrainingData:
    return TrainingData(job, run / "tokens/train", run / job.train.windows)


def digest(batches: list[Batch]) -> str:
    """Of all arrays of one step, in the order of its samples."""
    found = hashlib.sha256()
    for arrays in zip(*batches, strict=True):
        found.update(b"none" if arrays[0] is None else np.concatenate(arrays).tobytes())
    return found.hexdigest()


# --- the reference ---


def read(run: Path, source: str) -> tuple[np.ndarray, list[int]]:
    """A source's ids, and where its documents begin."""
    ids = np.fromfile(run / f"tokens/train/{source}-00000.bin", dtype=np.uint16).astype(np.int64)
    return ids, [0, *(np.flatnonzero(ids == tiny_run.END_OF_TEXT) + 1).tolist()][:-1]


def mixed(weights: dict[str, float]) -> Iterator[str]:
    """The source whose sample is due first, among those that may have one."""
    total = sum(Fraction(str(weight)) for weight in weights.values())
    shares = {name: Fraction(str(weight)) / total for name, weight in weights.items()}
    had = dict.fromkeys(weights, 0)
    for slot in itertools.count():
        released = [name for name in weights if math.floor(had[name] / shares[name]) <= slot]
        chosen = min(released, key=lambda name: (math.ceil((had[name] + 1) / shares[name]), name))
        had[chosen] += 1
        yield chosen


def place(seed: int, source: str, count: int) -> int:
    return int.from_bytes(hashlib.sha256(f"{seed}:{source}".encode()).digest()[:8], "big") % count


def circle_rows(run: Path, job: TrainingJob, source: str) -> Iterator[Any]:
    ids, starts = read(run, source)
    first = place(job.seed, source, len(ids))
    for number in itertools.count():
        at = [(first + number * (job.train.stride or T) + t) % len(ids) for t in range(T + 1)]
        begins = [t == 0 or at[t + 1] in starts for t in range(T)]
        yield ids[at[:-1]], ids[at[1:]], begins


def padded_rows(run: Path, job: TrainingJob, source: str) -> Iterator[Any]:
    """The windows themselves are taken from the index, which test_windows.py proves."""
    ids, starts = read(run, source)
    windows = open_data(run, job).windows[source]
    for number in itertools.count():
        at = [token for start, stop in windows.spans(number) for token in range(start, stop)]
        begins = [t == 0 or at[t] in starts or at[t] != at[t - 1] + 1 for t in range(len(at))]
        rest = T - len(at)
        tokens = [ids[token - 1] for token in at] + [tiny_run.END_OF_TEXT] * rest
        targets = [ids[token] for token in at] + [IGNORED] * rest
        yield np.array(tokens), np.array(targets), (begins + [True] + [False] * T)[:T]


def reference(run: Path, job: TrainingJob) -> list[str]:
    """The digest of every step."""
    make = padded_rows if job.train.windows in ("sentence", "document") else circle_rows
    sources = {name: make(run, job, name) for name in ("web", "papers")}
    phases = [(phase.tokens // T, mixed(phase.weights)) for phase in job.phases]
    order = itertools.chain(*(itertools.islice(mix, samples) for samples, mix in phases))
    steps = [4, 4, 8, 12] + [16] * 12 if job.train.batch_ramp_start else [16] * job.train.steps
    found, number = [], 0
    for samples in steps:
        rows = []
        for source in itertools.islice(order, samples):
            tokens, targets, begins = next(sources[source])
            positions = [t - max(b for b in range(t + 1) if begins[b]) for t in range(T)]
            prefix = 1 + int.from_bytes(hashlib.sha256(f"{job.seed}:prefix:{number}".encode()).digest()[:8], "big") % 63
            if job.train.objective == "prefix":
                targets = np.array([IGNORED if t + 1 < prefix else targets[t] for t in range(T)])
            rows.append((tokens, targets, np.array(positions), prefix))
            number += 1
        tokens, targets, positions, prefix = (np.stack(column).astype(np.int64) for column in zip(*rows, strict=True))
        batch = Batch(
            tokens,
            targets,
            positions if job.train.document_mask else None,
            prefix if job.train.objective == "prefix" else None,
        )
        found.append(digest([batch]))
    return found


# --- what must equal it ---


@pytest.mark.parametrize("cut", CUTS, ids=lambda cut: "-".join(map(str, cut.values())) or "contiguous")
def test_every_step_is_the_same_for_any_ranks_micro_batch_and_resume(run: Path, cut: dict[str, Any]) -> None:
    wanted = reference(run, tiny_run.job(**RAMP_AND_PHASES, **cut))
    assert len(wanted) == STEPS
    for ranks, size in itertools.product((1, 2, 4), (1, 2, 4)):
        if 4 // ranks % size:
            continue  # the first step has 4 samples
        data = open_data(run, tiny_run.job(micro_batch_size=size, **RAMP_AND_PHASES, **cut))
        for step in range(STEPS):
            batches = [batch for rank in range(ranks) for batch in data.micro_batches(step, rank, ranks)]
            assert {batch.tokens.shape for batch in batches} == {(size, T)}
            assert digest(batches) == wanted[step]
    for first in range(STEPS):  # a resume at any step is another process with a loader of its own
        data = open_data(run, tiny_run.job(micro_batch_size=2, **RAMP_AND_PHASES, **cut))
        loaded = []
        for rank in range(2):
            with Loader(data, rank, 2, first, STEPS) as loader:
                loaded.append(list(loader))
        for (step, ours), (_, theirs) in zip(*loaded, strict=True):
            assert digest(ours + theirs) == wanted[step]
        assert [step for step, _ in loaded[0]] == list(range(first, STEPS))


def test_a_ramp_and_micro_batches_leave_the_samples_in_their_order(run: Path) -> None:
    """The ids of the whole training, end to end, with and without a ramp of the batch."""
    ramped = tiny_run.job(**RAMP_AND_PHASES, micro_batch_size=1)
    flat = tiny_run.job(**(RAMP_AND_PHASES | {"batch_ramp_start": 0, "batch_ramp_tokens": 0, "micro_batch_size": 2}))
    streams = [
        np.concatenate(
            [batch.tokens for step in range(job.train.steps) for batch in open_data(run, job).micro_batches(step)]
        )
        for job in (ramped, flat)
    ]
    assert np.array_equal(streams[0][: 13 * 16], streams[1])  # 220 samples are 13 whole steps of 16
    assert len(streams[0]) == 220


def test_a_longer_training_begins_as_the_shorter_one(run: Path) -> None:
    short = tiny_run.job(**RAMP_AND_PHASES)
    more = [*RAMP_AND_PHASES["phase"], PhaseSettings(160 * T, {"web": 1.0})]
    long = tiny_run.job(**(RAMP_AND_PHASES | {"phase": more, "tokens": RAMP_AND_PHASES["tokens"] + 160 * T}))
    assert long.train.steps == STEPS + 10
    for step in range(STEPS):
        ours, theirs = (list(open_data(run, job).micro_batches(step)) for job in (short, long))
        assert digest(ours) == digest(theirs)


def test_skipped_steps_come_without_batches_and_change_no_other(run: Path) -> None:
    plain, skipping = (tiny_run.job(skip_steps=steps) for steps in ([], [2, 3, 20]))
    with Loader(open_data(run, plain), 0, 1, 0, 20) as one, Loader(open_data(run, skipping), 0, 1, 0, 20) as other:
        for (step, wanted), (same, batches) in zip(one, other, strict=True):
            assert step == same
            assert batches == [] if step in (1, 2, 19) else digest(batches) == digest(wanted)


def test_ids_beyond_the_vocabulary_are_refused(run: Path) -> None:
    smaller = dataclasses.replace(tiny_run.job(), vocab_size=290, end_of_text=289)
    with pytest.raises(UserError, match=r"the token files of .*web hold the id 299, the vocabulary has 290 ids"):
        list(open_data(run, smaller).micro_batches(0))


def test_an_error_of_the_loader_reaches_the_loop_and_its_thread_ends(run: Path) -> None:
    data = open_data(run, tiny_run.job())
    read_row = data.windows["web"].row

    def fail_later(number: int) -> Any:
        if number > 20:
            raise OSError("the disk is gone")
        return read_row(number)

    data.windows["web"].row = fail_later  # type: ignore[method-assign]
    done = []
    with pytest.raises(OSError, match="the disk is gone"), Loader(data, 0, 1, 0, 20) as loader:
        for step, _ in loader:
            done.append(step)
    assert done == [0]  # 21 of the first 28 samples are from web
    with Loader(open_data(run, tiny_run.job()), 0, 1, 0, 20) as loader:
        assert next(iter(loader))[0] == 0
        assert any(thread.name.startswith("loader") for thread in threading.enumerate())
    assert not any(thread.name.startswith("loader") for thread in threading.enumerate())


def test_prefixes_are_of_every_length_alike() -> None:
    lengths = np.array([prefix_length(1, sample, 64) for sample in range(20_000)])
    assert (lengths.min(), lengths.max()) == (1, 63)
    expected = len(lengths) / 63
    chi_squared = ((np.bincount(lengths, minlength=64)[1:] - expected) ** 2 / expected).sum()
    assert chi_squared < 99.6  # 62 degrees of freedom, 99.8th percentile
    assert [prefix_length(1, sample, 64) for sample in range(9)] != [
        prefix_length(2, sample, 64) for sample in range(9)
    ]


@pytest.mark.parametrize("cut", [CUTS[0], CUTS[3], CUTS[4]], ids=["contiguous", "sentence", "document"])
def test_documents_of_a_step_are_those_with_a_token_in_its_windows(run: Path, cut: dict[str, Any]) -> None:
    """Every document ends with end-of-text, so counting those before a token gives its document's number."""
    job = tiny_run.job(**cut)
    data = open_data(run, job)
    wanted: set[str] = set()
    for number in range(16, 32):  # step 2
        source, window = data.order.sample(number)
        ids, _ = read(run, source)
        document = np.cumsum(ids == tiny_run.END_OF_TEXT) - (ids == tiny_run.END_OF_TEXT)
        for start, stop in data.windows[source].spans(window):
            wanted |= {f"{source}:{number}" for number in document[start:stop]}
    found = documents_of_step(job, run / "tokens/train", 2, run / job.train.windows)
    assert set(found) == wanted
    assert len(found) == len(wanted) > 10


def test_epochs_and_accounting_of_phases(run: Path) -> None:
    """150 samples at 0.7 and 0.3, then 70 at 2/7 and 5/7: 125 of web and 95 of papers."""
    sizes = {source: len(read(run, source)[0]) for source in ("web", "papers")}
    data = open_data(run, tiny_run.job(**RAMP_AND_PHASES))
    assert data.epochs() == {"web": 125 * T / sizes["web"], "papers": 95 * T / sizes["papers"]}
    assert sizes["papers"] > 95 * T
    assert data.accounting() == {
        "": {
            "trained": 220 * T, "repeated": 0, "padded": 0, "lost": 0, "unread": sum(sizes.values()) - 220 * T,
        },
        "web": {"trained": 125 * T, "repeated": 0, "padded": 0, "lost": 0, "unread": sizes["web"] - 125 * T},
        "papers": {"trained": 95 * T, "repeated": 0, "padded": 0, "lost": 0, "unread": sizes["papers"] - 95 * T},
    }  # fmt: skip


@pytest.mark.parametrize("cut", CUTS[:5], ids=lambda cut: "-".join(map(str, cut.values())) or "contiguous")
def test_the_accounting_is_what_the_batches_show(run: Path, cut: dict[str, Any]) -> None:
    job = tiny_run.job(**cut)
    data = open_data(run, job)
    targets = np.concatenate([batch.targets for step in range(20) for batch in data.micro_batches(step)])
    total = data.accounting()[""]
    assert (total["trained"], total["padded"]) == ((targets >= 0).sum(), (targets == IGNORED).sum())
    size = sum(len(stream) for stream in data.streams.values())
    assert total["trained"] - total["repeated"] + total["lost"] + total["unread"] == size


def test_scoring_meets_every_token_once_with_the_one_before_it_as_input(run: Path) -> None:
    stream = TokenStream(run / "tokens/val", "web")
    everything = stream.read(0, len(stream))
    windows = list(together(scoring_windows(stream, tiny_run.END_OF_TEXT, 64), size=5))
    assert np.array_equal(np.concatenate([window.targets.flatten() for window in windows]), everything)
    inputs = np.concatenate([window.tokens.flatten() for window in windows])
    assert np.array_equal(inputs, np.concatenate([[tiny_run.END_OF_TEXT], everything[:-1]]))
    assert windows[0].tokens.shape == (5, 64) and len(stream) % 64 == windows[-1].tokens.shape[1]


def test_validation_takes_the_first_windows(run: Path) -> None:
    stream = TokenStream(run / "tokens/val", "papers")
    windows = validation_windows(tiny_run.job(), stream)
    assert sum(window.targets.size for window in windows) == len(stream)  # fewer than the subset wants: all


def test_a_sample_on_the_border_of_two_phases_is_of_the_second(run: Path) -> None:
    """Phases of 1.5, 1.75 and 4.75 samples: the borders are at sample 1 and 3."""
    phases = [(96, "web"), (112, "papers"), (304, "web")]
    job = tiny_run.job(
        tokens=512, global_batch_tokens=512, phase=[PhaseSettings(tokens, {name: 1.0}) for tokens, name in phases]
    )
    order = open_data(run, job).order
    assert [order.sample(index).source for index in range(8)] == ["web"] + ["papers"] * 2 + ["web"] * 5
