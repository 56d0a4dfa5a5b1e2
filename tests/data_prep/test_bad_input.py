"""Proves that a real run takes a corpus in which everything is broken that can be: each in its row, the rest read."""

from __future__ import annotations

import gzip
import json
import os
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import zstandard
from hypothesis import given, settings
from hypothesis import strategies as st
from reading import rows, source

from data_prep.document import Document
from tests.conftest import TINY_CONFIG, text2lm

GOOD = json.dumps({"text": "good"}).encode()
EVERY_BYTE = bytes(range(256))
MARK = b"\xef\xbb\xbf"
HOLE = 1 << 30
SOURCE = '[[source]]\nname = "s"\npaths = ["corpus"]\nlicense = "CC0-1.0"\n'
READER = r"""
import re, sys
sys.path[:0] = sys.argv[1:3]
from reading import rows, source
print(*(getattr(row, "reason", "good") for row in rows(source(sys.argv[3]))))
print(re.search(r"VmHWM:\s+(\d+) kB", open("/proc/self/status").read())[1])
"""

BAD_LINES = {
    b"": "",  # nothing at all
    b'{"text": "zero \\u0000 byte"}': "good",
    b'{"text": "zero \0 byte"}': "invalid-json",  # RFC 8259, section 7: control characters are escaped
    b'{"text": "\\ud83d"}': "invalid-json",  # half of a surrogate pair
    b'{"text": "\\ud83d\\ude00"}': "good",  # both
    b'{"text": "\xff"}': "invalid-utf8",
    EVERY_BYTE.replace(b"\n", b""): "invalid-utf8",
    MARK + GOOD: "good",  # two files in one
    MARK: "",
    b"[" * 500_000: "invalid-json",
    b'{"text": "t", "deep": ' + b"[" * 500 + b"]" * 500 + b"}": "too-deep",
    b'{"body": "t"}': "no-text-field",
    b"{}": "no-text-field",
    b'{"text": null}': "no-text-field",
    b'{"text": {"text": "t"}}': "text-not-a-string",
    b"true": "not-an-object",
    b'{"text": "cut o': "invalid-json",
}
ROWS = [f'{{"text": "row {number}"}}\n' for number in range(20)]
HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nContent-Encoding: gzip\r\n\r\n"
RECORD = HEAD + gzip.compress(b"<p>page", mtime=0)
SOUND = {
    "x.jsonl": "".join(ROWS).encode(),
    "x.jsonl.gz": b"".join(gzip.compress(row.encode(), mtime=0) for row in ROWS),
    "x.jsonl.zst": b"".join(zstandard.compress(row.encode()) for row in ROWS),
    "x.csv": b"text,n\n" + b'"row ""one"", with a comma",1\n' * 20,
    "x.html": "<meta charset=gbk><p>人人生而自由".encode("gbk"),
    "x.warc": 4 * (b"WARC/1.1\r\nWARC-Type: response\r\nContent-Type: application/http\r\nContent-Length: "
                   + str(len(RECORD)).encode() + b"\r\n\r\n" + RECORD + b"\r\n\r\n"),
}  # fmt: skip
DAMAGE = st.lists(
    st.tuples(
        st.floats(0, 1),
        st.integers(0, 30),
        st.one_of(st.binary(max_size=9), st.sampled_from([b"\r\n", b"WARC/1.1\r\n", b"-1", b"9" * 20])),
    ),
    min_size=1,
    max_size=5,
)


@pytest.fixture
def corpus(tmp_path: Path) -> Path:
    """A project with a source that is a directory, and a config for it."""
    (tmp_path / "corpus").mkdir()
    (tmp_path / "c.toml").write_text(SOURCE + TINY_CONFIG[TINY_CONFIG.index("[split]") :])
    return tmp_path / "corpus"


def ingest(corpus: Path, *arguments: str) -> tuple[dict[str, object], Counter[str]]:
    """The manifest of ingest, and the reasons of what is in quarantine."""
    text2lm(corpus.parent, "run", "c.toml", "--run", "run", "--until", "ingest", *arguments)
    manifest = json.loads((corpus.parent / "run/ingest/manifest.json").read_text())
    ledgers = [pq.read_table(corpus.parent / "run" / item["path"]).to_pylist() for item in manifest["ledgers"]]
    reasons = Counter(row["reason"] for ledger in ledgers for row in ledger)
    assert manifest["quarantined"] == reasons.total()
    assert manifest["documents_in"] == manifest["documents_out"] + reasons.total()
    parts = [pq.read_table(corpus.parent / "run" / item["path"]) for item in manifest["outputs"]]
    assert manifest["documents_out"] == sum(part.num_rows for part in parts)
    return manifest, reasons


