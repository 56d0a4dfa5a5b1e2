"""How many characters carry an English word in scripts without spaces, and how long a shingle of them must be.

python benchmarks/dedup_calibration.py DIRECTORY

Parallel text from Debian packages, kept in DIRECTORY: paragraphs of LibreOffice's help, which bear the same names in
all languages, and messages of gettext catalogues. An English word is a run of letters, marks and digits; words in Latin
letters that a translation keeps are taken from the English side, so that a ratio is that of the script alone.
"""

from __future__ import annotations

import argparse
import gettext
import html
import re
import sys
import unicodedata
from collections import defaultdict
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

sys.path.insert(0, str(Path(__file__).parent))

from dedup_corpus import fetch

HELP = {"zh_CN": "zh-cn", "zh_TW": "zh-tw", "ja": "ja", "km": "km"}
OFFICE = {"zh_CN": "zh-cn", "zh_TW": "zh-tw", "ja": "ja", "th": "th", "km": "km"}
CATALOGUES = (
    "libgtk-3-common", "libgtk-4-common", "libglib2.0-data", "evolution-common", "evince-common", "nautilus-data",
    "gedit-common", "totem-common", "gnome-control-center-data", "gimp-data", "epiphany-browser-data",
    "evolution-data-server-common", "gnome-settings-daemon-common", "synaptic", "seahorse",
    "vlc-l10n", "kio", "cheese-common", "mate-desktop-common", "brasero-common", "pidgin-data", "dpkg",
)  # fmt: skip
LANGUAGES = ("zh_CN", "zh_TW", "ja", "th", "lo", "km", "my")
SCRIPTS = {  # one character of the script, by language; the digits and marks of a text are counted with it
    "zh": r"[\u3005-\u3007\u3400-\u9fff\uf900-\ufaff]",
    "ja": r"[\u3005-\u3007\u3041-\u30ff\u31f0-\u31ff\u3400-\u9fff\uf900-\ufaff]",
    "th": r"[\u0e00-\u0e7f]",
    "lo": r"[\u0e80-\u0eff]",
    "km": r"[\u1780-\u17ff]",
    "my": r"[\u1000-\u109f]",
}
KINDS = {"Han": r"[\u3005-\u3007\u3400-\u9fff\uf900-\ufaff]", "kana": r"[\u3041-\u30ff\u31f0-\u31ff]"}
LEAST_WORDS = 5  # of an English string: shorter ones are labels
EXAMPLE = re.compile(r"<(pre|code|script|style)\b.*?</\1>", re.DOTALL)
PARAGRAPH = re.compile(r'<(p|h[1-6])\s+id="(\w+_id\w+)"[^>]*>(.*?)</\1>', re.DOTALL)
TAG = re.compile(r"<[^>]*>")
PLACEHOLDER = re.compile(r"%\(?[-+ #0-9.$]*[A-Za-z]*\)?[a-zA-Z%]|\$\{?\w+\}?|\{\w*\}")
WORD = re.compile(r"[^\W_]+")


class Count(NamedTuple):
    strings: int = 0
    words: int = 0  # of English, the Latin words of the translation taken off
    characters: int = 0  # letters and marks of the script
    han: int = 0  # of them
    folded: int = 0  # the characters' code points after NFKD: a voiced kana is two, a Thai am is two

    def add(self, other: Count) -> Count:
        return Count(*(a + b for a, b in zip(self, other, strict=True)))


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("directory", type=Path, help="where packages are kept")
    directory = options.parse_args().directory
    counts: dict[str, dict[str, Count]] = {language: defaultdict(Count) for language in LANGUAGES}
    english = help_paragraphs(fetch(directory, "libreoffice-help-en-us"))
    for language, package in HELP.items():
        pairs = paired(english, help_paragraphs(fetch(directory, f"libreoffice-help-{package}")))
        counts[language]["help pages"] = count(language, pairs)
    for language, package in OFFICE.items():
        tree = fetch(directory, f"libreoffice-l10n-{package}")
        counts[language]["LibreOffice's messages"] = count(language, messages(tree.rglob("*.mo")))
    for package in CATALOGUES:
        tree = fetch(directory, package)
        for language in LANGUAGES:
            found = count(language, messages(tree.glob(f"usr/share/locale/{language}/LC_MESSAGES/*.mo")))
            counts[language]["gettext catalogues"] = counts[language]["gettext catalogues"].add(found)
    print("\ncharacters (letters and marks of the script) that carry one English word")
    print("| language | source | strings | English words | characters a word | after NFKD | Han of them |")
    print("|---|---|--:|--:|--:|--:|--:|")
    for language, sources in counts.items():
        everything = Count()
        for source, one in sources.items():
            everything = everything.add(one)
            if one.strings:
                print(row(language, source, one))
        print(row(language, "all", everything))
    shared_grams(directory)


