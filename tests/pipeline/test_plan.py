"""Proves that `text2lm plan` foretells what a run then takes, says where its numbers come from, and touches nothing."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from pipeline.config import load_config
from pipeline.plan import plan, plan_lines
from pipeline.run_dir import RunDir
from pretrain.architecture import ModelSettings
from pretrain.fragments import Piece, header, values
from pretrain.memory import FRAGMENT_BYTES, snapshot_bytes
from pretrain.model import GPT
from pretrain.snapshot import Snapshot
from tests.conftest import text2lm

DATA = ("ingest", "clean", "dedup", "scrub", "split", "tokenizer", "tokens")


def plan_of(project: Path, *arguments: str) -> dict[str, Any]:
    return dict(json.loads(text2lm(project, "plan", "tiny.toml", "--run", "run", "--json", *arguments).stdout))


def test_plan_touches_nothing(project: Path) -> None:
    before = sorted(project.rglob("*"))
    plan = text2lm(project, "plan", "tiny.toml", "--run", "run").stdout
    assert plan.count("to do: it has not run yet") == 11
    # by hand: embeddings (512 + 64) x 64, two layers of 12 x 64^2 + 13 x 64, the last norm 2 x 64
    assert f"{576 * 64 + 2 * (12 * 64**2 + 13 * 64) + 2 * 64:,} parameters" in plan
    assert all(len(line) <= 150 for line in plan.splitlines())
    assert sorted(project.rglob("*")) == before


GPT2 = (
    *("--set", "model.n_layers=12", "--set", "model.n_heads=12", "--set", "model.d_model=768"),
    *("--set", "model.context_length=1024", "--set", "tokenizer.vocab_size=50257", "--set", "train.zero_stage=2"),
    *("--set", "train.global_batch_tokens=524288", "--set", "train.tokens=10_000_000_000"),
    *("--set", "train.precision=bf16", "--set", "launch.ranks=8", "--set", "train.micro_batch_size=8"),
)


def test_gpt2_on_8_gpus(project: Path) -> None:
    plan = plan_of(project, *GPT2, "--mfu", "0.5", "--peak-tflops", "1000")
    assert plan["parameters"] == 124_439_808  # the released model
    assert plan["steps"] == 19_073
    assert plan["tokens"] == 19_073 * 524_288
    assert plan["flops"] == 874_944_921_600 * plan["tokens"] // 1024  # nanoGPT's count of a sequence
    assert plan["hours"] == pytest.approx(8.544e18 / (0.5 * 1e15 * 8) / 3600, rel=0.001)
    assert plan["tokens_per_parameter"] == 80.36
    assert plan["chinchilla_tokens"] == 20 * 124_439_808
    assert 2.7 < plan["kaplan_loss"] < plan["chinchilla_loss"] < 3.3
    rows = 124_439_808 + (50_304 - 50_257) * 768  # with those that pad the vocabulary
    stage_2 = plan["memory"]["2"]
    assert {name: stage_2[name] for name in ("weights", "gradients", "optimizer", "host")} == {
        "weights": 2 * rows,
        "gradients": rows // 2,
        "optimizer": rows * 12 // 8,
        "host": 0,
    }
    parts = ("weights", "gradients", "optimizer", "buffers", "activations", "loss_head")
    for stage, row in plan["memory"].items():
        assert row["total"] == sum(row[part] for part in parts)
        assert row["precision"] == ("fp32" if stage == "0" else "bf16")
    # 8 x 1,024 tokens: Korthikanti et al. 2022, equation 2, counts 34 bytes a token, channel and layer with dropout,
    # and without its three masks 34 - 2; what is outside of the layers comes on top
    assert stage_2["activations"] / (8 * 1024 * 768 * 12) == pytest.approx(32, rel=0.02)
    assert plan["disk"]["pretrain"]["bytes"] == pytest.approx(3 * 12 * rows, rel=0.01)
    assert plan["disk"]["export"]["bytes"] == pytest.approx(4 * 124_439_808, rel=0.01)


def test_without_a_peak_the_plan_says_whose_it_takes(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")  # a GPU here would be named instead
    assert plan_of(project)["peak_tflops"] == 67  # the tiny config wants fp32
    lines = text2lm(project, "plan", "tiny.toml", "--set", "train.precision=bf16").stdout
    assert "at 40% (--mfu) of 989 TFLOP/s (an H100 or H200 in bf16" in lines


def test_disk_is_foretold_and_then_exact(project: Path, finished_data: Path) -> None:
    foretold = plan_of(project)["disk"]
    shutil.copytree(finished_data / "run", project / "run")
    plan = plan_of(project)
    for stage in DATA:
        there = [path for path in (project / "run" / stage).rglob("*") if path.is_file()]
        size = sum(path.stat().st_size for path in there)
        assert plan["disk"][stage] == {"bytes": size, "files": len(there), "exact": True}
        assert not foretold[stage]["exact"]
        outputs = json.loads((project / "run" / stage / "manifest.json").read_text())["outputs"]
        assert sum(item["bytes"] for item in outputs) == pytest.approx(foretold[stage]["bytes"], rel=0.7), stage
    assert plan["vocab_size"] == 512
    assert not plan["disk"]["pretrain"]["exact"]


def test_a_checkpoint_and_its_copy_take_12_bytes_a_parameter(tmp_path: Path) -> None:
    model = GPT(ModelSettings(context_length=64, n_layers=2, n_heads=4, d_model=128), 1000)
    shapes = {name: list(parameter.shape) for name, parameter in model.named_parameters()}
    flat = {name: parameter.detach().flatten() for name, parameter in model.named_parameters()}
    kinds = ("weight", "exp_avg", "exp_avg_sq")
    pieces = {name: Piece(0, dict.fromkeys(kinds, tensor)) for name, tensor in flat.items()}
    copied = Snapshot(values(pieces)).take(values(pieces))
    path = tmp_path / "rank.safetensors"
    path.write_bytes(b"".join([header(pieces, shapes), *copied]))
    parameters = sum(tensor.numel() for tensor in flat.values())
    assert path.stat().st_size == pytest.approx(FRAGMENT_BYTES * parameters, rel=0.01)
    assert sum(part.nbytes for part in copied) == snapshot_bytes(parameters, ranks=1)
    assert snapshot_bytes(parameters, ranks=4) == 3 * parameters


def test_what_is_kept_is_counted_and_a_copy_only_where_there_is_one(project: Path) -> None:
    """GPT-2 small for 19,073 steps, saved every 500: 39 checkpoints in all."""

    def facts(*settings: str) -> dict[str, Any]:
        return plan(load_config(project / "tiny.toml", [*GPT2[1::2], *settings]), RunDir(project / "run"))

    one = 12 * (124_439_808 + (50_304 - 50_257) * 768)
    kept = {
        "keep_last=2": 3,  # and one that is being written
        "keep_last=4": 5,
        "keep_every=5000": 3 + 3,  # 5,000, 10,000 and 15,000
        "keep_best=2": 3 + 2,
        "keep_every=500": 39,  # no more than there are
    }
    for setting, count in kept.items():
        size = facts("checkpoint.every_steps=500", f"checkpoint.{setting}")["disk"]["pretrain"]
        assert size["bytes"] == pytest.approx(count * one, rel=0.01), setting
        assert size["files"] == count * (8 + 1)
    copied, live = facts(), facts("checkpoint.async=false")
    assert (copied["snapshot_bytes"], live["snapshot_bytes"]) == (one // 8, 0)
    said = f"and {one / 8 / 2**30:.2f} GiB of host memory each for checkpoint.async"
    assert any(line.startswith(said) for line in plan_lines(copied))
    assert not any("checkpoint.async" in line for line in plan_lines(live))


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--mfu", "40"], "--mfu must be above 0 and at most 1, got 40.0"),
        (["--mfu", "nan"], "--mfu must be above 0 and at most 1, got nan"),
        (["--peak-tflops", "-1"], "--peak-tflops must be above 0, got -1.0"),
    ],
)
def test_an_impossible_gpu_is_refused(project: Path, arguments: list[str], words: str) -> None:
    assert words in text2lm(project, "plan", "tiny.toml", *arguments, code=2).stderr
