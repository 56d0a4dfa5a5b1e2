"""Token files: Megatron's `.bin/.idx` pair, with a sidecar that leads back to the documents.

A source's split is a numbered list of `SOURCE-00000.bin/.idx/.docs.jsonl`. The `.bin` holds token ids one after
another, every document closed by the end-of-text id. The `.idx` is Megatron-LM's `MMIDIDX` index: magic, version 1,
dtype code, counts, then int32 lengths, int64 byte offsets and int64 document boundaries. The `.docs.jsonl` holds
`{"id", "bytes"}` per document, in order.

One of the two doors through which training sees data preparation: numpy and the standard library only.
"""

from __future__ import annotations

import json
import os
import struct
import weakref
from bisect import bisect_left, bisect_right
from collections.abc import Iterator
from contextlib import ExitStack
from functools import cached_property
from pathlib import Path
from types import TracebackType
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from data_prep.files import UserError, atomic_file

MAGIC = b"MMIDIDX\x00\x00"
HEADER = struct.Struct("<9sQBQQ")  # magic, version, dtype code, sequences, document boundaries
DTYPE_CODES: dict[int, npt.DTypeLike] = {4: np.int32, 8: np.uint16}
UINT16_VOCAB_LIMIT = 65_500  # Megatron's own limit: larger vocabularies take int32

Ids = npt.NDArray[np.integer[Any]]


class DocumentRow(NamedTuple):
    """What the sidecar knows of one document."""

    id: str
    size_bytes: int


def dtype_for(vocab_size: int) -> np.dtype[Any]:
    """uint16 below 65,500 ids, else int32.

    >>> dtype_for(32_768), dtype_for(100_277)
    (dtype('uint16'), dtype('int32'))
    """
    return np.dtype(np.uint16 if vocab_size < UINT16_VOCAB_LIMIT else np.int32)


class TokenWriter:
    """Writes one `.bin/.idx/.docs.jsonl` triple; the files appear together when the `with` block ends cleanly.

    The index is published last: a pair without it is not a token file.
    """

    def __init__(self, prefix: Path, vocab_size: int) -> None:
        self.prefix = prefix
        self.vocab_size = vocab_size
        self.dtype = dtype_for(vocab_size)
        self.size_bytes = 0
        self._lengths: list[int] = []

    def __enter__(self) -> TokenWriter:
        self._files = ExitStack()
        # entered first, so closed and published last
        self._index = self._files.enter_context(atomic_file(self.prefix.with_suffix(".idx")))
        self._docs = self._files.enter_context(atomic_file(self.prefix.with_suffix(".docs.jsonl")))
        self._bin = self._files.enter_context(atomic_file(self.prefix.with_suffix(".bin")))
        return self

    def add(self, ids: Ids, document: DocumentRow) -> None:
        """Append one document's ids, end-of-text included. An id outside the vocabulary is an error: nothing wraps."""
        if len(ids) == 0 or int(ids.max()) >= self.vocab_size or int(ids.min()) < 0:
            raise UserError(
                f"token ids of document {document.id}: got {len(ids)} ids that do not all lie in "
                f"0..{self.vocab_size - 1}; run again with --from tokenizer"
            )
        self._bin.write(ids.astype(self.dtype).tobytes())
        self._docs.write(
            json.dumps({"id": document.id, "bytes": document.size_bytes}, ensure_ascii=False).encode() + b"\n"
        )
        self._lengths.append(len(ids))
        self.size_bytes += len(ids) * self.dtype.itemsize

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if error is not None:
            self._files.__exit__(kind, error, trace)
            return
        with self._files:
            lengths = np.asarray(self._lengths, dtype=np.int32)
            offsets = np.zeros(len(lengths), dtype=np.int64)
            np.cumsum(lengths[:-1].astype(np.int64) * self.dtype.itemsize, out=offsets[1:])
            code = next(code for code, dtype in DTYPE_CODES.items() if dtype == self.dtype)
            self._index.write(HEADER.pack(MAGIC, 1, code, len(lengths), len(lengths) + 1))
            for array in (lengths, offsets, np.arange(len(lengths) + 1, dtype=np.int64)):
                self._index.write(array.tobytes())


