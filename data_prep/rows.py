"""What a reader gives of a file: rows that count from 0, each as fields, as a page, or as what is bad about it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from data_prep.shards import EXCERPT_CHARACTERS

# Of a line of JSON, a row of CSV (characters), a text file, a page. Python's string of it may take four times as much,
# and a task must stay below a gigabyte. A book has about one megabyte.
LARGEST_BYTES = 32 << 20


@dataclass(frozen=True, slots=True)
class Page:
    """A text that is a file, or a record of a web archive, and what is known of it."""

    text: str
    meta: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Bad:
    """A row that is no document, with a short stable word that says why."""

    reason: str
    excerpt: str = ""


Row = dict[str, Any] | Page | Bad
Rows = Iterator[tuple[int, Row]]


class UnreadableError(Exception):
    """The rest of a file cannot be read, and will not be at another try: its content is to blame, not the disk."""

    def __init__(self, reason: str, excerpt: str) -> None:
        super().__init__(f"{reason}: {excerpt}")
        self.bad = Bad(reason, excerpt[:EXCERPT_CHARACTERS])


def show(data: bytes) -> str:
    """The beginning of bytes that are no text, to be looked at."""
    return data.lstrip()[: 4 * EXCERPT_CHARACTERS].decode(errors="backslashreplace").strip()[:EXCERPT_CHARACTERS]
