"""Text to the words that cleaning rules count: a numba kernel over UTF-8 bytes.

The field's thresholds were set with spaCy's tokenizer, which takes punctuation, "n't" and "'s" off words as tokens of
their own, and rules count those, too. Here are the same cuts, by tables instead of regular expressions: affixes come
off a run of characters between white space, then a few marks cut it inside. Of scripts without spaces every character
is a token, and counts as a part of a word (`shingles.UNITS`).
"""

from __future__ import annotations

import functools
import unicodedata
from collections.abc import Iterable
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from data_prep.folding import CODES, IGNORED, PLANES_END, SEVERAL, SPACE, folding
from data_prep.folding import HAN as HAN_KIND
from data_prep.folding import KANA as KANA_KIND
from data_prep.folding import SOUTHEAST_ASIAN as SOUTHEAST_ASIAN_KIND
from data_prep.kernels import kernel
from data_prep.shingles import FNV_PRIME, FNV_START, UNITS, UNITS_PER_WORD, decode

# Classes of code points. From HAN to SOUTHEAST_ASIAN each is a token; from MARK_ALONE on they are no part of a word
# unless they stand inside one: a prefix comes off its front, a suffix off its end.
WHITE, LOWER, UPPER, LETTER, DIGIT, JOINER, HAN, KANA, SOUTHEAST_ASIAN, STANDING, AFFIX, PREFIX = range(12)
AFFIXES = ",:;!?¿؟¡()[]{}<>_#*&。？！，、；：～·।،۔؛٪'\"”“`‘´’‚„»«「」『』（）〔〕【】《》〈〉⟦⟧—–…"
PREFIXES = "§%="  # and signs of currencies
CONTRACTED = ("s", "m", "re", "ve", "ll", "d")  # behind an apostrophe, at the end
ELIDED = ("l", "d", "j", "c", "n", "s", "t", "m", "qu")  # before one, in Romance languages
ABBREVIATIONS = (  # whose full stop ends no sentence
    "adm", "bros", "co", "corp", "dr", "gen", "gov", "inc", "jr", "ltd", "md", "messrs", "mo", "mr", "mrs", "ms",
    "prof", "rep", "rev", "sen", "sr", "st", "vs", "jan", "feb", "mar", "apr", "jun", "jul", "aug", "sep", "sept",
    "oct", "nov", "dec", "fig", "no", "vol", "pp", "ed", "eds", "etc", "ca", "cf", "al",
)  # fmt: skip
LONGEST_CHUNK = 512  # code points between white space that are looked at together

SENTENCE_ENDS = ".!?։؟۔।။።‼‽⁇⁈⁉。！？｡．"
DOT, HYPHEN, APOSTROPHE, SLASH, COLON, PLUS, ELLIPSIS = map(ord, ".-'/:+…")
AT, COMMA, TILDE, EN_DASH, EM_DASH, LESS, GREATER, STAR, CARET = map(ord, "@,~–—<>*^")  # "=" lies between the two
LETTER_N, LETTER_T = map(ord, "nt")

Hashes = npt.NDArray[np.uint64]
Numbers = npt.NDArray[np.int64]


# What is known of a code point, in one number: itself, and from these bits on its class, whether no word is made of its
# like alone, whether it ends a sentence, its folded form
CODE, CLASS_BIT, PUNCTUATION, SENTENCE_END, FOLDED_BIT = (1 << 21) - 1, 21, 1 << 25, 1 << 26, 32
UNKNOWN = STANDING << CLASS_BIT | 0xFFFD << FOLDED_BIT | 0xFFFD  # beyond the tables: private, or nothing at all

# Columns of the array of tokens: hashes of the characters as they stand and of their folded forms; how many they are,
# with the bits below and from UNITS_BIT on the 60ths of a word; bytes of the text read when the token was known
EXACT, FOLDED, SHAPE, END = range(4)
LENGTH, HAS_LETTER, IS_WORD, ENDS_SENTENCE, UNSPACED, UNITS_BIT = 0xFFFF, 1 << 16, 1 << 17, 1 << 18, 1 << 19, 24


class WordTables(NamedTuple):
    """What the kernel looks up."""

    known: Numbers  # (CODES,) of each code point the bits above
    units: Numbers  # (12,) of a token of a class
    parts: Hashes  # sorted: `word_hash` of abbreviations, contracted and elided words, each changed by its own number


IN_ABBREVIATIONS, IN_CONTRACTED, IN_ELIDED = np.uint64(1 << 60), np.uint64(1 << 61), np.uint64(1 << 62)


