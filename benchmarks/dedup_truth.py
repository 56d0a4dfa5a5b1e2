"""Every pair of similar documents of a corpus: what benchmarks/dedup.py is held against.

Nothing here is of the pipeline's deduplication: words come from Python's strings, shingles are told apart by their
ranks and no hash, and the search is one that misses no pair. Bayardo et al. 2007, "Scaling Up All Pairs Similarity
Search", section 4; Xiao et al. 2008, "Efficient Similarity Joins for Near Duplicate Detection", section 3: two sets of
Jaccard >= t have a member in common among the first |x| - ceil(t |x|) + 1 of each, in any order that all sets share.
"""

from __future__ import annotations

import functools
import re
import sys
import unicodedata
from collections.abc import Iterable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
from scipy.sparse import csr_array

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))

from data_prep.files import atomic_path  # noqa: E402

Numbers = npt.NDArray[np.int64]
THRESHOLD = 0.8
SHINGLE_WORDS = 5
PAIRS_AT_ONCE = 2_000
UNITS = 20  # of a word; what a character is in a script without spaces, as benchmarks/dedup_calibration.py counts it
SCRIPTS = (
    (13, r"\u2e80-\u2fd5\u3005-\u3007\u3021-\u3029\u3400-\u9fff\uf900-\ufaff\U00020000-\U000323af"),  # Han
    (5, r"\u3031-\u3035\u303b-\u312f\u31a0-\u31ff"),  # kana
    (4, r"\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff"),  # Thai, Lao, Burmese, Khmer
)


class Truth(NamedTuple):
    """Documents by number. Pairs of equal sets are among them."""

    left: Numbers  # (pairs,), smaller than `right`
    right: Numbers
    jaccard: npt.NDArray[np.float64]


def truth(texts: Iterable[str], cached: Path) -> Truth:
    """All pairs of Jaccard >= .8, kept in the file `cached`."""
    if not cached.exists():
        pairs = similar_pairs(shingle_sets(texts))
        with atomic_path(cached) as temporary, temporary.open("wb") as file:
            np.savez(file, **pairs._asdict())
    with np.load(cached) as arrays:
        return Truth(*(arrays[name] for name in Truth._fields))


def shingle_sets(texts: Iterable[str]) -> csr_array:
    """(documents, shingles), 1 where a document has a shingle; the shingles that few have come first."""
    numbers: dict[str, int] = {}
    tokens: list[Numbers] = []
    units: list[Numbers] = []
    for text in texts:
        words = tokens_of(text)
        tokens.append(np.array([numbers.setdefault(word, len(numbers)) for word in words], np.int64))
        units.append(np.array([weight(word[0]) for word in words] if not text.isascii() else [UNITS] * len(words)))
    starts, stops, owners = windows(units)
    shingles = ranked(np.concatenate(tokens), starts, stops)
    pairs = np.unique(owners * (shingles.max() + 1) + shingles)
    owners, shingles = np.divmod(pairs, shingles.max() + 1)
    frequency = np.bincount(shingles)
    order = np.empty_like(frequency)
    order[np.argsort(frequency, kind="stable")] = np.arange(len(frequency))
    ones = np.ones(len(shingles), np.int32)
    sets = csr_array((ones, (owners, order[shingles])), shape=(len(tokens), len(frequency)))
    sets.sort_indices()
    return sets


def tokens_of(text: str) -> list[str]:
    """Words, folded; in scripts without spaces characters.

    >>> tokens_of("Été_2, 中文x")
    ['e\u0301te\u0301_2', '中', '文', 'x']
    """
    return text.translate(FOLD).split()


class Fold(dict[int, str]):
    """What stands for a character: its folded form (NFKD of casefold of NFKD) with spaces where no word goes on."""

    def __missing__(self, code: int) -> str:
        form = unicodedata.normalize("NFKD", unicodedata.normalize("NFKD", chr(code)).casefold())
        self[code] = "".join(self.spaced(character) for character in form)
        return self[code]

    def spaced(self, character: str) -> str:
        category = unicodedata.category(character)
        if category == "Cf" or "\ufe00" <= character <= "\ufe0f":  # is not seen
            return ""
        if category[0] not in "LMN" and category != "Pc":
            return " "
        return character if weight(character) == UNITS else f" {character} "


@functools.cache
def weight(character: str) -> int:
    return next((units for units, ranges in SCRIPTS if re.match(f"[{ranges}]", character)), UNITS)


FOLD = Fold()


