"""Proves that every string of an evaluation file is read as a text, and that a file that cannot be read is named."""

from __future__ import annotations

import gzip
import json
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from data_prep.evaluation import set_names, texts_of
from data_prep.files import UserError

ROW = {
    "question": "How many?",
    "choices": {"text": ["one", "two"], "label": ["A", "B"]},
    "answers": [{"text": ["two"], "start": [7]}],
    "n": 3,
    "none": None,
    "sure": True,
}
TEXTS = sorted(["How many?", "one", "two", "A", "B", "two"])


def test_every_string_of_json_lines_is_a_text(tmp_path):
    line = json.dumps(ROW)
    (tmp_path / "x.jsonl").write_text(f"\ufeff{line}\n\n  \n{line}")
    (tmp_path / "x.jsonl.gz").write_bytes(gzip.compress(f"{line}\n".encode()) + gzip.compress(b'["a", [["b"]]]\n"c"\n'))
    assert sorted(texts_of(tmp_path / "x.jsonl")) == sorted(TEXTS * 2)
    assert sorted(texts_of(tmp_path / "x.jsonl.gz")) == sorted([*TEXTS, "a", "b", "c"])


def test_every_string_of_parquet_is_a_text(tmp_path):
    table = pa.table(
        {
            **{name: pa.array([value, None]) for name, value in ROW.items()},
            "map": pa.array([[("key", "value")], None], pa.map_(pa.string(), pa.string())),
            "few": pa.array(["x", "x"]).dictionary_encode(),
            "raw": pa.array([b"bytes", None]),
        }
    )
    pq.write_table(table, tmp_path / "x.parquet", row_group_size=1)
    assert sorted(texts_of(tmp_path / "x.parquet")) == sorted([*TEXTS, "key", "value", "x", "x"])


def test_a_text_file_is_one_text(tmp_path):
    (tmp_path / "x.txt").write_bytes(b"\xef\xbb\xbfone\r\n\ntwo")
    assert list(texts_of(tmp_path / "x.txt")) == ["one\r\n\ntwo"]


def test_deep_json_is_read(tmp_path):
    (tmp_path / "x.jsonl").write_text('{"a": [' * 500 + '"deep"' + "]}" * 500)
    assert list(texts_of(tmp_path / "x.jsonl")) == ["deep"]


@pytest.mark.parametrize(
    ("name", "data", "wanted"),
    [
        ("x.jsonl", b'{"a": "b"}\n\n{"a": \n', "line 3 is not JSON"),
        ("x.jsonl", b'{"a": "b"}\n{"a": "\xff"}\n', "line 2 is not JSON .*UTF-8"),
        ("x.jsonl.gz", gzip.compress(b'"a"\n"b"\n')[:-9], "it cannot be unpacked"),
        ("x.jsonl.gz", b'{"a": "b"}\n', "behind line 0 it cannot be unpacked"),
        ("x.txt", b"\xef\xbb\xbfa\nb\n\xff", "line 3 is not UTF-8"),
        ("x.parquet", b"no parquet", "row group 0 cannot be read"),
        ("x.parquet", b"", "row group 0 cannot be read"),
        ("x.csv", b"question\nwhat?\n", "kind that is not read yet, wanted .jsonl .jsonl.gz .parquet .txt"),
    ],
)
def test_a_broken_file_is_named_with_the_place(tmp_path, name, data, wanted):
    (tmp_path / name).write_bytes(data)
    with pytest.raises(UserError, match=f"evaluation set {tmp_path / name}.*{wanted}") as error:
        list(texts_of(tmp_path / name))
    assert "dedup.decontaminate" in str(error.value)
    assert "\n" not in str(error.value)


def test_a_row_group_that_was_damaged_is_named(tmp_path):
    path = tmp_path / "x.parquet"
    pq.write_table(pa.table({"a": ["first" * 100, "second" * 100]}), path, row_group_size=1, use_dictionary=False)
    column = pq.read_metadata(path).row_group(1).column(0)
    data = bytearray(path.read_bytes())
    data[column.data_page_offset : column.data_page_offset + column.total_compressed_size] = bytes(
        column.total_compressed_size
    )
    path.write_bytes(data)
    with pytest.raises(UserError, match=r"x.parquet: row group 1 cannot be read"):
        list(texts_of(path))


@pytest.mark.parametrize(
    ("paths", "names"),
    [
        (["/e/arc.jsonl", "/e/boolq.txt"], ["arc.jsonl", "boolq.txt"]),
        (["/e/arc/test.jsonl", "/e/boolq/test.jsonl", "/e/x.txt"], ["arc/test.jsonl", "boolq/test.jsonl", "x.txt"]),
        (["/a/x/t.txt", "/b/x/t.txt", "/b/y/t.txt"], ["a/x/t.txt", "b/x/t.txt", "b/y/t.txt"]),
        (["/t.txt", "/a/t.txt"], ["/t.txt", "a/t.txt"]),
    ],
)
def test_a_set_is_named_by_its_file_and_namesakes_by_what_tells_them_apart(paths, names):
    assert set_names([Path(path) for path in paths]) == names
