"""Proves that phases follow each other, that text goes on over their borders, and that length costs nothing."""

from __future__ import annotations

from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pretrain.order import Order, Phase, Sample

PHASES = st.lists(
    st.tuples(st.integers(0, 50), st.dictionaries(st.sampled_from("abcd"), st.floats(0.1, 10), min_size=1)),
    min_size=1,
    max_size=4,
).map(lambda phases: [Phase(*phase) for phase in phases])


def test_by_hand() -> None:
    order = Order([Phase(4, {"a": 3, "b": 1}), Phase(3, {"b": 1, "c": 2}), Phase(1, {"a": 1})])
    assert [order.sample(index) for index in range(10)] == [
        Sample(*pair)
        for pair in [
            *(("a", 0), ("a", 1), ("a", 2), ("b", 0)),
            *(("c", 0), ("b", 1), ("c", 1)),
            *(("a", 3), ("a", 4), ("a", 5)),  # the last phase goes on for ever
        ]
    ]
    assert order.sources == ["a", "b", "c"]


@settings(max_examples=60, deadline=None)
@given(PHASES)
def test_numbers_go_on_over_phases_and_weights_hold_in_each(phases: list[Phase]) -> None:
    order = Order(phases)
    counts: Counter[str] = Counter()
    index = 0
    for phase in phases:
        before, total = counts.copy(), sum(phase.weights.values())
        for done in range(1, phase.samples + 1):
            source, number = order.sample(index)
            assert number == counts[source]
            counts[source] += 1
            index += 1
            assert order.count(source, index) == counts[source]
            for name, weight in phase.weights.items():
                assert abs(counts[name] - before[name] - done * weight / total) < 1 + 1e-9


@settings(max_examples=30, deadline=None)
@given(PHASES, st.dictionaries(st.sampled_from("abcde"), st.floats(0.1, 10), min_size=1))
def test_an_appended_phase_changes_nothing_before_it(phases: list[Phase], weights: dict[str, float]) -> None:
    until = sum(phase.samples for phase in phases)
    before, after = Order(phases), Order([*phases, Phase(10, weights)])
    assert all(before.sample(index) == after.sample(index) for index in range(until))
    assert {after.sample(until + index).source for index in range(10)} <= set(weights)


def test_a_trillion_samples_need_no_list() -> None:
    order = Order([Phase(10**12, {"a": 0.9, "b": 0.1}), Phase(10**11, {"b": 1.0})])
    source, number = order.sample(10**12 + 5)
    assert (source, number) == ("b", 10**11 + 5)
    assert order.count("a", 10**12 // 2) == pytest.approx(0.45e12, abs=1)