class TokenFile:
    """One `.bin/.idx` pair, memory-mapped; a truncated or foreign file is a `UserError` before any use."""

    def __init__(self, prefix: Path) -> None:
        self.prefix = prefix
        index_path, bin_path = prefix.with_suffix(".idx"), prefix.with_suffix(".bin")
        try:
            with index_path.open("rb") as file:
                header = file.read(HEADER.size)
            index_bytes, size_bytes = index_path.stat().st_size, bin_path.stat().st_size
        except FileNotFoundError as error:
            raise UserError(f"token file {error.filename} is missing; run again with --from tokens") from None
        if not header.startswith(MAGIC) or len(header) < HEADER.size:
            raise UserError(
                f"{index_path} is not a Megatron index: it does not begin with MMIDIDX; run again with --from tokens"
            )
        _, version, code, sequences, boundaries = HEADER.unpack(header)
        expected = HEADER.size + sequences * 12 + boundaries * 8
        if version != 1 or code not in DTYPE_CODES or index_bytes != expected:
            raise UserError(
                f"{index_path} is truncated or of another version: got version {version}, dtype code {code}, "
                f"{index_bytes} bytes, wanted version 1, code 4 or 8, {expected} bytes; run again with --from tokens"
            )
        self.dtype = np.dtype(DTYPE_CODES[code])
        index = np.memmap(index_path, dtype=np.uint8, mode="r")
        self.lengths = np.frombuffer(index, np.int32, sequences, HEADER.size)
        self._offsets = np.frombuffer(index, np.int64, sequences, HEADER.size + sequences * 4)  # bytes
        wanted_bytes = int(self.lengths.sum(dtype=np.int64)) * self.dtype.itemsize
        if size_bytes != wanted_bytes:
            raise UserError(
                f"{bin_path} is truncated: got {size_bytes} bytes, its index wants {wanted_bytes}; "
                "run again with --from tokens"
            )
        self._tokens = size_bytes // self.dtype.itemsize
        self._descriptor = os.open(bin_path, os.O_RDONLY)
        weakref.finalize(self, os.close, self._descriptor)

    def __len__(self) -> int:
        """Tokens."""
        return self._tokens

    def read(self, start: int, stop: int) -> Ids:
        """Ids of the tokens `start .. stop`, by a system call: a memory map of a file system that stands still would
        hold the interpreter's lock, and with it every thread."""
        count, size = stop - start, self.dtype.itemsize
        # with the count, a file that was cut short since is an error
        return np.frombuffer(os.pread(self._descriptor, count * size, start * size), self.dtype, count)

    @cached_property
    def ends(self) -> npt.NDArray[np.int64]:
        """The token offset at which each document ends."""
        return np.cumsum(self.lengths, dtype=np.int64)

    def first_document(self, token: int) -> int:
        """The first document that begins at token `token` or later."""
        # numpy's own search would copy all offsets, which Megatron's header leaves unaligned
        return bisect_left(self._offsets, token * self.dtype.itemsize)

    def document_starts(self, start: int, stop: int) -> npt.NDArray[np.int64]:
        """Token offsets in `start .. stop` at which a document begins."""
        return self._offsets[self.first_document(start) : self.first_document(stop)] // self.dtype.itemsize

    @cached_property
    def rows(self) -> list[DocumentRow]:
        """The sidecar: one row per document, in order."""
        path = self.prefix.with_suffix(".docs.jsonl")
        try:
            rows = [DocumentRow(row["id"], row["bytes"]) for row in map(json.loads, path.read_bytes().splitlines())]
        except (FileNotFoundError, ValueError):
            rows = []
        if len(rows) != len(self.lengths):
            raise UserError(
                f"{path} is missing or truncated: got {len(rows)} rows, its index wants {len(self.lengths)}; "
                "run again with --from tokens"
            )
        return rows


def token_files(directory: Path, source: str) -> list[Path]:
    """The prefixes of a source's token files, in order; [] when it has none. Five digits: a source named "a" must not
    swallow the files of a source named "a-b"."""
    return [path.with_suffix("") for path in sorted(directory.glob(f"{source}-{'[0-9]' * 5}.idx"))]


class TokenStream:
    """The concatenated token files of one source and split, addressed by token offset."""

    def __init__(self, directory: Path, source: str) -> None:
        self.source = source
        self.files = [TokenFile(prefix) for prefix in token_files(directory, source)]
        if not self.files:
            raise UserError(f"no token files of source '{source}' in {directory}; run again with --from tokens")
        self.starts = [0]
        for file in self.files:
            self.starts.append(self.starts[-1] + len(file))

    def __len__(self) -> int:
        """Tokens."""
        return self.starts[-1]

    def read(self, start: int, count: int) -> npt.NDArray[np.int64]:
        """Ids of the tokens `start .. start + count`, as int64 (torch's index type)."""
        out = np.empty(count, np.int64)
        for number, low, high in self._pieces(start, start + count):
            offset = self.starts[number] + low - start
            out[offset : offset + high - low] = self.files[number].read(low, high)
        return out

    def documents(self, start: int, stop: int) -> list[str]:
        """Ids of the documents that have a token in `start .. stop`, in order."""
        found = []
        for number, low, high in self._pieces(start, stop):
            file = self.files[number]
            first = file.first_document(low + 1) - 1
            found += [row.id for row in file.rows[first : file.first_document(high)]]
        return found

    def document_starts(self, start: int, stop: int) -> npt.NDArray[np.int64]:
        """Token offsets in `start .. stop` at which a document begins."""
        found = [
            self.files[number].document_starts(low, high) + self.starts[number]
            for number, low, high in self._pieces(start, stop)
        ]
        return np.concatenate(found) if found else np.zeros(0, np.int64)

    @property
    def document_count(self) -> int:
        return sum(len(file.lengths) for file in self.files)

    @property
    def text_bytes(self) -> int:
        """UTF-8 bytes of the documents' texts."""
        return sum(row.size_bytes for file in self.files for row in file.rows)

    def _pieces(self, start: int, stop: int) -> Iterator[tuple[int, int, int]]:
        """(file number, first token, past the last token) of each file that the range touches."""
        if not 0 <= start <= stop <= len(self):
            raise IndexError(f"tokens {start}..{stop} of {len(self)} in source {self.source}")
        number = bisect_right(self.starts, start) - 1
        while start < stop:
            high = min(stop, self.starts[number + 1])
            if high > start:
                yield number, start - self.starts[number], high - self.starts[number]
            start, number = high, number + 1
