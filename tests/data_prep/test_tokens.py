"""Proves that token files are Megatron's, that ranges of them equal the documents end to end, and that damage is named.

Megatron-LM, megatron/core/datasets/indexed_dataset.py, `_IndexWriter`: magic, version, dtype code, counts, lengths,
offsets, document boundaries, all little-endian.
"""

from __future__ import annotations

import json
import struct
import tempfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from data_prep.files import UserError
from data_prep.tokens import DocumentRow, TokenFile, TokenStream, TokenWriter, dtype_for


def write(prefix, documents, vocab_size=1000):
    with TokenWriter(prefix, vocab_size) as writer:
        for number, ids in enumerate(documents):
            writer.add(np.array(ids, np.int64), DocumentRow(f"{prefix.name}:{number}", 10 * number))


@pytest.mark.parametrize(("vocab_size", "code", "letter"), [(1000, 8, "H"), (100_000, 4, "i")])
def test_layout_equals_an_index_packed_by_hand(tmp_path, vocab_size, code, letter):
    write(tmp_path / "a-00000", [[5, 6, 0], [7, 0]], vocab_size)
    width = struct.calcsize(letter)
    index = b"MMIDIDX\0\0" + struct.pack("<QBQQ", 1, code, 2, 3)
    index += struct.pack("<2i", 3, 2) + struct.pack("<2q", 0, 3 * width) + struct.pack("<3q", 0, 1, 2)
    assert (tmp_path / "a-00000.idx").read_bytes() == index
    assert (tmp_path / "a-00000.bin").read_bytes() == struct.pack(f"<5{letter}", 5, 6, 0, 7, 0)
    rows = [json.loads(line) for line in (tmp_path / "a-00000.docs.jsonl").read_text().splitlines()]
    assert rows == [{"id": "a-00000:0", "bytes": 0}, {"id": "a-00000:1", "bytes": 10}]


def test_a_pair_packed_by_hand_is_read(tmp_path):
    (tmp_path / "a-00000.bin").write_bytes(struct.pack("<4H", 9, 0, 65_499, 0))
    index = b"MMIDIDX\0\0" + struct.pack("<QBQQ", 1, 8, 2, 3)
    index += struct.pack("<2i", 2, 2) + struct.pack("<2q", 0, 4) + struct.pack("<3q", 0, 1, 2)
    (tmp_path / "a-00000.idx").write_bytes(index)
    file = TokenFile(tmp_path / "a-00000")
    assert (file.read(0, 4).tolist(), file.lengths.tolist(), file.ends.tolist()) == ([9, 0, 65_499, 0], [2, 2], [2, 4])


def test_uint16_ends_where_megatron_ends_it():
    """`DType.optimal_dtype`: uint16 if cardinality < 65500 else int32."""
    assert [dtype_for(size) for size in (257, 65_499, 65_500, 65_536, 100_277)] == [
        np.uint16,
        np.uint16,
        np.int32,
        np.int32,
        np.int32,
    ]


@pytest.mark.parametrize("vocab_size", [300, 65_499, 65_500, 200_000])
def test_the_largest_id_survives(tmp_path, vocab_size):
    write(tmp_path / "a-00000", [[vocab_size - 1, 0]], vocab_size)
    assert TokenStream(tmp_path, "a").read(0, 2).tolist() == [vocab_size - 1, 0]


@pytest.mark.parametrize("ids", [[300], [-1], [0, 65_536], [2**40], []])
def test_ids_outside_the_vocabulary_are_refused_and_nothing_is_published(tmp_path, ids):
    with pytest.raises(UserError, match="docs:7"), TokenWriter(tmp_path / "a-00000", 300) as writer:
        writer.add(np.array([1, 0]), DocumentRow("docs:1", 1))
        writer.add(np.array(ids, np.int64), DocumentRow("docs:7", 1))
    assert list(tmp_path.iterdir()) == []


def test_several_files_are_one_stream(tmp_path):
    """a0 a1 | a2 | a3: 3 + 2, 4, 1 tokens, so the files begin at 0, 5 and 9."""
    write(tmp_path / "a-00000", [[11, 12, 0], [13, 0]])
    write(tmp_path / "a-00001", [[14, 15, 16, 0]])
    write(tmp_path / "a-00002", [[0]])
    stream = TokenStream(tmp_path, "a")
    assert (len(stream), stream.document_count, stream.text_bytes) == (10, 4, 10)
    assert stream.read(0, 10).tolist() == [11, 12, 0, 13, 0, 14, 15, 16, 0, 0]
    assert stream.read(4, 2).tolist() == [0, 14]
    assert stream.read(3, 7).tolist() == [13, 0, 14, 15, 16, 0, 0]
    assert stream.read(10, 0).tolist() == []
    assert stream.read(0, 1).dtype == np.int64


