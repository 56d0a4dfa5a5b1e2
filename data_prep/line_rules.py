"""Rules that change a text line by line: C4's and RefinedWeb's, as numba kernels over UTF-8 bytes.

Raffel et al. 2020, arXiv:1910.10683, section 2.2, in the order of its public code (long words, citations, marks, words,
phrases). Penedo et al. 2023, arXiv:2306.01116, appendix G.2, "Line-wise corrections". Their phrases are English ones;
the rest holds for any script: full-width marks end a line, and a line's words are counted as everywhere here.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from data_prep.folding import CODES
from data_prep.kernels import kernel
from data_prep.measures import NEWLINE, code_points
from data_prep.shingles import UNITS_PER_WORD, decode, utf8
from data_prep.words import (
    CLASS_BIT,
    COMMA,
    DIGIT,
    DOT,
    ELLIPSIS,
    HAN,
    LOWER,
    SENTENCE_ENDS,
    SOUTHEAST_ASIAN,
    STANDING,
    UPPER,
    WHITE,
    word_tables,
)

Counts = npt.NDArray[np.int64]

# C4: "a period, exclamation mark, question mark, or end quotation mark", of any script
TERMINAL = SENTENCE_ENDS + "\"'”’»«“」』"
MIN_LINE_WORDS = 3
LONGEST_WORD = 1000  # characters
SHORT_LINE_WORDS = 10
OPEN, CLOSE, BRACE, SPACE, DIGIT_0, DIGIT_9, LETTER_K, LETTER_M = map(ord, "[]{ 09km")

C4_EDITS = ("c4-long-word", "c4-citation", "c4-no-terminal-mark", "c4-few-words", "c4-javascript", "c4-policy")
LONG_WORD, CITATION, NO_TERMINAL_MARK, FEW_WORDS, JAVASCRIPT, POLICY, LOREM_IPSUM, BRACES = range(8)
REFINEDWEB_EDITS = (
    "refinedweb-uppercase", "refinedweb-numbers", "refinedweb-counter", "refinedweb-one-word", "refinedweb-phrase",
)  # fmt: skip
UPPERCASE, NUMBERS, COUNTER, ONE_WORD, PHRASE, REMOVED_WORDS, WORDS_BEFORE = range(7)


class Phrases(NamedTuple):
    """Phrases, ASCII letters lower-case, as UTF-8: phrase i is letters[bounds[i]:bounds[i + 1]]."""

    letters: npt.NDArray[np.uint8]
    bounds: Counts
    begins: npt.NDArray[np.bool_]  # (256,) whether one begins with the byte, in any case


def phrases(*given: str) -> Phrases:
    encoded = [phrase.encode() for phrase in given]
    letters, begins = np.frombuffer(b"".join(encoded), np.uint8), np.zeros(256, bool)
    for phrase in given:
        begins[[ord(phrase[0]), ord(phrase[0].upper())]] = True
    return Phrases(letters, np.cumsum([0, *map(len, encoded)]), begins)


CITATIONS = phrases("[edit]", "[citation needed]")
LOREM_IPSUMS, JAVASCRIPTS = phrases("lorem ipsum"), phrases("javascript")
POLICIES = phrases(
    "terms of use", "privacy policy", "cookie policy", "uses cookies", "use of cookies", "use cookies"
)  # fmt: skip
COUNTED = phrases(
    "like", "likes", "share", "shares", "comment", "comments", "retweet", "retweets", "repost", "reposts", "view",
    "views", "follower", "followers", "download", "downloads", "upvote", "upvotes", "reply", "replies",
)  # fmt: skip
# the paper names sign-in, read more... and items in cart
AT_BEGINNING = phrases("sign-in", "sign in", "log in", "login", "sign up", "skip to content")
AT_END = phrases("read more...", "read more…", "read more", "continue reading")
ANYWHERE = phrases("items in cart", "item in cart", "items in your cart")


def c4_lines(texts: pa.Array) -> tuple[pa.Array, Counts]:
    """The texts with the lines that C4 keeps, and (n, 8): lines by `C4_EDITS`, then with lorem ipsum, and with {."""
    return _edit(_c4, texts, 8)


def refinedweb_lines(texts: pa.Array) -> tuple[pa.Array, Counts]:
    """The texts corrected, and (n, 7): lines by `REFINEDWEB_EDITS`, then 60ths of words in all these lines, and in all
    lines before."""
    return _edit(_refinedweb, texts, 7)


def _edit(kernel_of_rule: Any, texts: pa.Array, columns: int) -> tuple[pa.Array, Counts]:
    data, bounds = utf8(texts)
    kept = np.empty(bounds[-1] - bounds[0], np.uint8)
    counts, ends = np.zeros((len(texts), columns), np.int64), np.zeros(len(texts) + 1, np.int32)
    kernel_of_rule(data, bounds, word_tables(), code_points(TERMINAL), kept, ends, counts)
    return pa.StringArray.from_buffers(len(texts), pa.py_buffer(ends), pa.py_buffer(kept[: ends[-1]])), counts


class Line(NamedTuple):
    """What is known of one line."""

    start: Any  # of what stands between its white space
    stop: Any
    after: Any  # where the next begins
    units: Any  # 60ths of words: runs between white space, and characters of scripts without it
    longest: Any  # characters of the longest word
    last: Any  # code point
    ellipsis: Any  # whether it ends in one
    upper: Any  # letters
    digits: Any
    letters: Any  # of any script


@kernel
def read_line(text: Any, at: Any, end: Any, known: Any, token_units: Any) -> Any:
    """The line at byte `at`, without the white space around it."""
    start, stop, units, longest, run, counted, alone, dots, ellipsis = at, at, 0, 0, 0, False, True, 0, False
    last, upper, digits, letters = np.int64(-1), 0, 0, 0
    while at < end and text[at] != NEWLINE:
        code, length = np.int64(text[at]), 1
        if code >= 0x80:
            code, length = decode(text, at, end)
        at += length
        own = (known[code] >> CLASS_BIT) & 15 if code < CODES else STANDING
        if own == WHITE:
            run, counted, alone, dots = 0, False, True, 0
            if last < 0:
                start = at
            continue
        last, stop = code, at
        dots = dots + 1 if code == DOT else 0
        ellipsis = dots >= 3 or code == ELLIPSIS
        if HAN <= own <= SOUTHEAST_ASIAN:
            units += token_units[own]
            letters += 1
            run, counted, alone = 0, False, False
            continue
        if not counted and (alone or LOWER <= own <= DIGIT):  # a mark behind a Chinese character is no word
            units += UNITS_PER_WORD
            counted = True
        run += 1
        longest = max(longest, run)
        upper += own == UPPER
        digits += own == DIGIT
        letters += LOWER <= own < DIGIT
    return Line(start, max(start, stop), min(at + 1, end), units, longest, last, ellipsis, upper, digits, letters)


@kernel
def stands(text: Any, at: Any, stop: Any, letters: Any, first: Any, last: Any) -> Any:
    """Whether a phrase stands at byte `at`, in any case."""
    if at + last - first > stop:
        return False
    for index in range(last - first):
        byte = text[at + index]
        if 65 <= byte <= 90:
            byte += np.uint8(32)
        if byte != letters[first + index]:
            return False
    return True


@kernel
def find_phrase(text: Any, start: Any, stop: Any, phrases: Any) -> Any:
    """(where one of the phrases stands, its bytes), or (-1, 0)."""
    letters, bounds, begins = phrases
    for at in range(start, stop):
        if begins[text[at]]:
            for index in range(len(bounds) - 1):
                if stands(text, at, stop, letters, bounds[index], bounds[index + 1]):
                    return at, bounds[index + 1] - bounds[index]
    return -1, 0


@kernel
def citation(text: Any, at: Any, stop: Any) -> Any:
    """The bytes of "[12]", "[edit]", "[citation needed]" at `at`, where a bracket opens, or 0."""
    close = at + 1
    while close < stop and DIGIT_0 <= text[close] <= DIGIT_9:
        close += 1
    if close < stop and text[close] == CLOSE:
        return close + 1 - at
    letters, bounds, _ = CITATIONS
    for index in range(len(bounds) - 1):
        if stands(text, at, stop, letters, bounds[index], bounds[index + 1]):
            return bounds[index + 1] - bounds[index]
    return 0


@kernel
def _c4(text: Any, text_bounds: Any, tables: Any, terminal: Any, kept: Any, ends: Any, counts: Any) -> None:
    known, token_units = tables.known, tables.units
    length = 0
    for row in range(len(text_bounds) - 1):
        at, end = text_bounds[row], text_bounds[row + 1]
        begin = length
        while at < end:
            line = read_line(text, at, end, known, token_units)
            at = line.after
            if line.last < 0:
                continue
            if line.longest > LONGEST_WORD:
                counts[row, LONG_WORD] += 1
                continue
            # without citations, as far as a break before it: taken back where the line goes
            before = length
            if length > begin:
                kept[length] = NEWLINE
                length += 1
            place, first, cited = line.start, length, 0
            while place < line.stop:
                skipped = citation(text, place, line.stop) if text[place] == OPEN else 0
                if skipped:
                    cited += 1
                    place += skipped
                else:
                    kept[length] = text[place]
                    length += 1
                    place += 1
            if cited:
                while length > first and kept[length - 1] == SPACE:
                    length -= 1
                line = read_line(kept, first, length, known, token_units)
            if line.last < 0 or line.ellipsis or line.last >= CODES or not terminal[line.last]:
                reason = NO_TERMINAL_MARK
            elif line.units < MIN_LINE_WORDS * UNITS_PER_WORD:
                reason = FEW_WORDS
            else:
                reason = c4_phrase(kept, first, length)
            if reason >= 0:
                counts[row, reason] += 1
            if reason < 0 or reason in (LOREM_IPSUM, BRACES):  # of these two a check takes the whole text
                counts[row, CITATION] += cited
            else:
                length = before
        ends[row + 1] = length


@kernel
def c4_phrase(text: Any, start: Any, stop: Any) -> Any:
    """What C4 finds in a line that ends as it should, or -1."""
    if find_phrase(text, start, stop, LOREM_IPSUMS)[0] >= 0:
        return LOREM_IPSUM
    if find_phrase(text, start, stop, JAVASCRIPTS)[0] >= 0:
        return JAVASCRIPT
    for at in range(start, stop):
        if text[at] == BRACE:
            return BRACES
    return POLICY if find_phrase(text, start, stop, POLICIES)[0] >= 0 else -1


@kernel
def _refinedweb(text: Any, text_bounds: Any, tables: Any, terminal: Any, kept: Any, ends: Any, counts: Any) -> None:
    known, token_units = tables.known, tables.units
    length = 0
    for row in range(len(text_bounds) - 1):
        at, end = text_bounds[row], text_bounds[row + 1]
        while at < end:
            begin = at
            line = read_line(text, at, end, known, token_units)
            at = line.after
            counts[row, WORDS_BEFORE] += line.units
            first, last, reason = begin, at, -1
            if line.last < 0:
                reason = -1
            elif 2 * line.upper > line.letters:
                reason = UPPERCASE
            elif line.digits and not line.letters:
                reason = NUMBERS
            elif line.letters and line.units < 2 * UNITS_PER_WORD:
                reason = ONE_WORD
            elif is_counter(text, line.start, line.stop):
                reason = COUNTER
            if reason >= 0:
                first = last  # all of it goes
            elif line.last >= 0 and line.units <= SHORT_LINE_WORDS * UNITS_PER_WORD:
                found, size = boilerplate(text, line.start, line.stop)
                if found >= 0:
                    reason = PHRASE
                    kept[length : length + found - begin] = text[begin:found]
                    length += found - begin
                    first = found + size
            if reason >= 0:
                counts[row, reason] += 1
                counts[row, REMOVED_WORDS] += line.units
            kept[length : length + last - first] = text[first:last]
            length += last - first
        ends[row + 1] = length


@kernel
def is_counter(text: Any, start: Any, stop: Any) -> Any:
    """Whether a line is a number and a word for what people count: "3 likes", "1.2k views"."""
    at, digits = start, 0
    while at < stop and (DIGIT_0 <= text[at] <= DIGIT_9 or text[at] in (DOT, COMMA)):
        digits += 1
        at += 1
    if not digits:
        return False
    if at < stop and text[at] | 32 in (LETTER_K, LETTER_M):
        at += 1
    if at >= stop or text[at] != SPACE:
        return False
    letters, bounds, _ = COUNTED
    for index in range(len(bounds) - 1):
        first, last = bounds[index], bounds[index + 1]
        if stop - at - 1 == last - first and stands(text, at + 1, stop, letters, first, last):
            return True
    return False


@kernel
def boilerplate(text: Any, start: Any, stop: Any) -> Any:
    """(where a phrase stands that goes from a short line, its bytes), or (-1, 0)."""
    letters, bounds, _ = AT_BEGINNING
    for index in range(len(bounds) - 1):
        size = bounds[index + 1] - bounds[index]
        here = stands(text, start, stop, letters, bounds[index], bounds[index + 1])
        if here and not in_word(text, start + size, start, stop):
            return start, size
    letters, bounds, _ = AT_END
    for index in range(len(bounds) - 1):
        size = bounds[index + 1] - bounds[index]
        here = size <= stop - start and stands(text, stop - size, stop, letters, bounds[index], bounds[index + 1])
        if here and not in_word(text, stop - size - 1, start, stop):
            return stop - size, size
    found, size = find_phrase(text, start, stop, ANYWHERE)
    if found >= 0 and (in_word(text, found - 1, start, stop) or in_word(text, found + size, start, stop)):
        return -1, 0
    return found, size


@kernel
def in_word(text: Any, at: Any, start: Any, stop: Any) -> Any:
    """Whether a letter or digit stands at `at`; what is no ASCII counts as one."""
    if not start <= at < stop:
        return False
    byte = text[at]
    return byte >= 0x80 or DIGIT_0 <= byte <= DIGIT_9 or 97 <= byte | 32 <= 122
