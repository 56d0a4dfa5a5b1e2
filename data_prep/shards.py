"""Parts and shards. A part is a parquet file of documents; a shard is the piece of work that one task does.

A shard plan follows from the data alone (never from the number of workers), so the same input gives the same files on
any machine.
"""

from __future__ import annotations

import itertools
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from data_prep.document import Document, Drop
from data_prep.files import atomic_path, sync

DOCUMENT_SCHEMA = pa.schema(
    [("id", pa.string()), ("text", pa.string()), ("source", pa.string()), ("meta", pa.string())]
)
LEDGER_SCHEMA = pa.schema([(name, pa.string()) for name in ("id", "source", "reason", "excerpt", "detail")])

ROW_GROUP_BYTES = 1 << 20  # text per row group: the grain at which shards are cut
ROW_GROUP_DOCUMENTS = 10_000
SHARDS = 64  # about so many for a corpus of middling size,
SMALLEST_SHARD_BYTES, LARGEST_SHARD_BYTES = 2 << 20, 256 << 20  # within these bounds,
MOST_SHARDS = 4096  # unless there would be more than these: a shard leaves files, and file systems count files
EXCERPT_CHARACTERS = 200

HIDDEN_CHARACTERS = 64  # at the end of a cut excerpt: a personal value cut in two matches no pattern
CUT_OFF = re.compile(r"(?:-----BEGIN .*|[!-~]*)\Z", re.DOTALL)  # and of what is longer: of a key, of a token, the rest
# In a row of JSON that is broken, and so not decoded, a letter of an escape may stand before a value
ESCAPE = re.compile(r"\\(?:u((?![dD][89a-fA-F])[0-9a-fA-F]{4})|[bfnrt])")

Shard = list[dict[str, Any]]  # pieces of input, in order


def cut(*groups: Sequence[dict[str, Any]]) -> list[Shard]:
    """Consecutive pieces (each with its `bytes`) gathered into shards; pieces of two groups never share one.

    Each shard but a group's last holds `shard_bytes`, so there are at most `MOST_SHARDS` and one a group.

    >>> [len(shard) for shard in cut([{"bytes": 3 << 20}, {"bytes": 1 << 20}, {"bytes": 1 << 20}], [{"bytes": 1}])]
    [1, 2, 1]
    """
    sizes = [sum(piece["bytes"] for piece in group) for group in groups]
    shards: list[Shard] = []
    for group, group_bytes in zip(groups, sizes, strict=True):
        target = shard_bytes(group_bytes, sum(sizes))
        size = target  # so that the first piece opens a shard
        for piece in group:
            if size >= target:
                shards.append([])
                size = 0
            shards[-1].append(piece)
            size += piece["bytes"]
    return shards