def room(size_bytes: int) -> tuple[Numbers, Hashes]:
    """Where `split_words` works, and where it leaves the tokens of a text of so many bytes."""
    return np.empty(2 * LONGEST_CHUNK, np.int64), np.empty((size_bytes + 2, 4), np.uint64)


@functools.cache
def word_tables() -> WordTables:
    kinds, _, _ = folding()
    categories = [unicodedata.category(chr(code)) for code in range(PLANES_END)]
    classes = np.full(CODES, STANDING, np.int64)
    classes[:PLANES_END] = [class_of(category) for category in categories]
    for kind, own in ((HAN_KIND, HAN), (KANA_KIND, KANA), (SOUTHEAST_ASIAN_KIND, SOUTHEAST_ASIAN)):
        classes[kinds == kind] = own
    classes[list(map(ord, AFFIXES))] = AFFIX
    classes[list(map(ord, PREFIXES))] = PREFIX
    classes[kinds == SPACE] = WHITE
    classes[kinds == IGNORED] = JOINER
    codes = np.arange(CODES)
    known = codes | classes << CLASS_BIT
    known[:PLANES_END] |= np.where([category[0] in "PSC" for category in categories], PUNCTUATION, 0)
    known[list(map(ord, SENTENCE_ENDS))] |= SENTENCE_END
    known |= folded_once() << FOLDED_BIT
    units = np.full(12, UNITS_PER_WORD)
    units[[HAN, KANA, SOUTHEAST_ASIAN]] = UNITS[[HAN_KIND, KANA_KIND, SOUTHEAST_ASIAN_KIND]]
    sets = ((ABBREVIATIONS, IN_ABBREVIATIONS), (CONTRACTED, IN_CONTRACTED), (ELIDED, IN_ELIDED))
    parts = np.sort(np.concatenate([word_hashes(words) ^ own for words, own in sets]))
    return WordTables(known, units, parts)


@functools.cache
def folded_once() -> Numbers:
    """(CODES,) the folded form of each code point as one: what folds to several is only made lower case."""
    kinds, folded, _ = folding()
    one = folded.astype(np.int64)
    for code in map(int, np.flatnonzero(kinds == SEVERAL)):
        lower = chr(code).casefold()
        one[code] = ord(lower) if len(lower) == 1 else code
    one[ord("’")] = ord("'")
    return one


def class_of(category: str) -> int:
    """The class of a code point of a general category, where no list above says otherwise."""
    if category in ("Ll", "Lu"):
        return LOWER if category == "Ll" else UPPER
    if category in ("So", "Sc"):
        return AFFIX if category == "So" else PREFIX
    return {"L": LETTER, "N": DIGIT, "M": JOINER}.get(category[0], STANDING)


def word_hashes(words: Iterable[str]) -> Hashes:
    """The hashes of words as the kernel makes them: FNV-1a over folded code points, apostrophes straight."""
    folded, found = folded_once(), []
    for word in words:
        value = int(FNV_START)
        for character in word:
            value = (value ^ int(folded[ord(character)])) * int(FNV_PRIME) % 2**64
        found.append(value)
    return np.array(found, np.uint64)


@kernel
def split_words(text: Any, start: Any, end: Any, tables: Any, chunk: Any, tokens: Any) -> Any:
    """Fill `tokens` with those of bytes `start` to `end`; returns how many. `chunk` and `tokens` are `room`."""
    known, units, parts = tables
    at, count, size, letters = start, 0, 0, True
    while at < end:
        code, length = np.int64(text[at]), 1
        if code >= 0x80:
            code, length = decode(text, at, end)
        point = known[code] if code < CODES else np.int64(UNKNOWN)
        own = class_of_point(point)
        at += length
        if LOWER <= own <= LETTER and size < LONGEST_CHUNK:
            chunk[size] = point
            size += 1
            continue
        alone = HAN <= own <= SOUTHEAST_ASIAN
        if own == WHITE or alone or size == LONGEST_CHUNK:
            if size and letters:
                count = put(chunk, 0, size, at - length, tokens, count)
            elif size:
                count = split_chunk(chunk, size, at - length, parts, tokens, count)
            size, letters = 0, True
            if own == WHITE:
                continue
            if alone:
                shape = 1 | IS_WORD | HAS_LETTER | UNSPACED | units[own] << UNITS_BIT
                tokens[count, EXACT] = (FNV_START ^ np.uint64(code)) * FNV_PRIME
                tokens[count, FOLDED] = (FNV_START ^ np.uint64(point >> FOLDED_BIT)) * FNV_PRIME
                tokens[count, SHAPE], tokens[count, END] = np.uint64(shape), np.uint64(at)
                count += 1
                continue
        chunk[size] = point
        size += 1
        letters = letters and LOWER <= own <= LETTER
    if size:
        count = split_chunk(chunk, size, at, parts, tokens, count)
    return count


