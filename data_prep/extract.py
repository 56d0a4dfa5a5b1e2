"""From what a source holds to plain text: of HTML pages what a reader sees, all of it or the main part."""

from __future__ import annotations

import itertools
import re

from resiliparse.extract.html2text import extract_plain_text

from data_prep.repair import without_surrogates

HTML_START = re.compile(r"[\s\ufeff]*(<!doctype html|<html|<\?xml[^>]*>\s*<!doctype html)", re.IGNORECASE)

# What makes the extraction quadratic. Lists are indented by their depth, so that text grows; the main part is looked
# for from every block of text upwards. Chromium's parser cuts pages at a depth of 512.
NESTED = (
    (re.compile(r"<(/?)(?:ul|ol)\b", re.IGNORECASE), 50),
    (re.compile(r"<(/?)(?:div|article)\b", re.IGNORECASE), 512),
)
NESTING_TAG = re.compile(r"</?(?:ul|ol|div|article)\b[^<>]*>?", re.IGNORECASE)
TAG = re.compile(r"<[a-z](?:[^>=]++|=\s*+(?:\"[^\"]*+\"|'[^']*+')?+)*+", re.IGNORECASE)
VALUE = re.compile(r"=\s*+(?:\"[^\"]*+\"|'[^']*+'|[^\s>\"']*+)")
MOST_ATTRIBUTES = 1000  # of a tag: a parser compares each with those before it


def plain_text(text: str, format: str, extract: str = "full") -> str:
    """The readable text of a document; what is no HTML stands as it is.

    `format` is the source's: `html` always extracts, `text` never does, `auto` extracts when the text begins like an
    HTML page. `extract` is `full`: all visible text; or `main`: without menus, margins and footers as resiliparse's
    rules find them, and all text where they leave none. Lists keep their bullets, preformatted text its lines.

    >>> plain_text("<p>One.<p>Two &amp; three", "html")
    'One.\\n\\nTwo & three'
    """
    if format != "html" and not (format == "auto" and HTML_START.match(text)):
        return text
    page = tame(without_surrogates(text).lstrip("\ufeff"))  # a byte order mark
    return (extract == "main" and extract_plain_text(page, main_content=True)) or extract_plain_text(page)


def tame(page: str) -> str:
    """The page without what no reader could see and a parser would need the square of its size in time for.

    Where lists or blocks are nested deeper than in any real page, they become paragraphs, which do not nest; a tag with
    more than `MOST_ATTRIBUTES` attributes loses them.
    """
    if any(depth(page, tag) > most for tag, most in NESTED):
        page = NESTING_TAG.sub("<p>", page)
    if max(map(len, TAG.findall(page)), default=0) > 2 * MOST_ATTRIBUTES:  # a space and a letter each, at least
        page = TAG.sub(_few_attributes, page)
    return page


def depth(page: str, tag: re.Pattern[str]) -> int:
    """How deep elements are nested whose tags `tag` finds; its group holds the slash of one that closes."""
    steps = (-1 if slash else 1 for slash in tag.findall(page))
    return max(itertools.accumulate(steps, lambda deep, step: max(deep + step, 0), initial=0))


def _few_attributes(tag: re.Match[str]) -> str:
    names = VALUE.sub(" ", tag[0]).replace("/", " ").split()  # the tag's and its attributes'
    return tag[0] if len(names) <= MOST_ATTRIBUTES else names[0]
