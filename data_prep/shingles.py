"""Text to shingles: numba kernels that read UTF-8 bytes where Arrow keeps them, without a Python string.

A token is a word (a run of letters, marks, digits and connectors, as `\\w` in Unicode's Technical Standard 18), folded;
of a script that puts no spaces between words every character is one, and counts as a part of a word. A shingle is the
shortest run of tokens that holds five words, so it carries about the same in any script: five English words are eight
Chinese characters. Broder 1997, "On the resemblance and containment of documents", section 2.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from data_prep.folding import CODES, HAN, IGNORED, KANA, OTHER, SEVERAL, SOUTHEAST_ASIAN, SPACE, WORD, folding
from data_prep.kernels import kernel
from data_prep.sorting import distinct

Hashes = npt.NDArray[np.uint64]

SHINGLE_WORDS = 5
UNITS_PER_WORD = 60
UNITS = np.zeros(8, np.int64)  # a token's part of a word, by its kind. In parallel text one English word is
UNITS[[WORD, HAN, KANA, SOUTHEAST_ASIAN]] = 60, 39, 15, 12  # 1.54 Han characters, 5 Thai ones: dedup_calibration.py

FNV_START, FNV_PRIME = np.uint64(0xCBF29CE484222325), np.uint64(0x100000001B3)  # FNV-1a of 64 bits, over code points
TOKEN_PRIME = np.uint64(0x9E3779B97F4A7C15)
ROLL = np.uint64(0xD1342543DE82EF95)  # base of the polynomial that makes one hash of a run of tokens
MIX_1, MIX_2 = np.uint64(0xFF51AFD7ED558CCD), np.uint64(0xC4CEB9FE1A85EC53)  # MurmurHash3's finalizer
BLOCK = 2048  # tokens at a time: a document of any size takes the same memory
LONGEST_FORM = 64  # tokens that one code point can make, at most (18 in Unicode 14)
LONGEST_WINDOW = 128  # tokens in a run, at most: 25 words of the smallest

# what stood before, for the digest: white space counts only between two other things
NOTHING, SOMETHING, WHITE_SPACE = range(3)


class Tables(NamedTuple):
    """What the kernels look up."""

    kinds: npt.NDArray[np.uint8]
    folded: npt.NDArray[np.uint32]
    sequences: npt.NDArray[np.uint32]
    word_bytes: Hashes  # (256,) what a byte of ASCII that belongs into words folds to; 0: it does not, or is no ASCII
    powers: Hashes  # (LONGEST_WINDOW + 1,) of ROLL


class Scratch(NamedTuple):
    """Where the kernels work: a block of tokens, and the windows that begin in it."""

    tokens: Hashes  # (BLOCK,)
    units: npt.NDArray[np.int64]  # (BLOCK,)
    ends: npt.NDArray[np.int64]  # (BLOCK,) bytes read when the token was known
    prefixes: Hashes  # (BLOCK + 1,)
    windows: Hashes  # (BLOCK,)
    digest: Hashes  # (2,) of all that was read: 128 bits, equal for texts of the same normal form
    state: npt.NDArray[np.int64]  # (4,) where to read on, tokens there, of these windows begun, what stood before


AT, COUNT, BEGUN, BEFORE = range(4)  # of `Scratch.state`


def tables() -> Tables:
    powers = np.ones(LONGEST_WINDOW + 1, np.uint64)
    powers[1:] = np.cumprod(np.full(LONGEST_WINDOW, ROLL), dtype=np.uint64)  # modulo 2^64
    kinds, folded, sequences = folding()
    word_bytes = np.zeros(256, np.uint64)
    word_bytes[:128] = np.where(kinds[:128] == WORD, folded[:128], 0)
    return Tables(kinds, folded, sequences, word_bytes, powers)


def scratch() -> Scratch:
    return Scratch(
        tokens=np.empty(BLOCK, np.uint64),
        units=np.empty(BLOCK, np.int64),
        ends=np.empty(BLOCK, np.int64),
        prefixes=np.empty(BLOCK + 1, np.uint64),
        windows=np.empty(BLOCK, np.uint64),
        digest=np.empty(2, np.uint64),
        state=np.empty(4, np.int64),
    )


def utf8(texts: pa.Array) -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.int64]]:
    """(bytes, bounds) of an Arrow string array, not copied: text i is bytes[bounds[i]:bounds[i + 1]]; null is empty."""
    kind = np.int64 if pa.types.is_large_string(texts.type) else np.int32
    _, bounds, data = texts.buffers()
    where = np.zeros(1, np.int64)
    if len(texts):
        where = np.frombuffer(bounds, kind)[texts.offset : texts.offset + len(texts) + 1].astype(np.int64)
    found = np.frombuffer(data or b"", np.uint8)
    found.flags.writeable = False  # as what is mapped is: kernels are compiled for one kind of array
    return found, where


def shingle_sets(texts: pa.Array) -> list[Hashes]:
    """The sorted distinct shingles of each text, as 64-bit hashes: of two texts they give the Jaccard similarity.

    That any two shingles of two documents of a thousand each collide by chance has a probability below 1e-12.
    """
    data, bounds = utf8(texts)
    most = 2 * int(np.diff(bounds).max(initial=0)) + 1  # six kana come from the three bytes of one square
    looked_up, room, hashes = tables(), scratch(), np.empty(most, np.uint64)
    return [
        distinct(hashes[: all_shingles(data, start, end, looked_up, room, hashes)])
        for start, end in itertools.pairwise(bounds)
    ]


def shingles_of(tables: Iterable[pa.Table], rows: npt.NDArray[np.int64], start: int) -> pa.Table:
    """row (over all shards), shingles (their sorted hashes) of the documents of a shard, which begins at `start`."""
    pieces: list[Hashes] = [np.empty(0, np.uint64)]
    for batch in (batch for table in tables for batch in table.to_batches()):
        here = rows[slice(*np.searchsorted(rows, [start, start + len(batch)]))] - start
        if len(here):
            pieces += shingle_sets(batch["text"].take(pa.array(here)))
        start += len(batch)
    bounds = np.cumsum([len(piece) for piece in pieces], dtype=np.int64)
    sets = pa.LargeListArray.from_arrays(pa.array(bounds), pa.array(np.concatenate(pieces)))
    return pa.table({"row": rows, "shingles": sets})


@kernel
def all_shingles(text: Any, start: Any, end: Any, tables: Any, scratch: Any, hashes: Any) -> Any:
    """The hashes of a text's shingles, in order, repeats too, into `hashes`; returns how many."""
    count = 0
    open_text(scratch, start)
    while True:
        begun = next_windows(text, end, SHINGLE_WORDS * UNITS_PER_WORD, tables, scratch)
        hashes[count : count + begun] = scratch.windows[:begun]
        count += begun
        if scratch.state[AT] >= end:
            break
    if not count:
        hashes[0], count = short_text(scratch), 1
    return count


