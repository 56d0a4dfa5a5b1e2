"""Proves that signatures are datasketch's, that planted copies are found and strangers left, in any order."""

from __future__ import annotations

import itertools
import random

import numpy as np
import pytest
from datasketch import MinHash
from hypothesis import given
from hypothesis import strategies as st

from data_prep.dedup import (
    PERMUTATIONS,
    SCHEME,
    Pair,
    content_digest,
    estimate,
    match,
    normalise,
    shingles,
    sign,
    survivors,
)

THRESHOLD = 0.8


def random_words(seed, count=400):
    draw = random.Random(seed)
    return ["".join(draw.choices("abcdefghij", k=6)) for _ in range(count)]


def with_tail(words, kept, seed):
    """The first `kept` words, then as many new ones as there were: the five-word runs that stay are known exactly."""
    return words[:kept] + random_words(seed, len(words) - kept)


def jaccard(left, right):
    """Exact, over sets of five words made here."""
    sets = [{tuple(words[start : start + 5]) for start in range(len(words) - 4)} for words in (left, right)]
    return len(sets[0] & sets[1]) / len(sets[0] | sets[1])


def matched(texts, threshold=THRESHOLD):
    digests = [content_digest(text) for text in texts]
    return match(digests, np.array(list(sign(texts))).reshape(-1, PERMUTATIONS), threshold)


def survivors_of(texts, threshold=THRESHOLD):
    """The text that stands for each text: the longest stays, then the first in the alphabet."""
    rank = [(-len(text), text) for text in texts]
    signatures = np.array(list(sign(texts)))
    return [texts[row] for row in survivors(matched(texts, threshold), rank, signatures, threshold)]


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("The  QUICK,\nbrown—fox", "the quick, brown—fox"),
        ("Straße", "strasse"),  # case folding, Unicode 5.18
        ("ﬁne ２", "fine 2"),  # NFKC
        ("", ""),
        ("!?", "!?"),
    ],
)
def test_the_form_in_which_texts_are_compared(text, wanted):
    assert normalise(text) == wanted


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("a b c d e f", {b"a b c d e", b"b c d e f"}),
        ("A, b; c. d! e?", {b"a b c d e"}),
        ("a b", {b"a b"}),
        ("a a a a a a a", {b"a a a a a"}),
        ("", {b""}),
    ],
)
def test_shingles_by_hand(text, wanted):
    assert shingles(text) == wanted


def test_signatures_are_those_of_datasketch_made_the_ordinary_way():
    texts = [
        "",
        "one",
        "The quick brown fox jumps over the lazy dog",
        " ".join(random_words(1)),
        "日本 語 の 文 章 で す",
    ]
    for text, signature in zip(texts, sign(texts), strict=True):
        sketch = MinHash(num_perm=PERMUTATIONS, scheme=SCHEME)
        words = "".join(character if character.isalnum() else " " for character in text).lower().split()
        for start in range(max(len(words) - 4, 1)):
            sketch.update(" ".join(words[start : start + 5]).encode())
        assert signature.dtype == np.uint32
        assert np.array_equal(signature, sketch.hashvalues)


@pytest.mark.parametrize("kept", [0, 100, 200, 300, 360, 390, 400])
def test_the_estimate_is_close_to_the_exact_similarity(kept):
    """The estimate is a mean of 128 coins: its standard deviation is below .045, the mean of 20 of them below .01."""
    errors = []
    for seed in range(20):
        left = random_words(seed)
        right = with_tail(left, kept, seed + 1000)
        estimated = estimate(*sign([" ".join(left), " ".join(right)]))
        errors.append(estimated - jaccard(left, right))
    assert abs(np.mean(errors)) < 0.04
    assert max(map(abs, errors)) < 0.2


def test_planted_copies_are_found_and_strangers_left():
    """Copies at a Jaccard similarity of .92 and more, strangers at .6 and less: of the estimate's standard deviations
    (.024 and .043) each is more than four away from the threshold."""
    texts, wanted = [], set()
    for seed in range(60):
        original = random_words(seed)
        near = with_tail(original, 390, seed + 1000)
        far = with_tail(original, 290, seed + 2000)
        assert jaccard(original, near) >= 0.92
        assert 0.5 < jaccard(original, far) <= 0.6
        wanted.add((len(texts), len(texts) + 1))
        texts += [" ".join(original), " ".join(near), " ".join(far)]
    assert {(pair.left, pair.right) for pair in matched(texts)} == wanted


def test_most_copies_at_85_percent_are_found():
    """At a true .87 the estimate is .87 ± .03, so about 99 of 100 pass .8; bands miss 1 - (1 - .87^5)^25 < 1e-6."""
    texts = []
    for seed in range(100):
        original = random_words(seed)
        near = with_tail(original, 374, seed + 1000)
        assert 0.85 <= jaccard(original, near) <= 0.88
        texts += [" ".join(original), " ".join(near)]
    found = {(pair.left, pair.right) for pair in matched(texts)}
    assert found <= {(row, row + 1) for row in range(0, 200, 2)}
    assert len(found) >= 90


