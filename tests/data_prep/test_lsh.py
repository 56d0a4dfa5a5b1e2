"""Proves that candidates are datasketch's and those of plain Python, in any order, in pieces, and linear in number."""

from __future__ import annotations

import itertools
import math
from collections import Counter, defaultdict
from fractions import Fraction

import numpy as np
import pytest
from datasketch import MinHash, MinHashLSH
from hypothesis import example, given, settings
from hypothesis import strategies as st

from data_prep.lsh import (
    LEADERS_PAIRED,
    SMALL_BUCKET,
    band_keys,
    bucket_links,
    bucket_pairs,
    most_unequal_bits,
    sketch,
)

EVERYTHING = 64  # bits in which sketches of one word may differ: all


def unpacked(pairs):
    return [(int(pair) >> 32, int(pair) & 0xFFFFFFFF) for pair in pairs]


def found(keys, sketches=None, unequal_bits=EVERYTHING, order=None):
    """The pairs of rows that `bucket_pairs` finds, each as a set; all must be there twice, sorted."""
    count = len(keys)
    sketches = np.zeros((count, 1), np.uint64) if sketches is None else sketches
    order = np.arange(count, dtype=np.uint64) if order is None else order
    return both_ways(bucket_pairs(np.array(keys, np.uint64), np.arange(count), order, sketches, unequal_bits))


def linked(keys):
    return both_ways(bucket_links(np.array(keys, np.uint64), np.arange(len(keys))))


def both_ways(packed):
    pairs = unpacked(packed)
    assert packed.dtype == np.uint64 and pairs == sorted(set(pairs))
    assert {pair[::-1] for pair in pairs} == set(pairs)
    return {frozenset(pair) for pair in pairs}


def random_words(seed, *shape):
    return np.random.default_rng(seed).integers(0, 2**64, shape, dtype=np.uint64)


def buckets(keys):
    """Rows by key, in plain Python."""
    rows = defaultdict(list)
    for row, key in enumerate(keys):
        rows[int(key)].append(row)
    return list(rows.values())


def unequal(left, right):
    return sum((int(one) ^ int(other)).bit_count() for one, other in zip(left, right, strict=True))


@pytest.mark.parametrize("order", ["C", "F"])
def test_keys_of_different_rows_differ_and_spread_evenly(order):
    """Small numbers in few bits, as bad as signatures can be. 65,536 keys in 256 parts: 256 ± 16 in each."""
    values = np.array(list(itertools.product(range(4), repeat=8)), np.uint32, order=order)
    keys = band_keys(values)
    assert keys.dtype == np.uint64 and len(np.unique(keys)) == 4**8
    for shift in (0, 24, 56):  # the lowest bits, some between, the highest
        counts = np.bincount((keys >> np.uint64(shift)).astype(np.uint8), minlength=256)
        assert abs(counts - 256).max() < 6 * 16
    assert np.array_equal(band_keys(np.concatenate([values, values])), np.tile(keys, 2))


def test_one_changed_value_changes_half_of_the_bits_of_a_key():
    rows = np.random.default_rng(1).integers(0, 2**32, (2000, 8), dtype=np.uint32)
    for column, bit in itertools.product(range(8), (0, 15, 31)):
        changed = rows.copy()
        changed[:, column] ^= np.uint32(1 << bit)
        flips = np.unpackbits((band_keys(rows) ^ band_keys(changed)).view(np.uint8).reshape(-1, 8), axis=1)
        assert abs(flips.mean(axis=0) - 0.5).max() < 6 * 0.5 / math.sqrt(2000)


