"""Repetition inside a document: its n-grams, lines and paragraphs, counted by numba kernels.

Rae et al. 2021, "Scaling Language Models" (Gopher), arXiv:2112.11446, appendix A.1.1, "Repetition Removal". An n-gram
is the shortest run of tokens that holds n words: n tokens of spaced text, about 1.5 n Chinese characters.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from data_prep.kernels import kernel
from data_prep.shingles import ROLL, UNITS_PER_WORD, mix
from data_prep.words import EXACT, LENGTH, SHAPE, UNITS_BIT, UNSPACED


class Table(NamedTuple):
    """A hash table of 64-bit keys that is emptied by a new `epoch`. Slots: a power of two, twice the keys or more."""

    slots: npt.NDArray[np.uint64]  # (slots, 2) key; epoch in the upper half, how often counted in the lower
    epoch: npt.NDArray[np.uint64]  # (1,) the present one: a slot with another is free


class Runs(NamedTuple):
    """Where n-grams of a text are worked out: (tokens + 1,) each."""

    prefixes: npt.NDArray[np.uint64]  # hashes of all tokens before
    characters: npt.NDArray[np.int64]  # code points of all tokens before
    gaps: npt.NDArray[np.int64]  # tokens of spaced scripts before: a space stands between two of them
    units: npt.NDArray[np.int64]  # of the token
    stops: npt.NDArray[np.int64]  # where the n-gram that begins here ends; -1: nowhere
    keys: npt.NDArray[np.uint64]  # its hash
    slots: npt.NDArray[np.int64]  # where the table holds it
    again: npt.NDArray[np.bool_]  # whether the last n-grams looked at stand here and elsewhere, too


def new_table(keys: int) -> Table:
    """A table for so many keys at most."""
    slots = 1 << (2 * keys).bit_length()
    return Table(np.zeros((slots, 2), np.uint64), np.zeros(1, np.uint64))


def new_runs(tokens: int) -> Runs:
    size = tokens + 1
    integers = (np.empty(size, np.int64) for _ in range(5))
    characters, gaps, units, stops, slots = integers
    return Runs(
        np.empty(size, np.uint64),
        characters,
        gaps,
        units,
        stops,
        np.empty(size, np.uint64),
        slots,
        np.empty(size, bool),
    )


@kernel
def slots_for(keys: Any, table: Any) -> Any:
    """How many slots to use for so many keys, so that a small text stays in the processor's cache."""
    slots = 16
    while slots < 2 * keys:
        slots *= 2
    return min(slots, len(table.slots))


@kernel
def count_key(key: Any, slots: Any, table: Any) -> Any:
    """The slot of a key, after counting it once more."""
    rows, epoch = table.slots, table.epoch[0] << np.uint64(32)
    slot = np.int64(key & np.uint64(slots - 1))
    while rows[slot, 1] >= epoch:
        if rows[slot, 0] == key:
            rows[slot, 1] += np.uint64(1)
            return slot
        slot = (slot + 1) & (slots - 1)
    rows[slot, 0], rows[slot, 1] = key, epoch + np.uint64(1)
    return slot


@kernel
def empty(table: Any) -> None:
    table.epoch[0] += np.uint64(1)


@kernel
def count_of(slot: Any, table: Any) -> Any:
    """How often the key of a slot was counted."""
    return np.int64(table.slots[slot, 1] & np.uint64(0xFFFFFFFF))


@kernel
def ngram_characters(tokens: Any, count: Any, table: Any, runs: Any, out: Any) -> None:
    """Characters in the most frequent 2-, 3-, 4-gram, then in repeated 5- to 10-grams, into `out` (9,).

    As datatrove counts them: the most frequent n-gram's own with one space between words, times how often it stands
    (of equally frequent ones the first); of duplicates those that stand earlier in the text, too, read from the left
    without overlap, spaces not counted.
    """
    runs.prefixes[0], runs.characters[0], runs.gaps[0] = 0, 0, 0
    for index in range(count):
        shape = np.int64(tokens[index, SHAPE])
        runs.prefixes[index + 1] = runs.prefixes[index] * ROLL + tokens[index, EXACT]
        runs.characters[index + 1] = runs.characters[index] + (shape & LENGTH)
        runs.gaps[index + 1] = runs.gaps[index] + (0 if shape & UNSPACED else 1)
        runs.units[index] = shape >> UNITS_BIT
        runs.again[index] = True
    out[:] = 0
    for place in range(9):
        length = place + 2
        repeats = find_runs(count, length, table, runs)
        if length <= 4:
            out[place] = most_frequent(count, table, runs)
        elif repeats:
            out[place] = repeated_characters(count, table, runs)
        if not repeats and length >= 4:  # nor will a longer one be there twice
            break


@kernel
def power(exponent: Any) -> Any:
    """ROLL to the power, modulo 2^64."""
    result, base = np.uint64(1), ROLL
    while exponent:
        if exponent & 1:
            result *= base
        base *= base
        exponent >>= 1
    return result


@kernel
def find_runs(tokens: Any, length: Any, table: Any, runs: Any) -> Any:
    """Look at all n-grams whose beginnings, one word shorter, stand at several places; returns how many do again."""
    wanted = length * UNITS_PER_WORD
    slots = slots_for(tokens, table)
    empty(table)
    stop, held, exponent, factor = 0, 0, 0, np.uint64(1)
    for start in range(tokens):
        while held < wanted and stop < tokens:
            held += runs.units[stop]
            stop += 1
        runs.stops[start] = -1
        if held >= wanted and (runs.again[start] or (length <= 4 and start == 0)):
            if stop - start != exponent:
                exponent = stop - start
                factor = power(exponent)
            key = mix(runs.prefixes[stop] - runs.prefixes[start] * factor)
            runs.keys[start], runs.stops[start] = key, stop
            runs.slots[start] = count_key(key, slots, table)
        held -= runs.units[start]
    repeats = 0
    for start in range(tokens):
        found = runs.stops[start] >= 0 and count_of(runs.slots[start], table) > 1
        runs.again[start] = found
        repeats += found
    return repeats


@kernel
def most_frequent(tokens: Any, table: Any, runs: Any) -> Any:
    """Characters of the most frequent n-gram, times how often it stands."""
    best, most = -1, 0
    for start in range(tokens):
        if runs.stops[start] >= 0 and count_of(runs.slots[start], table) > most:
            best, most = start, count_of(runs.slots[start], table)
    if best < 0:
        return 0
    stop = runs.stops[best]
    spaces = max(runs.gaps[stop] - runs.gaps[best] - 1, 0)
    return (runs.characters[stop] - runs.characters[best] + spaces) * most


@kernel
def repeated_characters(tokens: Any, table: Any, runs: Any) -> Any:
    """Characters in n-grams that were met before, from the left: behind a repeated one reading goes on after it."""
    empty(table)
    slots = slots_for(tokens, table)
    start, found = 0, 0
    while start < tokens:
        if not runs.again[start]:
            start += 1
            continue
        slot = count_key(runs.keys[start], slots, table)
        if count_of(slot, table) > 1:
            found += runs.characters[runs.stops[start]] - runs.characters[start]
            start = runs.stops[start]
        else:
            start += 1
    return found
