"""Proves that batches are the order's windows of the token files, and that scoring meets every token once."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import tiny_run

from data_prep.tokens import TokenStream
from pretrain.batches import TrainingData, documents_of_step, scoring_windows, together, validation_windows


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_run.make_run(tmp_path_factory.mktemp("run"), tiny_run.job())


@pytest.mark.parametrize(("ranks", "micro_batch_size"), [(1, 16), (2, 4), (4, 2), (4, 4)])
def test_the_step_is_the_same_for_any_ranks_and_micro_batch(run: Path, ranks: int, micro_batch_size: int) -> None:
    whole = next(TrainingData(tiny_run.job(micro_batch_size=16), run / "tokens/train").micro_batches(3))
    data = TrainingData(tiny_run.job(micro_batch_size=micro_batch_size), run / "tokens/train")
    parts = [batch for rank in range(ranks) for batch in data.micro_batches(3, rank, ranks)]
    assert {batch.tokens.shape for batch in parts} == {(micro_batch_size, tiny_run.CONTEXT)}
    assert np.array_equal(np.concatenate([batch.tokens for batch in parts]), whole.tokens)
    assert np.array_equal(np.concatenate([batch.targets for batch in parts]), whole.targets)


def test_windows_lie_end_to_end_in_the_stream(run: Path) -> None:
    job = tiny_run.job(micro_batch_size=16)
    data = TrainingData(job, run / "tokens/train")
    batch = next(data.micro_batches(0))
    for row, number in enumerate(range(16)):
        source, window = data.order.sample(number)
        raw = np.fromfile(run / f"tokens/train/{source}-00000.bin", dtype=np.uint16)
        start = window * tiny_run.CONTEXT
        assert np.array_equal(batch.tokens[row], raw[start : start + tiny_run.CONTEXT])
        assert np.array_equal(batch.targets[row], raw[start + 1 : start + tiny_run.CONTEXT + 1])


def test_documents_of_a_step_are_those_with_a_token_in_its_windows(run: Path) -> None:
    """Every document ends with end-of-text, so counting those before a token gives its document's number."""
    job = tiny_run.job()
    order = TrainingData(job, run / "tokens/train").order
    wanted: set[str] = set()
    for number in range(16, 32):  # step 2
        source, window = order.sample(number)
        ids = np.fromfile(run / f"tokens/train/{source}-00000.bin", dtype=np.uint16)
        document = np.cumsum(ids == tiny_run.END_OF_TEXT) - (ids == tiny_run.END_OF_TEXT)
        start = window * tiny_run.CONTEXT
        wanted |= {f"{source}:{number}" for number in document[start : start + tiny_run.CONTEXT + 1]}
    found = documents_of_step(job, run / "tokens/train", step=2)
    assert set(found) == wanted
    assert len(found) == len(wanted) > 10


def test_epochs_count_passes_over_each_source(run: Path) -> None:
    data = TrainingData(tiny_run.job(), run / "tokens/train")
    windows = {source.name: source.windows for source in data.order.sources}
    assert data.epochs() == {"web": 320 * 0.75 / windows["web"], "papers": 320 * 0.25 / windows["papers"]}


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
