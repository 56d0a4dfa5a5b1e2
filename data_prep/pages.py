"""Readers of files that hold texts as they are: text files, pages, web archives."""

from __future__ import annotations

import contextlib
import functools
import io
import itertools
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any, BinaryIO, cast

from fastwarc.stream_io import BrotliReader, ChunkedReader, GzipReader, ZstdReader
from fastwarc.warc import ArchiveIterator, WarcRecord, WarcRecordType

from data_prep.charset import UndecodableError, decode
from data_prep.rows import LARGEST_BYTES, Bad, Page, Row, Rows, show
from data_prep.unpacking import open_unpacked

HTML_TYPES = ("text/html", "application/xhtml+xml")
PRESCAN_BYTES = 1024  # where a page says its encoding (WHATWG HTML, 13.2.3.2)
META_CHARSET = re.compile(rb"""<meta[^>]*?charset\s*=\s*["']?\s*([\w:.-]+)""", re.IGNORECASE | re.ASCII)
XML_ENCODING = re.compile(rb"""^\s*<\?xml[^>]*?encoding\s*=\s*["']([\w:.-]+)""", re.ASCII)
CODINGS: dict[str, Callable[[io.BytesIO], Any]] = {
    "chunked": ChunkedReader,
    "gzip": GzipReader,
    "x-gzip": GzipReader,
    "deflate": functools.partial(GzipReader, zlib=True),
    "br": BrotliReader,
    "zstd": ZstdReader,
}


def text_rows(path: Path, encoding: str) -> Rows:
    """A text file is one document."""
    yield 0, whole_file(path, "", encoding)


def html_rows(path: Path, encoding: str) -> Rows:
    """A page is one document: its source, with `content_type` in its meta, so that clean takes it for a page."""
    yield 0, whole_file(path, "text/html", encoding)


def whole_file(path: Path, content_type: str, encoding: str) -> Row:
    with open_unpacked(path) as file:
        data = file.read(LARGEST_BYTES + 1)
    return page(data, encoding, {"content_type": content_type} if content_type else {})


def page(data: bytes, encoding: str, meta: dict[str, str], http_charset: str = "") -> Row:
    """Bytes as a page; its encoding goes into meta where it is not UTF-8."""
    if len(data) > LARGEST_BYTES:
        return Bad("too-long", show(data))
    declared = [http_charset] if http_charset else []
    if meta.get("content_type") in HTML_TYPES:
        found = META_CHARSET.search(data, 0, PRESCAN_BYTES) or XML_ENCODING.search(data, 0, PRESCAN_BYTES)
        declared += [found[1].decode()] if found else []
    try:
        text, name = decode(data, encoding, declared)
    except UndecodableError as error:
        return Bad("undecodable", f"{error}: {show(data)}")
    return Page(text, meta if name == "utf-8" else meta | {"encoding": name})


def warc_rows(path: Path, encoding: str) -> Rows:
    """The answers of web servers in an archive (ISO 28500), with `url`, `date` and `content_type` in their meta.

    Rows count the answers; requests and other records are none. An answer that is no page or text, or that says that
    there is none (a status other than 200), is a bad row. So is what is no record; reading goes on at the next one.
    """
    given = 0
    for lenient in (False, True):  # as it should be, and where that fails once more, past what is no record
        with open_unpacked(path) as file:
            # raw: a read gives what there is before an error, where a buffer would lose it
            records = ArchiveIterator(
                cast(BinaryIO, file.raw), record_types=WarcRecordType.response, stream_detect=False, quirks_mode=lenient
            )
            try:
                for record in itertools.islice(records, given - lenient, None):
                    yield given, answer(record, encoding)
                    given += 1
                return
            except OSError as error:
                if error.errno:  # the disk's error, not the content's: it may pass
                    raise
                yield given, Bad("unreadable-warc", f"behind {given} answers: {error}")
                given += 1


def answer(record: WarcRecord, encoding: str) -> Row:
    url = record.headers.get("WARC-Target-URI") or ""
    headers = record.http_headers
    if headers is None or headers.status_code != 200:
        return Bad("http-status", f"{'no HTTP' if headers is None else headers.status_line}: {url}")
    kind = (record.http_content_type or "").lower()
    if kind not in (*HTML_TYPES, "text/plain"):
        return Bad("not-text", f"{kind or 'no Content-Type'}: {url}")
    data = record.reader.read(LARGEST_BYTES + 1)
    if len(data) < min(record.content_length, LARGEST_BYTES + 1):
        return Bad("truncated-warc", f"{len(data):,} bytes of {record.content_length:,}: {url}")
    for coding in codings(headers.get("Transfer-Encoding")) + codings(headers.get("Content-Encoding")):
        with contextlib.suppress(OSError):  # crawlers store a body unpacked and keep the header
            data = CODINGS[coding](io.BytesIO(data)).read(LARGEST_BYTES + 1)
    meta = {"url": url, "date": record.headers.get("WARC-Date") or "", "content_type": kind}
    return page(data, encoding, meta, record.http_charset or "")


def codings(header: str | None) -> list[str]:
    """What was done to a body (RFC 9110, 8.4), the last first.

    >>> codings("gzip, chunked")
    ['chunked', 'gzip']
    """
    return [name for name in reversed((header or "").lower().replace(" ", "").split(",")) if name in CODINGS]
