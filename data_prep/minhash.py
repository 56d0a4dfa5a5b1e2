"""MinHash signatures as `datasketch.MinHash(scheme="affine32")` makes them, bit for bit, from Arrow's buffers.

Broder 1997, "On the resemblance and containment of documents"; the permutations are datasketch 2.0's: MurmurHash3's
finalizer, then a * h + b modulo 2^32 with an odd a.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from data_prep.kernels import kernel
from data_prep.shingles import (
    AT,
    SHINGLE_WORDS,
    UNITS_PER_WORD,
    Hashes,
    next_windows,
    open_text,
    scratch,
    short_text,
    tables,
    utf8,
)

Permutations = npt.NDArray[np.uint32]  # (2, P): the a, all odd, and the b
Signatures = npt.NDArray[np.uint32]  # (documents, P), a column contiguous: so is a band


class Signed(NamedTuple):
    """What is kept of texts to compare them."""

    signatures: Signatures
    digests: Hashes  # (documents, 2): 128 bits that are equal where the normal forms are


def sign(texts: pa.Array, permutations: Permutations) -> Signed:
    """The signature and the content digest of each text of an Arrow string array."""
    data, bounds = utf8(texts)
    signatures = np.empty((len(texts), permutations.shape[1]), np.uint32, order="F")
    digests = np.empty((len(texts), 2), np.uint64)
    _sign(data, bounds, tables(), scratch(), permutations, signatures, digests)
    return Signed(signatures, digests)


def shingle_hash(shingle: bytes) -> int:
    """32 bits of a shingle, its tokens joined by single spaces: what `datasketch.MinHash` takes as `hashfunc`."""
    return int(_only_shingle(np.frombuffer(shingle, np.uint8), tables(), scratch())) >> 32


@kernel
def _only_shingle(text: Any, tables: Any, scratch: Any) -> Any:
    open_text(scratch, 0)
    begun = next_windows(text, len(text), SHINGLE_WORDS * UNITS_PER_WORD, tables, scratch)
    return scratch.windows[0] if begun else short_text(scratch)


@kernel
def _sign(text: Any, bounds: Any, tables: Any, scratch: Any, permutations: Any, signatures: Any, digests: Any) -> None:
    signature = np.empty(permutations.shape[1], np.uint32)
    for row in range(len(bounds) - 1):
        signature[:] = 0xFFFFFFFF
        end, some = bounds[row + 1], False
        open_text(scratch, bounds[row])
        while True:
            begun = next_windows(text, end, SHINGLE_WORDS * UNITS_PER_WORD, tables, scratch)
            if begun:
                _lower(signature, scratch.windows[:begun], permutations)
                some = True
            if scratch.state[AT] >= end:
                break
        if not some:
            scratch.windows[0] = short_text(scratch)
            _lower(signature, scratch.windows[:1], permutations)
        signatures[row] = signature
        digests[row] = scratch.digest


@kernel
def _lower(signature: Any, shingles: Any, permutations: Any) -> None:
    """Take more shingles into a signature. One permutation over all shingles at a time: that vectorises."""
    hashes = np.empty(len(shingles), np.uint32)
    for index in range(len(shingles)):
        value = np.uint32(shingles[index] >> np.uint64(32))  # numba widens what it calculates: cut back each time
        value = np.uint32((value ^ (value >> np.uint32(16))) * np.uint32(0x85EBCA6B))
        value = np.uint32((value ^ (value >> np.uint32(13))) * np.uint32(0xC2B2AE35))
        hashes[index] = value ^ (value >> np.uint32(16))
    for number in range(len(signature)):
        multiplier, offset, least = permutations[0, number], permutations[1, number], signature[number]
        for index in range(len(hashes)):
            least = min(least, np.uint32(multiplier * hashes[index] + offset))
        signature[number] = least
