"""Locality-sensitive hashing of MinHash signatures: which documents are worth comparing. Kernels over plain arrays.

Documents whose signatures agree in all rows of a band share a bucket (Leskovec et al., "Mining of Massive Datasets",
3.4). A pair must also pass b-bit minwise hashing with b = 1 (Li and König 2010, "b-Bit Minwise Hashing"): of two
signature values the lowest bits are equal with probability J + (1 - J) / 2 at a Jaccard similarity of J, so that bits
estimate J in a thirty-second of the memory. A pair is packed, row << 32 | other, and stands in both directions: what a
range of rows is paired with lies together in sorted pairs.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from data_prep.kernels import kernel

Hashes = npt.NDArray[np.uint64]
Indices = npt.NDArray[Any]  # any integers
Rows = npt.NDArray[Any]  # documents' row numbers, integers below 2^32

SMALL_BUCKET = 16  # members; up to here all pairs are compared
LEADERS = 64  # of a larger bucket: whom each of its members is compared with
LEADERS_PAIRED = 4  # of these, the most alike, with whom a member is paired

MIX_1, MIX_2 = np.uint64(0xFF51AFD7ED558CCD), np.uint64(0xC4CEB9FE1A85EC53)  # MurmurHash3's 64-bit finaliser
HALF, LOW_HALF = np.uint64(32), np.uint64(0xFFFFFFFF)
BLOCK = 256  # documents whose keys are made side by side: that vectorises, and they stay in the cache


@kernel
def band_keys(signatures: npt.NDArray[np.uint32]) -> Hashes:
    """(n,) a key per document for one band, (n, rows) of its signature.

    Equal rows have equal keys; different ones have different keys, but for one pair in 2^64. All bits of a key are
    equally good.
    """
    count, rows = signatures.shape
    keys = np.full(count, np.uint64(rows))
    for start in range(0, count, BLOCK):
        block = keys[start : start + BLOCK]
        for row in range(rows):
            values = signatures[start : start + BLOCK, row]
            for i in range(len(block)):
                key = (block[i] ^ np.uint64(values[i])) * MIX_1
                block[i] = key ^ (key >> np.uint64(33))
        for i in range(len(block)):
            key = block[i] * MIX_2
            block[i] = key ^ (key >> np.uint64(33))
    return keys


@kernel
def sketch(signatures: npt.NDArray[np.uint32]) -> Hashes:
    """(n, ceil(P / 64)) the lowest bit of each of a document's P signature values, (n, P); the first one is lowest."""
    sketches = np.empty((len(signatures), (signatures.shape[1] + 63) // 64), np.uint64)
    for i in range(len(sketches)):
        for word in range(sketches.shape[1]):
            values, bits = signatures[i, 64 * word : 64 * word + 64], np.uint64(0)
            for place in range(len(values)):
                bits |= np.uint64(values[place] & np.uint32(1)) << np.uint64(place)
            sketches[i, word] = bits
    return sketches


def most_unequal_bits(permutations: int, similarity: float) -> int:
    """In how many bits two sketches may differ for an estimated Jaccard similarity of at least `similarity`.

    >>> most_unequal_bits(256, 0.65)
    44
    """
    return int(permutations * (1 - similarity) / 2 + 1e-9)  # 1e-9: what rounding may take from a whole number


def bucket_pairs(keys: Hashes, rows: Rows, order: Hashes, sketches: Hashes, unequal_bits: int) -> Hashes:
    """Sorted packed pairs, both directions, of documents that share a key and differ in at most `unequal_bits` bits.

    keys (m,) of one band, all or those in a range; rows (m,), ascending; sketches (m, W); order (m,), a number that
    depends on what the document says and not on where it stands, smallest for the best where there are better ones.

    Time and pairs are linear in m. In a small bucket all are compared. In a large one each member is, in `order`, with
    the leaders, and paired with those most like it. While there is room it then becomes a leader itself, if it differs
    from each by more than half of `unequal_bits`: copies make a star around their first one, and who is not certain to
    be a copy of a leader is met by others, too. What this misses in one band most likely shares a small bucket of
    another.
    """
    members, bounds = _buckets(_by_key(keys), keys, order)
    sizes = np.diff(bounds)
    most = np.where(sizes <= SMALL_BUCKET, sizes * (sizes - 1) // 2, LEADERS_PAIRED * (sizes - 1)).sum()
    return _both_directions(*_compare(members, bounds, rows, sketches, unequal_bits, most))


def bucket_links(keys: Hashes, rows: Rows) -> Hashes:
    """Sorted packed pairs, both directions, that connect the documents of each bucket: its first one and each other.

    keys (m,) of one band, all or those in a range; rows (m,), ascending.
    """
    members, bounds = _buckets(_by_key(keys), keys, keys)  # of equal keys: in the order of the rows, as they come
    others = np.delete(members, bounds[:-1])
    return _both_directions(rows[np.repeat(members[bounds[:-1]], np.diff(bounds) - 1)], rows[others])


def _by_key(keys: Hashes) -> Hashes:
    """(m,) the lower half of each key, then its index, sorted: in a third of the time of an argsort."""
    by_key = keys << HALF | np.arange(len(keys), dtype=np.uint64)
    by_key.sort()
    return by_key


def _both_directions(left: Rows, right: Rows) -> Hashes:
    left, right = left.astype(np.uint64), right.astype(np.uint64)
    pairs = np.concatenate([left << HALF | right, right << HALF | left])
    pairs.sort()
    return pairs


@kernel
def _buckets(by_key: Hashes, keys: Hashes, order: Indices) -> tuple[Indices, Indices]:
    """Indices of the documents that share a key, bucket by bucket, each in `order`; and where buckets begin and end."""
    members = np.empty(len(by_key), np.uint32)
    bounds = np.empty(len(by_key) // 2 + 1, np.int64)
    found, buckets, start = 0, 0, 0
    while start < len(by_key):
        stop = start + 1
        while stop < len(by_key) and by_key[stop] >> HALF == by_key[start] >> HALF:
            stop += 1
        if stop - start > 1:
            run = members[found : found + stop - start]
            run[:] = by_key[start:stop] & LOW_HALF
            _sort(run, keys, order)
            first = 0
            for i in range(1, len(run) + 1):
                if i == len(run) or keys[run[i]] != keys[run[first]]:  # the upper halves of keys differ in a run, too
                    if i - first > 1:
                        bounds[buckets] = found
                        buckets += 1
                        for member in run[first:i]:
                            members[found] = member
                            found += 1
                    first = i
        start = stop
    bounds[buckets] = found
    return members[:found], bounds[: buckets + 1]


@kernel
def _sort(run: Indices, keys: Hashes, order: Indices) -> None:
    """Shellsort of indices by key, then by `order`, then by index: nearly all runs have two members, some a million."""
    gap = 1
    while 9 * gap < 4 * len(run):
        gap = 9 * gap // 4 + 1  # 1, 3, 7, 16, 37, ...; below, each leads back to the one before it
    while gap > 0:
        for i in range(gap, len(run)):
            moved, place = run[i], i
            key, rank = keys[moved], order[moved]
            while place >= gap:
                before = run[place - gap]
                if (keys[before], order[before], before) < (key, rank, moved):
                    break
                run[place] = before
                place -= gap
            run[place] = moved
        gap = 4 * gap // 9


@kernel
def _compare(
    members: Indices, bounds: Indices, rows: Rows, sketches: Hashes, unequal_bits: int, most: int
) -> tuple[Rows, Rows]:
    """The rows of the pairs, at most `most`, that pass in each bucket; a large bucket's by its leaders."""
    left, right = np.empty(most, np.uint32), np.empty(most, np.uint32)
    leaders = np.empty((LEADERS, sketches.shape[1]), np.uint64)
    leader_rows = np.empty(LEADERS, np.uint32)
    nearest = np.empty((LEADERS_PAIRED + 1, 2), np.int64)  # distance, number of the leader; the last one falls out
    found = 0
    for bucket in range(len(bounds) - 1):
        start, stop = bounds[bucket], bounds[bucket + 1]
        if stop - start <= SMALL_BUCKET:
            for i in range(start, stop):
                for j in range(start, i):
                    if _distance(sketches[members[i]], sketches[members[j]]) <= unequal_bits:
                        left[found], right[found] = rows[members[i]], rows[members[j]]
                        found += 1
            continue
        leading = 0
        for i in range(start, stop):
            own = sketches[members[i]]
            near = _nearest(own, leaders[:leading], unequal_bits, nearest)
            for place in range(near):
                left[found], right[found] = rows[members[i]], leader_rows[nearest[place, 1]]
                found += 1
            if leading < LEADERS and (near == 0 or 2 * nearest[0, 0] > unequal_bits):
                leaders[leading], leader_rows[leading] = own, rows[members[i]]
                leading += 1
    return left[:found], right[:found]


@kernel
def _nearest(own: Hashes, leaders: Hashes, unequal_bits: int, nearest: Indices) -> int:
    """Writes the distances and numbers of the leaders most like a sketch, the most like first; returns how many."""
    near = 0
    for leader in range(len(leaders)):
        distance = _distance(own, leaders[leader])
        if distance <= unequal_bits:
            place = near
            while place > 0 and nearest[place - 1, 0] > distance:
                nearest[place] = nearest[place - 1]
                place -= 1
            nearest[place] = distance, leader
            near = min(near + 1, LEADERS_PAIRED)
    return near


@kernel
def _distance(left: Hashes, right: Hashes) -> int:
    """In how many bits two sketches differ."""
    unequal = 0
    for word in range(len(left)):
        unequal += _ones(left[word] ^ right[word])
    return unequal


@kernel
def _ones(word: np.uint64) -> np.int64:
    """How many bits are set: counted in twos, fours, bytes. Compilers know this as one instruction."""
    word -= (word >> np.uint64(1)) & np.uint64(0x5555555555555555)
    word = (word & np.uint64(0x3333333333333333)) + ((word >> np.uint64(2)) & np.uint64(0x3333333333333333))
    word = (word + (word >> np.uint64(4))) & np.uint64(0x0F0F0F0F0F0F0F0F)
    return np.int64((word * np.uint64(0x0101010101010101)) >> np.uint64(56))
