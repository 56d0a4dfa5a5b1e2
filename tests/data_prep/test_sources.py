"""Proves that every kind of source becomes documents with lasting ids, and that a broken row costs only itself."""

from __future__ import annotations

import gzip
import json
from decimal import Decimal

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from reading import rows, short, source

from data_prep.document import Broken, Document
from data_prep.files import UserError
from data_prep.finding import find_inputs
from data_prep.sources import pieces


@pytest.fixture(autouse=True)
def offline(monkeypatch):
    """The hub is never asked."""
    import datasets

    monkeypatch.setattr(datasets.config, "HF_HUB_OFFLINE", True)


def test_json_lines(tmp_path):
    (tmp_path / "x.jsonl").write_text('{"text": "one"}\n\n{"text": "two\\n"}\n   \n{"text": ""}')
    assert short(rows(source(tmp_path / "x.jsonl"))) == {
        "s:x.jsonl#0": "one",
        "s:x.jsonl#2": "two\n",
        "s:x.jsonl#4": "",
    }


def test_json_lines_compressed_by_the_gzip_module_in_two_members(tmp_path):
    """RFC 1952: a gzip file is a series of members."""
    (tmp_path / "x.jsonl.gz").write_bytes(gzip.compress(b'{"text": "one"}\n{"te') + gzip.compress(b'xt": "two"}\n'))
    assert short(rows(source(tmp_path / "*.gz"))) == {"s:x.jsonl.gz#0": "one", "s:x.jsonl.gz#1": "two"}


def test_a_text_file_is_one_document_stored_as_it_is(tmp_path):
    text = " é\r\n\tlast line without an end \0"
    (tmp_path / "x.txt").write_bytes(text.encode())
    assert rows(source(tmp_path / "x.txt")) == [Document("s:x.txt#0", text, "s")]


def test_a_byte_order_mark_is_no_part_of_the_text(tmp_path):
    (tmp_path / "x.jsonl").write_bytes(b'\xef\xbb\xbf{"text": "one"}\n{"text": "two"}\n')
    (tmp_path / "x.txt").write_bytes(b"\xef\xbb\xbfthree")
    assert list(short(rows(source(tmp_path / "x.*"))).values()) == ["one", "two", "three"]


def test_parquet_written_by_pyarrow(tmp_path):
    table = pa.table({"text": ["one", None, "three"], "n": [1, 2, 3]})
    pq.write_table(table, tmp_path / "x.parquet", row_group_size=2)
    found = rows(source(tmp_path / "x.parquet"))
    assert short(found) == {"s:x.parquet#0": "one", "s:x.parquet#1": "! no-text-field", "s:x.parquet#2": "three"}
    assert json.loads(found[2].meta) == {"n": 3}


def test_meta_holds_what_json_has_no_form_for(tmp_path):
    table = pa.table({"text": ["one"], "price": [Decimal("1.50")], "raw": [b"\xff"], "seen": [{"at": float("nan")}]})
    pq.write_table(table, tmp_path / "x.parquet")
    (found,) = rows(source(tmp_path / "x.parquet"))
    assert json.loads(found.meta) == {"price": "1.50", "raw": "b'\\xff'", "seen": {"at": None}}


def test_numbers_in_a_parquet_file_are_no_text(tmp_path):
    pq.write_table(pa.table({"text": [1, 2]}), tmp_path / "x.parquet")
    assert set(short(rows(source(tmp_path / "x.parquet"))).values()) == {"! text-not-a-string"}


def test_a_dataset_folder_read_through_the_datasets_library(tmp_path):
    folder = tmp_path / "corpus"
    folder.mkdir()
    (folder / "train-a.jsonl").write_text('{"text": "one", "n": 1}\n{"text": "two", "n": 2}\n')
    (folder / "train-b.jsonl").write_text('{"text": "three", "n": 3}\n')
    settings = source(hub=str(folder))
    assert [item["name"] for item in find_inputs(settings)] == ["train-a.jsonl", "train-b.jsonl"]
    found = rows(settings)
    assert short(found) == {"s:corpus/0#0": "one", "s:corpus/0#1": "two", "s:corpus/1#0": "three"}
    assert json.loads(found[2].meta) == {"n": 3}


