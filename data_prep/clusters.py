"""Which documents stand for which: exact similarities, connected sets, the greedy choice. Kernels over plain arrays.

Documents are numbered by rank, 0 the best, below 2^32. A pair is two numbers, the smaller one in `left`. What comes out
depends on the pairs, not on their order.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from data_prep.kernels import kernel
from data_prep.sorting import distinct

Documents = npt.NDArray[np.uint32]
Hashes = npt.NDArray[np.uint64]
Sets = Hashes  # sorted distinct hashes, document by document
Bounds = npt.NDArray[np.int64]  # (documents + 1,): document i's set is sets[bounds[i]:bounds[i + 1]]
Indices = npt.NDArray[Any]  # any integers

HALF = np.uint64(32)
ONE = np.uint64(1)


@kernel
def similarities(
    left_sets: Sets,
    left_bounds: Bounds,
    left_rows: Indices,
    right_sets: Sets,
    right_bounds: Bounds,
    right_rows: Indices,
) -> npt.NDArray[np.float64]:
    """(pairs,) the exact Jaccard similarity of the sets of each pair of rows; of two empty sets it is 1."""
    found = np.empty(len(left_rows), np.float64)
    for pair in range(len(found)):
        left = left_sets[left_bounds[left_rows[pair]] : left_bounds[left_rows[pair] + 1]]
        right = right_sets[right_bounds[right_rows[pair]] : right_bounds[right_rows[pair] + 1]]
        shared = _shared(left, right)
        union = len(left) + len(right) - shared
        found[pair] = shared / union if union else 1.0
    return found


@kernel
def _shared(left: Sets, right: Sets) -> int:
    """How many hashes two sets share: merged from both ends at once, without a branch.

    Which of two hashes is smaller is anyone's guess, and a wrong one costs more than a step. A step must wait for the
    one before it; the two ends need not wait for each other.
    """
    shared = 0
    i, j, i_end, j_end = np.uint64(0), np.uint64(0), np.uint64(len(left)), np.uint64(len(right))
    while i + ONE < i_end and j + ONE < j_end:
        low, other_low = left[i], right[j]
        high, other_high = left[i_end - ONE], right[j_end - ONE]
        shared += (low == other_low) + (high == other_high)
        i += np.uint64(low <= other_low)
        j += np.uint64(other_low <= low)
        i_end -= np.uint64(high >= other_high)
        j_end -= np.uint64(other_high >= high)
    while i < i_end and j < j_end:
        low, other_low = left[i], right[j]
        shared += low == other_low
        i += np.uint64(low <= other_low)
        j += np.uint64(other_low <= low)
    return shared


@kernel
def connect(sets: Documents, left: Indices, right: Indices) -> None:
    """Joins, in place, the sets of each pair's documents. `sets[i]` is the smallest number in the set of i.

    Begins with np.arange(count, dtype=np.uint32); pairs may come in pieces, in either direction. Union-find (Tarjan
    1975, "Efficiency of a Good But Not Linear Set Union Algorithm") with path halving.
    """
    for pair in range(len(left)):
        one, other = _first(sets, left[pair]), _first(sets, right[pair])
        sets[max(one, other)] = min(one, other)
    for document in range(len(sets)):
        sets[document] = sets[sets[document]]  # in ascending order: what it points to, which is smaller, is done


@kernel
def _first(sets: Documents, document: int) -> int:
    """The first of the set that a document is in."""
    while sets[document] != document:
        sets[document] = sets[sets[document]]
        document = sets[document]
    return document


def stands_for(count: int, left: Indices, right: Indices) -> Documents:
    """(count,) the document that stands for each: itself, if it stays. The pairs are those of similar documents.

    In order of rank a document goes for the best one that stays and is itself similar to it. Chains of small changes
    thus lose no document that is unlike all that stay.
    """
    pairs = right.astype(np.uint64) << HALF | left.astype(np.uint64)
    pairs.sort()
    return np.asarray(_greedy(count, pairs))


@kernel
def _greedy(count: int, pairs: Hashes) -> Documents:
    """From sorted pairs, document << 32 | better: when a document comes up, all that are better have been decided."""
    stands = np.arange(count).astype(np.uint32)
    for pair in pairs:
        document, better = np.uint32(pair >> HALF), np.uint32(pair)
        if stands[document] == document and stands[better] == better:
            stands[document] = better
    return stands


def to_verify(
    stands: Documents, left: Indices, right: Indices, similar: npt.NDArray[np.bool_]
) -> tuple[Documents, Documents]:
    """Pairs of documents that both stay and that nobody has compared, though similar documents went for them.

    left, right (pairs,) have been compared, `similar` (pairs,) is what came of it, and `stands` what `stands_for` made
    of the similar ones. The caller compares the new pairs, adds them and asks again, until there are none; no pair is
    asked for twice. Of documents that are all similar to each other only one then stays if they were connected at all.
    A round asks for at most one pair per similar pair, and for none where they all went for the same one.
    """
    pairs = distinct(_who_stand_for(stands, left[similar], right[similar]))
    compared = left.astype(np.uint64) << HALF | right.astype(np.uint64)
    compared.sort()
    pairs = pairs[np.searchsorted(compared, pairs, "left") == np.searchsorted(compared, pairs, "right")]
    return (pairs >> HALF).astype(np.uint32), pairs.astype(np.uint32)


@kernel
def _who_stand_for(stands: Documents, left: Indices, right: Indices) -> Hashes:
    """For each pair that two different documents stand for: those two, packed."""
    found, pairs = 0, np.empty(len(left), np.uint64)
    for pair in range(len(left)):
        one, other = stands[left[pair]], stands[right[pair]]
        if one != other:
            pairs[found] = np.uint64(min(one, other)) << HALF | np.uint64(max(one, other))
            found += 1
    return pairs[:found]
