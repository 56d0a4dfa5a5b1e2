"""What cleaning rules look at, counted for many texts at once: words, lines, paragraphs, n-grams, sentences.

One numba kernel reads the UTF-8 bytes where Arrow keeps them. Rules (`quality.CHECKS`) decide from the numbers alone.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from data_prep.folding import CODES
from data_prep.kernels import kernel
from data_prep.repetition import count_key, count_of, empty, new_runs, new_table, ngram_characters, slots_for
from data_prep.shingles import FNV_PRIME, FNV_START, UNITS_PER_WORD, decode, mix, utf8
from data_prep.words import (
    CLASS_BIT,
    DOT,
    ELLIPSIS,
    END,
    ENDS_SENTENCE,
    FOLDED,
    HAS_LETTER,
    IS_WORD,
    LENGTH,
    SENTENCE_END,
    SHAPE,
    STANDING,
    UNITS_BIT,
    UNSPACED,
    WHITE,
    room,
    split_words,
    word_hashes,
    word_tables,
)

MEASURED_BYTES = 2 << 20  # of a text: 350,000 English words, three times what Gopher's rules let through
SHORT_LINE = 30  # characters: FineWeb's short lines (Penedo et al. 2024, section 3.6) are not longer
CHARACTER_UNITS = UNITS_PER_WORD // 6  # an English word is five letters and a space
BULLETS = "•‣▶◀◦■□▪▫–-*·●○"
LONGEST_STOP_WORD = 16  # characters
HASH, NEWLINE = ord("#"), ord("\n")

Column = npt.NDArray[np.float64]


class Statistics(NamedTuple):
    """Of n texts, (n,) each. `words` and `tokens` are in words: a Chinese character is a part of one."""

    length: Column  # code points of all of the text; all else is of what is measured of it
    characters: Column  # code points
    newlines: Column
    words: Column  # tokens that are not all punctuation
    tokens: Column  # punctuation marks, too
    spaced_words: Column  # words of scripts with spaces
    spaced_letters: Column  # their code points
    alphabetic: Column  # tokens with a letter in them
    stop_words: Column  # how many different ones of the language
    sentences: Column
    hashes: Column  # "#"
    ellipses: Column  # "..." and "…"
    lines: Column  # that are not blank; so are all below
    bullet_lines: Column
    ellipsis_lines: Column
    punctuated_lines: Column  # that end as a sentence does
    short_lines: Column
    repeated_lines: Column  # that stand earlier in the text, too
    repeated_line_characters: Column
    paragraphs: Column  # between blank lines
    repeated_paragraphs: Column
    repeated_paragraph_characters: Column
    top_2: Column  # characters in the most frequent n-gram, all times it stands
    top_3: Column
    top_4: Column
    repeated_5: Column  # characters in repeated n-grams
    repeated_6: Column
    repeated_7: Column
    repeated_8: Column
    repeated_9: Column
    repeated_10: Column
    lorem_ipsum: Column  # from here on of what changes lines (`lines`): lines with these words
    braces: Column  # lines with {
    removed_words: Column  # in lines that RefinedWeb's corrections touched
    words_before: Column  # and in all lines before


(
    CHARACTERS, NEWLINES, WORDS, TOKENS, SPACED_WORDS, SPACED_LETTERS, ALPHABETIC, STOP_WORDS, SENTENCES,
    HASHES, ELLIPSES, LINES, BULLET_LINES, ELLIPSIS_LINES, PUNCTUATED_LINES, SHORT_LINES, REPEATED_LINES,
    REPEATED_LINE_CHARACTERS, PARAGRAPHS, REPEATED_PARAGRAPHS, REPEATED_PARAGRAPH_CHARACTERS, TOP_2,
) = range(22)  # fmt: skip
COLUMNS = TOP_2 + 9  # of the kernel's numbers
NO_STOP_WORDS = np.empty(0, np.uint64)


def code_points(characters: str) -> npt.NDArray[np.bool_]:
    """Which code points are among the characters: (CODES,)."""
    found = np.zeros(CODES, bool)
    found[list(map(ord, characters))] = True
    return found


def measure(texts: pa.Array, stop_words: Sequence[Sequence[str]]) -> Statistics:
    """The statistics of an Arrow string array. `stop_words`: of each text's language, at most 64.

    Of a text above `MEASURED_BYTES` they are those of its beginning.
    """
    data, bounds = utf8(texts)
    sizes = np.minimum(np.diff(bounds), MEASURED_BYTES)
    largest = int(sizes.max(initial=0))
    known: dict[tuple[str, ...], int] = {}
    which = np.array([known.setdefault(tuple(words), len(known)) for words in stop_words], np.int64)
    lists = [word_hashes(words) for words in known]
    stops = np.concatenate([np.empty(0, np.uint64), *lists])
    list_bounds = np.cumsum([0, *map(len, lists)])
    out = np.zeros((len(texts), COLUMNS), np.int64)
    chunk, tokens = room(largest)
    table, runs = new_table(largest + 1), new_runs(largest + 1)
    _measure(data, bounds[:-1], sizes, stops, list_bounds[which], list_bounds[which + 1], word_tables(),
             code_points(BULLETS), chunk, tokens, table, runs, out)  # fmt: skip
    columns = out.T.astype(np.float64)
    for column in (WORDS, TOKENS, ALPHABETIC):
        columns[column] /= UNITS_PER_WORD
    nothing = np.zeros(len(texts))
    length = pc.utf8_length(texts).to_numpy(zero_copy_only=False).astype(np.float64)
    return Statistics(*[length, *columns, *4 * [nothing]])


def count_text_words(texts: pa.Array) -> npt.NDArray[np.int64]:
    """The words of each text, to the next whole one: (n,)."""
    data, bounds = utf8(texts)
    sizes = np.minimum(np.diff(bounds), MEASURED_BYTES)
    out = np.zeros((len(texts), COLUMNS), np.int64)
    _count_text_words(data, bounds[:-1], sizes, word_tables(), *room(int(sizes.max(initial=0))), out)
    return out[:, WORDS] // UNITS_PER_WORD


@kernel
def _count_text_words(text: Any, starts: Any, sizes: Any, tables: Any, chunk: Any, tokens: Any, out: Any) -> None:
    for row in range(len(starts)):
        count = split_words(text, starts[row], starts[row] + sizes[row], tables, chunk, tokens)
        count_words(tokens[:count], NO_STOP_WORDS, out[row])


@kernel
def _measure(
    text: Any, starts: Any, sizes: Any, stops: Any, first_stop: Any, last_stop: Any, tables: Any, bullets: Any,
    chunk: Any, tokens: Any, table: Any, runs: Any, out: Any,
) -> None:  # fmt: skip
    for row in range(len(starts)):
        start, end = starts[row], starts[row] + sizes[row]
        count = split_words(text, start, end, tables, chunk, tokens)
        found = tokens[:count]
        count_words(found, stops[first_stop[row] : last_stop[row]], out[row])
        count_lines(text, start, end, found, tables, bullets, table, out[row])
        count_paragraphs(text, start, end, table, out[row])
        ngram_characters(tokens, count, table, runs, out[row, TOP_2:])


@kernel
def count_words(tokens: Any, stops: Any, out: Any) -> None:
    seen = np.uint64(0)
    for index in range(len(tokens)):
        kind = np.int64(tokens[index, SHAPE])
        units, length = kind >> UNITS_BIT, kind & LENGTH
        out[TOKENS] += units
        if kind & IS_WORD:
            out[WORDS] += units
            if not kind & UNSPACED:
                out[SPACED_WORDS] += 1
                out[SPACED_LETTERS] += length
        if kind & HAS_LETTER:
            out[ALPHABETIC] += units
            if length <= LONGEST_STOP_WORD:
                folded = tokens[index, FOLDED]
                for place in range(len(stops)):
                    if stops[place] == folded:
                        seen |= np.uint64(1) << np.uint64(place)
    while seen:
        seen &= seen - np.uint64(1)
        out[STOP_WORDS] += 1


@kernel
def count_lines(text: Any, start: Any, end: Any, tokens: Any, tables: Any, bullets: Any, table: Any, out: Any) -> None:
    """Lines between newlines; of those that are not blank what they begin with, end in, and whether they come again.

    A sentence ends at a full stop, question or exclamation mark and whatever other punctuation follows it, as spaCy's
    sentencizer has it, and with its line, as C4 counts.
    """
    empty(table)
    slots = slots_for((end - start) // 2 + 1, table)
    token = 0
    at = start
    while at < end:
        hashed, characters, width = FNV_START, 0, 0
        first, last, dots, dots_end = np.int64(-1), np.int64(-1), 0, 0
        while at < end and text[at] != NEWLINE:
            code, length = np.int64(text[at]), 1
            if code >= 0x80:
                code, length = decode(text, at, end)
            at += length
            hashed = (hashed ^ np.uint64(code)) * FNV_PRIME
            characters += 1
            own = (tables.known[code] >> CLASS_BIT) & 15 if code < CODES else STANDING
            units = tables.units[own]
            width += CHARACTER_UNITS if units == UNITS_PER_WORD else units
            if code == HASH:
                out[HASHES] += 1
            if code == ELLIPSIS:
                out[ELLIPSES] += 1
            dots = dots + 1 if code == DOT else 0
            if dots >= 3:
                out[ELLIPSES] += dots % 3 == 0
                dots_end = at
            if own != WHITE:
                if first < 0:
                    first = code
                last = code
                if code == ELLIPSIS:
                    dots_end = at
            elif dots_end == at - length and last >= 0:
                dots_end = at  # white space behind an ellipsis
        out[CHARACTERS] += characters
        if at < end:
            out[CHARACTERS] += 1
            out[NEWLINES] += 1
        if first >= 0:
            out[LINES] += 1
            out[BULLET_LINES] += first < CODES and bullets[first]
            out[ELLIPSIS_LINES] += dots_end == at
            out[PUNCTUATED_LINES] += last < CODES and tables.known[last] & SENTENCE_END != 0
            out[SHORT_LINES] += width <= SHORT_LINE * CHARACTER_UNITS
            if count_of(count_key(mix(hashed), slots, table), table) > 1:
                out[REPEATED_LINES] += 1
                out[REPEATED_LINE_CHARACTERS] += characters
        ended, any_token = False, False
        while token < len(tokens) and np.int64(tokens[token, END]) <= at:
            kind = np.int64(tokens[token, SHAPE])
            any_token = True
            if kind & ENDS_SENTENCE:
                ended = True
            elif ended and kind & IS_WORD:
                out[SENTENCES] += 1
                ended = False
            token += 1
        out[SENTENCES] += any_token
        at += 1


@kernel
def count_paragraphs(text: Any, start: Any, end: Any, table: Any, out: Any) -> None:
    """What stands between two or more newlines."""
    empty(table)
    slots = slots_for((end - start) // 3 + 1, table)
    at = start
    while at < end and text[at] == NEWLINE:
        at += 1
    while at < end:
        hashed, characters = FNV_START, 0
        while at < end and not (text[at] == NEWLINE and (at + 1 >= end or text[at + 1] == NEWLINE)):
            hashed = (hashed ^ np.uint64(text[at])) * FNV_PRIME
            characters += text[at] & 0xC0 != 0x80
            at += 1
        while at < end and text[at] == NEWLINE:
            at += 1
        out[PARAGRAPHS] += 1
        if count_of(count_key(mix(hashed), slots, table), table) > 1:
            out[REPEATED_PARAGRAPHS] += 1
            out[REPEATED_PARAGRAPH_CHARACTERS] += characters