def shard_bytes(group: int, total: int) -> int:
    """The bytes that fill a shard of a group, in a stage that reads `total`: a 64th of the group, 2 to 256 MiB.

    Never less than a 4,096th of all, which is more from 256 MiB x 4,096 = 1 TiB on. Only the shards grow then: a task
    reads a row group at a time.

    >>> [shard_bytes(total, total) >> 20 for total in (1 << 20, 1 << 30, 1 << 40, 16 << 40)]  # in MiB
    [2, 16, 256, 4096]
    """
    return max(min(max(group // SHARDS, SMALLEST_SHARD_BYTES), LARGEST_SHARD_BYTES), -(-total // MOST_SHARDS))


def row_groups(root: Path, parts: Sequence[str]) -> list[dict[str, Any]]:
    """Every row group of the parts (paths relative to `root`), with the rows and bytes it holds."""
    pieces = []
    for part in sorted(parts):
        metadata = pq.read_metadata(root / part)
        for number in range(metadata.num_row_groups):
            group = metadata.row_group(number)
            pieces.append({"part": part, "row_group": number, "rows": group.num_rows, "bytes": group.total_byte_size})
    return pieces


def read_tables(root: Path, shard: Shard) -> Iterator[pa.Table]:
    """The documents of a shard as tables, in order: one row group at a time."""
    for part, pieces in itertools.groupby(shard, key=lambda piece: str(piece["part"])):
        with pq.ParquetFile(root / part) as file:  # once: its footer tells of every row group
            for piece in pieces:
                # one thread: a task is one process's work, and a megabyte is not worth waking others
                yield file.read_row_group(piece["row_group"], columns=DOCUMENT_SCHEMA.names, use_threads=False)


def read_documents(root: Path, shard: Shard) -> Iterator[Document]:
    """The documents of a shard, in order, one row group in memory at a time."""
    for table in read_tables(root, shard):
        columns = table.to_pydict()
        yield from map(Document, columns["id"], columns["text"], columns["source"], columns["meta"])


def shown(excerpt: str) -> str:
    """What people may see of a ledger's excerpt: personal values replaced, the end of a cut one hidden."""
    from data_prep.pii import shown_scrubber  # most commands show none

    scrubber = shown_scrubber()
    plain = ESCAPE.sub(lambda found: chr(int(found[1], 16)) if found[1] else " ", excerpt)
    scrubbed = scrubber.scrub(plain if scrubber.scrub(plain).found else excerpt).text
    return CUT_OFF.sub("", scrubbed[:-HIDDEN_CHARACTERS]) + "…" if len(excerpt) >= EXCERPT_CHARACTERS else scrubbed


def commonest_reason(directory: Path, source: str | None = None) -> str:
    """The most frequent reason in a directory of ledgers, of one source or of all; "" without rows."""
    found: Counter[str] = Counter()
    for path in sorted(directory.glob("*.parquet")):
        table = pq.read_table(path, columns=["source", "reason"]).to_pylist()
        found.update(row["reason"] for row in table if source in (None, row["source"]))
    return found.most_common(1)[0][0] if found else ""


def save_table(path: Path, table: pa.Table) -> None:
    """Publish a table that fits in memory."""
    with atomic_path(path) as temporary:
        pq.write_table(table, temporary, compression="zstd")


@dataclass
class TableWriter:
    """Writes one parquet file row by row, in row groups of about a megabyte; published when the `with` ends cleanly."""

    path: Path
    schema: pa.Schema
    _rows: list[tuple[str, ...]] = field(default_factory=list)
    _bytes: int = 0
    _publish: AbstractContextManager[Path] | None = None

    def __enter__(self) -> TableWriter:
        self._publish = atomic_path(self.path)
        self._writer = pq.ParquetWriter(self._publish.__enter__(), self.schema, compression="zstd")
        return self

    def add(self, *row: str) -> None:
        self._rows.append(row)
        self._bytes += sum(map(len, row))
        if self._bytes >= ROW_GROUP_BYTES or len(self._rows) >= ROW_GROUP_DOCUMENTS:
            self._flush()

    def _flush(self) -> None:
        if self._rows:
            columns = [pa.array(column, pa.string()) for column in zip(*self._rows, strict=True)]
            self._writer.write_table(pa.Table.from_arrays(columns, schema=self.schema))
            self._rows, self._bytes = [], 0

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self._publish
        if error is None:
            try:
                self._flush()
                self._writer.close()
            except BaseException as failure:
                self._publish.__exit__(type(failure), failure, failure.__traceback__)
                raise
        self._publish.__exit__(kind, error, trace)


class PartWriter(TableWriter):
    """A part: documents."""

    def __init__(self, path: Path) -> None:
        super().__init__(path, DOCUMENT_SCHEMA)

    def __enter__(self) -> PartWriter:
        super().__enter__()
        return self

    def write(self, document: Document) -> None:
        self.add(document.id, document.text, document.source, document.meta)


class Ledger(TableWriter):
    """Rows of what left (`dropped/`) or never became a document (`quarantine/`), as `LEDGER_SCHEMA`.

    Without a row there is no file. Directories before scrub hold raw text: people see an excerpt through `shown`.
    """

    def __init__(self, path: Path) -> None:
        super().__init__(path, LEDGER_SCHEMA)

    def __enter__(self) -> Ledger:
        return self

    def add(self, *row: str) -> None:
        if self._publish is None:  # the first
            super().__enter__()
        super().add(*row)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._publish:
            super().__exit__(kind, error, trace)
        elif error is None and self.path.exists():  # of an earlier try
            self.path.unlink()
            sync(self.path.parent)

    @property
    def files(self) -> list[Path]:
        """The file, if there is one."""
        return [self.path] if self._publish else []

    def write(self, document: Document, drop: Drop) -> None:
        self.add(document.id, document.source, drop.reason, document.text[:EXCERPT_CHARACTERS], drop.detail)
