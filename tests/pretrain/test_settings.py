"""Proves that every impossible setting is refused in a sentence that names it, and that the front needs no torch."""

from __future__ import annotations

import dataclasses
import json
import math
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import tiny_run

import pretrain.checks
from pretrain.architecture import ModelSettings
from pretrain.checks import job_problems, keep_best_problems, precision_problems, resolve_precision
from pretrain.settings import CheckpointSettings, PhaseSettings, TrainingJob, TrainSettings, WandbSettings

SHAPE = {"n_layers": 2, "n_heads": 4, "d_model": 64}
PLENTY = {"web": 1_000_000, "papers": 1_000_000}


def test_settings_and_batches_do_not_import_torch() -> None:
    modules = "architecture, settings, presets, schedule, cost, checks, continuation, order, batches, checkpoint, stop"
    code = f"import sys; from pretrain import {modules}; sys.exit('torch' in sys.modules)"
    subprocess.run([sys.executable, "-c", code], cwd=tiny_run.ROOT, check=True)


@pytest.mark.parametrize(
    ("table", "changed", "sentence"),
    [
        (ModelSettings, {"preset": "gpt9"}, "model.preset must be one of transformer-base, gpt1, gpt2-small,"),
        (ModelSettings, {"n_layers": 2, "n_heads": 2}, "model.d_model is not set; set it, or set model.preset to one"),
        (ModelSettings, {"n_layers": 2}, "model.n_heads and model.d_model are not set; set them, or"),
        (ModelSettings, SHAPE | {"d_ff": 10**23}, "model.d_ff must be at most 16777216, got 1000"),
        (ModelSettings, SHAPE | {"n_heads": 3}, "model.d_model must be a multiple of model.n_heads (3), got 64"),
        (ModelSettings, SHAPE | {"n_kv_heads": 3}, "model.n_heads (4) must be a multiple of model.n_kv_heads, got 3"),
        (ModelSettings, SHAPE | {"context_length": -1}, "model.context_length must be at least 1"),
        (ModelSettings, SHAPE | {"dropout": 1.0}, "model.dropout must be"),
        (ModelSettings, SHAPE | {"position": "alibi"}, 'model.position must be one of "learned", "sinusoidal", '),
        (ModelSettings, SHAPE | {"norm_eps": 0}, "model.norm_eps must be above 0, got 0"),
        (ModelSettings, SHAPE | {"rope_theta": math.inf}, "model.rope_theta must be above 0, got inf"),
        (ModelSettings, SHAPE | {"n_heads": 64, "position": "rotary"}, "rotary positions turn pairs of numbers"),
        (TrainSettings, {"lr": -1}, "train.lr must be above 0, got -1"),
        (TrainSettings, {"betas": [0.9]}, "train.betas must be two numbers"),
        (TrainSettings, {"schedule": "step"}, 'train.schedule must be one of "cosine", "linear", '),
        (TrainSettings, {"schedule": "wsd"}, 'train.decay_steps and train.schedule = "wsd" go together, got 0'),
        (TrainSettings, {"windows": "overlapping"}, 'train.stride and train.windows = "overlapping" go together'),
        (TrainSettings, {"batch_ramp_start": 1024}, "train.batch_ramp_start and train.batch_ramp_tokens go together"),
        (
            TrainSettings,
            {"batch_ramp_start": 1000, "batch_ramp_tokens": 10**6},
            "train.global_batch_tokens (524288) must be a multiple of train.batch_ramp_start, got 1000",
        ),
        (TrainSettings, {"phase": [PhaseSettings(7, {"web": 1.0})]}, "the phases have 7 tokens together, train.tokens"),
        *(
            (
                TrainSettings,
                {"phase": [PhaseSettings(10**9, {"web": bad}), PhaseSettings(9 * 10**9, {"web": 1.0})]},
                f"the weight of source 'web' in a [[train.phase]] must be a number above 0, got {bad}",
            )
            for bad in (-1.0, 0.0, math.inf, math.nan)
        ),
        (TrainSettings, {"precision": "fp8"}, "train.precision must be"),
        (TrainSettings, {"label_smoothing": 1.0}, "train.label_smoothing must be at least 0 and below 1"),
        (TrainSettings, {"skip_steps": [0]}, "train.skip_steps are counted from 1, got 0"),
        (TrainSettings, {"zero_stage": 4}, "train.zero_stage must be 0, 1, 2 or 3, got 4"),
        (TrainSettings, {"zero_stage": 0}, "train.zero_stage = 0 runs in fp32 only"),
        (TrainSettings, {"offload": "parameters"}, 'train.offload = "parameters" wants train.zero_stage 3, got 1'),
        (TrainSettings, {"compile": True, "zero_stage": 3}, "train.compile does not hold with train.zero_stage = 3"),
        (TrainSettings, {"warmup_steps": -1}, "train.warmup_steps must be at least 0"),
        (TrainSettings, {"min_lr_ratio": 2}, "train.min_lr_ratio must lie between 0 and 1"),
        (TrainSettings, {"weight_decay": -0.1}, "train.weight_decay must be at least 0"),
        (TrainSettings, {"validate_every_steps": 0}, "train.validate_every_steps must be at least 1"),
        (CheckpointSettings, {"every_steps": 0}, "checkpoint.every_steps must be at least 1"),
        (CheckpointSettings, {"keep_last": 1}, "checkpoint.keep_last must be at least 2"),
        (CheckpointSettings, {"keep_every": 750}, "checkpoint.keep_every must be a multiple of checkpoint.every_steps"),
        (CheckpointSettings, {"keep_best": -1}, "checkpoint.keep_best must be at least 0"),
        (
            CheckpointSettings,
            {"stop_signals": ["USR1"]},
            "checkpoint.stop_signals may name SIGUSR1 and SIGUSR2, got 'USR1'",
        ),
        (WandbSettings, {"mode": "on"}, "wandb.mode must be"),
    ],
)
def test_refusals(table: type, changed: dict[str, Any], sentence: str) -> None:
    (problem,) = table(**changed).problems()
    assert problem.startswith(sentence)