@kernel
def class_of_point(point: Any) -> Any:
    return (point >> CLASS_BIT) & 15


@kernel
def class_at(chunk: Any, index: Any) -> Any:
    return (chunk[index] >> CLASS_BIT) & 15


@kernel
def code_at(chunk: Any, index: Any) -> Any:
    return chunk[index] & CODE


@kernel
def split_chunk(chunk: Any, size: Any, at: Any, parts: Any, tokens: Any, count: Any) -> Any:
    """The tokens of what stands between white space; returns the new count."""
    first, last = 0, size
    while first < last:
        taken = prefix(chunk, first, last)
        if not taken:
            break
        count = put(chunk, first, first + taken, at, tokens, count)
        first += taken
    behind = last
    cuts = len(chunk)  # their places, from the end of `chunk` on
    while first < behind:
        taken = suffix(chunk, first, behind, parts)
        if not taken:
            break
        cuts -= 1
        chunk[cuts] = behind
        behind -= taken
    if first < behind:
        if is_address(chunk, first, behind):
            count = put(chunk, first, behind, at, tokens, count)
        else:
            count = split_inside(chunk, first, behind, at, parts, tokens, count)
    for index in range(cuts, len(chunk)):
        count = put(chunk, behind, chunk[index], at, tokens, count)
        behind = chunk[index]
    return count


@kernel
def prefix(chunk: Any, first: Any, last: Any) -> Any:
    """How many code points come off the front as one token."""
    dots = first
    while dots < last and code_at(chunk, dots) == DOT:
        dots += 1
    if dots - first > 1:
        return dots - first
    own = class_at(chunk, first)
    if own in (AFFIX, PREFIX):
        return 1
    plus = code_at(chunk, first) == PLUS and (first + 1 >= last or class_at(chunk, first + 1) != DIGIT)
    return 1 if plus else 0


@kernel
def suffix(chunk: Any, first: Any, last: Any, parts: Any) -> Any:
    """How many code points come off the end as one token."""
    code, own = code_at(chunk, last - 1), class_at(chunk, last - 1)
    before = class_at(chunk, last - 2) if last - 2 >= first else WHITE
    if code == DOT:
        dots = last - 1
        while dots > first and code_at(chunk, dots - 1) == DOT:
            dots -= 1
        if last - dots > 1:
            return last - dots
        if before in (WHITE, STANDING) or is_abbreviation(chunk, first, last - 1, parts):
            return 0
        twice = last - 3 >= first and class_at(chunk, last - 3) == UPPER
        return 0 if before == UPPER and not twice else 1
    if own == AFFIX:
        return 1
    if before == DIGIT and (own == PREFIX or code == PLUS):
        return 1
    if LOWER <= own <= UPPER:  # "'s", "'re", "n't"
        mark = last - 2
        while mark > first and last - mark <= 3 and folded_at(chunk, mark) != APOSTROPHE:
            mark -= 1
        if mark > first and folded_at(chunk, mark) == APOSTROPHE:
            if last - mark == 2 and folded_at(chunk, mark + 1) == LETTER_T:
                return 3 if mark - 1 > first and folded_at(chunk, mark - 1) == LETTER_N else 0
            if among(parts, hash_of(chunk, mark + 1, last) ^ IN_CONTRACTED):
                return last - mark
    return 0


@kernel
def is_abbreviation(chunk: Any, first: Any, last: Any, parts: Any) -> Any:
    """Whether a full stop behind `last` belongs to the word: "Mr", "e.g", "U.S"."""
    if last - first >= 3 and code_at(chunk, last - 2) == DOT and class_at(chunk, last - 1) <= LETTER:
        return True
    return last - first <= 6 and among(parts, hash_of(chunk, first, last) ^ IN_ABBREVIATIONS)