def test_everything_that_can_be_broken_at_once(corpus: Path) -> None:
    wanted = Counter({"good": 2})
    lines = [MARK + GOOD, *(line for line in BAD_LINES for _ in range(2)), GOOD]
    for reason in BAD_LINES.values():
        wanted[reason] += 2
    (corpus / "lines.jsonl").write_bytes(b"\n".join(lines))
    del wanted[""]
    many = b"".join(json.dumps({"text": f"good {os.urandom(50).hex()}"}).encode() + b"\n" for _ in range(5000))
    for name, pack in (("gzip", gzip.compress), ("zstd", zstandard.compress)):
        suffix = {"gzip": "gz", "zstd": "zst"}[name]
        (corpus / f"whole.jsonl.{suffix}").write_bytes(pack(many))
        (corpus / f"cut.jsonl.{suffix}").write_bytes(pack(GOOD + b"\n") + pack(many)[:100])
        (corpus / f"none.jsonl.{suffix}").write_bytes(GOOD)
        wanted += Counter({"good": 5001, f"truncated-{name}": 2})
    table = pa.table({"text": ["good", None]})
    pq.write_table(table, corpus / "whole.parquet")
    (corpus / "cut.parquet").write_bytes((corpus / "whole.parquet").read_bytes()[:-1])
    wanted += Counter(["good", "no-text-field", "unreadable-parquet"])
    line = b" " * (16 << 20) + GOOD + b"\n"
    (corpus / "bomb.jsonl.zst").write_bytes(zstandard.compress(line) * 65)  # 1,040 MiB
    wanted += Counter({"good": 63, "zip-bomb": 1})
    for name in ("empty.jsonl", "empty.csv", "empty.jsonl.gz", "empty.warc"):
        (corpus / name).touch()
    (corpus / "empty.txt").touch()  # a text, if an empty one
    (corpus / "zeros.txt").write_bytes(b"\0" * 1000)
    (corpus / "every.txt").write_bytes(EVERY_BYTE * 10)
    (corpus / "mixed.txt").write_bytes(("中文，编码。\n" * 20).encode("gb18030") + ("日本語の文。\n" * 20).encode())
    (corpus / "latin.html").write_bytes("<p>na\xefve caf\xe9".encode("latin-1"))
    (corpus / "rows.csv").write_bytes(b"text,n\ngood,1\nbad\n" + b'"bad"x,1\n' + b"good,2\n")
    wanted += Counter({"good": 4, "undecodable": 3, "wrong-column-count": 1, "invalid-csv": 1})
    (corpus / "directory.txt").mkdir()
    manifest, reasons = ingest(corpus)
    good = wanted.pop("good")
    assert reasons == wanted
    assert manifest["documents_out"] == good
    assert manifest["facts"]["licenses"] == {"s": "CC0-1.0"}


@pytest.fixture(scope="module")
def sound(tmp_path_factory: pytest.TempPathFactory) -> dict[Path, bytes]:
    """A file of each kind, and what is in it."""
    directory = tmp_path_factory.mktemp("sound")
    pq.write_table(pa.table({"text": ["row"] * 50, "n": range(50)}), directory / "x.parquet", row_group_size=20)
    found = SOUND | {"x.parquet": (directory / "x.parquet").read_bytes()}
    return {directory / name: data for name, data in found.items()}


@pytest.mark.parametrize("name", [*SOUND, "x.parquet"])
@settings(deadline=None, max_examples=150)
@given(damage=DAMAGE)
def test_a_file_damaged_anywhere_is_rows_of_one_kind_or_the_other(
    sound: dict[Path, bytes], name: str, damage: list[tuple[float, int, bytes]]
) -> None:
    """Bytes taken out and put in: nothing is raised, no id comes twice, and all of it can be written."""
    path, data = next((path, data) for path, data in sound.items() if path.name == name)
    for place, out, put in damage:
        at = int(place * len(data))
        data = data[:at] + put + data[at + out :]
    path.write_bytes(data)
    found = rows(source(path))
    assert len({row.id for row in found}) == len(found)
    for row in found:
        said = (row.id, row.text, row.meta) if isinstance(row, Document) else (row.id, row.reason, row.excerpt)
        "".join(said).encode()


def test_an_id_that_comes_twice_stays_once(corpus: Path) -> None:
    rows = [{"text": str(number), "id": number % 3} for number in range(8)]
    (corpus / "x.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    manifest, reasons = ingest(corpus, "--set", "source.0.id_field=id")
    assert (manifest["documents_out"], reasons) == (3, {"duplicate-id": 5})


@pytest.mark.parametrize("name", ["x.jsonl", "x.txt", "x.csv", "x.html"])
def test_a_line_of_a_gigabyte_is_not_held_in_memory(tmp_path: Path, name: str) -> None:
    """It is a hole in a sparse file. The reader is a process of its own, whose memory the system has measured."""
    head = {"x.csv": b"text,n\n" + b"good" * (1 << 18) + b",1\n", "x.jsonl": GOOD + b"\n"}.get(name, b"")
    with (tmp_path / name).open("wb") as file:
        file.write(head)
        file.seek(HOLE, os.SEEK_CUR)
        file.write(b"\n" + (b"good,2\n" if name == "x.csv" else GOOD + b"\n"))
    here = Path(__file__).parent
    command = [sys.executable, "-c", READER, str(here), str(here.parents[1]), str(tmp_path)]
    *said, most_kib = subprocess.run(command, capture_output=True, text=True, check=True).stdout.split()
    good = ["good"] if head else []
    long = {"x.jsonl": "line-too-long", "x.csv": "row-too-long"}.get(name, "too-long")
    assert said == [*good, long, *good]
    assert int(most_kib) << 10 < 1 << 29


def test_a_file_that_vanishes_is_named_in_one_line(corpus: Path) -> None:
    for name in ("x.txt", "y.txt"):
        (corpus / name).write_text("good")
    text2lm(corpus.parent, "run", "c.toml", "--run", "run", "--until", "ingest")
    (corpus / "x.txt").unlink()
    (corpus / "x.txt").symlink_to("nowhere")
    done = text2lm(corpus.parent, "run", "c.toml", "--run", "run", "--until", "ingest", code=2)
    assert "x.txt is a link to nothing" in done.stderr and len(done.stderr.splitlines()) == 1


def test_an_encoding_that_python_does_not_know_is_refused(corpus: Path) -> None:
    (corpus / "x.txt").write_text("good")
    for name in ("utf-9", "rot13"):
        done = text2lm(corpus.parent, "plan", "c.toml", "--set", f"source.0.encoding={name}", code=2)
        assert f"encoding must be auto or a text encoding that Python knows, for example gb18030, got '{name}'" in (
            done.stderr
        )
