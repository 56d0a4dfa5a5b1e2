"""Proves that a shard plan follows from the data and stays short; that parts come back whole and the same, or not."""

from __future__ import annotations

import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from data_prep.document import Document, Drop
from data_prep.shards import (
    EXCERPT_CHARACTERS,
    LARGEST_SHARD_BYTES,
    SHARDS,
    SMALLEST_SHARD_BYTES,
    Ledger,
    PartWriter,
    commonest_reason,
    cut,
    read_documents,
    row_groups,
    shown,
)

MIB = 1 << 20
DOCUMENTS = [
    Document("s:0", "plain", "s"),
    Document("s:é#1", "naïve 日本 🎉 \0 \u2028", "s", '{"a":1}'),
    Document("s:2", "", "s"),
]


def sizes(shards):
    return [[piece["bytes"] for piece in shard] for shard in shards]


@pytest.mark.parametrize(
    ("pieces", "wanted"),
    [
        ([], []),
        ([0], [[0]]),
        ([5 * MIB], [[5 * MIB]]),
        ([MIB, MIB, MIB], [[MIB, MIB], [MIB]]),  # the least shard is 2 MiB
        ([3 * MIB, MIB, MIB, MIB], [[3 * MIB], [MIB, MIB], [MIB]]),
    ],
)
def test_shards_by_hand(pieces, wanted):
    assert sizes(cut([{"bytes": size} for size in pieces])) == wanted