@kernel
def open_text(scratch: Any, start: Any) -> None:
    """Before the first `next_windows` of a text that begins at byte `start`."""
    scratch.digest[:] = 0
    scratch.state[:] = 0
    scratch.state[AT] = start


@kernel
def next_windows(text: Any, end: Any, wanted: Any, tables: Any, scratch: Any) -> Any:
    """Read on. The hash of the shortest run of tokens that holds `wanted` units, from each token, into `windows`.

    Returns how many; tokens whose run is not complete wait for the next call. All is read once `state[AT]` is `end`.
    """
    tokens, units, ends, prefixes, windows, _, state = scratch
    begun = state[BEGUN]
    left = state[COUNT] - begun
    for index in range(left):
        tokens[index], units[index] = tokens[begun + index], units[begun + index]
        ends[index] = ends[begun + index]
    state[COUNT] = left
    read_tokens(text, end, tables, scratch)
    prefixes[0] = 0
    for index in range(state[COUNT]):
        prefixes[index + 1] = prefixes[index] * ROLL + tokens[index]
    stop, held = 0, 0
    for start in range(state[COUNT]):
        while held < wanted and stop < state[COUNT]:
            held += units[stop]
            stop += 1
        if held < wanted:
            state[BEGUN] = start
            return start
        windows[start] = mix(prefixes[stop] - prefixes[start] * tables.powers[stop - start])
        held -= units[start]
    state[BEGUN] = state[COUNT]
    return state[COUNT]


@kernel
def short_text(scratch: Any) -> Any:
    """The hash of all that was read as one shingle, where no window began; without a token, of the normal form."""
    count = scratch.state[COUNT]
    return mix(scratch.prefixes[count]) if count else scratch.digest[0]