@pytest.mark.parametrize("order", ["C", "F"])
@pytest.mark.parametrize("permutations", [1, 63, 64, 65, 112, 256])
def test_a_sketch_is_the_lowest_bits(permutations, order):
    signatures = np.random.default_rng(permutations).integers(0, 2**32, (300, permutations), dtype=np.uint32)
    words = sketch(np.array(signatures, order=order))
    assert words.shape == (300, math.ceil(permutations / 64))
    for row, values in zip(words, signatures.tolist(), strict=True):
        bits = sum((value & 1) << place for place, value in enumerate(values))
        assert sum(int(word) << 64 * place for place, word in enumerate(row)) == bits


@given(st.integers(1, 300), st.integers(0, 100))
@example(10, 80)  # 10 * (1 - 0.8) / 2 is less than 1 in floating point
def test_the_bits_that_may_differ_are_the_most_that_the_estimate_allows(permutations, percent):
    """P(equal) = (1 + J) / 2, so u unequal bits of P estimate J as 1 - 2u / P."""
    most = most_unequal_bits(permutations, percent / 100)
    assert 1 - Fraction(2 * most, permutations) >= Fraction(percent, 100)
    assert 1 - Fraction(2 * (most + 1), permutations) < Fraction(percent, 100)


@pytest.mark.parametrize("similarity", [0.5, 0.65, 0.8, 0.95])
def test_the_estimate_is_that_of_b_bit_minwise_hashing(similarity):
    """Li and König 2010, with b = 1: unbiased, of standard deviation 2 sqrt(p (1 - p) / P) at p = (1 + J) / 2. Of 300
    estimates the mean is then within a few of their deviations by sqrt(300), and the deviation within a fifth."""
    pairs, permutations, union = 300, 256, 400
    shared = round(union * similarity)
    own = (union - shared) // 2
    texts = []
    for pair in range(pairs):
        words = [b"%d %d" % (pair, word) for word in range(union)]
        texts += [words[: shared + own], words[:shared] + words[shared + own :]]
    signatures = np.array([m.hashvalues for m in MinHash.generator(texts, num_perm=permutations, scheme="affine32")])
    words = sketch(signatures.astype(np.uint32))
    estimates = [1 - 2 * unequal(words[row], words[row + 1]) / permutations for row in range(0, 2 * pairs, 2)]
    chance = (1 + similarity) / 2
    deviation = 2 * math.sqrt(chance * (1 - chance) / permutations)
    assert abs(np.mean(estimates) - similarity) < 4 * deviation / math.sqrt(pairs)
    assert 0.8 < np.std(estimates) / deviation < 1.2


@pytest.mark.parametrize(("bands", "rows"), [(14, 8), (5, 4), (20, 2)])
def test_who_shares_a_bucket_is_as_with_datasketch(bands, rows):
    random = np.random.default_rng(rows)
    originals = random.integers(0, 2**32, (60, bands * rows), dtype=np.uint32)
    signatures = np.repeat(originals, 5, axis=0)
    change = random.random(signatures.shape) < random.random((300, 1)) / 2
    signatures[change] = random.integers(0, 2**32, change.sum(), dtype=np.uint32)
    index = MinHashLSH(num_perm=bands * rows, params=(bands, rows))
    sketches = [MinHash(num_perm=bands * rows, hashvalues=row, scheme="affine32") for row in signatures]
    for row, one in enumerate(sketches):
        index.insert(row, one)
    wanted = {frozenset((row, other)) for row, one in enumerate(sketches) for other in index.query(one) if other != row}
    pairs, links = set(), set()
    for band in range(bands):
        keys = band_keys(signatures[:, band * rows : (band + 1) * rows])
        pairs |= found(keys)
        links |= linked(keys)
    assert len(wanted) > 50
    assert pairs == wanted
    assert links <= wanted and connected(links, 300) == connected(wanted, 300)


def connected(pairs, count):
    """The sets of connected rows, in plain Python."""
    sets = {row: {row} for row in range(count)}
    for left, right in pairs:
        joined = sets[left] | sets[right]
        for row in joined:
            sets[row] = joined
    return {frozenset(members) for members in sets.values()}


