"""Proves that texts, pages and web archives become documents with what is known of them, in their own encodings."""

from __future__ import annotations

import gzip
import io
import json

import pytest
import zstandard
from fastwarc.warc import WarcRecord, WarcRecordType
from reading import rows, short, source

from data_prep.document import Document
from data_prep.pages import warc_rows
from data_prep.rows import LARGEST_BYTES, Page

CHINESE = "<p>人人生而自由，在尊严和权利上一律平等。他们赋有理性和良心，并应以兄弟关系的精神相对待。"
OK = "HTTP/1.1 200 OK\r\nContent-Type: text/html"


def answer(body, head=OK, url="http://example.org/a", length=None, kind="response"):
    """A record as ISO 28500 writes it."""
    block = head.encode() + b"\r\n\r\n" + body
    return (
        (
            f"WARC/1.1\r\nWARC-Type: {kind}\r\nWARC-Record-ID: <urn:uuid:1>\r\nWARC-Target-URI: {url}\r\n"
            f"WARC-Date: 2024-01-02T03:04:05Z\r\nContent-Type: application/http; msgtype={kind}\r\n"
            f"Content-Length: {length or len(block)}\r\n\r\n"
        ).encode()
        + block
        + b"\r\n\r\n"
    )


@pytest.mark.parametrize("name", ["x.html", "x.htm", "x.HTML", "x.html.gz", "x.htm.zst"])
def test_a_page_is_stored_as_it_is_and_marked_as_one(tmp_path, name):
    pack = {"gz": gzip.compress, "zst": zstandard.compress}.get(name.rpartition(".")[2], bytes)
    (tmp_path / name).write_bytes(pack(b"<p>one &amp; two\r\n"))
    meta = '{"content_type":"text/html"}'
    assert rows(source(tmp_path)) == [Document(f"s:{name}#0", "<p>one &amp; two\r\n", "s", meta)]


@pytest.mark.parametrize(
    ("head", "encoding"),
    [
        ('<meta charset="gb2312">', "gb18030"),
        ("<META CHARSET=GBK>", "gb18030"),
        ('<meta http-equiv="Content-Type" content="text/html; charset=gb2312" />', "gb18030"),
        ('<?xml version="1.0" encoding="GB2312"?>', "gb18030"),
        ("", "gb18030"),
        ('<meta charset="utf-8">', "utf-8"),
        ('<meta charset="gb2312">', "utf-8"),
        ('<meta charset="utf-8">', "gb18030"),
        ('<meta charset="big5">', "utf-16"),
    ],
)
def test_a_page_in_the_encoding_that_it_has_whatever_it_says(tmp_path, head, encoding):
    text = head + CHINESE
    (tmp_path / "x.html").write_bytes(text.encode(encoding))
    (found,) = rows(source(tmp_path))
    assert found.text == text
    assert json.loads(found.meta).get("encoding", "utf-8") == encoding.replace("utf-16", "utf-16-le")


@pytest.mark.parametrize("charset", ["windows-1251", "koi8-r"])
def test_a_short_page_is_read_by_what_it_says(tmp_path, charset):
    text = f"<html><head><meta charset={charset}></head><body>Да</body>"
    (tmp_path / "x.html").write_bytes(text.encode(charset))
    assert [row.text for row in rows(source(tmp_path))] == [text]


@pytest.mark.parametrize("suffix", ["", ".gz", ".zst"])
def test_answers_in_a_web_archive(tmp_path, suffix):
    pack = {"": bytes, ".gz": gzip.compress, ".zst": zstandard.compress}[suffix]
    records = [
        answer(b"<p>one"),
        answer(b"asked", kind="request"),
        answer("plain é".encode("latin-1"), "HTTP/1.1 200 OK\r\ncontent-type: text/plain; charset=ISO-8859-1"),
        answer(b"gone", "HTTP/1.1 404 Not Found\r\nContent-Type: text/html"),
        answer(b"\x89PNG", "HTTP/1.1 200 OK\r\nContent-Type: image/png"),
        answer(b"no kind", "HTTP/1.1 200 OK\r\nServer: x"),
        answer(b"no HTTP at all", "nothing"),
        answer(CHINESE.encode("gb18030"), url="http://example.org/last"),
    ]
    (tmp_path / f"x.warc{suffix}").write_bytes(b"".join(map(pack, records)))  # a member each, as crawlers write
    found = rows(source(tmp_path))
    assert list(short(found).values()) == [
        "<p>one", "plain é", "! http-status", "! not-text", "! not-text", "! http-status", CHINESE,
    ]  # fmt: skip
    assert [row.id for row in found] == [f"s:x.warc{suffix}#{number}" for number in range(7)]
    date = "2024-01-02T03:04:05Z"
    assert json.loads(found[1].meta) == {
        "url": "http://example.org/a", "date": date, "content_type": "text/plain", "encoding": "cp1252",
    }  # fmt: skip
    assert json.loads(found[6].meta) == {
        "url": "http://example.org/last", "date": date, "content_type": "text/html", "encoding": "gb18030",
    }  # fmt: skip
    assert "404" in found[2].excerpt and "http://example.org/a" in found[2].excerpt


def test_what_fastwarc_writes_comes_back(tmp_path):
    out = io.BytesIO()
    for number in range(3):
        record = WarcRecord()
        record.init_headers(record_type=WarcRecordType.response)
        record.headers["WARC-Target-URI"] = f"http://example.org/{number}"
        record.headers["Content-Type"] = "application/http; msgtype=response"
        record.set_bytes_content(f"{OK}\r\n\r\n<p>{number}".encode())
        record.write(out)
    (tmp_path / "x.warc").write_bytes(out.getvalue())
    assert [row.text for row in rows(source(tmp_path))] == ["<p>0", "<p>1", "<p>2"]


