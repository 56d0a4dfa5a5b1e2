"""Proves that the GPU benchmark is a program that runs: all of it but the GPU, with a toy."""

from __future__ import annotations

import json
import os
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
