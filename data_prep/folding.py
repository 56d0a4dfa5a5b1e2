"""The form in which texts are compared, as tables over all code points. Nothing stores it.

Every code point is folded by itself: compatibility decomposition, case folding, decomposition again; default ignorable
code points vanish. Texts that are equal under NFKC case folding (The Unicode Standard, D145 and D146) are equal here,
too, as long as the marks on one letter stand in canonical order, as they do in the NFC that cleaning leaves.
"""

from __future__ import annotations

import functools
import unicodedata
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

# Kinds of folded code points. A word is a run of `WORD`; of the scripts that put no spaces between words every
# character is a token. `SEVERAL` folds to any number of others.
OTHER, SPACE, WORD, HAN, KANA, SOUTHEAST_ASIAN, IGNORED, SEVERAL = range(8)
HAN_BLOCKS = (
    (0x2E80, 0x2FDF), (0x3005, 0x3007), (0x3021, 0x3029), (0x3400, 0x4DBF), (0x4E00, 0x9FFF), (0xF900, 0xFAFF),
    (0x20000, 0x323AF),
)  # fmt: skip
KANA_BLOCKS = (  # hiragana and katakana, bopomofo, Yi syllables
    (0x3031, 0x3035), (0x3041, 0x312F), (0x31A0, 0x31BF), (0x31F0, 0x31FF), (0xA000, 0xA48C), (0x1AFF0, 0x1B16F),
)  # fmt: skip
SOUTHEAST_ASIAN_BLOCKS = (  # Thai and Lao, Burmese, Khmer, Tai scripts
    (0x0E00, 0x0EFF), (0x1000, 0x109F), (0x1780, 0x17FF), (0x1950, 0x19DF), (0x1A20, 0x1AAF), (0xA9E0, 0xA9FF),
    (0xAA60, 0xAADF),
)  # fmt: skip
IGNORED_RANGES = (  # Default_Ignorable_Code_Point of the Unicode Character Database, DerivedCoreProperties
    (0xAD, 0xAD), (0x34F, 0x34F), (0x61C, 0x61C), (0x115F, 0x1160), (0x17B4, 0x17B5), (0x180B, 0x180F),
    (0x200B, 0x200F), (0x202A, 0x202E), (0x2060, 0x206F), (0x3164, 0x3164), (0xFE00, 0xFE0F), (0xFEFF, 0xFEFF),
    (0xFFA0, 0xFFA0), (0xFFF0, 0xFFF8), (0x1BCA0, 0x1BCA3), (0x1D173, 0x1D17A), (0xE0000, 0xE0FFF),
)  # fmt: skip
CODES = 0xE1000  # code points in the tables; above them are private ones only
PLANES_END = 0x32400  # between here and the last range that is ignored nothing is assigned


class Folding(NamedTuple):
    """What each code point folds to."""

    kinds: npt.NDArray[np.uint8]  # (CODES,) of its folded form, or `IGNORED`, or `SEVERAL`
    folded: npt.NDArray[np.uint32]  # (CODES,) its folded form; of `SEVERAL` where they begin in `sequences`
    sequences: npt.NDArray[np.uint32]  # a count and so many folded code points, over and over


@functools.cache
def folding() -> Folding:
    """The tables, from this Python's Unicode database. Made once a process, in a tenth of a second."""
    characters = [chr(code) for code in range(PLANES_END)]
    forms = folded_forms(characters)
    ignored = in_ranges(IGNORED_RANGES)
    kinds = np.full(CODES, OTHER, np.uint8)
    categories = map(unicodedata.category, characters)
    kinds[:PLANES_END] = [WORD if category[0] in "LMN" or category == "Pc" else OTHER for category in categories]
    for blocks, kind in ((HAN_BLOCKS, HAN), (KANA_BLOCKS, KANA), (SOUTHEAST_ASIAN_BLOCKS, SOUTHEAST_ASIAN)):
        kinds[in_ranges(blocks) & (kinds == WORD)] = kind
    kinds[[code for code, character in enumerate(characters) if character.isspace()]] = SPACE
    kinds[ignored] = IGNORED
    of_folded, folded = kinds.copy(), np.arange(CODES, dtype=np.uint32)
    sequences: list[int] = []
    for code, (character, form) in enumerate(zip(characters, forms, strict=True)):
        if form == character or ignored[code]:
            continue
        codes = [ord(part) for part in form if not ignored[ord(part)]]
        if len(codes) == 1:
            folded[code], kinds[code] = codes[0], of_folded[codes[0]]
        else:
            folded[code], kinds[code] = len(sequences), SEVERAL
            sequences += [len(codes), *codes]
    return Folding(kinds, folded, np.array(sequences, np.uint32))


def folded_forms(characters: list[str]) -> list[str]:
    """NFKD of the case folding of NFKD, of each character by itself."""
    between = chr(0x10FFFF)  # is its own form, and no mark moves past it
    decomposed = unicodedata.normalize("NFKD", between.join(characters))
    return unicodedata.normalize("NFKD", decomposed.casefold()).split(between)


def in_ranges(ranges: tuple[tuple[int, int], ...]) -> npt.NDArray[np.bool_]:
    """Which code points lie in one of the ranges, ends included."""
    found = np.zeros(CODES, bool)
    for first, last in ranges:
        found[first : last + 1] = True
    return found