@kernel
def read_tokens(text: Any, end: Any, tables: Any, scratch: Any) -> None:
    """Add tokens to the block until it is full or the text ends."""
    kinds, folded, sequences, word_bytes, _ = tables
    tokens, units, ends, _, _, digest, scratch_state = scratch
    at, count, before = scratch_state[AT], scratch_state[COUNT], scratch_state[BEFORE]
    first, second = digest[0], digest[1]
    word, inside, queued, next_form = FNV_START, False, 0, 0
    while True:
        if queued:
            form = sequences[next_form]
            kind = kinds[form]
            queued -= 1
            next_form += 1
        elif at >= end:
            if not inside:
                break
            kind, form = np.uint8(SPACE), np.uint32(32)  # ends the last word
        elif count >= BLOCK - LONGEST_FORM and not inside:
            break
        else:
            byte = text[at]
            if byte < 0x80:
                kind, form = kinds[byte], folded[byte]
                at += 1
            else:
                code, length = decode(text, at, end)
                at += length
                if code < CODES:
                    kind, form = kinds[code], folded[code]
                    if kind == SEVERAL:
                        queued, next_form = int(sequences[form]), int(form) + 1
                        continue
                else:
                    kind, form = np.uint8(OTHER), np.uint32(code)
        if kind == WORD:
            word = (word ^ np.uint64(form)) * FNV_PRIME
            inside = True
            while not queued and at < end and word_bytes[text[at]]:  # most bytes of most texts
                word = (word ^ word_bytes[text[at]]) * FNV_PRIME
                at += 1
            continue
        if kind == IGNORED:
            continue
        if inside:
            token = finish(word)
            tokens[count], units[count], ends[count] = token, UNITS[WORD], at
            count += 1
            first, second = digest_of(first, second, before, token)
            word, inside, before = FNV_START, False, SOMETHING
        if kind == SPACE:
            if before == SOMETHING:
                before = WHITE_SPACE
            continue
        item = np.uint64(form)
        if kind != OTHER:
            item = finish((FNV_START ^ item) * FNV_PRIME)
            tokens[count], units[count], ends[count] = item, UNITS[kind], at
            count += 1
        first, second = digest_of(first, second, before, item)
        before = SOMETHING
    digest[0], digest[1] = first, second
    scratch_state[AT], scratch_state[COUNT], scratch_state[BEFORE] = at, count, before


@kernel
def decode(text: Any, at: Any, end: Any) -> Any:
    """(code point, bytes) of the UTF-8 sequence at `at`. A byte that belongs to none is a replacement character.

    A lone surrogate, as Python's "surrogatepass" writes it, is read as it stands.
    """
    lead = text[at]
    length = 2 if lead < 0xE0 else 3 if lead < 0xF0 else 4
    if lead < 0xC2 or lead > 0xF4 or at + length > end:
        return 0xFFFD, 1
    code = np.int64(lead) & (0x7F >> length)
    for index in range(at + 1, at + length):
        if text[index] & 0xC0 != 0x80:
            return 0xFFFD, 1
        code = (code << 6) | (np.int64(text[index]) & 0x3F)
    return code, length


@kernel
def finish(word: Any) -> Any:
    """A token's hash, from FNV's state behind its last code point."""
    word ^= word >> np.uint64(32)
    word *= TOKEN_PRIME
    return word ^ (word >> np.uint64(29))


@kernel
def mix(value: Any) -> Any:
    """A bijection on 64 bits after which every bit depends on every bit."""
    value ^= value >> np.uint64(33)
    value *= MIX_1
    value ^= value >> np.uint64(33)
    value *= MIX_2
    return value ^ (value >> np.uint64(33))


@kernel
def digest_of(first: Any, second: Any, before: Any, item: Any) -> Any:
    """The digest's halves after one more item, and the white space before it."""
    if before == WHITE_SPACE:
        first, second = (first ^ np.uint64(32)) * MIX_1, (second + np.uint64(32)) * MIX_2
        first, second = first ^ (first >> np.uint64(32)), second ^ (second >> np.uint64(29))
    first, second = (first ^ item) * MIX_1, (second + item) * MIX_2
    return first ^ (first >> np.uint64(32)), second ^ (second >> np.uint64(29))
