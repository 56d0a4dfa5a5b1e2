"""Which files a source has: from its paths, directories and globs to a sorted list."""

from __future__ import annotations

import glob
import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from data_prep.files import UserError
from data_prep.settings import SourceSettings
from data_prep.unpacking import PACKINGS, packing_of

KINDS = (".jsonl", ".ndjson", ".csv", ".parquet", ".txt", ".html", ".htm", ".warc")
ESCAPED = re.compile(r"\[([*?[])\]")  # as glob.escape writes a character that is no wildcard


def kind_of(name: str) -> str:
    """The suffix that says what is in a file, without that of its packing; "" where it is of no kind that is read.

    >>> kind_of("a/X.JSONL.gz"), kind_of("x.parquet"), kind_of("x.parquet.gz"), kind_of("x.docx")
    ('.jsonl', '.parquet', '', '')
    """
    packing = packing_of(name)
    kind = Path(name[: len(name) - len(packing)]).suffix.lower()
    return kind if kind in KINDS and not (packing and kind == ".parquet") else ""


def find_inputs(source: SourceSettings) -> list[dict[str, Any]]:
    """What the source reads, sorted: `{source, name, path, bytes}` a file, `{source, name}` a hub dataset.

    A file's name is its path below the directory that all the source's patterns share, so ids stay the same wherever
    the corpus lies. A directory stands for every file of a known kind below it, but not for hidden ones. Raises
    `UserError` for a pattern that matches nothing, a file of unknown kind or that cannot be read, a loop of links.
    """
    if source.hub:
        folder = Path(source.hub)
        files = sorted(path for path in folder.rglob("*") if path.is_file()) if folder.is_dir() else []
        return [describe(source, path, folder) for path in files] or [{"source": source.name, "name": source.hub}]
    paths = sorted({path for pattern in source.paths for path in matches(source, pattern)})
    root = Path(os.path.commonpath([fixed_directory(pattern) for pattern in source.paths]))
    for path in paths:
        if not is_text(path):
            raise UserError(f"source '{source.name}': the file name {path!r} is not valid UTF-8; rename the file")
        if not kind_of(path):
            raise UserError(
                f"source '{source.name}': {path} is of a kind that is not read, wanted {' '.join(KINDS)}, or one of "
                f"these but .parquet packed as {' '.join(PACKINGS)}; name other files in source.paths"
            )
        if not Path(path).exists():
            raise UserError(f"source '{source.name}': {path} is a link to nothing; remove it, or restore what it names")
        if not os.access(path, os.R_OK, effective_ids=True):
            raise UserError(f"source '{source.name}': {path} may not be read; change its permissions (chmod)")
    return [describe(source, Path(path), root) for path in paths]


def matches(source: SourceSettings, pattern: str) -> list[str]:
    """The files that a pattern names, and links to nothing that it names beside others."""
    literal = ESCAPED.sub(r"\1", pattern)  # a file that is called so is meant, brackets and all
    where = f"source '{source.name}'"
    if Path(literal).is_file():
        return [literal]
    if Path(literal).is_dir():
        found = [path for path in walk(where, Path(literal)) if kind_of(path)]
        if not found:
            raise UserError(f"{where}: no file of a known kind ({' '.join(KINDS)}) in {literal}; check source.paths")
        return found
    if "**" in pattern:
        for _ in walk(where, Path(fixed_directory(pattern))):  # glob would go round in a loop of links
            pass
    named = glob.glob(pattern, recursive=True)  # noqa: PTH207
    found = [path for path in named if Path(path).is_file() or is_dangling(Path(path))]
    if not any(Path(path).is_file() for path in found):
        raise UserError(f"{where}: nothing matches {pattern}; check source.paths in the config")
    return found


def walk(where: str, directory: Path, above: tuple[tuple[int, int], ...] = ()) -> Iterator[str]:
    """Every file below a directory but hidden ones, links followed. `UserError` for one that leads back up."""
    status = directory.stat()
    here = (status.st_dev, status.st_ino)
    if here in above:
        raise UserError(f"{where}: {directory} is a link to a directory that it lies in; remove the link")
    for path in directory.iterdir():
        if path.name.startswith("."):
            continue
        if path.is_dir():
            yield from walk(where, path, (*above, here))
        elif path.is_file() or is_dangling(path):
            yield str(path)


def is_dangling(path: Path) -> bool:
    """Whether it is a link to nothing."""
    return path.is_symlink() and not path.exists()


def describe(source: SourceSettings, path: Path, root: Path) -> dict[str, Any]:
    name = str(path.relative_to(root))
    return {"source": source.name, "name": name, "path": str(path), "bytes": path.stat().st_size}


def is_text(path: str) -> bool:
    """Whether a file name is valid UTF-8: others reach Python as lone surrogates, which no file of ours can hold."""
    return not any(0xD800 <= ord(character) < 0xE000 for character in path)


def fixed_directory(pattern: str) -> str:
    """The directory of a pattern before its first wildcard; all of it for a file that is there, itself for a directory.

    >>> fixed_directory("/data/*/x.jsonl"), fixed_directory("/data/a/x.jsonl")
    ('/data', '/data/a')
    """
    literal = Path(ESCAPED.sub(r"\1", pattern))
    if literal.is_dir():
        return str(literal)
    if literal.is_file():
        return str(literal.parent)
    directory = Path(pattern).parent
    while glob.has_magic(ESCAPED.sub("", str(directory))):
        directory = directory.parent
    return ESCAPED.sub(r"\1", str(directory))