def test_a_dataset_that_cannot_be_loaded_is_named(tmp_path):
    with pytest.raises(UserError, match="no/such-dataset") as error:
        pieces(source(hub="no/such-dataset"), [])
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("row", "wanted"),
    [
        ({"text": "t", "id": "a b/é"}, Document("s:a b/é", "t", "s")),
        ({"text": "t", "id": 7}, Document("s:7", "t", "s")),
        ({"text": "t", "id": 0}, Document("s:0", "t", "s")),
        ({"text": "t"}, Broken("s:x.jsonl#0", "s", "no-id-field", "t")),
        ({"text": "t", "id": None}, Broken("s:x.jsonl#0", "s", "no-id-field", "t")),
        ({"text": "t", "id": ""}, Broken("s:x.jsonl#0", "s", "no-id-field", "t")),
        ({"text": "t", "id": ["a"]}, Broken("s:x.jsonl#0", "s", "no-id-field", "t")),
    ],
)
def test_ids_from_a_field(tmp_path, row, wanted):
    (tmp_path / "x.jsonl").write_text(json.dumps(row))
    assert rows(source(tmp_path / "x.jsonl", id_field="id")) == [wanted]


def test_other_fields_are_kept_as_json_with_sorted_keys(tmp_path):
    row = {"url": "http://é", "text": "t", "body": "b", "deep": {"b": [1, None], "a": 0.1}}
    (tmp_path / "x.jsonl").write_text(json.dumps(row))
    (found,) = rows(source(tmp_path / "x.jsonl", text_field="body"))
    assert found.text == "b"
    assert json.loads(found.meta) == {"url": "http://é", "text": "t", "deep": {"b": [1, None], "a": 0.1}}
    assert list(json.loads(found.meta)) == sorted(json.loads(found.meta))


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        (b'{"title": "x"}', "no-text-field"),
        (b"{}", "no-text-field"),
        (b'{"text": null}', "no-text-field"),
        (b'{"text": 5}', "text-not-a-string"),
        (b'{"text": ["a"]}', "text-not-a-string"),
        (b'{"text": "x"', "invalid-json"),
        (b'{"text": "x"} {"text": "y"}', "invalid-json"),
        (b"text", "invalid-json"),
        (b'{"text": "\\ud83d"}', "invalid-json"),  # half of a surrogate pair: RFC 8259, section 8.2
        (b'{"text": "\xe9"}', "invalid-utf8"),  # Latin-1
        (b'{"text": "\xed\xa0\x80"}', "invalid-utf8"),  # a surrogate in CESU-8
        (b'["text", "x"]', "not-an-object"),
        (b'"text"', "not-an-object"),
        (b'{"text": "x", "deep": ' + b"[" * 300 + b"]" * 300 + b"}", "too-deep"),
        (b'{"deep": ' + b"[" * 300 + b"]" * 300 + b"}", "too-deep"),
        (b"[" * 100_000, "invalid-json"),
    ],
)
def test_a_broken_row_costs_only_itself(tmp_path, line, reason):
    (tmp_path / "x.jsonl").write_bytes(b'{"text": "before"}\n' + line + b'\n{"text": "after"}\n')
    assert short(rows(source(tmp_path / "x.jsonl"))) == {
        "s:x.jsonl#0": "before",
        "s:x.jsonl#1": f"! {reason}",
        "s:x.jsonl#2": "after",
    }


def test_broken_rows_show_what_they_hold(tmp_path):
    (tmp_path / "x.jsonl").write_bytes(b'{"text": "caf\xe9"}\n')
    (found,) = rows(source(tmp_path / "x.jsonl"))
    assert found == Broken("s:x.jsonl#0", "s", "invalid-utf8", '{"text": "caf\\xe9"}')


