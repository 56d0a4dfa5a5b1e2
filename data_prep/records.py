"""Readers of files whose rows have fields: JSON lines, CSV, parquet. A bad row costs itself and not the file."""

from __future__ import annotations

import codecs
import csv
import functools
import io
import math
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO, TextIO

import orjson
import pyarrow as pa
import pyarrow.parquet as pq

from data_prep.charset import UndecodableError, decode
from data_prep.rows import LARGEST_BYTES, Bad, Row, Rows, UnreadableError, show
from data_prep.shards import EXCERPT_CHARACTERS
from data_prep.unpacking import BUFFER_BYTES, open_unpacked

BATCH_BYTES = 8 << 20  # of a parquet row group, which may be large
BATCH_ROWS = 1000
MARKS = re.compile(b"(?:" + codecs.BOM_UTF8 + b")+")  # at the beginning of a line
NOT_PARQUET = (pa.ArrowException, OSError, UnicodeDecodeError)  # what Arrow raises of a damaged file
SAMPLE_BYTES = 1 << 20  # of a CSV file, to see its encoding


def json_rows(path: Path, piece: dict[str, Any]) -> Rows:
    """One JSON object a line, in UTF-8; blank lines count as rows for the numbering but are nothing.

    A piece may be a range of the file: `start`, `bytes` and the number of the first `row`.
    """
    left = math.inf
    with open_unpacked(path) as file:
        utf16 = file.peek(2).startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE))
        if utf16 and not piece.get("start"):
            excerpt = "JSON lines must be UTF-8 (RFC 8259, section 8.1), these are UTF-16; convert the file"
            raise UnreadableError("utf-16-json", excerpt)
        if utf16:  # that was said of the file's first range
            return
        if "start" in piece:
            file.seek(piece["start"])
            left = piece["bytes"]
        lines = iter(functools.partial(file.readline, LARGEST_BYTES), b"")
        for number, line in enumerate(lines, piece.get("row", 0)):
            left -= len(line)
            if len(line) == LARGEST_BYTES and not line.endswith(b"\n"):
                left -= skip_line(file)
                yield number, Bad("line-too-long", show(line))
            elif (row := json_row(line)) is not None:
                yield number, row
            if left <= 0:
                return


def json_row(line: bytes) -> Row | None:
    """The object of a line; None of a blank one."""
    try:
        row = orjson.loads(line)
    except orjson.JSONDecodeError as error:
        if not line.strip():
            return None
        unmarked = line[mark.end() :] if (mark := MARKS.match(line)) else line
        if len(unmarked) < len(line):  # of the file, or of one of those that it was put together from
            return json_row(unmarked)
        return Bad("invalid-utf8" if "UTF-8" in str(error) else "invalid-json", show(line))
    return row if isinstance(row, dict) else Bad("not-an-object", show(line))


def skip_line(file: BinaryIO) -> int:
    """Read to the end of the line and keep nothing. How many bytes that was."""
    skipped = 0
    while rest := file.readline(1 << 20):
        skipped += len(rest)
        if rest.endswith(b"\n"):
            break
    return skipped


def csv_rows(path: Path, encoding: str) -> Rows:
    """CSV with a header row (RFC 4180): every field is a string. Rows count from 0 behind the header, blank ones too.

    The whole file has the encoding of its first megabyte. A quote that never ends makes a row that is too long, and the
    rows that it has swallowed are lost with it.
    """
    name = csv_encoding(path, encoding)
    known = {} if name == "utf-8" else {"encoding": name}
    csv.field_size_limit(LARGEST_BYTES)  # Python's own limit is 128 KiB; `Lines` has one for a row
    with open_unpacked(path) as file, io.TextIOWrapper(file, name, errors="surrogateescape", newline="") as text:
        lines = Lines(text)
        found = csv_fields(lines, csv.reader(lines, strict=True))
        header = next(found, [])
        if isinstance(header, Bad) or len(set(header)) < len(header):
            raise UnreadableError(
                "invalid-header", header.excerpt if isinstance(header, Bad) else f"a name twice: {header}"
            )
        for number, fields in enumerate(found):
            if isinstance(fields, Bad):
                yield number, fields
            elif len(fields) == len(header):
                yield number, known | dict(zip(header, fields, strict=True))
            elif fields:  # a blank line has none
                excerpt = f"{len(fields)} columns, the header has {len(header)}: {lines.shown}"
                yield number, Bad("wrong-column-count", excerpt)


