"""Proves that a file read in ranges gives the rows, with the numbers, of the file read whole."""

from __future__ import annotations

import json

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from reading import rows, short, source

from data_prep import ranges
from data_prep.finding import find_inputs
from data_prep.ranges import line_ranges, row_group_ranges
from data_prep.records import json_rows, parquet_rows
from data_prep.shards import SMALLEST_SHARD_BYTES, cut
from data_prep.sources import pieces

LINES = st.lists(st.sampled_from(["", " ", '{"text": "é"}', '{"n": "' + "long" * 10 + '"}', "broken", '["\\n"]']))


@pytest.fixture(scope="module")
def path(tmp_path_factory):
    return tmp_path_factory.mktemp("ranges") / "x.jsonl"


@settings(deadline=None)
@given(
    lines=LINES,
    end=st.sampled_from(["", "\n", "\r\n"]),
    target=st.integers(1, 200),
    block=st.sampled_from([1, 7, 4096]),
)
def test_lines_in_ranges(path, lines, end, target, block):
    path.write_bytes(("\n".join(lines) + end).encode())
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(ranges, "BLOCK_BYTES", block)
        found = line_ranges(path, target)
    data, at = path.read_bytes(), 0
    for part in found:
        assert part["start"] == at
        assert part["row"] == data[:at].count(b"\n")
        at += part["bytes"]
        assert at == len(data) or (part["bytes"] >= target and data[at - 1 : at] == b"\n")
        cut_short = data[part["start"] : at - 1]
        assert len(cut_short) < target or b"\n" not in cut_short[target - 1 :]  # the first line end that will do
    assert at == len(data)
    assert [row for part in found for row in json_rows(path, part)] == list(json_rows(path, {}))


@settings(deadline=None)
@given(sizes=st.lists(st.integers(1, 5), min_size=1, max_size=8), target=st.integers(1, 2000))
def test_row_groups_in_ranges(path, sizes, target):
    path = path.with_suffix(".parquet")
    texts = [f"{number} " * 20 for number in range(sum(sizes))]
    with pq.ParquetWriter(path, pa.schema([("text", pa.string())])) as writer:
        for number, size in enumerate(sizes):
            start = sum(sizes[:number])
            writer.write_table(pa.table({"text": texts[start : start + size]}), row_group_size=size)
    found = row_group_ranges(path, target)
    assert [found[0]["start"], *(part["stop"] for part in found)] == [*(part["start"] for part in found), len(sizes)]
    assert all(part["bytes"] >= target for part in found[:-1])
    read = [row for part in found for row in parquet_rows(path, part)]
    assert read == [(number, {"text": text}) for number, text in enumerate(texts)]


def test_a_large_file_becomes_shards_of_equal_weight_with_the_rows_it_has_whole(tmp_path):
    """And a packed one does not: it can be read from its beginning only."""
    line = json.dumps({"text": "word " * 200})
    path = tmp_path / "x.jsonl"
    path.write_text("\ufeff" + f"{line}\n\n" * 10_000)
    (tmp_path / "y.txt").write_text("t")
    corpus = source(tmp_path)
    found = pieces(corpus, find_inputs(corpus))
    shards = [sum(piece["bytes"] for piece in shard) for shard in cut(found)]
    assert len(shards) == 10 * path.stat().st_size // SMALLEST_SHARD_BYTES // 10 + 1
    assert max(shards) < 1.01 * SMALLEST_SHARD_BYTES
    assert list(short(rows(corpus))) == [*(f"s:x.jsonl#{number}" for number in range(0, 20_000, 2)), "s:y.txt#0"]


def test_the_pieces_of_a_file_that_fits_a_shard_are_the_file(tmp_path):
    (tmp_path / "x.jsonl").write_text('{"text": "t"}\n' * 1000)
    corpus = source(tmp_path)
    assert pieces(corpus, find_inputs(corpus)) == find_inputs(corpus)


def test_a_large_file_that_is_no_parquet_is_one_piece_and_one_broken_row(tmp_path):
    (tmp_path / "x.parquet").write_bytes(b"PAR1" * SMALLEST_SHARD_BYTES)
    assert short(rows(source(tmp_path))) == {"s:x.parquet#0": "! unreadable-parquet"}


def test_large_json_lines_in_utf16_are_refused_once(tmp_path):
    (tmp_path / "x.jsonl").write_text('{"text": "t"}\n' * 200_000, "utf-16")
    corpus = source(tmp_path)
    assert len(pieces(corpus, find_inputs(corpus))) > 1
    assert short(rows(corpus)) == {"s:x.jsonl#0": "! utf-16-json"}