@pytest.mark.parametrize(
    ("data", "encoding", "wanted"),
    [
        ("naïve café, déjà vu".encode("latin-1"), "auto", ("naïve café, déjà vu", {"encoding": "cp1252"})),
        ("naïve".encode("utf-16"), "auto", ("naïve", {"encoding": "utf-16-le"})),
        ("Да".encode("koi8-r"), "KOI8-R", ("Да", {"encoding": "koi8-r"})),
        ("Да".encode(), "auto", ("Да", {})),
        ("Да".encode(), "utf8", ("Да", {})),
    ],
)
def test_the_encoding_of_a_text_file_is_in_its_meta_if_it_is_not_utf8(tmp_path, data, encoding, wanted):
    (tmp_path / "x.txt").write_bytes(data)
    (found,) = rows(source(tmp_path / "x.txt", encoding=encoding))
    assert (found.text, json.loads(found.meta)) == wanted


def test_a_text_file_that_is_not_in_the_encoding_that_it_should_be_in(tmp_path):
    (tmp_path / "x.txt").write_bytes("café".encode("latin-1"))
    (found,) = rows(source(tmp_path / "x.txt", encoding="utf-8"))
    assert found == Broken("s:x.txt#0", "s", "undecodable", "not utf-8: caf\\xe9")


def test_a_truncated_gzip_gives_the_rows_before_the_cut(tmp_path):
    lines = [f"row {number}" for number in range(20_000)]
    whole = gzip.compress("".join(json.dumps({"text": line}) + "\n" for line in lines).encode())
    (tmp_path / "x.jsonl.gz").write_bytes(whole[: len(whole) // 2])
    *before, last = rows(source(tmp_path / "x.jsonl.gz"))
    assert len(before) > 5000
    assert [row.text for row in before] == lines[: len(before)]
    assert (last.id, last.reason) == (f"s:x.jsonl.gz#{len(before)}", "truncated-gzip")


@pytest.mark.parametrize("data", [b"", gzip.compress(b"")])
def test_an_empty_gzip_holds_no_rows(tmp_path, data):
    (tmp_path / "x.jsonl.gz").write_bytes(data)
    assert rows(source(tmp_path / "x.jsonl.gz")) == []


@pytest.mark.parametrize("data", [b'{"text": "not compressed"}\n', gzip.compress(b'{"text": "x"}\n')[:12]])
def test_a_gzip_without_one_whole_row(tmp_path, data):
    (tmp_path / "x.jsonl.gz").write_bytes(data)
    assert short(rows(source(tmp_path / "x.jsonl.gz"))) == {"s:x.jsonl.gz#0": "! truncated-gzip"}


def test_a_parquet_file_that_is_none(tmp_path):
    (tmp_path / "x.parquet").write_bytes(b"PAR1 and nothing more")
    assert short(rows(source(tmp_path / "x.parquet"))) == {"s:x.parquet#0": "! unreadable-parquet"}


def test_a_damaged_parquet_file_gives_every_row_group_but_the_damaged(tmp_path):
    path = tmp_path / "x.parquet"
    texts = [f"row {number} " * 50 for number in range(300)]
    pq.write_table(pa.table({"text": texts}), path, row_group_size=100, compression="gzip", use_dictionary=False)
    metadata = pq.read_metadata(path)
    data = bytearray(path.read_bytes())
    column = metadata.row_group(1).column(0)
    start = column.data_page_offset
    data[start : start + column.total_compressed_size] = b"\xff" * column.total_compressed_size
    path.write_bytes(data)
    found = rows(source(path))
    assert [row.text for row in found[:100] + found[101:]] == texts[:100] + texts[200:]
    assert (found[100].id, found[100].reason) == ("s:x.parquet#100", "unreadable-parquet")
    assert found[101].id == "s:x.parquet#200"


def test_a_compressed_file_counts_for_more_than_its_size(tmp_path):
    for name in ("x.jsonl", "y.jsonl.gz"):
        (tmp_path / name).write_bytes(b"0" * 1000)
    settings = source(tmp_path / "*")
    plain, compressed = (piece["bytes"] for piece in pieces(settings, find_inputs(settings)))
    assert compressed > plain == 1000
