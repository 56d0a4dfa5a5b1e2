"""Files that are either whole or not there: atomic writes, digests, JSON, and the error a user may cause.

One of the two doors through which training sees data preparation (the other is `tokens`): standard library only.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO, TypeVar

DIGEST_ALGORITHM = "sha256"
LAST_LINE_BYTES = 65_536  # longer than any row of a log
Record = TypeVar("Record")


class UserError(Exception):
    """An impossible request or input. Its text is one line: what, got, wanted, and what to type next. Exit code 2."""


@contextmanager
def atomic_path(path: Path) -> Iterator[Path]:
    """Yield a temporary path beside `path`; on a clean exit sync it to disk and rename it over `path`.

    A reader sees the old file or the new one, never a part, whatever instant a kill or a power cut picks. On an
    error the temporary file is removed. Directories above `path` are made.
    """
    make_directory(path.parent)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        yield temporary
        sync(temporary)
        temporary.replace(path)
        sync(path.parent)
    finally:
        temporary.unlink(missing_ok=True)


@contextmanager
def atomic_file(path: Path) -> Iterator[BinaryIO]:
    """`atomic_path`, opened for binary writing."""
    with atomic_path(path) as temporary, temporary.open("wb") as file:
        yield file
        file.flush()
        os.fsync(file.fileno())  # through this descriptor: another one may not be told of an error


def atomic_write(path: Path, data: bytes | str) -> None:
    """Publish `data` (text as UTF-8) at `path` in one step."""
    with atomic_file(path) as file:
        file.write(data.encode() if isinstance(data, str) else data)


def make_directory(path: Path) -> None:
    """Make `path` and what is missing above it; their names are on disk when this returns."""
    if not path.is_dir():
        make_directory(path.parent)
        path.mkdir(exist_ok=True)
        sync(path.parent)


def sync(path: Path) -> None:
    """Force a file's or a directory's content to disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def digest_bytes(data: bytes) -> str:
    """`"sha256:..."` of bytes."""
    return f"{DIGEST_ALGORITHM}:{hashlib.new(DIGEST_ALGORITHM, data).hexdigest()}"


def digest_file(path: Path) -> str:
    """`"sha256:..."` of a file's content, read in blocks."""
    with path.open("rb") as file:
        return f"{DIGEST_ALGORITHM}:{hashlib.file_digest(file, DIGEST_ALGORITHM).hexdigest()}"


def canonical_json(value: Any) -> bytes:
    """The one JSON form of a value (sorted keys, no spaces): what keys are hashed from."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()


def write_json(path: Path, value: Any) -> None:
    """Publish a value as readable JSON, atomically."""
    atomic_write(path, json.dumps(value, indent=1, ensure_ascii=False) + "\n")


def read_json(path: Path) -> Any:
    """Read a JSON file; a file that is not JSON is a `UserError` that names it."""
    try:
        return json.loads(path.read_bytes())
    except ValueError as error:
        raise UserError(f"{path} is not valid JSON ({error}); remove it and run again") from None


def read_record(path: Path, build: Callable[[Any], Record], read: Callable[[Path], Any] = read_json) -> Record:
    """A JSON file as what `build` makes of it; one that lacks what it must hold is a `UserError` that names it."""
    try:
        return build(read(path))
    except (KeyError, TypeError, ValueError, AttributeError):
        raise UserError(f"{path} is damaged: it lacks what it must hold; remove it and run again") from None


def last_json_line(path: Path) -> dict[str, Any] | None:
    """The last whole row of an append-only log, without reading what is before it; None when there is none."""
    if not path.exists():
        return None
    with path.open("rb") as file:
        file.seek(max(0, path.stat().st_size - LAST_LINE_BYTES))
        whole = file.read().rpartition(b"\n")[0].rpartition(b"\n")[2]
    return dict(json.loads(whole)) if whole else None


def read_json_lines(path: Path) -> list[dict[str, Any]]:
    """The rows of an append-only log of JSON objects; [] when there is none. A torn last line is left out."""
    if not path.exists():
        return []
    rows = []
    for line in path.read_bytes().splitlines(keepends=True):
        if line.endswith(b"\n"):  # a kill can cut the last line short
            rows.append(json.loads(line))
    return rows
