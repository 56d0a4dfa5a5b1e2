"""Readers of evaluation files: from a file to the texts in it, whatever its rows are called.

A benchmark's question, choices and answers may stand in any field, so every string is a text of its own.
"""

from __future__ import annotations

import codecs
import gzip
import itertools
import zlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import orjson
import pyarrow as pa
import pyarrow.parquet as pq

from data_prep.files import UserError

SUFFIXES = (".jsonl", ".jsonl.gz", ".parquet", ".txt")


def set_names(paths: Sequence[Path]) -> list[str]:
    """A name for each of several different files: its own, with as many directories as tell it from its namesakes.

    >>> set_names([Path("/e/arc/test.jsonl"), Path("/e/boolq/test.jsonl"), Path("/e/boolq/dev.jsonl")])
    ['arc/test.jsonl', 'boolq/test.jsonl', 'dev.jsonl']
    """

    def name(path: Path) -> str:
        namesakes = {other for other in paths if other.name == path.name}
        lengths = (n for n in itertools.count(1) if len({other.parts[-n:] for other in namesakes}) == len(namesakes))
        return str(Path(*path.parts[-next(lengths) :]))

    return [name(path) for path in paths]


def texts_of(path: Path) -> Iterator[str]:
    """The texts of a file: of .txt all of it, of other kinds every string in every row, however deep; not the keys.

    Raises `UserError` with the file and the place for what cannot be read.
    """
    if path.suffix == ".txt":
        try:
            yield path.read_bytes().decode("utf-8-sig")
        except UnicodeDecodeError as error:
            line = error.object.count(b"\n", 0, error.start) + 1
            raise broken(path, f"line {line:,} is not UTF-8") from None
    elif path.suffix == ".parquet":
        yield from parquet_texts(path)
    elif path.name.endswith(SUFFIXES):
        yield from json_texts(path)
    else:
        raise UserError(
            f"evaluation set {path} is of a kind that is not read yet, wanted {' '.join(SUFFIXES)}; "
            "name other files in dedup.decontaminate"
        )


def json_texts(path: Path) -> Iterator[str]:
    number = 0
    try:
        with gzip.open(path) if path.suffix == ".gz" else path.open("rb") as lines:
            for number, line in enumerate(lines, 1):
                if number == 1:
                    line = line.removeprefix(codecs.BOM_UTF8)
                if line.strip():
                    yield from strings(orjson.loads(line))
    except orjson.JSONDecodeError as error:
        raise broken(path, f"line {number:,} is not JSON ({error.msg})") from None
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise broken(path, f"behind line {number:,} it cannot be unpacked ({error})") from None


def parquet_texts(path: Path) -> Iterator[str]:
    group = 0
    try:
        with pq.ParquetFile(path) as file:
            for group in range(file.num_row_groups):
                yield from strings(file.read_row_group(group).to_pylist())
    except (pa.ArrowException, OSError, UnicodeDecodeError) as error:
        if isinstance(error, OSError) and error.errno:  # the disk's error, not the content's: it may pass
            raise
        raise broken(path, f"row group {group:,} cannot be read ({' '.join(str(error).split())})") from None


def strings(value: Any) -> Iterator[str]:
    """Every string in a value of JSON or Arrow, in no particular order. Not by recursion: JSON may be deep."""
    left = [value]
    while left:
        value = left.pop()
        if isinstance(value, str):
            yield value
        elif isinstance(value, dict):
            left.extend(value.values())
        elif isinstance(value, list | tuple):
            left.extend(value)


def broken(path: Path, what: str) -> UserError:
    return UserError(f"evaluation set {path}: {what}; repair the file or take it out of dedup.decontaminate")