def test_the_id_may_be_the_address(tmp_path):
    (tmp_path / "x.warc").write_bytes(answer(b"<p>one") + answer(b"<p>two", url=""))
    (tmp_path / "y.txt").write_text("three")
    found = rows(source(tmp_path, id_field="url"))
    assert [row.id for row in found] == ["s:http://example.org/a", "s:x.warc#1", "s:y.txt#0"]
    assert json.loads(found[0].meta)["url"] == "http://example.org/a"


@pytest.mark.parametrize(
    ("header", "body"),
    [
        ("Content-Encoding: gzip", gzip.compress(b"<p>one")),
        ("content-encoding: X-GZIP", gzip.compress(b"<p>one")),
        ("Content-Encoding: zstd", zstandard.compress(b"<p>one")),
        ("Content-Encoding: deflate", __import__("zlib").compress(b"<p>one")),
        ("Transfer-Encoding: chunked", b"4\r\n<p>o\r\n2\r\nne\r\n0\r\n\r\n"),
        ("Transfer-Encoding: gzip, chunked", b"1a\r\n" + gzip.compress(b"<p>one", mtime=0)[:26] + b"\r\n0\r\n\r\n"),
        ("Content-Encoding: gzip", b"<p>one"),  # unpacked by the crawler, which has left the header
        ("Transfer-Encoding: chunked", b"<p>one"),
        ("Content-Encoding: identity", b"<p>one"),
    ],
)
def test_bodies_packed_for_the_way(tmp_path, header, body):
    (tmp_path / "x.warc").write_bytes(answer(body, f"{OK}\r\n{header}") + answer(b"<p>two"))
    assert list(short(rows(source(tmp_path))).values()) == ["<p>one", "<p>two"]


def test_the_header_of_the_answer_goes_before_the_page(tmp_path):
    page = "<meta charset=koi8-r>Да"
    (tmp_path / "x.warc").write_bytes(answer(page.encode("cp1251"), f"{OK}; charset=windows-1251"))
    assert [row.text for row in rows(source(tmp_path))] == [page]


def test_what_is_no_record_costs_one_row(tmp_path):
    good = answer(b"<p>good")
    (tmp_path / "a.warc").write_bytes(good + b"junk\r\n\r\n" * 20 + good + good)
    (tmp_path / "b.warc").write_bytes(answer(b"<p>says it is longer", length=300) + good + good + good)
    (tmp_path / "c.warc").write_bytes(b"junk\r\n" * 100)
    (tmp_path / "d.warc").write_bytes(good + good[:-12])
    (tmp_path / "e.warc").touch()
    found = short(rows(source(tmp_path)))
    by_file = {name: [text for id, text in found.items() if f":{name}." in id] for name in "abcde"}
    assert by_file["a"] == ["<p>good", "! unreadable-warc", "<p>good", "<p>good"]
    assert by_file["b"][1:] == ["! unreadable-warc", "<p>good", "<p>good"]
    assert by_file["c"] == ["! unreadable-warc"]
    assert by_file["d"] == ["<p>good", "! truncated-warc"]
    assert by_file["e"] == []


@pytest.mark.parametrize("suffix", ["", ".gz"])
def test_an_archive_cut_anywhere_gives_what_is_whole(tmp_path, suffix):
    pack = gzip.compress if suffix else bytes
    pages = [f"<p>{number}" for number in range(4)]
    data = [pack(answer(page.encode())) for page in pages]
    whole = b"".join(data)
    ends = [sum(map(len, data[: number + 1])) for number in range(4)]
    path = tmp_path / f"x.warc{suffix}"
    for keep in range(0, len(whole) + 1, 7):
        path.write_bytes(whole[:keep])
        found = list(short(rows(source(path))).values())
        least = sum(end <= keep for end in ends)
        assert found[:least] == pages[:least]
        broken = [
            text for text in found[least:] if text not in pages[least : least + 1]
        ]  # it may lack its end mark only
        assert len(broken) <= 1 and all(text.startswith("! ") for text in broken)


@pytest.mark.parametrize("name", ["x.txt", "x.html.gz", "x.warc", "y.warc"])
def test_a_page_that_is_too_long_costs_itself(tmp_path, name):
    """Also one that is so only when it is unpacked."""
    text = b"x" * (LARGEST_BYTES + 1)
    if name == "y.warc":
        data = answer(gzip.compress(text, 1), f"{OK}\r\nContent-Encoding: gzip") + answer(b"after")
    else:
        data = {"x.txt": text, "x.html.gz": gzip.compress(text, 1), "x.warc": answer(text) + answer(b"after")}[name]
    (tmp_path / name).write_bytes(data)
    wanted = ["! too-long", "after"] if "warc" in name else ["! too-long"]
    assert list(short(rows(source(tmp_path))).values()) == wanted


def test_a_page_of_the_largest_size_is_read(tmp_path):
    (tmp_path / "x.txt").write_bytes(b"x" * LARGEST_BYTES)
    assert [len(row.text) for row in rows(source(tmp_path))] == [LARGEST_BYTES]


def test_rows_count_answers_only(tmp_path):
    path = tmp_path / "x.warc"
    kinds = ("request", "response", "metadata", "response")
    path.write_bytes(b"".join(answer(b"<p>", kind=kind) for kind in kinds))
    assert [(number, isinstance(row, Page)) for number, row in warc_rows(path, "auto")] == [(0, True), (1, True)]
