"""Proves that a mix gives each source its share to within one sample at every prefix, however far, and in any order."""

from __future__ import annotations

from collections import Counter
from fractions import Fraction

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from data_prep.files import UserError
from pretrain.mix import Mix

WHOLE = st.integers(1, 50).map(float)
DECIMAL = st.integers(10, 9999).map(lambda number: number / 1000)
ANY = st.floats(0.1, 100)
WEIGHTS = st.one_of(*(st.lists(kind, min_size=1, max_size=40) for kind in (WHOLE, DECIMAL, ANY)))


def named(weights: list[float]) -> dict[str, float]:
    return {f"s{number}": weight for number, weight in enumerate(weights)}


def worst(weights: dict[str, float], prefix: int) -> Fraction:
    """The largest |count - quota| of any source, exactly."""
    mix, total = Mix(weights), sum(Fraction(str(weight)) for weight in weights.values())
    counts = {name: mix.count(name, prefix) for name in weights}
    assert sum(counts.values()) == prefix
    return max(abs(counts[name] - prefix * Fraction(str(weights[name])) / total) for name in weights)


def test_by_hand() -> None:
    """Shares 1/2, 1/3, 1/6. Due before slots: a 2 4 6; b 3 6; c 6; and c, which may come at any time, comes last."""
    mix = Mix({"a": 3, "b": 2, "c": 1})
    assert [mix.at(number) for number in range(7)] == [
        ("a", 0), ("b", 0), ("a", 1), ("b", 1), ("a", 2), ("c", 0), ("a", 3),
    ]  # fmt: skip


@settings(max_examples=60, deadline=None)
@given(WEIGHTS, st.integers(0, 10**6))
def test_every_share_is_within_one_sample_up_to_a_million(weights: list[float], prefix: int) -> None:
    assert worst(named(weights), prefix) < 1


@settings(max_examples=60, deadline=None)
@given(WEIGHTS, st.integers(10**6, 10**15))
def test_and_anywhere_after_it(weights: list[float], prefix: int) -> None:
    assert worst(named(weights), prefix) < 1


@settings(max_examples=30, deadline=None)
@given(WEIGHTS, st.integers(0, 10**12))
def test_every_prefix_across_a_border_and_the_numbers_of_a_source_follow_each_other(
    weights: list[float], block: int
) -> None:
    named_weights = named(weights)
    mix, total = Mix(named_weights), sum(Fraction(str(weight)) for weight in weights)
    shares = {name: Fraction(str(weight)) / total for name, weight in named_weights.items()}
    first = max(0, block * mix.block_size - 60)
    counts = {name: mix.count(name, first) for name in shares}
    for number in range(first, first + 120):
        source, before = mix.at(number)
        assert before == counts[source]
        counts[source] += 1
        assert abs(counts[source] - (number + 1) * shares[source]) < 1
    assert counts == {name: mix.count(name, first + 120) for name in shares}


def test_a_whole_block_of_many_sources_and_a_rare_one() -> None:
    weights = named([0.37 * (number % 7) + 0.011 for number in range(39)]) | {"rare": 0.001}
    mix, total = Mix(weights), sum(weights.values())
    assert mix.block_size > 4096
    counts: Counter[str] = Counter()
    for number in range(2 * mix.block_size):
        counts[mix.at(number)[0]] += 1
        if number % 97 == 0:
            assert all(abs(counts[name] - (number + 1) * weight / total) < 1 for name, weight in weights.items())


def test_the_order_of_the_weights_does_not_matter() -> None:
    weights = named([0.3, 0.3, 0.2, 0.2, 0.7])
    one, other = Mix(weights), Mix(dict(reversed(weights.items())))
    assert [one.at(number) for number in range(1000)] == [other.at(number) for number in range(1000)]


def test_a_source_too_rare_to_be_placed_is_refused() -> None:
    Mix({"a": 1.0, "b": 1 / 200_000}).at(0)
    with pytest.raises(UserError, match=r"source 'b' is less than one sample in 262,144 of its mix \(1.0e-09\)"):
        Mix({"a": 1.0, "b": 1e-9})