@pytest.mark.parametrize(("bands", "rows", "wanted"), [(14, 8, 0.9236), (32, 8, 0.9972)])
def test_the_share_of_pairs_found_at_80_percent(bands, rows, wanted):
    """1 - (1 - .8^8)^bands, of 20,000 pairs whose values are each equal with probability .8."""
    pairs, values = 20_000, bands * rows
    random = np.random.default_rng(bands)
    left = random.integers(0, 2**32, (pairs, values), dtype=np.uint32)
    right = np.where(random.random((pairs, values)) < 0.8, left, ~left)
    candidates = set()
    for band in range(bands):
        part = slice(band * rows, (band + 1) * rows)
        candidates |= found(band_keys(np.concatenate([left[:, part], right[:, part]])))
    assert candidates <= {frozenset((row, row + pairs)) for row in range(pairs)}
    deviation = math.sqrt(wanted * (1 - wanted) / pairs)
    assert abs(len(candidates) / pairs - wanted) < 4 * deviation + 0.00005  # what the number is rounded to


# Few upper and lower halves: keys that agree in one half only belong to different buckets
halves = st.tuples(st.integers(0, 3), st.integers(0, 3)).map(lambda half: (half[0] << 62) | half[1])


@settings(deadline=None)
@given(st.lists(st.tuples(halves, st.integers(0, 255)), max_size=60), st.integers(0, 12))
def test_pairs_are_those_of_plain_python(documents, unequal_bits):
    """In buckets of up to 16 all that are like enough; larger ones only some of them."""
    keys = [key for key, _ in documents]
    sketches = np.array([[word, word >> 3] for _, word in documents], np.uint64).reshape(-1, 2)
    pairs = found(keys, sketches, unequal_bits)
    for rows in buckets(keys):
        here = {pair for pair in pairs if pair & set(rows)}
        alike = {
            frozenset(pair)
            for pair in itertools.combinations(rows, 2)
            if unequal(sketches[pair[0]], sketches[pair[1]]) <= unequal_bits
        }
        assert here == alike if len(rows) <= SMALL_BUCKET else here <= alike
    assert linked(keys) == {frozenset((rows[0], other)) for rows in buckets(keys) for other in rows[1:]}


def mixed_corpus(seed):
    """Keys, order and sketches of 3,000 documents: buckets of one to about 600, each with families and strangers."""
    random = np.random.default_rng(seed)
    keys = random_words(seed, 400)[np.minimum(random.geometric(0.01, 3000), 399)]
    keys[:600] = keys[0]
    keys[600:640] = keys[0] ^ np.uint64(1 << 63)  # the same lower half
    families = random_words(seed + 1, 20, 4)
    noise = random_words(seed + 2, 3, 3000, 4)
    sketches = families[random.integers(0, 20, 3000)] ^ (noise[0] & noise[1] & noise[2])
    return keys, random.permutation(3000).astype(np.uint64), sketches


@pytest.mark.parametrize("seed", range(3))
def test_the_order_of_the_documents_does_not_matter(seed):
    keys, order, sketches = mixed_corpus(seed)
    wanted = found(keys, sketches, 60, order)
    assert max(Counter(row for pair in wanted for row in pair).values()) > SMALL_BUCKET  # leaders were at work
    shuffled = np.random.default_rng(seed).permutation(3000)
    pairs = found(keys[shuffled], sketches[shuffled], 60, order[shuffled])
    assert {frozenset(int(shuffled[row]) for row in pair) for pair in pairs} == wanted