@pytest.mark.parametrize("seed", range(5))
def test_the_order_of_the_input_does_not_change_which_texts_survive(seed):
    texts = []
    for number in range(15):
        original = random_words(number)
        copies = [with_tail(original, kept, 1000 * number + kept) for kept in (396, 392, 385, 375, 360)]
        texts += [" ".join(words) for words in (original, [*original, "more"], *copies)]
        texts.append("  ".join(original).upper())  # the same after normalisation
    wanted = dict(zip(texts, survivors_of(texts), strict=True))
    assert 15 <= len(set(wanted.values())) < len(texts) / 2
    random.Random(seed).shuffle(texts)
    assert dict(zip(texts, survivors_of(texts), strict=True)) == wanted


def changed(signature, start, count):
    """A copy of a signature that differs from it in `count` of its 128 values."""
    copy = signature.copy()
    copy[start : start + count] += 1
    return copy


def test_survivors_by_hand():
    """A chain a-b-c whose neighbours share 108 of 128 values (.84) and whose ends share 88 (.69)."""
    a = np.zeros(PERMUTATIONS, np.uint32)
    b = changed(a, 0, 20)
    signatures = np.array([a, b, changed(b, 20, 20), np.full(PERMUTATIONS, 9, np.uint32)])
    chain = [Pair(0, 1), Pair(1, 2)]
    assert survivors(chain, [0, 1, 2, 3], signatures, 0.8) == [0, 0, 2, 3]  # c is unlike a, so it stays
    assert survivors(chain, [1, 0, 2, 3], signatures, 0.8) == [1, 1, 1, 3]  # both ends are like b
    assert survivors(chain, [2, 1, 0, 3], signatures, 0.8) == [0, 2, 2, 3]
    assert survivors(chain[::-1], [0, 1, 2, 3], signatures, 0.8) == [0, 0, 2, 3]


@given(st.lists(st.lists(st.integers(0, 1), min_size=4, max_size=4), min_size=1, max_size=10), st.data())
def test_what_goes_is_like_what_stays_and_what_stays_is_unlike_the_rest(kinds, data):
    """Signatures of four blocks, each of two values, at a threshold of .75: three of four blocks must agree."""
    signatures = np.repeat(np.array(kinds, np.uint32), PERMUTATIONS // 4, axis=1)
    agree = (np.array(kinds)[:, None] == np.array(kinds)[None]).mean(axis=2)
    pairs = [Pair(*rows) for rows in itertools.combinations(range(len(kinds)), 2) if agree[rows] >= 0.75]
    rank = data.draw(st.permutations(range(len(kinds))))
    stands_for = survivors(pairs, rank, signatures, 0.75)
    assert survivors(data.draw(st.permutations(pairs)), rank, signatures, 0.75) == stands_for
    kept = sorted(set(stands_for))
    for row, other in enumerate(stands_for):
        assert agree[row, other] >= 0.75 and stands_for[other] == other and rank[other] <= rank[row]
    assert all(agree[left, right] < 0.75 for left, right in itertools.combinations(kept, 2))


def test_equal_after_normalisation_is_an_exact_copy():
    assert matched(["One  two,\nthree.", "four", "ONE two, ＴＨＲＥＥ."]) == [Pair(0, 2)]
    assert content_digest("x = a + b") != content_digest("x = a - b")


def test_empty_and_one_word_texts():
    assert {(pair.left, pair.right) for pair in matched(["", "one", "two", "", "One", "one two"])} == {(0, 3), (1, 4)}
    assert matched([]) == []


def test_short_texts_that_share_words_are_not_copies():
    """Under five words a text is one shingle: the same or not."""
    assert matched(["one two three four", "one two three five", "one two three", "!?", "?!"]) == []


def test_twenty_thousand_identical_texts_end():
    """Compared pair by pair they would be 200 million comparisons; linked to the first they are 19,999."""
    text = " ".join(random_words(1, 30))
    digest, (signature,) = content_digest(text), sign([text])
    pairs = match([digest] * 20_000, np.tile(signature, (20_000, 1)), THRESHOLD)
    assert [(pair.left, pair.right) for pair in pairs] == [(0, row) for row in range(1, 20_000)]
    assert set(survivors(pairs, list(range(20_000)), np.tile(signature, (20_000, 1)), THRESHOLD)) == {0}


def test_a_family_is_connected_by_one_pair_less_than_it_has_members():
    """Each two of 300 texts are alike at .95 and more: 44,850 pairs say what 299 say as well."""
    original = random_words(1)
    family = [" ".join([*original, f"end{number}"]) for number in range(300)]
    assert len(matched(family)) == 299
    assert set(survivors_of(family)) == {min(family, key=lambda text: (-len(text), text))}
