"""Proves that the benchmarks that no test can wait for are programs that run: all of them but the GPU, with a toy."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


def benchmark(*options: str, **variables: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(ROOT / "benchmarks" / "gpu_training.py"), *options]
    return subprocess.run(command, capture_output=True, text=True, env=os.environ | variables)


def test_the_gpu_benchmark_measures_a_toy(tmp_path: Path) -> None:
    out = tmp_path / "rows.jsonl"
    command = ["--cpu-smoke", "--out", str(out), "--rounds", "1", "--micro-batch", "2"]
    command += ["--stages", "1", "--compile", "off", "--mask", "on"]
    done = benchmark(*command, OMP_NUM_THREADS="1")
    assert done.returncode == 0, done.stderr
    plain, ours, resumed = (json.loads(line) for line in out.read_text().splitlines())
    assert (plain["contender"], ours["contender"], ours["stage"]) == ("plain", "ours", 1)
    assert plain["loss"] == pytest.approx(ours["loss"], rel=1e-3)  # the two do the same
    assert resumed["equal"] is True and len(resumed["found"]) == 3
    for who, row in (("plain", plain), ("ZeRO 1", ours)):
        shown = next(line for line in done.stdout.splitlines() if line.strip().startswith(who))
        assert f"{256 / row['seconds']:,.0f}" in shown and f"{row['seconds'] / plain['seconds']:.3f}" in shown
    assert "the same bit for bit" in done.stdout

    again = benchmark(*command)
    assert len(out.read_text().splitlines()) == 3, "measured twice"
    assert again.stdout.splitlines()[0].startswith("toy on cpu")


def test_without_a_gpu_it_says_so() -> None:
    done = benchmark(CUDA_VISIBLE_DEVICES="")
    assert done.returncode == 2
    assert len(done.stderr.splitlines()) == 1 and "no CUDA device" in done.stderr


def test_the_checkpoint_benchmark_measures_a_toy(tmp_path: Path) -> None:
    command = [sys.executable, str(ROOT / "benchmarks" / "checkpoint_cost.py"), "--smoke", "--rounds", "1"]
    done = subprocess.run([*command, "--directory", str(tmp_path)], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert list(tmp_path.iterdir()) == [], "it leaves something behind"
    # 512 ids and 64 positions of width 64, two layers of 12 d^2 + 13 d, the last norm; 3 x 4 bytes of each are saved
    parameters = (512 + 64) * 64 + 2 * (12 * 64**2 + 13 * 64) + 2 * 64
    assert f"a toy of {parameters:,} parameters" in done.stdout
    assert f"a save of {12 * parameters / 1e6:.1f} MB by 2 ranks" in done.stdout
    rows = re.findall(r"^ +(\S.*?) +(\S+) s  \(", done.stdout, re.MULTILINE)
    seconds = {what: float(value) for what, value in rows}
    # what a save takes from the training may be nothing, and less by chance
    assert len(rows) == len(seconds) == 13 and sum(value > 0 for value in seconds.values()) >= 12, done.stdout
    bars = re.findall(r"^  (\S.*?) +(\S+) +at (most|least) (\S+): (met|missed)$", done.stdout, re.MULTILINE)
    ratios = {what: float(ratio) for what, ratio, *_ in bars}
    theirs, ours = seconds["engine.save_checkpoint"], seconds["ours, async: the stall"]
    assert ratios["stall / engine.save_checkpoint"] == pytest.approx(ours / theirs, rel=0.01)
    theirs, ours = seconds["memcpy"], seconds["the snapshot"]
    assert ratios["speed of the snapshot / memcpy"] == pytest.approx(theirs / ours, rel=0.01)
    theirs, ours = seconds["dd with fsync"], seconds["ours, hashed, with fsync"]
    assert ratios["speed of writing / dd"] == pytest.approx(theirs / ours, rel=0.01)
    for _, ratio, most_or_least, bar, verdict in bars:
        distance = float(ratio) - float(bar) if most_or_least == "least" else float(bar) - float(ratio)
        assert abs(distance) < 0.001 or (distance > 0) == (verdict == "met")