@pytest.mark.parametrize(
    ("start", "stop", "wanted"),
    [
        (0, 1, ["a-00000:0"]),
        (2, 3, ["a-00000:0"]),
        (2, 4, ["a-00000:0", "a-00000:1"]),
        (3, 5, ["a-00000:1"]),
        (4, 6, ["a-00000:1", "a-00001:0"]),
        (5, 9, ["a-00001:0"]),
        (0, 10, ["a-00000:0", "a-00000:1", "a-00001:0", "a-00001:1"]),
        (9, 10, ["a-00001:1"]),
        (5, 5, []),
    ],
)
def test_documents_of_a_range_by_hand(tmp_path, start, stop, wanted):
    """Tokens 0-2, 3-4 | 5-8, 9."""
    write(tmp_path / "a-00000", [[11, 12, 0], [13, 0]])
    write(tmp_path / "a-00001", [[14, 15, 16, 0], [0]])
    assert TokenStream(tmp_path, "a").documents(start, stop) == wanted


@pytest.mark.parametrize(("start", "count"), [(-1, 1), (0, 6), (5, 1), (99, 0)])
def test_a_range_outside_the_stream_is_refused(tmp_path, start, count):
    write(tmp_path / "a-00000", [[11, 12, 0], [13, 0]])
    with pytest.raises(IndexError):
        TokenStream(tmp_path, "a").read(start, count)


def test_a_source_does_not_take_the_files_of_a_longer_name(tmp_path):
    for number, name in enumerate(["a-00000", "a-b-00000", "a-00000-00000", "aa-00000"]):
        write(tmp_path / name, [[number + 1, 0]])
    assert {name: TokenStream(tmp_path, name).read(0, 2).tolist() for name in ("a", "a-b", "a-00000", "aa")} == {
        "a": [1, 0],
        "a-b": [2, 0],
        "a-00000": [3, 0],
        "aa": [4, 0],
    }


def test_a_file_without_documents(tmp_path):
    write(tmp_path / "a-00000", [])
    write(tmp_path / "a-00001", [[1, 0]])
    stream = TokenStream(tmp_path, "a")
    assert (stream.read(0, 2).tolist(), stream.documents(0, 2)) == ([1, 0], ["a-00001:0"])


def test_ids_of_documents_keep_every_character(tmp_path):
    name = 'docs:é "\\ \u2028 \n #1'
    with TokenWriter(tmp_path / "a-00000", 300) as writer:
        writer.add(np.array([0]), DocumentRow(name, 1))
    assert TokenStream(tmp_path, "a").documents(0, 1) == [name]


def cut_by(count):
    return lambda data: data[:-count]


@pytest.mark.parametrize(
    ("suffix", "damage", "said"),
    [
        (".bin", cut_by(1), "truncated"),
        (".bin", cut_by(4), "truncated"),
        (".bin", lambda data: data + b"\0\0", "truncated"),
        (".idx", cut_by(1), "truncated"),
        (".idx", lambda data: data[:20], "index"),
        (".idx", lambda data: b"", "not a Megatron index"),
        (".idx", lambda data: b"PK\x03\x04" + data, "not a Megatron index"),
        (".idx", lambda data: data[:9] + struct.pack("<Q", 2) + data[17:], "version 2"),
        (".idx", lambda data: data[:17] + b"\x03" + data[18:], "code 3"),
        (".idx", lambda data: data[:17] + b"\x04" + data[18:], "truncated"),  # int32 said, uint16 there
        (".bin", None, "missing"),
        (".idx", None, "no token files"),
        (".docs.jsonl", None, "missing"),
        (".docs.jsonl", cut_by(4), "truncated"),
        (".docs.jsonl", lambda data: data[: data.index(b"\n") + 1], "got 1 rows, its index wants 2"),
    ],
)
def test_damage_is_a_sentence_that_names_the_file(tmp_path, suffix, damage, said):
    write(tmp_path / "a-00000", [[11, 12, 0], [13, 0]])
    path = tmp_path / f"a-00000{suffix}"
    if damage is None:
        path.unlink()
    else:
        path.write_bytes(damage(path.read_bytes()))
    with pytest.raises(UserError, match=said) as error:
        TokenStream(tmp_path, "a").documents(0, 1)
    assert str(tmp_path) in str(error.value)
    assert "\n" not in str(error.value)


def test_a_missing_index_is_named(tmp_path):
    with pytest.raises(UserError, match=r"a-00000\.idx is missing"):
        TokenFile(tmp_path / "a-00000")


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.lists(st.lists(st.integers(0, 69_999), min_size=1, max_size=9), max_size=5), min_size=1, max_size=4),
    st.data(),
)
def test_any_range_equals_the_documents_end_to_end(files, data):
    with tempfile.TemporaryDirectory() as directory:
        for number, documents in enumerate(files):
            write(Path(directory) / f"a-{number:05d}", documents, 70_000)
        documents = [document for file in files for document in file]
        everything = np.concatenate([np.zeros(0, np.int64), *documents])
        owners = [number for number, document in enumerate(documents) for _ in document]
        names = [f"a-{number:05d}:{row}" for number, file in enumerate(files) for row in range(len(file))]
        stream = TokenStream(Path(directory), "a")
        start = data.draw(st.integers(0, len(everything)))
        stop = data.draw(st.integers(start, len(everything)))
        assert np.array_equal(stream.read(start, stop - start), everything[start:stop])
        assert stream.documents(start, stop) == [names[owner] for owner in sorted(set(owners[start:stop]))]
