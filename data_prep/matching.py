"""From signed shards to candidates: documents that share a band, keys that stand in several documents.

All documents' keys are looked at in ranges of the key, so memory is bounded by the number of ranges and not by the
corpus; what comes out is the same for any number. A document's name here is its row over all shards, in order.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from data_prep.lsh import band_keys, bucket_links, bucket_pairs
from data_prep.repeats import repeated
from data_prep.shingles import Hashes
from data_prep.signed import DEPUTY, OUT, band_name, each, load, load_array, unpacked
from data_prep.sorting import distinct

Rows = npt.NDArray[np.int64]
ROW_BITS = np.uint64(32)  # a pair of rows is one number: the first in the upper half


def band_pairs(
    shards: Sequence[Path], bands: range, *, ranges: int, unequal_bits: int | None
) -> Iterator[tuple[int, int, Hashes]]:
    """(band, number of the range of keys, pairs of documents that share a key of it: both ways, sorted).

    Two are a pair when their sketches differ in at most `unequal_bits`; None: each with the first that shares its band.
    """
    names = [band_name(band) for band in bands]
    for number in range(ranges):
        found: list[list[list[npt.NDArray[Any]]]] = [[[], [], [], []] for _ in bands]
        for start, table in each(shards, "standing", "characters", "digest", "sketch", *names):
            deputies = numbers(table, "standing") == DEPUTY
            rows, order, words = np.arange(start, start + len(table)), longest_first(table), sketches(table)
            for name, pieces in zip(names, found, strict=True):
                keys = band_keys(unpacked(table[name], np.uint32))
                chosen = np.flatnonzero(deputies & in_range(keys, number, ranges))
                for kept, column in zip(pieces, (keys, rows, order, words), strict=True):
                    kept.append(column[chosen])
        for band in bands:
            keys, rows, order, words = map(np.concatenate, found.pop(0))
            if unequal_bits is None:
                yield band, number, bucket_links(keys, rows)
            else:
                yield band, number, bucket_pairs(keys, rows, order, words, unequal_bits)


def repeated_rows(shards: Sequence[Path], column: str, *, ranges: int) -> Rows:
    """The documents that share their digest or address with another, sorted. Address 0 is none."""
    found = [np.empty(0, np.int64)]
    for number in range(ranges):
        keys, rows = [np.empty((0, 2), np.uint64)], [np.empty(0, np.int64)]
        for start, table in each(shards, "standing", column):
            values = digest_halves(table) if column == "digest" else np.repeat(numbers(table, column)[:, None], 2, 1)
            taking_part = (numbers(table, "standing") != OUT) & in_range(values[:, 0], number, ranges)
            chosen = np.flatnonzero(taking_part & ((column == "digest") | (values[:, 0] != 0)))
            keys.append(values[chosen])
            rows.append(chosen + start)
        all_keys, all_rows = np.concatenate(keys), np.concatenate(rows)
        order = np.lexsort(all_keys.T)
        same = np.all(all_keys[order][1:] == all_keys[order][:-1], axis=1)
        several = np.zeros(len(order), bool)
        several[1:] |= same
        several[:-1] |= same
        found.append(all_rows[order][several])
    return np.sort(np.concatenate(found))


def longest_first(table: pa.Table) -> Hashes:
    """An order that depends on the texts alone: nearly that of ranks, so that those who stay come first."""
    shortness = np.uint64(2**32 - 1) - np.minimum(numbers(table, "characters"), 2**32 - 1).astype(np.uint64)
    return np.asarray(shortness << np.uint64(32) | digest_halves(table)[:, 0] >> np.uint64(32))


def in_range(keys: Hashes, number: int, ranges: int) -> npt.NDArray[np.bool_]:
    """Which keys lie in one of so many equal ranges of all 64-bit numbers."""
    first, last = bounds_of(number, ranges)
    return np.asarray((keys >= first) & (keys <= last))


def bounds_of(number: int, ranges: int) -> tuple[np.uint64, np.uint64]:
    """The first and the last key of a range.

    >>> [hex(bound) for bound in bounds_of(1, 2)]
    ['0x8000000000000000', '0xffffffffffffffff']
    """
    return np.uint64((number << 64) // ranges), np.uint64(((number + 1) << 64) // ranges - 1)


def numbers(table: pa.Table, column: str) -> npt.NDArray[Any]:
    return np.asarray(table[column].to_numpy())


def digest_halves(table: pa.Table) -> Hashes:
    return unpacked(table["digest"], np.uint64)


def sketches(table: pa.Table) -> Hashes:
    return unpacked(table["sketch"], np.uint64)


def pairs_of(runs: Sequence[Path], start: int, stop: int) -> tuple[Rows, Rows]:
    """Each pair once (row, other) whose row lies in a range, sorted."""
    low, high = (np.uint64(row) << ROW_BITS for row in (start, stop))
    slices = [np.empty(0, np.uint64)]
    for path in runs:
        run = load_array(path)
        slices.append(run[slice(*np.searchsorted(run, [low, high]))])
    merged = distinct(np.concatenate(slices))
    return (merged >> ROW_BITS).astype(np.int64), (merged & np.uint64(0xFFFFFFFF)).astype(np.int64)


def paired_rows(runs: Sequence[Path], start: int, stop: int) -> Rows:
    """The rows of a range that are in any pair, sorted."""
    return distinct(pairs_of(runs, start, stop)[0])


LINE = np.dtype([("row", np.int64), ("key", np.uint64)])  # a line that stands in several documents, in one of them


def lines_in(shards: Sequence[Path]) -> int:
    return sum(len(load(path)) for path in shards)


def repeated_lines(shards: Sequence[Path], starts: Sequence[int], number: int, ranges: int) -> npt.NDArray[np.void]:
    """Of a range of keys those that stand in several documents, as `LINE`, sorted by key and row."""
    keys, rows = [np.empty(0, np.uint64)], [np.empty(0, np.int64)]
    for path, start in zip(shards, starts[:-1], strict=True):
        table = load(path)
        of_shard = numbers(table, "key")  # sorted
        first, last = bounds_of(number, ranges)
        low, high = np.searchsorted(of_shard, first, "left"), np.searchsorted(of_shard, last, "right")
        keys.append(of_shard[low:high])
        rows.append(numbers(table, "row")[low:high] + start)
    all_keys, all_rows = np.concatenate(keys), np.concatenate(rows)
    order = np.lexsort((all_rows, all_keys))
    found_keys, found_rows = repeated(all_keys[order], all_rows[order])
    found = np.empty(len(found_keys), LINE)
    found["key"], found["row"] = found_keys, found_rows
    return found
