"""Proves that every impossible setting is refused in a sentence that names it, and that the front needs no torch."""

from __future__ import annotations

import dataclasses
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import tiny_run

import pretrain.settings
from pretrain.settings import (
    CheckpointSettings,
    ModelSettings,
    TrainingJob,
    TrainSettings,
    WandbSettings,
    job_problems,
    resolve_precision,
)

PLENTY = {"web": 1_000_000, "papers": 1_000_000}


def test_settings_and_batches_do_not_import_torch() -> None:
    modules = "settings, presets, schedule, order, batches, checkpoint, stop"
    code = f"import sys; from pretrain import {modules}; sys.exit('torch' in sys.modules)"
    subprocess.run([sys.executable, "-c", code], cwd=tiny_run.ROOT, check=True)


def test_an_explicit_key_overrides_the_preset() -> None:
    assert ModelSettings(preset="gpt2-small").shape() == (12, 12, 768)
    assert ModelSettings(preset="gpt2-small", n_layers=2).shape() == (2, 12, 768)


@pytest.mark.parametrize(
    ("table", "changed", "sentence"),
    [
        (ModelSettings, {"preset": "gpt9"}, "model.preset must be one of gpt2-small,"),
        (ModelSettings, {"n_layers": 2, "n_heads": 2}, "model.d_model is not set"),
        (ModelSettings, {"n_layers": 2, "n_heads": 3, "d_model": 64}, "model.d_model must be a multiple"),
        (ModelSettings, {"preset": "gpt2-small", "context_length": 0}, "model.context_length must be at least 1"),
        (ModelSettings, {"preset": "gpt2-small", "dropout": 1.0}, "model.dropout must be"),
        (TrainSettings, {"lr": -1}, "train.lr must be above 0, got -1"),
        (TrainSettings, {"betas": [0.9]}, "train.betas must be two numbers"),
        (TrainSettings, {"schedule": "wsd"}, 'train.schedule must be "cosine", got "wsd"'),
        (TrainSettings, {"precision": "fp8"}, "train.precision must be"),
        (TrainSettings, {"zero_stage": 3}, "train.zero_stage must be 1 or 2, got 3, which is not built yet"),
        (TrainSettings, {"warmup_steps": -1}, "train.warmup_steps must be at least 0"),
        (TrainSettings, {"min_lr_ratio": 2}, "train.min_lr_ratio must lie between 0 and 1"),
        (TrainSettings, {"weight_decay": -0.1}, "train.weight_decay must be at least 0"),
        (TrainSettings, {"validate_every_steps": 0}, "train.validate_every_steps must be at least 1"),
        (CheckpointSettings, {"every_steps": 0}, "checkpoint.every_steps must be at least 1"),
        (CheckpointSettings, {"keep_last": 1}, "checkpoint.keep_last must be at least 2"),
        (WandbSettings, {"mode": "on"}, "wandb.mode must be"),
    ],
)
def test_refusals(table: type, changed: dict[str, Any], sentence: str) -> None:
    (problem,) = table(**changed).problems()
    assert problem.startswith(sentence)


def test_defaults_have_no_problem() -> None:
    tables = (ModelSettings(preset="gpt2-small"), TrainSettings(), CheckpointSettings(), WandbSettings())
    assert [problem for table in tables for problem in table.problems()] == []


@pytest.mark.parametrize(
    ("changed", "tokens", "sentence"),
    [
        ({"global_batch_tokens": 1000}, PLENTY, "(64), got 1000; set it to 1024"),
        ({"ranks": 3}, PLENTY, "which 3 ranks cannot share evenly; set launch.ranks to 2"),
        (
            {"micro_batch_size": 5},
            PLENTY,
            "the 8 samples that each of 2 ranks trains on per step, got 5; set it to 4",
        ),
        ({"tokens": 100}, PLENTY, "train.tokens must be at least"),
        ({}, {"web": 100_000, "papers": 64}, "source 'papers' is too small for one sample: it has 64"),
        ({}, {"web": 500, "papers": 500}, "the corpus is too small for one batch: it has 1000"),
    ],
)
def test_refusals_that_need_the_data(changed: dict[str, Any], tokens: dict[str, int], sentence: str) -> None:
    (problem,) = job_problems(tiny_run.job(**changed), tokens)
    assert sentence in problem


def test_a_good_job_has_no_problem_and_survives_json() -> None:
    job = tiny_run.job()
    assert job_problems(job, PLENTY) == []
    assert TrainingJob.from_json(json.loads(json.dumps(job.to_json()))) == job


def test_execution_fields_are_marked() -> None:
    tables = (ModelSettings, TrainSettings, CheckpointSettings, WandbSettings)
    marked = {field.name for table in tables for field in dataclasses.fields(table) if field.metadata.get("execution")}
    assert marked == {
        "micro_batch_size", "zero_stage", "validate_every_steps", "every_steps", "keep_last", "mode", "project",
    }  # fmt: skip


@pytest.mark.parametrize(
    ("flags", "wanted"), [("fpu avx512_bf16 amx_bf16", "bf16"), ("fpu avx512_bf16", "bf16"), ("fpu avx2", "fp32")]
)
def test_auto_precision(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, flags: str, wanted: str) -> None:
    (tmp_path / "cpuinfo").write_text(f"processor\t: 0\nflags\t\t: {flags}\n")
    monkeypatch.setattr(pretrain.settings, "CPUINFO", tmp_path / "cpuinfo")
    monkeypatch.setattr(pretrain.settings, "GPU_DEVICE", tmp_path / "nvidia0")
    assert resolve_precision("auto") == wanted
    assert resolve_precision("fp32") == "fp32"
