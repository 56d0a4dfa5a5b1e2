"""What signing leaves of a shard: an Arrow file that later steps map into memory, a column at a time.

| column | |
|---|---|
| id, source | of the document, in the order of the shard |
| characters | of its text |
| digest | two uint64, equal for texts of the same normal form |
| standing | 2, a deputy: compared with others; 1: an earlier document of the shard is the same; 0: it takes no part |
| address | uint64, of its URL; 0: none |
| evaluation, ngram | the evaluation text that it shares an n-gram with, and the n-gram; null: none |
| sketch | uint64 words: the lowest bit of each value of the signature |
| band-0000 ... | uint32, the rows of a band: one behind the other they are the signature |
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from data_prep.files import UserError, atomic_file, atomic_path
from data_prep.minhash import Signatures

Array = npt.NDArray[Any]

OUT, COPY, DEPUTY = range(3)  # standing


def band_name(band: int) -> str:
    return f"band-{band:04d}"


def packed(values: Array) -> pa.Array:
    """The rows of a two-dimensional array as one column of bytes."""
    rows = np.ascontiguousarray(values)
    width = rows.shape[1] * rows.itemsize
    return pa.FixedSizeBinaryArray.from_buffers(pa.binary(width), len(rows), [None, pa.py_buffer(rows)])


def unpacked(column: pa.ChunkedArray, kind: Any) -> Array:
    """What `packed` packed, (rows, ...), read where it lies."""
    width = column.type.byte_width // np.dtype(kind).itemsize
    pieces = [
        np.frombuffer(chunk.buffers()[1], kind).reshape(-1, width)[chunk.offset : chunk.offset + len(chunk)]
        for chunk in column.chunks
        if len(chunk)
    ]
    if len(pieces) == 1:
        return pieces[0]
    return np.concatenate(pieces) if pieces else np.empty((0, width), kind)


def signed_columns(signatures: Signatures, bands: int) -> dict[str, pa.Array]:
    """The bands of signatures (documents, P), each a column."""
    rows = signatures.shape[1] // bands
    return {band_name(band): packed(signatures[:, band * rows : (band + 1) * rows]) for band in range(bands)}


def bands_of(path: Path) -> list[Signatures]:
    """The bands of a signed shard, (documents, rows) each, mapped; side by side they are its signatures."""
    table = load(path)
    return [unpacked(table[name], np.uint32) for name in table.column_names if name.startswith("band-")]


def save_array(path: Path, array: Array) -> None:
    """Publish an array that later steps map."""
    with atomic_file(path) as file:
        np.save(file, array, allow_pickle=False)


def load_array(path: Path) -> Array:
    """An array, mapped. `UserError` for a file that is damaged."""
    try:
        return np.asarray(np.load(path, mmap_mode="r", allow_pickle=False))
    except (ValueError, OSError, EOFError) as error:
        raise damaged(path, error) from None


def save(path: Path, table: pa.Table) -> None:
    """Publish a table that later steps map."""
    with atomic_path(path) as temporary, pa.ipc.new_file(str(temporary), table.schema) as writer:
        writer.write_table(table)


def load(path: Path, columns: Sequence[str] | None = None) -> pa.Table:
    """A table, or some of its columns, mapped: what is not looked at is not read. `UserError` for a damaged file."""
    try:
        with pa.memory_map(str(path)) as file:
            reader = pa.ipc.open_file(file)
            if columns is not None:
                fields = list(map(reader.schema.get_field_index, columns))
                reader = pa.ipc.open_file(file, options=pa.ipc.IpcReadOptions(included_fields=fields))
            return reader.read_all()
    except (pa.ArrowInvalid, OSError) as error:
        raise damaged(path, error) from None


def damaged(path: Path, error: Exception) -> UserError:
    said = (str(error).splitlines() or ["it is empty"])[0]
    return UserError(f"{path} is damaged ({said}); remove it and run again: it is made anew")


def each(paths: Sequence[Path], *columns: str) -> Iterator[tuple[int, pa.Table]]:
    """The tables of all shards, each with the row that its first document has over all of them."""
    start = 0
    for path in paths:
        table = load(path, columns)
        yield start, table
        start += len(table)
