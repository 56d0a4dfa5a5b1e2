"""Near-duplicates by MinHash and locality-sensitive hashing. The home of `datasketch`.

Four steps with files between them, so that each can be spread over machines: sign (a shard), match, cluster, filter (a
shard). Broder 1997, "On the resemblance and containment of documents"; Leskovec et al., "Mining of Massive
Datasets", section 3.4.
"""

from __future__ import annotations

import hashlib
import re
import unicodedata
from collections.abc import Iterable, Iterator
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
from datasketch import MinHash, MinHashLSH

PERMUTATIONS = 128
# 25 bands of 5 rows: two documents at Jaccard .8 share a band with probability 1 - (1 - .8^5)^25 = .99995, at .5 with
# .55; the signatures' own estimate then decides
BANDS, ROWS = 25, 5
SCHEME = "affine32"  # datasketch's 32-bit permutations
SHINGLE_WORDS = 5
WORD = re.compile(r"\w+")

Signatures = npt.NDArray[np.uint32]  # (documents, PERMUTATIONS)


def normalise(text: str) -> str:
    """The form in which texts are compared: NFKC, case-folded, words joined by single spaces. Never stored.

    >>> normalise("The  QUICK, brown\\nfox")
    'the quick brown fox'
    """
    return " ".join(WORD.findall(unicodedata.normalize("NFKC", text).casefold()))


def content_digest(text: str) -> bytes:
    """16 bytes that are equal for texts equal after `normalise`."""
    return hashlib.blake2b(normalise(text).encode("utf-8", "surrogatepass"), digest_size=16).digest()


def shingles(text: str) -> set[bytes]:
    """The distinct runs of five words; a shorter text is one shingle."""
    words = normalise(text).split()
    runs = range(max(len(words) - SHINGLE_WORDS, 0) + 1)
    return {" ".join(words[start : start + SHINGLE_WORDS]).encode("utf-8", "surrogatepass") for start in runs}


def sign(texts: Iterable[str]) -> Iterator[Signatures]:
    """One MinHash signature (PERMUTATIONS,) per text."""
    for sketch in MinHash.generator((list(shingles(text)) for text in texts), num_perm=PERMUTATIONS, scheme=SCHEME):
        yield sketch.hashvalues.astype(np.uint32)


class Pair(NamedTuple):
    """Two documents, by row, that are the same or similar; `left < right`."""

    left: int
    right: int
    similarity: float


def match(digests: list[bytes], signatures: Signatures, threshold: float) -> list[Pair]:
    """Pairs of duplicates: exact ones by digest (similarity 2 marks them), near ones by shared band and estimate.

    Exact copies are linked to the first of their kind, and only that one is looked up: copies cost nothing more.
    """
    pairs: list[Pair] = []
    first: dict[bytes, int] = {}
    index = MinHashLSH(num_perm=PERMUTATIONS, params=(BANDS, ROWS))
    for row, digest in enumerate(digests):
        if digest in first:
            pairs.append(Pair(first[digest], row, EXACT))
            continue
        first[digest] = row
        sketch = MinHash(num_perm=PERMUTATIONS, hashvalues=signatures[row], scheme=SCHEME)
        for other in sorted(index.query(sketch)):
            similarity = estimate(signatures[other], signatures[row])
            if similarity >= threshold:
                pairs.append(Pair(other, row, similarity))
        index.insert(row, sketch, check_duplication=False)
    return pairs


EXACT = 2.0  # above any Jaccard similarity


def estimate(left: Signatures, right: Signatures) -> float:
    """The share of equal signature values: an unbiased estimate of the Jaccard similarity (Broder 1997)."""
    return float(np.mean(left == right))


def cluster(count: int, pairs: Iterable[Pair], rank: list[Any]) -> list[int]:
    """The survivor of each document's cluster of connected pairs: the member of smallest `rank`.

    >>> cluster(4, [Pair(0, 2, 1.0)], ["b", "x", "a", "y"])
    [2, 1, 2, 3]
    """
    parent = list(range(count))

    def find(row: int) -> int:
        while parent[row] != row:
            parent[row] = parent[parent[row]]
            row = parent[row]
        return row

    for pair in pairs:
        left, right = find(pair.left), find(pair.right)
        low, high = (left, right) if rank[left] <= rank[right] else (right, left)
        parent[high] = low
    return [find(row) for row in range(count)]
