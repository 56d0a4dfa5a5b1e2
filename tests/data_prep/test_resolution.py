"""Proves who goes and who stays, against the rule worked out document by document in plain Python."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import Any

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from data_prep.resolution import SAME_ADDRESS, SAME_TEXT, SIMILAR, STAYS, Resolution, first_with, resolve

THRESHOLD = 0.5
Shingles = frozenset[int]


def jaccard(one: Shingles, other: Shingles) -> float:
    return len(one & other) / len(one | other) if one | other else 1.0


def resolved(
    texts: Sequence[Shingles],
    addresses: Sequence[int] | None = None,
    pairs: Sequence[tuple[int, int]] | None = None,
    threshold: float | None = THRESHOLD,
) -> Resolution:
    """`texts` from the best to the last; pairs None: everyone is compared with everyone."""
    chosen = list(itertools.combinations(range(len(texts)), 2)) if pairs is None else pairs
    left, right = np.array(chosen, np.int64).reshape(-1, 2).T
    keys = {text: number for number, text in enumerate(sorted(set(texts), key=sorted))}
    digests = np.array([[keys[text], keys[text] * 7] for text in texts], np.uint64).reshape(-1, 2)
    where = np.array([0] * len(texts) if addresses is None else addresses, np.uint64)

    def similarities(one: Any, other: Any) -> Any:
        return np.array([jaccard(texts[a], texts[b]) for a, b in zip(one, other, strict=True)])

    return resolve(digests, where, (left, right), similarities, threshold)


def by_hand(texts: Sequence[Shingles], addresses: Sequence[int]) -> list[tuple[int, int]]:
    """(goes for, why) of each: first addresses, then the same text, then the best that stays and is alike."""
    found: list[tuple[int, int]] = []
    for number, text in enumerate(texts):
        earlier = range(number)
        same_address = [other for other in earlier if addresses[other] and addresses[other] == addresses[number]]
        left_over = [other for other in earlier if found[other][1] != SAME_ADDRESS]
        same_text = [other for other in left_over if texts[other] == text]
        alike = [other for other in left_over if found[other][1] == STAYS and jaccard(texts[other], text) >= THRESHOLD]
        if same_address:
            found.append((same_address[0], SAME_ADDRESS))
        elif same_text:
            first = same_text[0]
            found.append((first, SAME_TEXT) if found[first][1] == STAYS else (found[first][0], SIMILAR))
        else:
            found.append((alike[0], SIMILAR) if alike else (number, STAYS))
    return found


corpora = st.lists(st.tuples(st.frozensets(st.integers(0, 7), max_size=6), st.integers(0, 3)), min_size=1, max_size=12)


@settings(deadline=None)
@given(corpora)
def test_every_decision_is_the_one_made_by_hand(corpus: list[tuple[Shingles, int]]) -> None:
    texts, addresses = zip(*corpus, strict=True)
    found = resolved(texts, addresses)
    assert list(zip(found.goes_for.tolist(), found.why.tolist(), strict=True)) == by_hand(texts, addresses)
    for number, (other, why) in enumerate(by_hand(texts, addresses)):
        if why in (SAME_TEXT, SIMILAR):
            assert found.similarity[number] == jaccard(texts[number], texts[other])


@settings(deadline=None)
@given(corpora, st.data())
def test_with_few_candidates_what_goes_is_like_what_stays(
    corpus: list[tuple[Shingles, int]], data: st.DataObject
) -> None:
    texts = [text for text, _ in corpus]
    everyone = list(itertools.combinations(range(len(texts)), 2))
    pairs = [pair for pair in everyone if data.draw(st.booleans())]
    found = resolved(texts, pairs=pairs)
    for number, other in enumerate(found.goes_for.tolist()):
        assert other <= number and found.goes_for[other] == other
        assert jaccard(texts[number], texts[other]) >= THRESHOLD
        assert found.cluster[number] <= other and found.cluster[other] == found.cluster[number]
    for left, right in pairs:  # two that were compared and are alike do not both stay
        both_stay = found.goes_for[left] == left and found.goes_for[right] == right
        assert jaccard(texts[left], texts[right]) < THRESHOLD or not both_stay
    again = resolved(texts, pairs=[pair[::-1] for pair in reversed(pairs)])
    assert all(np.array_equal(one, other, equal_nan=True) for one, other in zip(found, again, strict=True))


def test_a_chain_loses_nothing_that_is_unlike_all_that_stay() -> None:
    a, b, c = frozenset(range(6)), frozenset(range(2, 8)), frozenset(range(4, 10))  # neighbours .5, ends .2
    assert resolved([a, b, c]).goes_for.tolist() == [0, 0, 2]
    assert resolved([b, a, c]).goes_for.tolist() == [0, 0, 0]
    assert resolved([a, b, c]).cluster.tolist() == [0, 0, 0]
    assert resolved([a, b, c], threshold=None).goes_for.tolist() == [0, 0, 0]  # unverified: who is paired goes


def test_neighbours_by_way_of_one_that_went_are_compared() -> None:
    """All alike, but chance paired only the second with the others."""
    family = [frozenset(range(10)) | {20 + number} for number in range(6)]
    assert resolved(family, pairs=[(1, other) for other in (0, 2, 3, 4, 5)]).goes_for.tolist() == [0] * 6


def test_a_copy_of_a_document_that_its_address_sent_away_stands_for_its_text() -> None:
    text, like = frozenset(range(8)), frozenset(range(1, 9))
    found = resolved([frozenset({99}), text, text, like], [5, 5, 0, 0], pairs=[(1, 3)])
    assert found.goes_for.tolist() == [0, 0, 2, 2]
    assert found.why.tolist() == [STAYS, SAME_ADDRESS, STAYS, SIMILAR]


def test_first_with_by_hand() -> None:
    keys = np.array([[1, 1], [2, 1], [1, 1], [1, 2], [2, 1]], np.uint64)
    assert first_with(keys, np.ones(5, bool)).tolist() == [0, 1, 0, 3, 1]
    assert first_with(keys, np.array([False, True, True, True, True])).tolist() == [0, 1, 2, 3, 1]
    assert first_with(keys[:0], np.ones(0, bool)).tolist() == []
