"""Files that may be packed, as streams of bytes: unpacked while they are read, never whole in memory."""

from __future__ import annotations

import gzip
import io
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import BinaryIO

import zstandard

from data_prep.rows import UnreadableError

BUFFER_BYTES = 1 << 16
ZSTD_BYTES = 1 << 10  # at once: they may hold 256 blocks, of 128 KiB each
# Both must be passed. Natural text shrinks 3 to 30 times, one log line over and over some hundred times; gzip can at
# most make 1,032 bytes of one.
BOMB_BYTES = 1 << 30
BOMB_RATIO = 500


def gzip_blocks(file: BinaryIO) -> Iterator[bytes]:
    """What a series of gzip members holds (RFC 1952)."""
    stream = gzip.GzipFile(fileobj=file)
    while block := stream.read1(BUFFER_BYTES):  # what is there; `read` loses it where an error follows
        yield block


def zstd_blocks(file: BinaryIO) -> Iterator[bytes]:
    """What a series of Zstandard frames holds (RFC 8878)."""
    unpacker, frame = zstandard.ZstdDecompressor(), None
    while packed := file.read(ZSTD_BYTES):
        while packed:
            frame = frame or unpacker.decompressobj()
            yield frame.decompress(packed)
            packed = frame.unused_data
            if frame.eof:
                frame = None
    if frame:
        raise EOFError("the file ends before its last frame does")


PACKINGS: dict[str, tuple[str, Callable[[BinaryIO], Iterator[bytes]]]] = {
    ".gz": ("gzip", gzip_blocks),
    ".zst": ("zstd", zstd_blocks),
}


def packing_of(name: str) -> str:
    """The suffix of a packed file, "" for others.

    >>> packing_of("a.jsonl.gz"), packing_of("a.jsonl")
    ('.gz', '')
    """
    return next((suffix for suffix in PACKINGS if name.lower().endswith(suffix)), "")


def open_unpacked(path: Path) -> io.BufferedReader:
    """A file's bytes, unpacked if its name says that it is packed.

    Reading raises `UnreadableError` where the rest of it cannot be unpacked, and where it is a bomb. What comes before
    is given.
    """
    file = path.open("rb")
    packing = packing_of(path.name)
    return io.BufferedReader(Unpacking(file, packing), BUFFER_BYTES) if packing else file


class Unpacking(io.RawIOBase):
    """What a packed file holds."""

    def __init__(self, file: BinaryIO, packing: str) -> None:
        super().__init__()
        self._file = file
        self._packing, blocks = PACKINGS[packing]
        self._blocks = blocks(file)
        self._block = memoryview(b"")
        self._unpacked = 0

    def readable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._unpacked - len(self._block)

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]
        while not self._block:
            block = self._next()
            if block is None:
                return 0
            self._block = memoryview(block)
        length = min(len(buffer), len(self._block))
        buffer[:length], self._block = self._block[:length], self._block[length:]
        return length

    def _next(self) -> bytes | None:
        """The next block; None behind the last."""
        try:
            block = next(self._blocks, None)
        except (EOFError, zlib.error, zstandard.ZstdError, gzip.BadGzipFile) as error:
            raise UnreadableError(f"truncated-{self._packing}", str(error)) from None
        self._unpacked += len(block or b"")
        if self._unpacked > BOMB_BYTES and self._unpacked > BOMB_RATIO * self._file.tell():
            raise UnreadableError(
                "zip-bomb",
                f"{self._file.tell():,} bytes unpacked to {self._unpacked:,}, more than {BOMB_RATIO} times as many; "
                "the rest is not read",
            )
        return block

    def close(self) -> None:
        self._file.close()
        super().close()
