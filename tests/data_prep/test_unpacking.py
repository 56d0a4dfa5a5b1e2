"""Proves that packed files are unpacked while they are read, up to their damage, and that bombs do not go off."""

from __future__ import annotations

import gzip
import json
import subprocess

import pytest
import zstandard
from reading import rows, short, source

from data_prep import unpacking
from data_prep.rows import UnreadableError
from data_prep.unpacking import open_unpacked

PACK = {".gz": gzip.compress, ".zst": zstandard.compress}
LINES = [json.dumps({"text": f"row {number} {hash(number) ** 3}"}) + "\n" for number in range(100_000)]
DATA = "".join(LINES).encode()


@pytest.mark.parametrize("suffix", PACK)
def test_what_was_packed_comes_out(tmp_path, suffix):
    path = tmp_path / f"x{suffix}"
    path.write_bytes(PACK[suffix](DATA) + PACK[suffix](b"") + PACK[suffix](b"more"))  # members, frames
    with open_unpacked(path) as file:
        assert file.read() == DATA + b"more"


@pytest.mark.parametrize(("tool", "suffix"), [("gzip", ".gz"), ("zstd", ".zst")])
def test_what_the_usual_tool_packed_comes_out(tmp_path, tool, suffix):
    (tmp_path / "x").write_bytes(DATA)
    try:
        subprocess.run([tool, "-q", str(tmp_path / "x")], check=True)
    except FileNotFoundError:
        assert tool == "zstd"  # gzip is everywhere
        return
    with open_unpacked(tmp_path / f"x{suffix}") as file:
        assert file.read() == DATA


@pytest.mark.parametrize(("suffix", "reason"), [(".gz", "truncated-gzip"), (".zst", "truncated-zstd")])
@pytest.mark.parametrize("damage", ["cut", "cut at the end", "overwritten", "garbage behind"])
def test_a_damaged_file_gives_what_is_before_the_damage(tmp_path, suffix, reason, damage):
    data = PACK[suffix](DATA)
    half = len(data) // 2
    path = tmp_path / f"x.jsonl{suffix}"
    path.write_bytes(
        {
            "cut": data[:half],
            "cut at the end": data[:-1],
            "overwritten": data[:half] + b"\xff" * 1000 + data[half + 1000 :],
            "garbage behind": data + b"garbage",
        }[damage]
    )
    *before, last = rows(source(path))
    least = len(DATA) // 2 if damage in ("cut", "overwritten") else len(DATA)
    assert sum(map(len, LINES[: len(before)])) > 0.9 * least - 2 * (1 << 17)  # zstd: a block and what is read at once
    assert [row.text for row in before] == [json.loads(line)["text"] for line in LINES[: len(before)]]
    assert (last.id, last.reason) == (f"s:x.jsonl{suffix}#{len(before)}", reason)


@pytest.mark.parametrize("suffix", PACK)
def test_a_bomb_is_said_to_be_one_and_not_unpacked_to_its_end(tmp_path, suffix):
    """Of 1.25 GiB, the first."""
    lines = json.dumps({"text": "x" * (1 << 20)}) + "\n"
    path = tmp_path / f"x.jsonl{suffix}"
    path.write_bytes(PACK[suffix](lines.encode() * 64) * 20)
    (tmp_path / "y.txt").write_text("the rest goes on")
    *before, bomb, rest = rows(source(tmp_path))
    assert 1000 < len(before) <= 1024
    assert (bomb.id, bomb.reason) == (f"s:{path.name}#{len(before)}", "zip-bomb")
    assert rest.text == "the rest goes on"


def test_well_packed_text_is_no_bomb(tmp_path, monkeypatch):
    """Above the limit in bytes, below that in proportion; and the other way round."""
    path = tmp_path / "x.gz"
    path.write_bytes(gzip.compress(DATA * 3))
    monkeypatch.setattr(unpacking, "BOMB_BYTES", 1000)
    with open_unpacked(path) as file:
        assert file.read() == DATA * 3
    path.write_bytes(gzip.compress(b"x" * 1_000_000))
    with open_unpacked(path) as file, pytest.raises(UnreadableError, match="zip-bomb"):
        file.read()
    monkeypatch.setattr(unpacking, "BOMB_BYTES", 1_000_000)
    with open_unpacked(path) as file:
        assert len(file.read()) == 1_000_000


@pytest.mark.parametrize("name", ["x.txt.gz", "x.html.zst", "x.csv.gz", "x.warc.gz", "x.jsonl.zst"])
def test_every_kind_may_be_packed_and_be_none(tmp_path, name):
    (tmp_path / name).write_bytes(b"this is not packed")
    assert short(rows(source(tmp_path))) == {f"s:{name}#0": "! truncated-" + ("zstd" if "zst" in name else "gzip")}
