"""Disguised characters: full-width and foreign digits, invisible characters, odd spaces and dashes, other at-signs.

A text that has such is folded to plain ASCII where that is what it looks like, with a map back to its own bytes.
"""

from __future__ import annotations

import functools
import sys
import unicodedata
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

DASHES = "\u2010\u2011\u2012\u2013\u2014\u2015\u2212\ufe58\ufe63"
SPACES = "\u00a0\u2000\u2001\u2002\u2003\u2004\u2005\u2006\u2007\u2008\u2009\u200a\u202f\u205f\u3000"
AT_SIGNS = "\ufe6b\u24d0"  # small @, circled a; the full-width one is folded with its block
DOTS = "\u2024\ufe52"  # one dot leader, small full stop
INVISIBLE = "\u034f\u115f\u1160\u17b4\u17b5\u3164" + "".join(map(chr, range(0xFE00, 0xFE10)))  # beside category Cf
FULL_WIDTH = range(0xFF01, 0xFF5F)  # ASCII's ! to ~
GONE = 0xFFFFFFFF

# Where folding may change what is found; RE2 over UTF-8. Full-width punctuation alone, as Chinese has, is no disguise
_INVISIBLE = rf"[\p{{Cf}}{INVISIBLE}]"
_ODD = f"[{DASHES}{SPACES}]{{1,2}}"  # between digits: one alone is a range of years, or thousands
DISGUISES = "|".join(
    (
        r"[^\P{Nd}0-9]",
        rf"[\x{{ff21}}-\x{{ff3a}}\x{{ff41}}-\x{{ff5a}}\x{{ff20}}{AT_SIGNS}]",
        rf"[0-9A-Za-z@.:+_/({{[-]{_INVISIBLE}",
        rf"{_INVISIBLE}[0-9A-Za-z@.:+_)}}\]-]",
        rf"[0-9)]{_ODD}\(?[0-9]{{1,6}}\)?[ ./{DASHES}{SPACES}-]{{1,2}}[0-9(]",
        rf"[0-9)][ ./-]{{1,2}}\(?[0-9]{{1,6}}\)?{_ODD}[0-9(]",
        rf"[0-9]{{2,6}}{_ODD}[0-9]{{5}}|\+[0-9]{{1,3}}{_ODD}[0-9(]|[A-Z0-9]{{4,5}}{_ODD}[A-Z0-9]{{4,5}}{_ODD}[A-Z0-9]",
        rf"[0-9A-Za-z][{DOTS}\x{{ff0e}}\x{{ff1a}}\x{{ff0d}}\x{{ff3f}}\x{{ff0f}}][0-9A-Za-z]",
        r"\x{ff08}\+?[0-9]{1,5}\x{ff09} {0,2}[0-9]|\x{ff0b}[0-9]",  # (010) 1234 5678, +86
    )
)


@dataclass(frozen=True)
class Folded:
    """A text's folded UTF-8, and the way back."""

    data: bytes
    starts: npt.NDArray[np.int64]  # (characters,) byte offset of each folded character in `data`
    begins: npt.NDArray[np.int64]  # (characters,) where it begins in the text's own UTF-8
    ends: npt.NDArray[np.int64]  # (characters,) and ends

    def original(self, start: int, end: int) -> tuple[int, int]:
        """The bytes of the text that `data[start:end]` was folded from, without what is invisible around them."""
        first, last = np.searchsorted(self.starts, (start, end - 1), side="right") - 1
        return int(self.begins[first]), int(self.ends[last])


@functools.cache
def table() -> npt.NDArray[np.uint32]:
    """(code points,) the code point that each is folded to; `GONE` of one that is not to be seen."""
    folded = np.arange(sys.maxunicode + 1, dtype=np.uint32)
    for code in range(0x80, sys.maxunicode + 1):
        character = chr(code)
        if (digit := unicodedata.decimal(character, None)) is not None:
            folded[code] = ord("0") + digit
        elif unicodedata.category(character) == "Cf":
            folded[code] = GONE
    folded[list(map(ord, INVISIBLE))] = GONE
    folded[FULL_WIDTH] = np.arange(len(FULL_WIDTH)) + ord("!")
    for characters, plain in ((DASHES, "-"), (SPACES, " "), (AT_SIGNS, "@"), (DOTS, ".")):
        folded[list(map(ord, characters))] = ord(plain)
    return folded


def fold(data: bytes) -> Folded:
    """UTF-8 (surrogates as three bytes each) with disguises taken off.

    >>> fold("４１\u200b1 ＠".encode()).data
    b'411 @'
    """
    codes = np.frombuffer(data.decode("utf-8", "surrogatepass").encode("utf-32-le", "surrogatepass"), np.uint32)
    ends = np.cumsum(widths(codes))
    folded = table()[codes]
    stays = folded != GONE
    folded = folded[stays]
    wide = widths(folded)
    text = folded.tobytes().decode("utf-32-le", "surrogatepass")
    return Folded(
        text.encode("utf-8", "surrogatepass"),
        np.cumsum(wide) - wide,
        (ends - widths(codes))[stays],
        ends[stays],
    )


def widths(codes: npt.NDArray[np.uint32]) -> npt.NDArray[Any]:
    """(n,) bytes of each code point in UTF-8."""
    return 1 + (codes >= 0x80).astype(np.int64) + (codes >= 0x800) + (codes >= 0x10000)