def help_paragraphs(tree: Path) -> dict[tuple[str, str], str]:
    """Text by (page, name of the paragraph); embedded paragraphs of other pages only once."""
    found: dict[tuple[str, str], str] = {}
    (root,) = tree.glob("usr/share/libreoffice/help/*/text")
    for path in sorted(root.rglob("*.html")):
        for _, name, text in PARAGRAPH.findall(EXAMPLE.sub(" ", path.read_text())):
            found[str(path.relative_to(root)), name] = plain(text)
    return found


def paired(english: dict[tuple[str, str], str], other: dict[tuple[str, str], str]) -> Iterator[tuple[str, str]]:
    seen = set()
    for key, text in english.items():
        if key in other and text not in seen:
            seen.add(text)
            yield text, other[key]


def messages(paths: Iterable[Path]) -> Iterator[tuple[str, str]]:
    for path in sorted(paths):
        with path.open("rb") as file:
            catalogue = gettext.GNUTranslations(file)._catalog  # type: ignore[attr-defined]
        for message, translation in catalogue.items():
            if isinstance(message, str):
                yield plain(message.partition("\x04")[2] or message), plain(translation)


def plain(text: str) -> str:
    """Without markup, placeholders and the marks of access keys."""
    text = PLACEHOLDER.sub(" ", html.unescape(TAG.sub("", text)))
    return re.sub(r"\(?[_~&]\w\)|(?<!\w)[_~&](?=\w)", "", text) if "_" in text or "~" in text else text


def count(language: str, pairs: Iterable[tuple[str, str]]) -> Count:
    """Strings that are translated: most of their letters are of the language's script."""
    script, total, seen = re.compile(SCRIPTS[language[:2]]), Count(), set()
    for english, translation in pairs:
        words = len(WORD.findall(english))
        if words < LEAST_WORDS or (english, translation) in seen:
            continue
        seen.add((english, translation))
        characters = [c for c in script.findall(translation) if unicodedata.category(c)[0] in "LMN"]
        kept = re.findall(r"[A-Za-z0-9]+", translation)
        if len(characters) > sum(map(len, kept)) and words > len(kept):
            han = sum(re.match(KINDS["Han"], character) is not None for character in characters)
            folded = len(unicodedata.normalize("NFKD", "".join(characters)))
            total = total.add(Count(1, words - len(kept), len(characters), han, folded))
    return total


def row(language: str, source: str, one: Count) -> str:
    if not one.words:
        return f"| {language} | {source} | 0 | | | | |"
    ratios = f"{one.characters / one.words:.2f} | {one.folded / one.words:.2f} | {one.han / one.characters:.0%}"
    return f"| {language} | {source} | {one.strings:,} | {one.words:,} | {ratios} |"


def shared_grams(directory: Path) -> None:
    """The share of n-grams found in two pages or more: what different texts share by idiom, and by true repetition."""
    english = help_paragraphs(fetch(directory, "libreoffice-help-en-us"))
    chinese = help_paragraphs(fetch(directory, "libreoffice-help-zh-cn"))
    keys = [key for key in english if key in chinese and re.search(KINDS["Han"], chinese[key])]
    once, seen = [], set()  # a paragraph that many pages have in them is no idiom
    for key in keys:
        if english[key] not in seen and chinese[key] not in seen:
            seen |= {english[key], chinese[key]}
            once.append(key)
    print("\nn-grams of the help's pages that are in two pages or more (Chinese tokens: characters, Latin words)")
    print("| n | every paragraph once | all paragraphs |")
    print("|---|--:|--:|")
    for name, texts, token, lengths in (
        ("English words", english, WORD, range(3, 8)),
        ("Chinese characters", chinese, re.compile(r"[A-Za-z0-9]+|" + KINDS["Han"]), range(5, 15)),
    ):
        for length in lengths:
            shares = [f"{shared(texts, some, token, length):.3f}" for some in (once, keys)]
            print(f"| {length} {name} | {' | '.join(shares)} |")


def shared(texts: dict[tuple[str, str], str], keys: list[tuple[str, str]], token: re.Pattern[str], n: int) -> float:
    pages: dict[tuple[str, ...], set[str]] = defaultdict(set)
    for page, name in keys:
        tokens = [found.lower() for found in token.findall(texts[page, name])]
        for start in range(len(tokens) - n + 1):
            pages[tuple(tokens[start : start + n])].add(page)
    return sum(len(found) > 1 for found in pages.values()) / len(pages)


if __name__ == "__main__":
    main()
