"""Proves that a resumed training's metrics have neither a gap nor a repeat."""

from __future__ import annotations

from pathlib import Path

from data_prep.files import read_json_lines
from pretrain.metrics import MetricsFile, cut_back


def write_rows(path: Path, first: int, last: int) -> None:
    metrics = MetricsFile(path)
    for step in range(first, last + 1):
        metrics.append({"step": step, "loss": 0.1 * step})
    metrics.sync()
    metrics.close()


def test_rows_after_the_checkpoint_are_cut_and_written_again(tmp_path: Path) -> None:
    path = tmp_path / "metrics.jsonl"
    write_rows(path, 1, 7)
    cut_back(path, 5)
    write_rows(path, 6, 9)
    assert [row["step"] for row in read_json_lines(path)] == list(range(1, 10))
    assert read_json_lines(path)[2]["loss"] == 0.1 * 3  # floats survive exactly


def test_a_torn_last_line_is_dropped(tmp_path: Path) -> None:
    path = tmp_path / "metrics.jsonl"
    write_rows(path, 1, 5)
    path.write_bytes(path.read_bytes() + b'{"step": 6, "lo')
    cut_back(path, 5)
    write_rows(path, 6, 6)
    assert [row["step"] for row in read_json_lines(path)] == [1, 2, 3, 4, 5, 6]


def test_a_fresh_start_empties_it(tmp_path: Path) -> None:
    path = tmp_path / "metrics.jsonl"
    cut_back(path, 0)
    assert path.read_bytes() == b""
    write_rows(path, 1, 2)
    cut_back(path, 0)
    assert path.read_bytes() == b""