@given(st.lists(st.integers(0, 64 * MIB), max_size=300))
def test_shards_are_the_pieces_in_order_and_each_is_full_enough(pieces):
    shards = sizes(cut([{"bytes": size} for size in pieces]))
    assert [size for shard in shards for size in shard] == pieces
    target = min(max(sum(pieces) // SHARDS, SMALLEST_SHARD_BYTES), LARGEST_SHARD_BYTES)
    assert all(shards)
    assert all(sum(shard) >= target for shard in shards[:-1])
    assert all(sum(shard[:-1]) < target for shard in shards)


@given(st.lists(st.lists(st.integers(0, 64 << 30), min_size=1, max_size=400), max_size=5), st.integers(1, 1 << 10))
def test_a_stage_has_at_most_4096_shards_and_one_a_group_however_much_it_reads(groups, times):
    """Up to 2 PB; pieces of two groups never share a shard, and none is lost."""
    groups = [[{"bytes": size, "group": number} for size in group * times] for number, group in enumerate(groups)]
    shards = cut(*groups)
    assert len(shards) <= 4096 + len(groups)
    assert all(len({piece["group"] for piece in shard}) == 1 for shard in shards)
    assert [piece for shard in shards for piece in shard] == [piece for group in groups for piece in group]


def test_shards_grow_above_a_tebibyte():
    """256 MiB x 4,096 = 1 TiB."""
    for count, each in ((4000, 1), (4096, 1), (8192, 2), (4096 * 5, 5)):
        assert [len(shard) for shard in cut([{"bytes": 256 * MIB}] * count)] == [each] * (count // each)


def write(path, documents):
    with PartWriter(path) as writer:
        for document in documents:
            writer.write(document)


def test_documents_come_back(tmp_path):
    write(tmp_path / "part.parquet", DOCUMENTS)
    assert list(read_documents(tmp_path, row_groups(tmp_path, ["part.parquet"]))) == DOCUMENTS


def test_pyarrow_reads_the_same_columns(tmp_path):
    write(tmp_path / "part.parquet", DOCUMENTS)
    table = pq.read_table(tmp_path / "part.parquet")
    assert table.column_names == ["id", "text", "source", "meta"]
    assert table.to_pylist() == [
        {"id": document.id, "text": document.text, "source": document.source, "meta": document.meta}
        for document in DOCUMENTS
    ]


def many(count):
    return [Document(f"s:{number}", f"{number} " * 300, "s") for number in range(count)]


def test_a_large_part_has_many_row_groups_that_are_read_apart(tmp_path):
    documents = many(4000)
    write(tmp_path / "part.parquet", documents)
    pieces = row_groups(tmp_path, ["part.parquet"])
    assert len(pieces) > 3
    assert sum(piece["rows"] for piece in pieces) == len(documents)
    assert [document for piece in pieces for document in read_documents(tmp_path, [piece])] == documents


def test_the_plan_does_not_depend_on_the_order_in_which_parts_are_named(tmp_path):
    for name in ("b", "a", "c"):
        write(tmp_path / f"{name}.parquet", many(500))
    names = [f"{name}.parquet" for name in "abc"]
    assert row_groups(tmp_path, names) == row_groups(tmp_path, names[::-1])
    assert [piece["part"] for piece in row_groups(tmp_path, names[::-1])] == sorted(
        piece["part"] for piece in row_groups(tmp_path, names)
    )


def test_the_same_documents_give_the_same_bytes(tmp_path):
    for name in ("one", "two"):
        write(tmp_path / name, many(2500))
    assert (tmp_path / "one").read_bytes() == (tmp_path / "two").read_bytes()


def test_a_part_without_documents(tmp_path):
    write(tmp_path / "part.parquet", [])
    assert list(read_documents(tmp_path, row_groups(tmp_path, ["part.parquet"]))) == []


@pytest.mark.parametrize("count", [0, 1, 4000])  # before any row group, after one or more
def test_nothing_is_left_when_the_block_raises(tmp_path, count):
    with pytest.raises(ZeroDivisionError), PartWriter(tmp_path / "part.parquet") as writer:
        for document in many(count):
            writer.write(document)
        raise ZeroDivisionError
    assert list(tmp_path.iterdir()) == []


def test_nothing_is_left_when_the_last_rows_cannot_be_written(tmp_path):
    with pytest.raises(UnicodeEncodeError), PartWriter(tmp_path / "part.parquet") as writer:
        writer.write(Document("s:0", "\ud800", "s"))  # no UTF-8 form
    assert list(tmp_path.iterdir()) == []


def test_a_ledger_says_what_left_and_why(tmp_path):
    with Ledger(tmp_path / "dropped.parquet") as ledger:
        ledger.write(Document("s:0", "x" * 1000, "s"), Drop("near-duplicate", "of s:9"))
    assert pq.read_table(tmp_path / "dropped.parquet").to_pylist() == [
        {
            "id": "s:0",
            "source": "s",
            "reason": "near-duplicate",
            "excerpt": "x" * EXCERPT_CHARACTERS,
            "detail": "of s:9",
        }
    ]


def test_a_ledger_without_rows_is_no_file_and_removes_what_an_earlier_try_left(tmp_path):
    path = tmp_path / "dropped" / "part.parquet"
    with Ledger(path) as ledger:
        pass
    assert ledger.files == [] and not path.parent.exists()
    with Ledger(path) as ledger:
        ledger.write(DOCUMENTS[0], Drop("short"))
    assert ledger.files == [path] and pq.read_table(path).num_rows == 1
    with pytest.raises(ZeroDivisionError), Ledger(path):
        raise ZeroDivisionError
    assert path.exists()  # a try that failed says nothing about the rows
    with Ledger(path) as ledger:
        pass
    assert ledger.files == [] and list(path.parent.iterdir()) == []
    assert commonest_reason(path.parent) == commonest_reason(tmp_path / "nowhere") == ""


@pytest.mark.parametrize("before", ["", "It begins so: ", "Many words stand before it. " * 5])
def test_of_a_secret_that_an_excerpt_cuts_nothing_is_shown(before):
    """A private key or a token is longer than an excerpt: its beginning matches no pattern."""
    label = "PRIVATE " + "KEY"
    line = "MIIEvQIBADANBgkqhkiG9w0BAQEFAASCBKcwggSjAgEAAoIBAQC7VJTUt9Us8cKj"
    for secret in (f"-----BEGIN {label}-----\n" + f"{line}\n" * 9, "eyJhbGciOiJIUzI1NiJ9." + line * 4):
        said = shown((before + secret)[:EXCERPT_CHARACTERS])
        assert said.endswith("…") and before.startswith(said.removesuffix("…"))


def test_a_value_behind_an_escape_of_broken_json_is_not_shown():
    row = r'{"text": "Zahlen Sie mit\n4111111111111111 oder \u5361\u53f74012888888881881, \ud83d\ude00'
    assert shown(row) == r'{"text": "Zahlen Sie mit <CREDIT-CARD> oder 卡号<CREDIT-CARD>, \ud83d\ude00'
    assert shown(r"\nabla f and \begin{document}") == r"\nabla f and \begin{document}"
