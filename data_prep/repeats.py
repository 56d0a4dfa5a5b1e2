"""Lines and paragraphs that stand in several documents, and addresses that several documents have.

Wenzek et al. 2020, "CCNet", section 3.1, drops all but the first paragraph of a kind. Here it stays in the best of the
documents that hold it. Two are the same when their normal forms are (see `shingles`): case and spaces do not count.

A line ends at a newline, as in CCNet. A paragraph is a run of lines between blank ones, which hold only white space.
"""

from __future__ import annotations

from typing import Any
from urllib.parse import urlsplit

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import xxhash

from data_prep.folding import CODES, IGNORED, OTHER, SPACE
from data_prep.kernels import kernel
from data_prep.shingles import (
    AT,
    COUNT,
    NOTHING,
    SOMETHING,
    WHITE_SPACE,
    Hashes,
    decode,
    mix,
    open_text,
    read_tokens,
    scratch,
    tables,
    utf8,
)
from data_prep.sorting import run_starts

SHORTEST = 30  # characters, white space single: "Yes.", "}" and the like may stand in any number of documents
SHORT = np.uint64(0)  # instead of the key of what is shorter
NEWLINE = 10
PORTS = {"http": ":80", "https": ":443"}

Rows = npt.NDArray[np.integer[Any]]
Mask = npt.NDArray[np.bool_]


def line_keys(texts: pa.Array, *, paragraphs: bool) -> tuple[Rows, Hashes]:
    """(rows, keys) of the lines or paragraphs of an Arrow string array: uint32, and 64-bit hashes of the normal forms.

    Sorted by key, then row, each pair once. Those of fewer than `SHORTEST` characters are left out.
    """
    data, bounds = utf8(texts)
    most = int(bounds[-1] - bounds[0]) // SHORTEST  # no character takes less than a byte
    rows, keys = np.empty(most, np.uint32), np.empty(most, np.uint64)
    count = _line_keys(data, bounds, paragraphs, tables(), scratch(), rows, keys)
    order = np.argsort(keys[:count], kind="stable")  # rows ascend
    rows, keys = rows[order], keys[order]
    first = run_starts(keys) | run_starts(rows)
    return rows[first], keys[first]


def repeated(keys: Hashes, rows: Rows) -> tuple[Hashes, Rows]:
    """Of pairs sorted by key, each once, those whose key stands in several documents."""
    first = run_starts(keys)
    several = ~(first & np.append(first[1:], True))
    return keys[several], rows[several]


def keepers(keys: Hashes, rows: Rows, rank: Rows, stays: Mask) -> Mask:
    """Which of the pairs, sorted by key, go: (pairs,). The first in rank of the documents that stay keeps what is its.

    `rank` and `stays` (documents,) are by row; no rank is given twice. Documents that do not stay count for nothing.
    """
    counted = np.flatnonzero(stays[rows])
    ranks, first = rank[rows[counted]], run_starts(keys[counted])
    best = np.minimum.reduceat(ranks, np.flatnonzero(first))
    go = np.zeros(len(keys), bool)
    go[counted] = ranks != best[np.cumsum(first) - 1]
    return go


def without(text: str, keys: Hashes, *, paragraphs: bool) -> tuple[str, int]:
    """(the text without its lines or paragraphs of these keys, how many went). What is left stands as it stood.

    With a paragraph go the blank lines after it, with the first and the last one also those before it.
    """
    data = np.frombuffer(bytearray(text.encode("utf-8", "surrogatepass")), np.uint8)
    kept = np.empty_like(data)
    length, removed = _without(data, np.sort(keys), paragraphs, tables(), scratch(), kept)
    return kept[:length].tobytes().decode("utf-8", "surrogatepass"), removed


def url_key(url: str) -> int:
    """A 64-bit hash of a document's address, the same where `plain_url` is; 0 for "" and white space."""
    address = plain_url(url.strip())
    return xxhash.xxh3_64_intdigest(address.encode("utf-8", "surrogatepass")) if address else 0


