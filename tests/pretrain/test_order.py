"""Proves that the order of samples honours the weights, reads each source in sequence, and knows nothing of ranks."""

from __future__ import annotations

import itertools
from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pretrain.order import Order, Source, step_range


def names(order: Order, count: int) -> str:
    return "".join(order.sample(index).source for index in range(count))


def test_by_hand() -> None:
    """A share of 3/4: after n samples round(3 n / 4) are a's, halves up: 0 1 2 2 3 4 5 5 6."""
    assert names(Order(1, [Source("a", 3.0, 10), Source("b", 1.0, 10)]), 8) == "aabaaaba"


def test_windows_of_a_source_come_in_sequence_and_wrap_around() -> None:
    order = Order(7, [Source("a", 3.0, 5), Source("b", 1.0, 3)])
    samples = [order.sample(index) for index in range(40)]
    for name, windows in (("a", 5), ("b", 3)):
        seen = [window for source, window in samples if source == name]
        assert [(after - before) % windows for before, after in itertools.pairwise(seen)] == [1] * (len(seen) - 1)
        assert set(seen) == set(range(windows))


def test_another_seed_starts_elsewhere() -> None:
    starts = {Order(seed, [Source("a", 1.0, 1000)]).sample(0).window for seed in range(20)}
    assert len(starts) > 15


@settings(max_examples=60, deadline=None)
@given(st.lists(st.floats(0.001, 1000), min_size=1, max_size=9))
def test_weights_are_honoured_at_every_prefix(weights: list[float]) -> None:
    order = Order(1, [Source(str(number), weight, 10) for number, weight in enumerate(weights)])
    bound = 0.5 if len(weights) <= 2 else 2.0
    counts: Counter[str] = Counter()
    for index in range(300):
        counts[order.sample(index).source] += 1
        for number, weight in enumerate(weights):
            assert abs(counts[str(number)] - (index + 1) * weight / sum(weights)) <= bound + 1e-9


def test_weights_are_honoured_after_ten_billion_samples() -> None:
    order = Order(1, [Source("a", 0.9, 10**9), Source("b", 0.1, 10**9)])
    first = 10**10
    window = [order.sample(index) for index in range(first, first + 1000)]
    assert sum(sample.source == "a" for sample in window) == pytest.approx(900, abs=1)


def test_ranks_slice_the_same_sequence() -> None:
    for ranks in (1, 2, 4):
        joined = [index for rank in range(ranks) for index in step_range(5, 8, rank, ranks)]
        assert joined == list(range(40, 48))
