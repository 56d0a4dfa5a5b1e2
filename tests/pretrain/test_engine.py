"""Proves that the DeepSpeed engine trains as plain torch does, and that a checkpoint outlives its layout."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import engine_cases
import pytest
import tiny_run
import torch
import torch.nn.functional as F

from pretrain.engine import deepspeed_config
from pretrain.model import build_model

TWO_RANKS = [
    "from_scratch,fp32,1",
    "from_scratch,fp32,2",
    "from_scratch,bf16,1",
    "from_scratch,bf16,2",
    "resumed,fp32,1,fp32-1-2",
    "resumed,fp32,2,fp32-2-2",
    "resumed,bf16,1,bf16-1-2",
    "resumed,bf16,2,bf16-2-2",
    "resumed,fp32,2,fp32-1-2",
    "resumed,bf16,1,bf16-2-2",
    "poisoned",
    "stop",
]
ONE_RANK = ["resumed,fp32,1,fp32-2-2", "resumed,bf16,2,bf16-1-2"]

Results = dict[str, Any]


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> list[Results]:
    """What two ranks found, each; then what one rank found."""
    directory = tmp_path_factory.mktemp("engine")
    for ranks, cases in ((2, TWO_RANKS), (1, ONE_RANK)):
        outcome = tiny_run.Ranks(ranks, str(Path(engine_cases.__file__)), str(directory), *cases).wait()
        assert [code for code, _, _ in outcome] == [0] * ranks, outcome
    files = ("results-2-0", "results-2-1", "results-1-0")
    return [json.loads((directory / f"{name}.json").read_text()) for name in files]


def reference() -> list[list[float]]:
    """20 steps of plain torch in fp32 on the whole batch: the mean loss over its tokens, clipping, AdamW."""
    job = engine_cases.job_of(ranks=1)
    model = build_model(job)
    matrices = [p for p in model.parameters() if p.dim() == 2]
    vectors = [p for p in model.parameters() if p.dim() == 1]
    groups = [{"params": matrices, "weight_decay": 0.1}, {"params": vectors, "weight_decay": 0.0}]
    optimizer = torch.optim.AdamW(groups, betas=(0.9, 0.95), eps=1e-8, foreach=False)
    numbers = []
    for step in range(engine_cases.STEPS):
        tokens, targets = engine_cases.batch_of(step)
        loss = F.cross_entropy(model(tokens).flatten(0, 1), targets.flatten())
        optimizer.zero_grad()
        loss.backward()
        norm = torch.nn.utils.clip_grad_norm_(model.parameters(), 0.5)
        for group in optimizer.param_groups:
            group["lr"] = engine_cases.lr_of(step)
        optimizer.step()
        numbers.append([loss.item(), norm.item()])
    return numbers


@pytest.mark.parametrize("stage", [1, 2])
def test_two_ranks_with_accumulation_clipping_and_two_groups_follow_plain_torch(
    results: list[Results], stage: int
) -> None:
    wanted = torch.tensor(reference(), dtype=torch.float64)
    found = torch.tensor(results[0][f"from_scratch,fp32,{stage}"], dtype=torch.float64)
    assert float(wanted[0, 0] - wanted[-1, 0]) > 0.3  # there is something to follow
    assert float(wanted[:, 1].max()) > 0.5  # and something to clip
    torch.testing.assert_close(found[:, 0], wanted[:, 0], atol=3e-6, rtol=0)
    torch.testing.assert_close(found[:, 1], wanted[:, 1], atol=0, rtol=1e-4)


@pytest.mark.parametrize("stage", [1, 2])
def test_bf16_stays_near_fp32(results: list[Results], stage: int) -> None:
    low = torch.tensor(results[0][f"from_scratch,bf16,{stage}"])
    exact = torch.tensor(results[0]["from_scratch,fp32,1"])
    torch.testing.assert_close(low[:, 0], exact[:, 0], atol=0.05, rtol=0)
    assert float(low[-1, 0]) < float(low[0, 0]) - 0.3


def test_all_ranks_see_the_same_numbers(results: list[Results]) -> None:
    assert results[0] == results[1]


@pytest.mark.parametrize("stage", [1, 2])
@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_a_resume_repeats_the_uninterrupted_training_bit_for_bit(
    results: list[Results], precision: str, stage: int
) -> None:
    found = results[0][f"resumed,{precision},{stage},{precision}-{stage}-2"]
    assert found == results[0][f"from_scratch,{precision},{stage}"][engine_cases.SAVED_AT :]


@pytest.mark.parametrize(
    ("ranks", "case", "origin", "tolerance"),
    [
        (2, "resumed,fp32,2,fp32-1-2", "from_scratch,fp32,1", 3e-6),  # gradients are added up in another order
        (2, "resumed,bf16,1,bf16-2-2", "from_scratch,bf16,2", 0.05),
        (1, "resumed,fp32,1,fp32-2-2", "from_scratch,fp32,2", 3e-6),
        (1, "resumed,bf16,2,bf16-1-2", "from_scratch,bf16,1", 0.05),
    ],
)
def test_another_stage_or_one_rank_goes_on_where_two_stopped(
    results: list[Results], ranks: int, case: str, origin: str, tolerance: float
) -> None:
    found = torch.tensor(results[0 if ranks == 2 else 2][case])
    wanted = torch.tensor(results[0][origin][engine_cases.SAVED_AT :])
    torch.testing.assert_close(found[:, 0], wanted[:, 0], atol=tolerance, rtol=0)


def test_no_rank_steps_on_a_loss_that_is_not_finite(results: list[Results]) -> None:
    for rank in (0, 1):
        assert results[rank]["poisoned"]["error"].startswith("the loss is nan; no step was taken")
        assert results[rank]["poisoned"]["unchanged"]


def test_all_ranks_hear_of_a_stop_that_one_wants(results: list[Results]) -> None:
    assert results[0]["stop"] == results[1]["stop"] == [False, True]


def test_deepspeeds_configuration() -> None:
    """The record. A change here is a change of how every training runs."""
    fp32 = {
        "train_micro_batch_size_per_gpu": 4,
        "gradient_accumulation_steps": 2,
        "gradient_clipping": 1.0,
        "zero_optimization": {"stage": 1},
        "zero_allow_untested_optimizer": True,
        "steps_per_print": 2**62,
    }
    assert deepspeed_config(tiny_run.job(), ranks=2) == fp32
    bf16 = {
        **fp32,
        "gradient_accumulation_steps": 4,
        "zero_optimization": {"stage": 2},
        "bf16": {"enabled": True},
        "data_types": {"grad_accum_dtype": "fp32"},
    }
    assert deepspeed_config(tiny_run.job(precision="bf16", zero_stage=2), ranks=1) == bf16
