"""Near-duplicates by MinHash and locality-sensitive hashing. The home of `datasketch`.

Four steps with files between them, so that each can be spread over machines: sign (a shard), match, cluster, filter (a
shard). Broder 1997, "On the resemblance and containment of documents"; Leskovec et al., "Mining of Massive
Datasets", section 3.4.
"""

from __future__ import annotations

import hashlib
import re
import unicodedata
from collections.abc import Iterable, Iterator, Sequence
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
    """The form in which texts are compared: NFKC, case-folded, white space made single. Never stored.

    >>> normalise("The  QUICK, brown\\nfox")
    'the quick, brown fox'
    """
    return " ".join(unicodedata.normalize("NFKC", text).casefold().split())


def content_digest(text: str) -> bytes:
    """16 bytes that are equal for texts equal after `normalise`."""
    return hashlib.blake2b(normalise(text).encode("utf-8", "surrogatepass"), digest_size=16).digest()


def shingles(text: str) -> set[bytes]:
    """The distinct runs of five words, punctuation aside; a shorter text is one shingle."""
    normal = normalise(text)
    words = WORD.findall(normal) or [normal]
    runs = range(max(len(words) - SHINGLE_WORDS, 0) + 1)
    return {" ".join(words[start : start + SHINGLE_WORDS]).encode("utf-8", "surrogatepass") for start in runs}


def sign(texts: Iterable[str]) -> Iterator[Signatures]:
    """One MinHash signature (PERMUTATIONS,) per text."""
    for sketch in MinHash.generator((list(shingles(text)) for text in texts), num_perm=PERMUTATIONS, scheme=SCHEME):
        yield sketch.hashvalues.astype(np.uint32)


class Pair(NamedTuple):
    """Two documents, by row, that are the same or similar."""

    left: int
    right: int


class DisjointSets:
    """Union-find over rows (Tarjan 1975), with path halving; the smallest row names its set."""

    def __init__(self, count: int) -> None:
        self._parent = list(range(count))

    def find(self, row: int) -> int:
        parent = self._parent
        while parent[row] != row:
            parent[row] = parent[parent[row]]
            row = parent[row]
        return row

    def union(self, left: int, right: int) -> None:
        low, high = sorted((self.find(left), self.find(right)))
        self._parent[high] = low


def match(digests: list[bytes], signatures: Signatures, threshold: float) -> list[Pair]:
    """Pairs that connect duplicates: exact ones by digest, near ones by a shared band and their estimate.

    Exact copies are linked to the first of their kind, and only that one is looked up, so copies cost nothing more.
    A pair that is already connected through others is left out: at most one pair a document.
    """
    pairs: list[Pair] = []
    first: dict[bytes, int] = {}
    connected = DisjointSets(len(digests))
    index = MinHashLSH(num_perm=PERMUTATIONS, params=(BANDS, ROWS))
    for row, digest in enumerate(digests):
        if digest in first:
            pairs.append(Pair(first[digest], row))
            continue
        first[digest] = row
        sketch = MinHash(num_perm=PERMUTATIONS, hashvalues=signatures[row], scheme=SCHEME)
        for other in sorted(index.query(sketch)):
            if connected.find(other) == connected.find(row):
                continue
            if estimate(signatures[other], signatures[row]) >= threshold:
                connected.union(other, row)
                pairs.append(Pair(other, row))
        index.insert(row, sketch, check_duplication=False)
    return pairs


def estimate(left: Signatures, right: Signatures) -> npt.NDArray[np.float64]:
    """The share of equal signature values: an unbiased estimate of the Jaccard similarity (Broder 1997)."""
    return np.asarray(np.mean(left == right, axis=-1))


def survivors(pairs: Iterable[Pair], rank: Sequence[Any], signatures: Signatures, threshold: float) -> list[int]:
    """The document, by row, that stands for each document: itself, or the one it goes for.

    In each set of connected documents the one of smallest `rank` stays; another goes only for one that stays and is
    itself at least `threshold` similar to it. Chains of small changes thus lose no document that is unlike all that
    stay, and the result depends on neither the order of documents nor of pairs.
    """
    connected = DisjointSets(len(rank))
    for pair in pairs:
        connected.union(pair.left, pair.right)
    members: dict[int, list[int]] = {}
    for row in range(len(rank)):
        members.setdefault(connected.find(row), []).append(row)
    stands_for = list(range(len(rank)))
    for rows in members.values():
        kept: list[int] = []
        for row in sorted(rows, key=lambda row: rank[row]):
            similarity = estimate(signatures[kept], signatures[row])  # (kept,)
            if kept and similarity.max() >= threshold:
                stands_for[row] = kept[int(similarity.argmax())]
            else:
                kept.append(row)
    return stands_for
