"""The corpora of benchmarks/dedup.py: Debian's documentation and botocore's, with planted copies.

python benchmarks/dedup_corpus.py DIRECTORY

Packages are fetched with apt and pip, which check them; nothing is installed. Each corpus is a directory of parts as
the pipeline's stages write them, made once. Documentation has many near-duplicates of its own; the planted ones add
copies whose similarity is known beforehand: a replaced word takes the five shingles that hold it, so that m of them,
far apart in a text of n shingles, leave (n - 5 m) / (n + 5 m).
"""

from __future__ import annotations

import gzip
import json
import random
import re
import string
import subprocess
import sys
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

import pyarrow.parquet as pq

ROOT = Path(__file__).parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "configs")]

from demo_corpus import fetch_wheel, operations  # noqa: E402

from data_prep.document import Document  # noqa: E402
from data_prep.extract import plain_text  # noqa: E402
from data_prep.repair import REPAIRS, repair  # noqa: E402
from data_prep.shards import PartWriter  # noqa: E402

PACKAGES = ("linux-doc-6.1", "perl-doc", "cppreference-doc-en-html", "erlang-doc")
CHINESE = "libreoffice-help-zh-cn"
SUFFIXES = (".html", ".txt", ".rst", ".pod", ".yaml")
SPACELESS = r"\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u2e80-\u312f\u3400-\u9fff\uf900-\ufaff"
SEVERAL = re.compile(f"[{SPACELESS}]")  # scripts written without spaces have a corpus of their own
WORD, HAN = re.compile(r"\w+"), re.compile(r"[\u4e00-\u9fff]")
JACCARD = (0.5, 0.6, 0.65, 0.7, 0.75, 0.78, 0.82, 0.85, 0.88, 0.91, 0.94, 0.97)  # of planted copies
COPIES, CHINESE_COPIES = 200, 20  # of each
LEAST_TOKENS = 200  # of a text that is copied
PART_BYTES = 32 << 20
GROWTH_BYTES = 100_000_000


def main(directory: Path) -> None:
    for make in (english, chinese):
        corpus = make(directory)
        rows = sum(pq.read_metadata(path).num_rows for path in corpus.glob("*.parquet"))
        print(f"{corpus}: {rows:,} documents, {text_bytes(corpus) / 1e6:.1f} MB")


def english(directory: Path) -> Path:
    """Words between spaces only, so that five words are five words."""

    def documents() -> list[Document]:
        found = [document for package in PACKAGES for document in package_documents(directory, package)]
        found += botocore_documents(directory)
        found = [document for document in found if not SEVERAL.search(document.text)]
        return found + planted(found, WORD, JACCARD, COPIES, lambda chance: f"x{chance.getrandbits(32):x}")

    return made(directory / "english", documents)


def chinese(directory: Path) -> Path:
    """LibreOffice's help. A shingle is eight characters: m replaced ones leave (n - 8 m) / (n + 8 m)."""

    def other(chance: random.Random) -> str:
        return chr(chance.randrange(0x4E00, 0x9FA0))

    def documents() -> list[Document]:
        found = list(package_documents(directory, CHINESE))
        return found + planted(found, HAN, JACCARD, CHINESE_COPIES, other)

    return made(directory / "chinese", documents)


def grown(directory: Path, times: int) -> Path:
    """The first 100 MB of `english`, `times` times over, each time in another alphabet (Caesar's).

    Every copy has the duplicates of the first, and none in the others.
    """

    def documents() -> Iterator[Document]:
        for shift in range(times):
            letters = [word[shift:] + word[:shift] for word in (string.ascii_lowercase, string.ascii_uppercase)]
            alphabet = str.maketrans(string.ascii_letters, "".join(letters))
            size = 0
            for document in read(english(directory)):
                if size < GROWTH_BYTES:
                    size += len(document.text.encode())
                    text = document.text.translate(alphabet)
                    yield Document(f"{shift}/{document.id}", text, document.source, document.meta)

    return made(directory / f"grown-{times}", documents, shuffled=False)


def sliced(directory: Path, size: int) -> Path:
    """The first `size` bytes of `english`, for what is slow."""

    def documents() -> Iterator[Document]:
        left = size
        for document in read(english(directory)):
            left -= len(document.text.encode())
            if left < 0:
                return
            yield document

    return made(directory / f"english-{size}", documents, shuffled=False)