def test_defaults_have_no_problem() -> None:
    tables = (ModelSettings(**SHAPE), TrainSettings(), CheckpointSettings(), WandbSettings())
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
        ({"micro_batch_size": 10**23}, PLENTY, f"got {10**23}; set it to 8"),
        ({"tokens": 100}, PLENTY, "train.tokens must be at least"),
        (
            {"objective": "prefix", "model": {"context_length": 1}},
            PLENTY,
            'train.objective = "prefix" wants a model.context_length of at least 2, got 1',
        ),
        ({}, {"web": 100_000, "papers": 64}, "source 'papers' is too small for one sample: it has 64"),
        ({}, {"web": 500, "papers": 500}, "the corpus is too small for one batch: it has 1000"),
        (
            {"batch_ramp_start": 64, "batch_ramp_tokens": 1024},
            PLENTY,
            "train.batch_ramp_start = 64 gives 1 samples of 64 tokens a step, which 2 ranks cannot share evenly",
        ),
        (
            {"phase": [PhaseSettings(20 * 1024, {"web": 1.0, "code": 1.0})]},
            PLENTY,
            "a phase names the source 'code', which is not there: web, papers",
        ),
    ],
)
def test_refusals_that_need_the_data(changed: dict[str, Any], tokens: dict[str, int], sentence: str) -> None:
    (problem,) = job_problems(tiny_run.job(**changed), tokens)
    assert sentence in problem


def test_a_good_job_has_no_problem_and_survives_json() -> None:
    job = tiny_run.job(phase=[PhaseSettings(20 * 1024, {"web": 1.0})], deepspeed={"wall_clock_breakdown": False})
    assert job_problems(job, PLENTY) == []
    assert TrainingJob.from_json(json.loads(json.dumps(job.to_json()))) == job


def test_execution_fields_are_marked() -> None:
    tables = (ModelSettings, TrainSettings, CheckpointSettings, WandbSettings)
    marked = {field.name for table in tables for field in dataclasses.fields(table) if field.metadata.get("execution")}
    assert marked == {
        "micro_batch_size", "skip_steps", "zero_stage", "offload", "activation_checkpointing", "compile",
        "validate_every_steps", "sample_tokens", "max_bad_steps", "slow_step_factor", "hang_minutes",
        "every_steps", "keep_last", "keep_every", "keep_best", "async_", "stop_signals", "mode", "project",
    }  # fmt: skip


def test_the_best_are_kept_only_of_those_that_are_scored() -> None:
    (problem,) = keep_best_problems(TrainSettings(validate_every_steps=200), CheckpointSettings(keep_best=1))
    assert problem.startswith("checkpoint.keep_best wants validations where checkpoints are saved")
    for every in (250, 500, 1000):
        assert not keep_best_problems(TrainSettings(validate_every_steps=every), CheckpointSettings(keep_best=1))
    assert not keep_best_problems(TrainSettings(validate_every_steps=200), CheckpointSettings())


def test_a_precision_that_the_gpu_lacks() -> None:
    """bf16 came with compute capability 8.0 (A100); a V100 has 7.0, a T4 7.5."""
    (problem,) = precision_problems("bf16", (7, 5))
    assert problem.endswith("this one has 7.5; set train.precision to fp16 or fp32")
    allowed = [("bf16", (8, 0)), ("bf16", (9, 0)), ("bf16", None), ("fp16", (7, 0)), ("fp32", (7, 0))]
    assert [precision_problems(*pair) for pair in allowed] == [[]] * 5


@pytest.mark.parametrize(
    ("flags", "wanted"), [("fpu avx512_bf16 amx_bf16", "bf16"), ("fpu avx512_bf16", "bf16"), ("fpu avx2", "fp32")]
)
def test_auto_precision(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, flags: str, wanted: str) -> None:
    (tmp_path / "cpuinfo").write_text(f"processor\t: 0\nflags\t\t: {flags}\n")
    monkeypatch.setattr(pretrain.checks, "CPUINFO", tmp_path / "cpuinfo")
    monkeypatch.setattr(pretrain.checks, "GPU_DEVICE", tmp_path / "nvidia0")
    assert resolve_precision("auto") == wanted
    assert resolve_precision("fp32") == "fp32"