@pytest.mark.parametrize("ranges", [2, 7])
def test_ranges_of_keys_give_what_one_piece_gives(ranges):
    keys, order, sketches = mixed_corpus(5)
    rows = np.arange(3000, dtype=np.uint32) * 5 + 2**31
    pairs, links = [], []
    for number in range(ranges):
        low, high = (number << 64) // ranges, ((number + 1) << 64) // ranges
        chosen = np.array([low <= int(key) < high for key in keys])
        pairs.append(bucket_pairs(keys[chosen], rows[chosen], order[chosen], sketches[chosen], 60))
        links.append(bucket_links(keys[chosen], rows[chosen]))
    assert all(map(len, pairs))
    assert np.array_equal(np.sort(np.concatenate(pairs)), bucket_pairs(keys, rows, order, sketches, 60))
    assert np.array_equal(np.sort(np.concatenate(links)), bucket_links(keys, rows))


def test_copies_in_a_large_bucket_are_paired_with_their_first():
    """Three families of 100 in one bucket, 4 bits around their middles, which are strangers: 8 bits within a family."""
    random = np.random.default_rng(1)
    middles = random_words(2, 3, 4)
    family = np.repeat(np.arange(3), 100)
    sketches = middles[family]
    for row in range(300):
        for bit in random.choice(256, 4, replace=False):
            sketches[row, bit // 64] ^= np.uint64(1 << int(bit % 64))
    order = random.permutation(300).astype(np.uint64)
    pairs = found([7] * 300, sketches, 16, order)
    wanted = set()
    for number in range(3):
        first, *others = sorted(np.flatnonzero(family == number).tolist(), key=lambda row: order[row])
        wanted |= {frozenset((first, other)) for other in others}
    assert pairs == wanted


def test_who_may_be_no_copy_of_a_leader_is_met_by_others_too():
    """Of 40 documents the first differs from the next by 12 bits, which is allowed but no copy; the others are copies
    of that one. Were it no leader, nobody would meet it."""
    sketches = np.zeros((40, 4), np.uint64)
    sketches[1:, 0] = 2**12 - 1
    assert found([7] * 40, sketches, 12) >= {frozenset(pair) for pair in [(0, 1), *((1, row) for row in range(2, 40))]}
    closer = found([7] * 40, sketches & np.uint64(2**6 - 1), 12)  # 6 bits: copies
    assert closer == {frozenset((0, row)) for row in range(1, 40)}


def test_the_most_similar_leaders_are_chosen():
    """Six leaders 8 bits around a middle, 16 from each other, then 20 copies of the fifth: 0 and five times 16 bits."""
    sketches = np.zeros((26, 1), np.uint64)
    for leader in range(6):
        sketches[leader] = 0xFF << 8 * leader
    sketches[6:] = sketches[4]
    pairs = found([7] * 26, sketches, 20)
    for copy in range(6, 26):
        assert {min(pair) for pair in pairs if max(pair) == copy} == {4, 0, 1, 2}


def test_a_million_documents_of_one_key():
    """Copies make a star around the first in `order`; strangers no pair; the half alike at most a few each."""
    count = 1_000_000
    keys, rows = np.full(count, 7, np.uint64), np.arange(count, dtype=np.uint32)
    order = random_words(1, count)
    star = bucket_pairs(keys, rows, order, np.zeros((count, 4), np.uint64), 44)
    first = int(order.argmin())
    of_first = star[slice(*np.searchsorted(star, [first << 32, (first + 1) << 32]))]
    assert len(star) == 2 * (count - 1) and len(of_first) == count - 1
    assert len(bucket_pairs(keys, rows, order, random_words(2, count, 4), 44)) == 0
    noise = random_words(3, 4, count, 4)
    half_alike = bucket_pairs(keys, rows, order, noise[0] & noise[1] & noise[2] & noise[3], 44)
    assert count < len(half_alike) / 2 <= LEADERS_PAIRED * count
    links = bucket_links(keys, rows)
    assert len(links) == 2 * (count - 1) and np.array_equal(links[: count - 1], np.arange(1, count, dtype=np.uint64))


def test_none_and_one():
    assert found([]) == found([3]) == linked([]) == linked([3]) == set()
    assert len(band_keys(np.empty((0, 8), np.uint32))) == len(sketch(np.empty((0, 112), np.uint32))) == 0