def made(corpus: Path, documents: Callable[[], Iterable[Document]], shuffled: bool = True) -> Path:
    """The corpus, written if it is not there; in an order that parts a copy from what it is one of."""
    if corpus.exists():
        return corpus
    rows = documents()
    if shuffled:
        rows = list(rows)
        random.Random(6).shuffle(rows)
    unfinished = corpus.with_name(corpus.name + ".unfinished")
    rest, number = iter(rows), 0
    document = next(rest, None)
    while document is not None:
        size = 0
        with PartWriter(unfinished / f"part-{number:05d}.parquet") as part:
            while document is not None and size < PART_BYTES:
                part.write(document)
                size += len(document.text.encode())
                document = next(rest, None)
        number += 1
    return unfinished.rename(corpus)


def read(corpus: Path) -> Iterator[Document]:
    for path in sorted(corpus.glob("*.parquet")):
        with pq.ParquetFile(path) as file:
            for group in file.iter_batches(1024):
                for row in group.to_pylist():
                    yield Document(**row)


def text_bytes(corpus: Path) -> int:
    return sum(len(document.text.encode()) for document in read(corpus))


def planted(
    found: list[Document], token: re.Pattern[str], levels: Iterable[float], copies: int, other: Callable[..., str]
) -> list[Document]:
    """`copies` edited copies for each level of similarity, each of another text."""
    chance = random.Random(2026)
    apart = 5 if token is WORD else 8  # tokens in a shingle
    unlike = list({document.text: document for document in found}.values())
    originals = [document for document in unlike if len(token.findall(document.text)) >= LEAST_TOKENS]
    chosen = iter(chance.sample(originals, copies * len(list(levels))))
    rows = []
    for level in levels:
        for document in (next(chosen) for _ in range(copies)):
            spans = [match.span() for match in token.finditer(document.text)]
            edits = max(1, round(len(spans) * (1 - level) / (apart * (1 + level))))
            places = chance.sample(range(len(spans) // (2 * apart)), min(edits, len(spans) // (2 * apart)))
            pieces, end = [], 0
            for place in sorted(places):
                start, stop = spans[2 * apart * place + chance.randrange(apart)]
                pieces += [document.text[end:start], other(chance)]
                end = stop
            text = "".join(pieces) + document.text[end:]
            meta = json.dumps({"copy_of": document.id, "planted": level})
            rows.append(Document(f"copy/{level}/{document.id}", text, document.source, meta))
    return rows


def package_documents(directory: Path, package: str) -> Iterator[Document]:
    """Every readable file of a Debian package; translations are left out but where they are the package."""
    tree = fetch(directory, package)
    for path in sorted(tree.rglob("*")):
        name = path.name.removesuffix(".gz")
        if not name.endswith(SUFFIXES) or "translations" in path.parts or path.is_symlink() or not path.is_file():
            continue
        data = path.read_bytes()
        data = gzip.decompress(data) if path.suffix == ".gz" else data
        if text := clean(data.decode(errors="replace"), "html" if name.endswith(".html") else "text"):
            yield Document(f"{package}/{path.relative_to(tree)}", text, "debian")


def fetch(directory: Path, package: str) -> Path:
    """The unpacked tree of a Debian package, downloaded once."""
    packages = directory / "packages"
    packages.mkdir(parents=True, exist_ok=True)
    tree = packages / package
    if not tree.exists():
        command = ["apt-get", "-qq", "-o", "APT::Sandbox::User=root", "download", package]  # root would be warned
        subprocess.run(command, cwd=packages, check=True)
        (archive,) = packages.glob(f"{package}_*.deb")
        subprocess.run(["dpkg-deb", "-x", str(archive), str(tree)], check=True)
        archive.unlink()
    return tree


def botocore_documents(directory: Path) -> Iterator[Document]:
    packages = directory / "packages"
    wheel = next(packages.glob("botocore-*.whl"), None) or fetch_wheel(packages)
    for row in operations(wheel):
        yield Document(f"botocore/{row['id']}", clean(row["text"], "html"), "botocore")


def clean(text: str, format: str) -> str:
    """As the stage of this name leaves a text that no rule drops."""
    return repair(plain_text(text, format), REPAIRS)[0]


if __name__ == "__main__":
    main(Path(sys.argv[1]))