def windows(units: list[Numbers]) -> tuple[Numbers, Numbers, Numbers]:
    """(start, stop, document) of every shingle, in tokens of all texts: the shortest runs of five words' worth.

    A text that holds less is one shingle, and without a token none.
    """
    starts, stops, owners = [], [], []
    offset = 0
    for owner, one in enumerate(units):
        held = np.concatenate([[0], np.cumsum(one)])
        ends = np.searchsorted(held, held[:-1] + SHINGLE_WORDS * UNITS)  # of the window from each token on
        ends = ends[ends <= len(one)]
        if not len(ends) and len(one):
            ends = np.array([len(one)])
        starts.append(offset + np.arange(len(ends)))
        stops.append(offset + ends)
        owners.append(np.full(len(ends), owner))
        offset += len(one)
    return np.concatenate(starts), np.concatenate(stops), np.concatenate(owners)


def ranked(tokens: Numbers, starts: Numbers, stops: Numbers) -> Numbers:
    """A number for each run of tokens, equal for equal runs.

    Runs of 2^k tokens are numbered by those of 2^(k-1); a run of any length is two of these, which overlap (as Karp,
    Miller and Rosenberg 1972, "Rapid identification of repeated patterns").
    """
    lengths = stops - starts
    numbers, ranks = np.empty_like(starts), tokens
    width, given = 1, 0
    while True:
        for length in np.unique(lengths[(lengths >= width) & (lengths < 2 * width)]):
            chosen = lengths == length
            first = starts[chosen]
            pairs = ranks[first] * len(tokens) + ranks[first + length - width]
            distinct, inverse = np.unique(pairs, return_inverse=True)
            numbers[chosen] = given + inverse
            given += len(distinct)
        if 2 * width > lengths.max():
            return numbers
        doubled = ranks[:-width] * len(tokens) + ranks[width:]
        ranks = np.unique(doubled, return_inverse=True)[1]
        width *= 2


def similar_pairs(sets: csr_array) -> Truth:
    """Every pair of documents whose sets have Jaccard >= .8. Equal sets are searched once."""
    first_of: dict[bytes, list[int]] = {}
    for row in range(sets.shape[0]):
        members = sets.indices[sets.indptr[row] : sets.indptr[row + 1]]
        if len(members):
            first_of.setdefault(members.tobytes(), []).append(row)
    groups = sorted(first_of.values(), key=lambda rows: int(sets.indptr[rows[0] + 1] - sets.indptr[rows[0]]))
    unlike = sets[[rows[0] for rows in groups]]  # smallest sets first
    sizes = np.diff(unlike.indptr).astype(np.int64)
    found: list[tuple[Any, ...]] = [
        (left, right, 1.0) for rows in groups for place, left in enumerate(rows) for right in rows[place + 1 :]
    ]
    candidates = sharing_a_prefix(unlike, sizes)
    for start in range(0, len(candidates), PAIRS_AT_ONCE):
        small, large = np.divmod(candidates[start : start + PAIRS_AT_ONCE], len(sizes))
        common = np.asarray(unlike[small].multiply(unlike[large]).sum(axis=1))
        jaccard = common / (sizes[small] + sizes[large] - common)
        for place in np.flatnonzero(jaccard >= THRESHOLD):
            for left in groups[small[place]]:
                for right in groups[large[place]]:
                    found.append((min(left, right), max(left, right), float(jaccard[place])))
    found.sort()
    columns = list(zip(*found, strict=True)) or [(), (), ()]
    return Truth(np.array(columns[0], np.int64), np.array(columns[1], np.int64), np.array(columns[2]))


def sharing_a_prefix(sets: csr_array, sizes: Numbers) -> Numbers:
    """Pairs (smaller set * sets + larger set) with a member in common within their prefixes, and fitting sizes."""
    needed = np.ceil(THRESHOLD * sizes - 1e-9).astype(np.int64)
    owners = np.repeat(np.arange(len(sizes)), sizes)
    places = np.arange(len(owners)) - np.repeat(sets.indptr[:-1], sizes)
    inside = places < (sizes - needed + 1)[owners]
    owners, members = owners[inside], sets.indices[inside]
    order = np.argsort(members, kind="stable")  # within a member the sets by size
    owners, members = owners[order], members[order]
    pairs = np.empty(0, np.int64)
    collected: list[Numbers] = []
    left = np.arange(len(owners))
    for apart in range(1, len(owners) + 1):
        left = left[left + apart < len(owners)]
        left = left[members[left] == members[left + apart]]
        left = left[needed[owners[left + apart]] <= sizes[owners[left]]]  # what is larger still does not fit either
        if not len(left):
            break
        collected.append(owners[left] * len(sizes) + owners[left + apart])
        if sum(map(len, collected)) > 1 << 24:
            pairs, collected = np.unique(np.concatenate([pairs, *collected])), []
    return np.unique(np.concatenate([pairs, *collected]))
