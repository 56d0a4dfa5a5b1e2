"""Proves with a few random blows that a run can be ended at any instant and goes on as if it had not been; the long
campaign is `benchmarks/crash.py`, and this is its short form."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[1]
OPTIONS = ("--kills-training", "3", "--corruptions", "1", "--kills-data", "4", "--full-disks", "1", "--steps", "75")
SEED = "110"


def crash(directory: Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(ROOT / "benchmarks" / "crash.py"), "--directory", str(directory), "--seed", SEED]
    return subprocess.run([*command, *OPTIONS], capture_output=True, text=True)


class Short:
    """A short campaign, and its record."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.done = crash(directory)
        lines = (directory / "trials.jsonl").read_text().splitlines()
        self.entries: list[dict[str, Any]] = [json.loads(line) for line in lines]

    def of(self, kind: str) -> list[dict[str, Any]]:
        """The trials of one kind of ordeal, which must have come to their end with nothing wrong."""
        own = [entry for entry in self.entries if entry["ordeal"].startswith(kind)]
        assert "end" in own[-1], self.done.stderr
        assert [entry for entry in own if entry["problems"]] == []
        return own


def need_small_disk(short: Short) -> None:
    """CI fails where no small file system can be had; others skip."""
    if "no small file system here" in short.done.stderr:
        (pytest.fail if "CI" in os.environ else pytest.skip)(short.done.stderr)


@pytest.fixture(scope="module")
def short(tmp_path_factory: pytest.TempPathFactory) -> Short:
    return Short(tmp_path_factory.mktemp("crash"))


def test_a_training_that_is_struck_and_damaged_ends_with_the_same_bits(short: Short) -> None:
    trials = short.of("training")
    assert len([trial for trial in trials if trial["blow"] not in (None, "term")]) >= 3
    assert any(trial.get("damage") for trial in trials)


def test_data_stages_that_are_struck_end_with_the_same_bytes(short: Short) -> None:
    trials = short.of("data")
    assert len([trial for trial in trials if trial["blow"] not in (None, "term")]) >= 4


def test_a_full_disk_costs_a_save_and_nothing_else(short: Short) -> None:
    need_small_disk(short)
    trial, _ = short.of("disk")
    assert trial["published_full"] != [] and trial["exit"] == 0


def test_a_campaign_run_again_has_nothing_to_do(short: Short) -> None:
    need_small_disk(short)
    again = Short(short.directory)
    assert again.done.returncode == 0 and "nothing went wrong" in again.done.stdout
    assert again.entries == short.entries


def test_the_comparison_sees_one_bit(short: Short, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(ROOT / "benchmarks"))
    from crash_watch import differences

    unbroken = short.directory / "unbroken"
    shutil.copytree(unbroken, tmp_path / "other")
    assert differences(tmp_path / "other", unbroken) == []
    metrics = tmp_path / "other" / "pretrain" / "metrics.jsonl"
    lines = metrics.read_text().splitlines(keepends=True)
    metrics.write_text("".join([*lines[:4], *lines[5:]]))
    (part,) = (tmp_path / "other" / "pretrain" / "checkpoints" / "step-00000075").glob("rank-00001.safetensors")
    data = bytearray(part.read_bytes())
    data[-1] ^= 1
    part.write_bytes(data)
    row, *more = differences(tmp_path / "other", unbroken)
    assert row.startswith("metrics.jsonl has the steps [1, 2, 3, 4, 6, ")
    assert more[-1].endswith("of step-00000075 differs")
