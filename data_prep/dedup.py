"""What deduplication shares with `datasketch`, of which this is the home: its permutations, optimiser and sketches.

Signatures are those of `datasketch.MinHash(num_perm=..., seed=1, scheme="affine32", hashfunc=shingle_hash)` over the
shingles of a text, bit for bit: either reads what the other made.
"""

from __future__ import annotations

import functools

import numpy as np
import numpy.typing as npt
from datasketch import LeanMinHash, MinHash, MinHashLSH

from data_prep.minhash import Permutations

SEED = 1  # datasketch's own default
SCHEME = "affine32"  # its 32-bit permutations


@functools.cache
def permutations(count: int) -> Permutations:
    """The a and b, (2, count), of datasketch's permutations."""
    return np.ascontiguousarray(MinHash(num_perm=count, seed=SEED, scheme=SCHEME).permutations)


def optimal_bands_and_rows(threshold: float, count: int) -> tuple[int, int]:
    """With which datasketch expects the smallest sum of false positives and false negatives."""
    index = MinHashLSH(threshold=threshold, num_perm=count)
    return index.b, index.r


def lean_minhash(signature: npt.NDArray[np.uint32]) -> LeanMinHash:
    """One signature, (P,), as datasketch's."""
    return LeanMinHash(seed=SEED, hashvalues=signature, scheme=SCHEME)
