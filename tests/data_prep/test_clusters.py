"""Proves similarities against Python's sets, connected sets and the greedy choice against rules in plain Python."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from data_prep.clusters import connect, similarities, stands_for, to_verify


def stored(sets):
    """Sets of whole numbers as they lie in a shard: hashes and bounds, read-only as from a mapped file."""
    hashes = np.array([number for one in sets for number in sorted(one)], np.uint64)
    bounds = np.cumsum([0, *map(len, sets)])
    hashes.flags.writeable = bounds.flags.writeable = False
    return hashes, bounds


def jaccard(left, right):
    return len(left & right) / len(left | right) if left | right else 1.0


def sides(pairs, kind=np.int64):
    left, right = np.array(list(pairs), kind).reshape(-1, 2).T
    return left, right


shingles = st.sets(st.one_of(st.integers(0, 12), st.integers(2**64 - 12, 2**64 - 1)), max_size=20)


@settings(deadline=None)
@given(st.lists(shingles, min_size=1, max_size=6), st.lists(shingles, min_size=1, max_size=6))
def test_similarities_are_those_of_python_sets(lefts, rights):
    pairs = list(itertools.product(range(len(lefts)), range(len(rights))))
    left, right = sides(pairs)
    found = similarities(*stored(lefts), left, *stored(rights), right)
    assert found.tolist() == [jaccard(lefts[one], rights[other]) for one, other in pairs]


@pytest.mark.parametrize("similarity", [0.0, 0.3, 0.8, 1.0])
def test_similarities_of_long_texts(similarity):
    random = np.random.default_rng(1)
    hashes = random.integers(0, 2**64, 10_000, dtype=np.uint64).tolist()
    shared = round(10_000 * similarity)
    sets = [set(hashes[:shared]) | set(hashes[shared::2]), set(hashes[:shared]) | set(hashes[shared + 1 :: 2])]
    zero = np.zeros(1, np.int64)
    assert similarities(*stored(sets), zero, *stored(sets), zero + 1) == [similarity]


def naive_sets(count, pairs):
    names = list(range(count))
    for left, right in pairs:
        low, high = sorted((names[left], names[right]))
        names = [low if name == high else name for name in names]
    return names


@st.composite
def graphs(draw):
    """How many documents, and pairs of them, the smaller first."""
    count = draw(st.integers(2, 14))
    everyone = list(itertools.combinations(range(count), 2))
    return count, draw(st.lists(st.sampled_from(everyone), unique=True, max_size=30))


@settings(deadline=None)
@given(graphs(), st.data())
def test_connected_sets_bear_their_smallest_number(graph, data):
    count, pairs = graph
    turned = [data.draw(st.permutations(pair)) for pair in data.draw(st.permutations(pairs))]
    cut = data.draw(st.integers(0, len(pairs)))
    sets = np.arange(count, dtype=np.uint32)
    connect(sets, *sides(turned[:cut]))
    assert sets.tolist() == naive_sets(count, turned[:cut])
    connect(sets, *sides(turned[cut:], np.uint32))
    assert sets.tolist() == naive_sets(count, pairs)


def test_a_path_of_a_million_is_one_set():
    """From its far end, and in any order: no recursion and no quadratic walk."""
    count = 1_000_000
    steps = np.arange(count - 1)
    for order in (steps, steps[::-1], np.random.default_rng(1).permutation(steps)):
        sets = np.arange(count, dtype=np.uint32)
        connect(sets, order, order + 1)
        assert not sets.any()


def naive_stands(count, pairs):
    """Document by document: the best one that stays and is similar to it, else itself."""
    stands = []
    for document in range(count):
        better = [other for other in range(document) if stands[other] == other and (other, document) in pairs]
        stands.append(better[0] if better else document)
    return stands


@settings(deadline=None)
@given(graphs(), st.data())
def test_the_greedy_choice_is_that_of_the_rule(graph, data):
    count, pairs = graph
    assert stands_for(count, *sides(data.draw(st.permutations(pairs)))).tolist() == naive_stands(count, set(pairs))


@pytest.mark.parametrize(
    ("pairs", "wanted"),
    [
        ([(0, 1), (1, 2)], [0, 0, 2]),  # c is like b, which went for a; c is unlike a, so it stays
        ([(0, 1), (0, 2)], [0, 0, 0]),  # the best is the middle of the chain
        ([(0, 2), (1, 2)], [0, 1, 0]),  # the worst is: both ends stay, and it goes for the better one
        ([(0, 1), (1, 2), (2, 3), (3, 4)], [0, 0, 2, 2, 4]),
        ([], [0, 1]),
    ],
)
def test_the_greedy_choice_by_hand(pairs, wanted):
    assert stands_for(len(wanted), *sides(pairs)).tolist() == wanted
    assert stands_for(len(wanted), *sides(pairs[::-1], np.uint32)).tolist() == wanted


def asked(count, pairs, similar=None):
    """The pairs that are asked for after these, of which all or some are similar."""
    left, right = sides(pairs)
    similar = np.ones(len(pairs), bool) if similar is None else np.array(similar, bool)
    found = to_verify(stands_for(count, left[similar], right[similar]), left, right, similar)
    return list(zip(*map(np.ndarray.tolist, found), strict=True))


def test_what_is_asked_for_by_hand():
    assert asked(3, [(0, 1), (1, 2)]) == [(0, 2)]  # 1 went for 0; 2, similar to 1, stays
    assert asked(3, [(0, 2), (1, 2)]) == [(0, 1)]  # 2 went for 0 and is similar to 1
    assert asked(3, [(0, 1), (1, 2), (0, 2)], [True, True, False]) == []  # has been asked for
    assert asked(3, [(0, 1), (1, 2)], [True, False]) == []  # 2 is like nobody
    assert asked(4, [(0, 2), (1, 3), (2, 3)]) == [(0, 1)]  # of similar ones 2 went for 0, 3 for 1
    assert asked(4, [(0, 1), (0, 2), (0, 3), (1, 2)]) == []
    assert asked(3, []) == []


@settings(deadline=None)
@given(graphs(), st.data())
def test_asking_ends_and_leaves_nothing_to_ask(graph, data):
    """Whoever is similar in truth, whatever was compared at first."""
    count, truth = graph
    everyone = list(itertools.combinations(range(count), 2))
    pairs = data.draw(st.lists(st.sampled_from(everyone), unique=True, max_size=40))
    while True:
        similar = [pair in truth for pair in pairs]
        more = asked(count, pairs, similar)
        stands = naive_stands(count, {pair for pair in pairs if pair in truth})
        by_hand = {
            (min(one, other), max(one, other))
            for one, other in ((stands[left], stands[right]) for left, right in pairs if (left, right) in truth)
            if one != other
        }
        assert more == sorted(by_hand - set(pairs))
        if not more:
            break
        assert all(stands[document] == document for pair in more for document in pair)
        pairs += more
    for left, right in pairs:
        one, other = stands[left], stands[right]
        assert (left, right) not in truth or one == other or (min(one, other), max(one, other)) in pairs


@settings(deadline=None)
@given(st.data())
def test_of_families_that_were_connected_one_each_stays(data):
    """Members are all similar; chance has compared just as many as connect them."""
    family = data.draw(st.lists(st.integers(0, 3), min_size=2, max_size=20))
    pairs = []
    for number in set(family):
        members = data.draw(st.permutations([row for row, other in enumerate(family) if other == number]))
        for place in range(1, len(members)):
            pairs.append(tuple(sorted((members[place], members[data.draw(st.integers(0, place - 1))]))))
    while more := asked(len(family), pairs):
        assert all(family[left] == family[right] for left, right in more)
        pairs += more
    assert stands_for(len(family), *sides(pairs)).tolist() == [family.index(number) for number in family]


def test_a_star_of_a_million_asks_for_nothing():
    count = 1_000_000
    right = np.arange(1, count, dtype=np.uint32)
    left, similar = np.zeros_like(right), np.ones(count - 1, bool)
    stands = stands_for(count, left, right)
    assert not stands.any()
    assert not len(to_verify(stands, left, right, similar)[0])


def test_a_star_around_its_worst_document_asks_for_as_many_as_it_has_points():
    """All of a million stay but the middle, which goes for the first: each is asked about the first, once."""
    count = 1_000_000
    left = np.arange(count - 1)
    right, similar = np.full(count - 1, count - 1), np.ones(count - 1, bool)
    ones, others = to_verify(stands_for(count, left, right), left, right, similar)
    assert not ones.any() and np.array_equal(others, np.arange(1, count - 1))
    left, right = np.append(left, ones), np.append(right, others)
    similar = np.append(similar, np.zeros(len(ones), bool))
    assert not len(to_verify(stands_for(count, left[similar], right[similar]), left, right, similar)[0])
