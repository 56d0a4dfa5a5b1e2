"""Repairs of plain text, each by name, each counted: what machines broke on the way, and nothing that a writer meant.

Every repair looks first whether there is anything to do, so that clean text passes at memory speed, and takes time
linear in the text. Done twice they change nothing more.
"""

from __future__ import annotations

import functools
import re
import sys
import unicodedata
from collections.abc import Sequence

# Scripts whose letters a zero-width joiner or non-joiner shapes: Arabic, Syriac, N'Ko and their kin, India's, Tibetan,
# Burmese, Khmer, Mongolian. In emoji sequences the joiner stands between pictures, variation selectors, skin tones.
SHAPED = (
    "\u0600-\u08ff\u0900-\u0dff\u0f00-\u109f\u1780-\u18af\u1a20-\u1aaf\u1b00-\u1c4f\ua800-\ua8ff\ua980-\ua9df"
    "\uaa00-\uaaff\uabc0-\uabff\ufb50-\ufdff\ufe70-\ufefc\U00010a00-\U00010eff\U00011000-\U00011fff"
    "\U0001e900-\U0001e95f"
)
PICTURES = "\u00a9\u00ae\u2190-\u2bff\u3030\u303d\u3297\u3299\ufe0f\U0001f000-\U0001faff\U000e0020-\U000e007f"
# Scripts that put no spaces between words: Thai, Lao, Tibetan, Burmese, Khmer, Tai, Balinese, Javanese.
SPACELESS = "\u0e00-\u109f\u1780-\u17ff\u1950-\u1aaf\u1b00-\u1b7f\ua980-\ua9ff\uaa60-\uaadf"
RIGHT_TO_LEFT = "\u0590-\u08ff\ufb1d-\ufdff\ufe70-\ufefc\U00010800-\U00010fff\U0001e800-\U0001efff"
BIDI = "\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069"
TAGS = "\U000e0000-\U000e007f"  # spell the flag that a waving black flag begins

LINE_END = re.compile("\r\n|[\r\v\f\x85\u2028\u2029]")
CHARACTERS = "\t-\r -~\x85\xa0-\ufdcf\ufdf0-\ufff8\ufffc\ufffd" + "".join(
    f"{chr(plane)}-{chr(plane + 0xFFFD)}" for plane in range(0x10000, 0x110000, 0x10000)
)
CONTROL = re.compile(f"[^{CHARACTERS}]")
TERMINAL = re.compile("\x1b\\[[0-9;?]*[A-Za-z]|[^\n\x08]\x08(?=.)")  # colours; struck over, as in manuals
ZERO_WIDTH = re.compile(f"[\xad\u200b-\u200f\u2060\u206a-\u206f\ufeff{BIDI}{TAGS}]")
MEANINGLESS = re.compile(
    "[\xad\u2060\u206a-\u206f\ufeff]"  # soft hyphen, word joiner, deprecated ones, byte order mark
    f"|(?<![{SPACELESS}])\u200b|\u200b(?![{SPACELESS}])"
    f"|(?<![{SHAPED}{PICTURES}])[\u200c\u200d](?![{SHAPED}{PICTURES}])"
    f"|(?<![\U0001f3f4{TAGS}])[{TAGS}]+"
)
LEFT_TO_RIGHT_LINE = re.compile(f"^[^\n{RIGHT_TO_LEFT}]*$", re.MULTILINE)
BIDI_MARK = re.compile(f"[{BIDI}]")
SPACES = " \t\xa0\u1680\u2000-\u200a\u202f\u205f\u3000"
TRAILING_SPACE = re.compile(f"(?<![{SPACES}])[{SPACES}]+(?=\n)")  # without the look behind, quadratic in a run
SPACE_BEFORE = re.compile(f"\n(?<=[{SPACES}]\n)")  # begins with what is found fast
BLANK_LINES = re.compile("\n{3,}")
MOST_MARKS = 30  # on one letter. Unicode Standard Annex 15, section 13: far beyond any language


def repair(text: str, repairs: Sequence[str]) -> tuple[str, dict[str, int]]:
    """(the text repaired, places changed by the name of each repair that changed any).

    The repairs are done in the order of `REPAIRS`. In any case surrogates become what they stand for (a pair) or
    U+FFFD (a lone one), for the text must be UTF-8, and white space around the text goes.
    """
    text, counts = without_surrogates(text), {}
    for name, change in REPAIR_BY_NAME.items():
        if name in repairs:
            text, places = change(text)
            if places:
                counts[name] = places
    return text.strip(), counts


def without_surrogates(text: str) -> str:
    if text.isascii():
        return text
    try:
        text.encode()
    except UnicodeEncodeError:
        return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    return text


