"""Which documents go, and for which: from who is like whom to who stays.

Documents are numbered by rank, 0 the best, so the smaller of two numbers stays; nothing else of their order counts, and
the result depends neither on shards nor on workers. A document goes only for one that stays and that is itself alike:
chains of small changes lose nothing that is unlike all that stay.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from data_prep.clusters import connect, stands_for, to_verify
from data_prep.shingles import Hashes
from data_prep.sorting import distinct

Numbers = npt.NDArray[np.int64]
Similarities = npt.NDArray[np.float64]

STAYS, SAME_ADDRESS, SAME_TEXT, SIMILAR = range(4)
REASONS = {SAME_ADDRESS: "url-duplicate", SAME_TEXT: "exact-duplicate", SIMILAR: "near-duplicate"}


class Resolution(NamedTuple):
    """What becomes of each document, (documents,) each."""

    goes_for: Numbers  # the document that it goes for, or itself
    why: npt.NDArray[np.int8]  # STAYS, SAME_ADDRESS, SAME_TEXT, SIMILAR
    similarity: Similarities  # to the one that it goes for; 1 for the same text; NaN where nobody looked
    cluster: Numbers  # the best document of all that are connected with it


def resolve(
    digests: Hashes,
    addresses: Hashes,
    pairs: tuple[Numbers, Numbers],
    similarities: Callable[[Numbers, Numbers], Similarities],
    threshold: float | None,
) -> Resolution:
    """`pairs` are candidates; `similarities` tells how alike two documents are. Threshold None: who is paired goes."""
    count = len(digests)
    everyone = np.arange(count)
    goes_for = first_with(addresses[:, None], addresses != 0)
    why = np.where(goes_for != everyone, SAME_ADDRESS, STAYS).astype(np.int8)
    similarity = np.where(why == STAYS, 1.0, np.nan)
    left_over = why == STAYS
    same = first_with(digests, left_over)  # of the same text, the best that is left over
    left, right = between_texts(pairs, digests, same, left_over)
    if threshold is not None:
        left, right = verified(count, left, right, similarities, threshold)
    cluster = np.arange(count, dtype=np.uint32)
    connect(cluster, left, right)
    near = cluster if threshold is None else stands_for(count, left, right)
    goes_for[left_over] = near[same[left_over]]
    gone = left_over & (goes_for != everyone)
    copies = gone & (goes_for == same)
    why[copies] = SAME_TEXT
    others = np.flatnonzero(gone & ~copies)
    why[others] = SIMILAR
    similarity[others] = similarities(same[others], goes_for[others])
    return Resolution(goes_for, why, similarity, cluster[same].astype(np.int64))


def first_with(keys: npt.NDArray[Any], taking_part: npt.NDArray[np.bool_]) -> Numbers:
    """For each row the first row of an equal key, (rows, width), among those that take part; the others are alone."""
    first = np.arange(len(keys))
    rows = np.flatnonzero(taking_part)
    if len(rows):
        order = rows[np.lexsort(keys[rows].T)]  # stable: equal keys stay in the order of their rows
        begins = np.concatenate(([True], np.any(keys[order][1:] != keys[order][:-1], axis=1)))
        first[order] = order[np.flatnonzero(begins)][np.cumsum(begins) - 1]
    return first


def between_texts(
    pairs: tuple[Numbers, Numbers], digests: Hashes, same: Numbers, left_over: npt.NDArray[np.bool_]
) -> tuple[Numbers, Numbers]:
    """The pairs, (smaller, greater), of the best documents of their texts; those of texts that left altogether not."""
    text = first_with(digests, np.ones(len(digests), bool))
    best = np.full(len(digests), -1)
    best[text[left_over]] = same[left_over]
    one, other = (best[text[numbers]] for numbers in pairs)
    real = (one >= 0) & (other >= 0) & (one != other)
    packed = distinct(np.minimum(one, other)[real] << 32 | np.maximum(one, other)[real])
    return packed >> 32, packed & 0xFFFFFFFF


def verified(
    count: int,
    left: Numbers,
    right: Numbers,
    similarities: Callable[[Numbers, Numbers], Similarities],
    threshold: float,
) -> tuple[Numbers, Numbers]:
    """The pairs that are as alike as the threshold asks.

    Candidates come by chance; so those that stay and are like one document that went are compared with each other, too,
    until there is nobody left to ask.
    """
    alike = similarities(left, right) >= threshold
    while True:
        near = stands_for(count, left[alike], right[alike])
        more_left, more_right = (side.astype(np.int64) for side in to_verify(near, left, right, alike))
        if not len(more_left):
            return left[alike], right[alike]
        alike = np.append(alike, similarities(more_left, more_right) >= threshold)
        left, right = np.append(left, more_left), np.append(right, more_right)