@kernel
def is_address(chunk: Any, first: Any, last: Any) -> Any:
    """Whether nothing cuts the run: "https://a.b/c", "example.com/x", "jo-ann@example.org"."""
    dot, at_sign = -1, False  # the last dot of the host
    for index in range(first, last):
        own, code = class_at(chunk, index), code_at(chunk, index)
        if code == DOT and index > first:
            dot = index
        elif code == AT:
            at_sign, dot = index > first, -1
        elif code == SLASH:
            return index - dot > 2 and dot > first
        elif code == COLON:
            scheme = dot < 0 and not at_sign and index > first
            return scheme and index + 2 < last and code_at(chunk, index + 1) == code_at(chunk, index + 2) == SLASH
        elif own > JOINER and code != HYPHEN:
            return False
        elif own == DIGIT and dot >= 0:
            dot = index  # no name of a country or the like
    return at_sign and last - dot > 2 and dot > first


@kernel
def split_inside(chunk: Any, first: Any, last: Any, at: Any, parts: Any, tokens: Any, count: Any) -> Any:
    """Cut at marks between two letters or digits; returns the new count."""
    begin = first
    index = first + 1
    while index < last - 1:
        code, own = code_at(chunk, index), class_at(chunk, index)
        if LOWER <= own <= JOINER:
            index += 1
            continue
        before, stop = class_at(chunk, index - 1), index + 1
        cut = False
        if code == DOT:
            while stop < last and code_at(chunk, stop) == DOT:
                stop += 1
            upper = stop < last and class_at(chunk, stop) == UPPER
            cut = stop - index > 1 or (before == LOWER and upper)
        elif code == ELLIPSIS:
            cut = True
        elif folded_at(chunk, index) == APOSTROPHE:
            if index - begin <= 2 and among(parts, hash_of(chunk, begin, index) ^ IN_ELIDED):
                count = put(chunk, begin, stop, at, tokens, count)
                begin = stop
        else:
            if code == HYPHEN:
                while stop < last - 1 and code_at(chunk, stop) == HYPHEN:
                    stop += 1
            behind = class_at(chunk, stop)
            letters = LOWER <= before <= LETTER and LOWER <= behind <= LETTER
            digits = before == DIGIT and behind == DIGIT
            if code == HYPHEN:
                cut = digits or (LOWER <= before <= DIGIT and LOWER <= behind <= LETTER)
            elif code in (COMMA, TILDE, EN_DASH, EM_DASH):
                cut = letters
            elif code in (COLON, SLASH) or LESS <= code <= GREATER:
                cut = LOWER <= before <= DIGIT and LOWER <= behind <= LETTER
            elif code in (PLUS, STAR, CARET):
                cut = digits
        if cut:
            if index > begin:
                count = put(chunk, begin, index, at, tokens, count)
            count = put(chunk, index, stop, at, tokens, count)
            begin = stop
        index = stop
    if begin < last:
        count = put(chunk, begin, last, at, tokens, count)
    return count


@kernel
def put(chunk: Any, first: Any, last: Any, at: Any, tokens: Any, count: Any) -> Any:
    """Add a token; returns the new count."""
    exact, folded, all_bits, shape = FNV_START, FNV_START, np.int64(-1), np.int64(0)
    for index in range(first, last):
        point = chunk[index]
        all_bits &= point
        own = class_of_point(point)
        if LOWER <= own <= LETTER:
            shape |= HAS_LETTER
        exact = (exact ^ np.uint64(point & CODE)) * FNV_PRIME
        folded = (folded ^ np.uint64(point >> FOLDED_BIT)) * FNV_PRIME
    if not all_bits & PUNCTUATION:
        shape |= IS_WORD
    if last - first == 1 and all_bits & SENTENCE_END:
        shape |= ENDS_SENTENCE
    shape |= (last - first) | UNITS_PER_WORD << UNITS_BIT
    tokens[count, EXACT], tokens[count, FOLDED] = exact, folded
    tokens[count, SHAPE], tokens[count, END] = np.uint64(shape), np.uint64(at)
    return count + 1


@kernel
def folded_at(chunk: Any, index: Any) -> Any:
    return chunk[index] >> FOLDED_BIT


@kernel
def hash_of(chunk: Any, first: Any, last: Any) -> Any:
    """`word_hashes` of a part of the chunk."""
    value = FNV_START
    for index in range(first, last):
        value = (value ^ np.uint64(folded_at(chunk, index))) * FNV_PRIME
    return value


@kernel
def among(parts: Any, value: Any) -> Any:
    """Whether the sorted array holds the value."""
    place = np.searchsorted(parts, value)
    return place < len(parts) and parts[place] == value