def mojibake(text: str) -> tuple[str, int]:
    """UTF-8 that was read as a one-byte character set, line by line where ftfy sees it: "dÃ©jÃ " is "déjà" again.

    Only the encoding is mended: full-width forms, curly quotes and ligatures stay as they are.
    """
    if text.isascii() or not utf8_misread().search(text):
        return text, 0
    from ftfy import fix_encoding

    lines = text.split("\n")
    fixed = [fix_encoding(line) if utf8_misread().search(line) else line for line in lines]
    return "\n".join(fixed), sum(before != after for before, after in zip(lines, fixed, strict=True))


@functools.cache
def utf8_misread() -> re.Pattern[str]:
    """What one byte of UTF-8's first and one of its others become in a one-byte set; or C1 controls.

    Without it ftfy mends nothing, and it is looked for ten times as fast as ftfy looks for all that is bad.
    """
    from ftfy.chardata import UTF8_CLUES  # of Latin-1 and the sets of Windows

    first = "".join(UTF8_CLUES[f"utf8_first_of_{length}"] for length in (2, 3, 4))
    pairs = [(first, UTF8_CLUES["utf8_continuation"].replace(" ", ""))]  # a no-break space may have become one: below
    for charset in ("mac-roman", "cp437"):
        pairs.append((bytes(range(0xC2, 0xF5)).decode(charset), bytes(range(0x80, 0xC0)).decode(charset)))
    firsts = "".join(first for first, _ in pairs)
    seconds = "|".join(f"(?<=[{first}])[{other}]" for first, other in pairs)
    # one set first, which is looked for fast
    return re.compile(f"[{firsts}\x80-\x9f](?:(?<=[\x80-\x9f])|(?<=[ÂÃÅÎÐÙâã]) |{seconds})")


def line_ends(text: str) -> tuple[str, int]:
    """Carriage returns, vertical tabs, form feeds, U+0085, U+2028 and U+2029 are newlines; `\\r\\n` is one.

    `mojibake`, which comes before, takes U+0085 for what Windows has at that byte, an ellipsis.
    """
    return LINE_END.subn("\n", text) if any(end in text for end in "\r\v\f\x85\u2028\u2029") else (text, 0)


def control(text: str) -> tuple[str, int]:
    """No control characters but tabs and line ends, no terminal's escapes, no code points that are no characters."""
    if not CONTROL.search(text):
        return text, 0
    text, sequences = TERMINAL.subn("", text)
    text, places = CONTROL.subn("", text)
    return text, sequences + places


def zero_width(text: str) -> tuple[str, int]:
    """No invisible characters but where they mean something.

    Joiners stay at letters of scripts that they shape and in emoji, zero-width spaces between letters of scripts
    without spaces, marks of direction on lines with right-to-left letters, tags in flags.
    """
    if text.isascii() or not ZERO_WIDTH.search(text):
        return text, 0
    text, places = MEANINGLESS.subn("", text)
    if BIDI_MARK.search(text):
        before = len(text)
        text = LEFT_TO_RIGHT_LINE.sub(lambda line: BIDI_MARK.sub("", line[0]), text)
        places += before - len(text)
    return text, places


def nfc(text: str) -> tuple[str, int]:
    """Unicode normal form C, counted in lines; marks beyond the thirtieth on one letter go."""
    if text.isascii() or unicodedata.is_normalized("NFC", text):
        return text, 0
    text, places = many_marks().subn(r"\1", text)  # sorting them takes Python the square of their number
    lines = text.split("\n")
    composed = [unicodedata.normalize("NFC", line) for line in lines]
    return "\n".join(composed), places + sum(before != after for before, after in zip(lines, composed, strict=True))


@functools.cache
def many_marks() -> re.Pattern[str]:
    marks = "".join(chr(code) for code in range(sys.maxunicode + 1) if unicodedata.combining(chr(code)))
    return re.compile(f"([{marks}]{{{MOST_MARKS}}})[{marks}]+")


def spaces(text: str) -> tuple[str, int]:
    """No white space at ends of lines. Inside lines it stays: indentation is code, runs are tables."""
    return TRAILING_SPACE.subn("", text) if SPACE_BEFORE.search(text) else (text, 0)


def blank_lines(text: str) -> tuple[str, int]:
    """One blank line at most between two lines."""
    return BLANK_LINES.subn("\n\n", text) if "\n\n\n" in text else (text, 0)


REPAIR_BY_NAME = {
    "mojibake": mojibake,
    "line-ends": line_ends,
    "control": control,
    "zero-width": zero_width,
    "nfc": nfc,
    "spaces": spaces,
    "blank-lines": blank_lines,
}
REPAIRS = tuple(REPAIR_BY_NAME)
