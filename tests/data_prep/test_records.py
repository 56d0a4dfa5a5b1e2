"""Proves that rows with fields come back as the csv module and Arrow write them, and that a bad one costs itself."""

from __future__ import annotations

import csv
import io
import json

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from reading import rows, short, source

from data_prep.document import Broken
from data_prep.records import csv_rows
from data_prep.rows import LARGEST_BYTES

CELL = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\r\ufeff"), max_size=20)


@pytest.fixture(scope="module")
def path(tmp_path_factory):
    return tmp_path_factory.mktemp("records") / "x.csv"


@settings(deadline=None)
@given(table=st.lists(st.tuples(CELL, CELL), max_size=8), quoting=st.sampled_from([csv.QUOTE_MINIMAL, csv.QUOTE_ALL]))
def test_what_the_csv_module_writes_comes_back(path, table, quoting):
    """Quotes, commas, line ends and zero bytes in fields and all."""
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, quoting=quoting)
        writer.writerow(["text", "n"])
        writer.writerows(table)
    assert list(csv_rows(path, "utf-8")) == [(number, {"text": text, "n": n}) for number, (text, n) in enumerate(table)]


def test_what_arrow_writes_comes_back(tmp_path):
    from pyarrow import csv as arrow_csv

    table = pa.table({"id": [1, 2], "text": ['say "é", twice\nor once', ""], "score": [0.5, None]})
    arrow_csv.write_csv(table, tmp_path / "x.csv")
    one, two = rows(source(tmp_path, id_field="id"))
    assert (one.id, one.text, json.loads(one.meta)) == ("s:1", 'say "é", twice\nor once', {"score": "0.5"})
    assert (two.id, two.text, json.loads(two.meta)) == ("s:2", "", {"score": ""})


def test_a_bad_csv_row_costs_only_itself(tmp_path):
    """Rows are counted from behind the header, blank ones too."""
    (tmp_path / "x.csv").write_bytes(
        b"text,n\r\none,1\r\n\r\ntoo few\r\ntoo,many,3\r\n"
        b'"a quote"then more,5\r\ntwo\0,6\r\n\xff bad byte,7\r\n"three\r\nlines",8\r\n'
    )
    assert short(rows(source(tmp_path, encoding="utf-8"))) == {
        "s:x.csv#0": "one",
        "s:x.csv#2": "! wrong-column-count",
        "s:x.csv#3": "! wrong-column-count",
        "s:x.csv#4": "! invalid-csv",
        "s:x.csv#5": "two\0",
        "s:x.csv#6": "! undecodable",
        "s:x.csv#7": "three\r\nlines",
    }


@pytest.mark.parametrize(
    ("data", "broken"),
    [
        (b"", []),
        (b"text,n\n", []),
        (b"body\none\ntwo\n", ["no-text-field", "no-text-field"]),
        (b"text,n,n\none,1,1\n", ["invalid-header"]),
        (b'"text"x\none\n', ["invalid-header"]),
        (b'text\n"no end', ["invalid-csv"]),
        (bytes(range(256)) * 10, ["undecodable"]),
    ],
)
def test_a_csv_file_without_documents(tmp_path, data, broken):
    (tmp_path / "x.csv").write_bytes(data)
    found = rows(source(tmp_path))
    assert [row.reason for row in found] == broken
    assert [row.id for row in found] == [f"s:x.csv#{number}" for number in range(len(broken))]


@pytest.mark.parametrize(
    ("encoding", "name"),
    [
        ("utf-8-sig", None),
        ("gb18030", "gb18030"),
        ("utf-16", "utf-16-le"),
        ("utf-16-le", "utf-16-le"),
        ("utf-16-be", "utf-16-be"),
    ],
)
def test_csv_in_other_encodings(tmp_path, encoding, name):
    """Larger than what is looked at to find it."""
    out = io.StringIO()
    writer = csv.writer(out)
    table = [[f"第{number}号：“你好”, 世界。\n再见", number] for number in range(40_000)]
    writer.writerows([["text", "n"], *table])
    (tmp_path / "x.csv").write_bytes(out.getvalue().encode(encoding))
    found = rows(source(tmp_path))
    assert [row.text for row in found] == [row[0] for row in table]
    assert json.loads(found[-1].meta) == {"n": "39999"} | ({"encoding": name} if name else {})