def plain_url(url: str) -> str:
    """An address without what hardly ever makes it another page's; what is no URL with a host stands as it is.

    Off go: the scheme and its own port, the host's case and "www.", a slash at the path's end, the fragment, and the
    query's utm_ parameters, which track. Of RFC 3986, section 6.2, percent-encodings and dots in paths are left alone.

    >>> plain_url("HTTPS://www.Example.com:443/a/?id=7&utm_source=x#top")
    'example.com/a?id=7'
    """
    try:
        parts = urlsplit(url)
    except ValueError:
        return url
    if not parts.netloc:
        return url
    user, at, host = parts.netloc.rpartition("@")
    host = host.lower().removesuffix(PORTS.get(parts.scheme, "")).removesuffix(":")
    host = host.removeprefix("www.") if host.count(".") > 1 else host  # www.com is a host of its own
    query = "&".join(part for part in parts.query.split("&") if not part.lower().startswith("utm_"))
    return user + at + host + parts.path.removesuffix("/") + (f"?{query}" if query else "")


@kernel
def _line_keys(text: Any, bounds: Any, paragraphs: Any, tables: Any, scratch: Any, rows: Any, keys: Any) -> Any:
    """Fill `rows` and `keys` in the order of the texts, repeats too; returns how many."""
    count = 0
    for row in range(len(bounds) - 1):
        at, end = bounds[row], bounds[row + 1]
        while at < end:
            key, _, at = _next_piece(text, at, end, paragraphs, tables, scratch)
            if key != SHORT:
                rows[count], keys[count] = row, key
                count += 1
    return count


@kernel
def _without(text: Any, keys: Any, paragraphs: Any, tables: Any, scratch: Any, kept: Any) -> Any:
    """(bytes of what is left, copied to `kept`; how many pieces went). `keys` are sorted."""
    at, length, trimmed, removed, last_went = 0, 0, 0, 0, False
    while at < len(text):
        key, stop, behind = _next_piece(text, at, len(text), paragraphs, tables, scratch)
        place = np.searchsorted(keys, key)
        last_went = key != SHORT and place < len(keys) and keys[place] == key
        if last_went:
            removed += 1
        else:
            kept[length : length + behind - at] = text[at:behind]
            trimmed = length + stop - at  # without the blank lines behind it
            length += behind - at
        at = behind
    return trimmed if last_went else length, removed


@kernel
def _next_piece(text: Any, at: Any, end: Any, paragraphs: Any, tables: Any, scratch: Any) -> Any:
    """(key, where it ends, where the next one begins) of the line or paragraph at byte `at`.

    Blank lines behind a paragraph, and before a text's first one, are its own.
    """
    characters, stop = _next_line(text, at, end, tables)
    behind = stop
    while paragraphs and behind < end:
        more, next_line = _next_line(text, behind, end, tables)
        if more and characters and behind > stop:
            break
        if more:
            characters += more + (characters > 0)
            stop = next_line
        behind = next_line
    if characters < SHORTEST:
        return SHORT, stop, behind
    open_text(scratch, at)
    while scratch.state[AT] < stop:
        scratch.state[COUNT] = 0  # the digest is all that is wanted
        read_tokens(text, stop, tables, scratch)
    return mix(scratch.digest[0]), stop, behind


@kernel
def _next_line(text: Any, at: Any, end: Any, tables: Any) -> Any:
    """(characters, where the next line begins). White space counts as one between two others, and else as none."""
    characters, before = 0, NOTHING
    while at < end and text[at] != NEWLINE:
        code, length = np.int64(text[at]), 1
        if code >= 0x80:
            code, length = decode(text, at, end)
        at += length
        kind = tables.kinds[code] if code < CODES else OTHER
        if kind == SPACE:
            if before == SOMETHING:
                before = WHITE_SPACE
        elif kind != IGNORED:
            characters += 2 if before == WHITE_SPACE else 1
            before = SOMETHING
    return characters, min(at + 1, end)