def csv_fields(lines: Lines, rows: Iterator[list[str]]) -> Iterator[list[str] | Bad]:
    """The fields of each row, or what is wrong with it."""
    while True:
        lines.begin()
        try:
            fields = next(rows)
            "".join(fields).encode()
        except StopIteration:
            return
        except UnicodeEncodeError:  # a byte that is not in the file's encoding has become half a surrogate pair
            yield Bad("undecodable", lines.shown)
        except UnicodeError as error:  # UTF-16 without its mark is no UnicodeDecodeError
            raise UnreadableError("undecodable", str(error)) from None
        except csv.Error as error:
            yield Bad("invalid-csv", f"{error}: {lines.shown}")
        except RowTooLongError:
            yield Bad("row-too-long", lines.shown)
        else:
            yield fields


class RowTooLongError(Exception):
    """A row of CSV takes more than `LARGEST_BYTES` characters."""


class Lines:
    """The lines of a CSV file as csv.reader takes them: none more when those of one row become too many."""

    def __init__(self, text: TextIO) -> None:
        self._text = text
        self._first = True
        self.begin()

    def begin(self) -> None:
        """A row begins."""
        self._taken, self._shown = 0, ""

    @property
    def shown(self) -> str:
        """How the row begins."""
        return self._shown.encode(errors="surrogateescape").decode(errors="backslashreplace")

    def __iter__(self) -> Lines:
        return self

    def __next__(self) -> str:
        line = self._text.readline(LARGEST_BYTES)
        if self._first:
            line, self._first = line.removeprefix("\ufeff"), False
        if not line:
            raise StopIteration
        if not self._shown:
            self._shown = line.strip()[:EXCERPT_CHARACTERS]
        self._taken += len(line)
        if self._taken >= LARGEST_BYTES:
            while line and not line.endswith(("\n", "\r")):
                line = self._text.readline(1 << 20)
            raise RowTooLongError
        return line


def csv_encoding(path: Path, encoding: str) -> str:
    """The encoding of a file's first megabyte, whole lines of it."""
    if encoding != "auto":
        return encoding
    with open_unpacked(path) as file:
        sample = file.read(SAMPLE_BYTES)
    if len(sample) == SAMPLE_BYTES:
        end = sample.rfind(b"\n") + 1
        sample = sample[: end + len(sample[end : end + 3]) - len(sample[end : end + 3].lstrip(b"\0"))]  # UTF-16: \n\0
    try:
        return decode(sample, encoding)[1]
    except UndecodableError as error:
        raise UnreadableError("undecodable", f"{error}: {show(sample)}") from None


def parquet_rows(path: Path, piece: dict[str, Any]) -> Rows:
    """The rows of every row group up to what cannot be read of it; that is one bad row. Rows count over all groups.

    A piece may be a range of row groups: `start`, `stop` and the number of the first `row`.
    """
    try:
        file = pq.ParquetFile(path, buffer_size=BUFFER_BYTES)  # not a row group's columns whole
    except NOT_PARQUET as error:
        raise unreadable(error) from None
    first = piece.get("row", 0)
    with file:
        for group in range(piece.get("start", 0), piece.get("stop", file.num_row_groups)):
            number = first
            metadata = file.metadata.row_group(group)
            try:
                for batch in file.iter_batches(batch_rows(metadata), row_groups=[group], use_threads=False):
                    for row in batch_values(batch):
                        yield number, row
                        number += 1
            except NOT_PARQUET as error:
                yield number, unreadable(error).bad
            first += metadata.num_rows


def batch_values(batch: pa.RecordBatch) -> Iterator[Row]:
    """The rows of a batch; one with a value that Python has none for is a bad one."""
    try:
        yield from batch.to_pylist()
        return
    except (ValueError, OverflowError):
        pass  # of which row, the error does not say
    for number in range(batch.num_rows):
        try:
            yield batch.slice(number, 1).to_pylist()[0]
        except UnicodeDecodeError as error:
            yield Bad("invalid-utf8", show(error.object))
        except (ValueError, OverflowError) as error:
            yield Bad("unreadable-value", str(error))


def batch_rows(group: pq.RowGroupMetaData) -> int:
    """Rows of a batch, so that it has about `BATCH_BYTES`."""
    fitting: int = BATCH_BYTES * group.num_rows // max(1, group.total_byte_size)
    return max(1, min(BATCH_ROWS, fitting))


def unreadable(error: Exception) -> UnreadableError:
    """A parquet file's content at fault. Raises the error itself where the disk is: it may pass."""
    if isinstance(error, OSError) and error.errno:
        raise error
    return UnreadableError("unreadable-parquet", " ".join(str(error).split()))
