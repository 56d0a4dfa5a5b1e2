"""From bytes in whatever encoding to text. Nothing is guessed where the bytes themselves say it."""

from __future__ import annotations

import codecs
from collections.abc import Sequence

from resiliparse.parse.encoding import detect_encoding, map_encoding_to_html5

MARKS = (  # Unicode's byte order marks; UTF-32's begin with UTF-16's
    (codecs.BOM_UTF8, "utf-8"),
    (codecs.BOM_UTF32_LE, "utf-32-le"),
    (codecs.BOM_UTF32_BE, "utf-32-be"),
    (codecs.BOM_UTF16_LE, "utf-16-le"),
    (codecs.BOM_UTF16_BE, "utf-16-be"),
)
WIDE = ("utf-32-le", "utf-32-be", "utf-16-le", "utf-16-be")
# Who says the first means one of the others, which hold all of it and more: as browsers do (WHATWG Encoding, 4.2)
MEANT = {
    "ascii": ("cp1252",),
    "iso8859-1": ("cp1252",),
    "iso8859-9": ("cp1254",),
    "iso8859-11": ("cp874",),
    "gb2312": ("gb18030",),
    "gbk": ("gb18030",),
    "big5": ("cp950", "big5hkscs"),
    "shift_jis": ("cp932",),
    "euc_kr": ("cp949",),
}
ASCII = bytes(range(128))
CONTROLS = bytes({*range(32), 127} - set(b"\t\n\f\r\x1b"))
SPACES_AND_STOPS = " \n\r\t。，、"
SHARE_OF_SPACES_AND_STOPS = 0.02  # at least, of the characters of a text; Chinese prose has 0.1
MOST_BAD = 0.01  # of the characters; with more, the encoding is another one or it is no text
SHARE_OF_UTF8 = 0.75  # of the bytes above 127: 1 in UTF-8, at most 0.5 in prose in GB18030, Big5, Shift-JIS, EUC


class UndecodableError(ValueError):
    """The bytes are no text in any encoding that was tried; its message says which."""


def decode(data: bytes, encoding: str = "auto", declared: Sequence[str] = ()) -> tuple[str, str]:
    """The text, without a byte order mark, and the Python name of its encoding. A few bad bytes become U+FFFD.

    `encoding` is the source's. With "auto": a byte order mark; UTF-8 where the bytes are valid; UTF-32 and UTF-16
    without a mark; UTF-8 with a few bad bytes; what is `declared` of a page, in this order; what uchardet finds.
    Raises `UndecodableError` where more than one character in a hundred is bad.

    >>> decode("ä".encode("utf-16")), decode("日本".encode("gb18030"), declared=["gb2312"])
    (('ä', 'utf-16-le'), ('日本', 'gb18030'))
    """
    if encoding != "auto":
        return tolerant(data, encoding).removeprefix("\ufeff"), python_name(encoding)
    for mark, name in MARKS:
        if data.startswith(mark):
            return tolerant(data[len(mark) :], name), name
    labels = (map_encoding_to_html5(label, fallback_utf8=False) for label in declared)
    names = [label for label in labels if label and label not in WIDE]  # wide ones are seen, whatever is said
    seven_bit = names[:1] == ["iso2022_jp"]  # valid UTF-8 that means something else
    wide = 0 in data and controls(data) > 0.1 * len(data)  # Latin and Cyrillic in UTF-16: every other byte is one
    if not seven_bit and not wide:
        try:
            return data.decode(), "utf-8"
        except UnicodeDecodeError:
            pass
    if name := wide_encoding(data):
        return data.decode(name), name
    if not seven_bit and share_of_utf8(data) >= SHARE_OF_UTF8:
        return tolerant(data, "utf-8"), "utf-8"
    detected = detect_encoding(data, html5_compatible=False) or "utf-8"
    if controls(data) > MOST_BAD * len(data):
        raise UndecodableError("not text: too many control characters")
    for name in dict.fromkeys(meant for label in [*names, detected] for meant in MEANT.get(label, (label,))):
        try:
            return tolerant(data, name), name
        except UndecodableError:
            continue
    raise UndecodableError(f"neither UTF-8 nor {detected}, which it resembles most")


def controls(data: bytes) -> int:
    """How many bytes are control characters that text does not have."""
    return len(data) - len(data.translate(None, CONTROLS))


def tolerant(data: bytes, name: str) -> str:
    """Decoded, a few bad bytes as U+FFFD."""
    try:
        return data.decode(name)
    except UnicodeDecodeError:
        text = data.decode(name, "replace")
    if text.count("\ufffd") > MOST_BAD * len(text):
        raise UndecodableError(f"not {name}")
    return text


def wide_encoding(data: bytes) -> str:
    """UTF-32 or UTF-16 that has no mark, known by the spaces and stops that it has only in the right order; or ""."""
    for name in WIDE:
        try:
            text = data.decode(name)
        except UnicodeDecodeError:
            continue
        if sum(map(text.count, SPACES_AND_STOPS)) >= SHARE_OF_SPACES_AND_STOPS * len(text):
            return name
    return ""


def share_of_utf8(data: bytes) -> float:
    """Of the bytes above 127, those in valid UTF-8."""
    valid = data.decode(errors="ignore").encode()
    return len(valid.translate(None, ASCII)) / max(1, len(data.translate(None, ASCII)))


def python_name(encoding: str) -> str:
    """One name for the many of an encoding.

    >>> python_name("GBK"), python_name("UTF8")
    ('gbk', 'utf-8')
    """
    return codecs.lookup(encoding).name
