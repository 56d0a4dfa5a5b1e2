"""From what a source holds to plain text: HTML stripped, Unicode composed, line ends and outer white space made one."""

from __future__ import annotations

import re
import unicodedata

from resiliparse.extract.html2text import extract_plain_text

HTML_START = re.compile(r"[\s\ufeff]*(<!doctype html|<html|<\?xml[^>]*>\s*<!doctype html)", re.IGNORECASE)
TRAILING_SPACE = re.compile(r"(?<![ \t])[ \t]+(?=\n)")  # without the look behind, quadratic in a run of spaces
BLANK_LINES = re.compile(r"\n{3,}")


def plain_text(text: str, format: str) -> str:
    """The readable text of a document.

    `format` is the source's: `html` always extracts, `text` never does, `auto` extracts when the text begins like an
    HTML page. The result is in Unicode normal form C, with `\\n` line ends, no trailing spaces, no runs of blank lines.

    >>> plain_text("<p>One.<p>Two &amp; three", "html")
    'One.\\n\\nTwo & three'
    """
    if format == "html" or (format == "auto" and HTML_START.match(text)):
        text = extract_plain_text(text.lstrip("\ufeff"))  # a byte order mark
    text = unicodedata.normalize("NFC", text).replace("\r\n", "\n").replace("\r", "\n")
    return BLANK_LINES.sub("\n\n", TRAILING_SPACE.sub("", text)).strip()
