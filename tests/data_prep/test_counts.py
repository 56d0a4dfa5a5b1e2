"""Proves that every document is accounted for: sums and steps in a row by hand, and an imbalance never passes."""

from __future__ import annotations

import pytest

from data_prep.counts import Counts


def test_sum_by_hand():
    left = Counts(10, 6, {"short": 3}, 1, 600)
    right = Counts(5, 2, {"short": 1, "copy": 2}, 0, 50)
    assert left + right == Counts(15, 8, {"copy": 2, "short": 4}, 1, 650)
    assert list((left + right).dropped) == ["copy", "short"]
    (left + right).check()


def test_two_steps_in_a_row_by_hand():
    first = Counts(10, 7, {"short": 2}, 1, 700)
    second = Counts(7, 4, {"copy": 3}, 0, 300)
    assert first.then(second) == Counts(10, 4, {"copy": 3, "short": 2}, 1, 300)
    first.then(second).check()


def test_a_step_that_takes_in_something_else_is_a_mistake():
    with pytest.raises(AssertionError, match=r"let out 7 .* took in 6"):
        Counts(10, 7, {"short": 3}).then(Counts(6, 6))


@pytest.mark.parametrize(
    "counts", [Counts(3, 2), Counts(3, 2, {"short": 2}), Counts(3, 2, {"short": 1}, 1), Counts(0, 0, {}, 1)]
)
def test_an_imbalance_is_a_mistake(counts):
    with pytest.raises(AssertionError, match="accounted for"):
        counts.check()


def test_drops_are_counted_by_reason():
    counts = Counts(4, 1)
    for reason in ("short", "copy", "short"):
        counts.drop(reason)
    counts.check()
    assert counts.to_json() == {
        "documents_in": 4,
        "documents_out": 1,
        "dropped": {"short": 2, "copy": 1},
        "quarantined": 0,
        "bytes": 0,
    }


def test_adding_leaves_the_summands_alone():
    left, right = Counts(1, 0, {"a": 1}), Counts(1, 0, {"a": 1})
    (left + right).drop("a")
    assert left == right == Counts(1, 0, {"a": 1})