def test_the_encoding_of_a_csv_file_may_be_named(tmp_path):
    (tmp_path / "x.csv").write_bytes("text\nДа\n".encode("koi8-r"))
    (found,) = rows(source(tmp_path, encoding="koi8-r"))
    assert (found.text, json.loads(found.meta)) == ("Да", {"encoding": "koi8-r"})


def test_a_csv_row_that_is_too_long_costs_itself_and_what_its_quote_has_swallowed(tmp_path):
    with (tmp_path / "x.csv").open("w") as file:
        file.write('text,n\none,1\n"never ends,')
        file.writelines(f"swallowed,{'x' * (1 << 20)}\n" for _ in range((LARGEST_BYTES >> 20) + 1))
        file.write("two,2\n")
    found = short(rows(source(tmp_path)))
    assert list(found.values())[:2] == ["one", "! row-too-long"]
    assert list(found.values())[-1] == "two"
    assert len(found) <= 5


@pytest.mark.parametrize(("more", "wanted"), [(0, "x"), (1, "!")])
def test_a_line_of_json_may_have_so_many_bytes(tmp_path, more, wanted):
    line = json.dumps({"text": ""})
    text = "x" * (LARGEST_BYTES - len(line) - 1 + more)
    (tmp_path / "x.jsonl").write_text(json.dumps({"text": text}) + '\n{"text": "after"}\n')
    first, last = rows(source(tmp_path))
    if more:
        assert (
            isinstance(first, Broken) and first.reason == "line-too-long" and first.excerpt.startswith('{"text": "xx')
        )
    else:
        assert first.text == text
    assert (last.id, last.text) == ("s:x.jsonl#1", "after")


def test_a_text_in_parquet_that_is_too_long_costs_itself(tmp_path):
    pq.write_table(pa.table({"text": ["one", "x" * (LARGEST_BYTES + 1), "three"]}), tmp_path / "x.parquet")
    assert short(rows(source(tmp_path))) == {
        "s:x.parquet#0": "one",
        "s:x.parquet#1": "! too-long",
        "s:x.parquet#2": "three",
    }


def test_a_value_in_parquet_that_is_none_costs_its_row(tmp_path):
    """Arrow takes a string for UTF-8 without looking, and a time for any number."""
    texts = pa.array([b"one", b"caf\xe9", b"three", b"four"]).view(pa.string())
    times = pa.array([0, 0, 1 << 62, 0]).cast(pa.timestamp("ms"))
    pq.write_table(pa.table({"text": texts, "time": times}), tmp_path / "x.parquet")
    found = rows(source(tmp_path))
    assert list(short(found).values()) == ["one", "! invalid-utf8", "! unreadable-value", "four"]
    assert found[1].excerpt == "caf\\xe9"


@pytest.mark.parametrize("keep", [0, 3, 8, 0.5, -1])
def test_a_cut_parquet_file_is_one_broken_row(tmp_path, keep):
    """Its directory is at its end."""
    pq.write_table(pa.table({"text": ["one"] * 1000}), tmp_path / "x.parquet")
    data = (tmp_path / "x.parquet").read_bytes()
    (tmp_path / "x.parquet").write_bytes(data[: int(keep * len(data)) if keep == 0.5 else keep])
    assert short(rows(source(tmp_path))) == {"s:x.parquet#0": "! unreadable-parquet"}


def test_json_in_utf16_is_refused_in_one_row(tmp_path):
    """RFC 8259, section 8.1: JSON between systems is UTF-8."""
    (tmp_path / "x.jsonl").write_text('{"text": "one"}\n{"text": "two"}\n', "utf-16")
    (found,) = rows(source(tmp_path))
    assert found.reason == "utf-16-json" and "convert the file" in found.excerpt
