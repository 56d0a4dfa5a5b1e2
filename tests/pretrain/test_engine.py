"""Proves that the DeepSpeed engine trains as plain torch does at every ZeRO stage, that a step which is not finite
changes nothing, and how DeepSpeed is configured.
"""

from __future__ import annotations

import itertools
import json
import math
from pathlib import Path
from typing import Any

import engine_cases
import pytest
import tiny_run
import torch
import torch.nn.functional as F
from engine_runs import (
    BF16,
    FP16,
    FP32,
    FRESH,
    LOOKED_AT,
    POISONED,
    SAME_NUMBERS,
    Numbers,
    Results,
    everything,
    losses,
    results_of,
    same_values,
    state_of,
)

from pretrain.checks import deepspeed_problems
from pretrain.engine import deepspeed_config
from pretrain.model import build_model


@pytest.fixture(scope="module")
def results(engine_directory: Path) -> Results:
    """What rank 0 found."""
    return results_of(engine_directory, "first")


def reference(documents: bool = False) -> Numbers:
    """20 steps of plain torch in fp32 on the whole batch: mean over its targets, clipping, AdamW. [loss, norm] each."""
    model = build_model(engine_cases.job_of(ranks=1))
    matrices = [p for p in model.parameters() if p.dim() == 2]
    vectors = [p for p in model.parameters() if p.dim() == 1]
    groups = [{"params": matrices, "weight_decay": 0.1}, {"params": vectors, "weight_decay": 0.0}]
    optimizer = torch.optim.AdamW(groups, betas=(0.9, 0.95), eps=1e-8, foreach=False)
    numbers = []
    for step in range(engine_cases.STEPS):
        tokens, targets, positions, _ = engine_cases.batch_of(step, documents)
        logits, targets = model(tokens, positions=positions).flatten(0, 1), targets.flatten()
        smoothed = F.cross_entropy(logits, targets, label_smoothing=engine_cases.SMOOTHING)
        z_loss = engine_cases.Z_LOSS * logits.logsumexp(1)[targets >= 0].square().mean()
        optimizer.zero_grad()
        (smoothed + z_loss).backward()
        norm = torch.nn.utils.clip_grad_norm_(model.parameters(), engine_cases.CLIP)
        for group in optimizer.param_groups:
            group["lr"] = engine_cases.lr_of(step)
        optimizer.step()
        numbers.append([F.cross_entropy(logits, targets).item(), norm.item()])
    return numbers


@pytest.fixture(scope="module")
def wanted() -> Numbers:
    return reference()


def norms(numbers: Numbers) -> torch.Tensor:
    return torch.tensor([row[1] for row in numbers], dtype=torch.float64)


@pytest.mark.parametrize("setup", FP32)
def test_two_ranks_with_uneven_accumulation_and_targets_follow_plain_torch(
    results: Results, wanted: Numbers, setup: str
) -> None:
    found = results[f"from_scratch,{setup}"]
    assert wanted[0][0] - wanted[-1][0] > 0.3  # there is something to follow
    assert float(norms(wanted).min()) > engine_cases.CLIP  # and something to clip
    torch.testing.assert_close(losses(found), losses(wanted), atol=3e-6, rtol=0)
    torch.testing.assert_close(norms(found), norms(wanted), atol=0, rtol=1e-4)


def test_documents_of_one_row_are_kept_apart(results: Results) -> None:
    found = results["with_documents,fp32-3"]
    torch.testing.assert_close(losses(found), losses(reference(documents=True))[: len(found)], atol=3e-6, rtol=0)


@pytest.mark.parametrize("setup", BF16)
def test_bf16_stays_near_fp32(results: Results, wanted: Numbers, setup: str) -> None:
    torch.testing.assert_close(losses(results[f"from_scratch,{setup}"]), losses(wanted), atol=0.02, rtol=0)


@pytest.mark.parametrize("setup", FP16)
def test_fp16_skips_what_overflows_until_its_loss_scale_fits(results: Results, setup: str) -> None:
    numbers = results[f"from_scratch,{setup}"]
    skipped = [bool(row[2]) for row in numbers]
    scales = [2.0**20, *(row[3] for row in numbers)]
    assert skipped[0] and not all(skipped[:10])
    assert numbers[-1][0] < numbers[0][0] - 0.3
    for row, before, after in zip(numbers, scales, scales[1:], strict=False):
        assert math.isfinite(row[0]) and math.isinf(row[1]) == row[2]
        assert after <= before if row[2] else after >= before
    assert any(after > before for before, after in itertools.pairwise(scales))  # and grows again when it does


@pytest.mark.parametrize(("setup", "plain"), SAME_NUMBERS)
def test_options_of_how_to_run_change_no_number(results: Results, setup: str, plain: str) -> None:
    found, expected = results[f"from_scratch,{setup}"], results[f"from_scratch,{plain}"]
    tolerance = 3e-6 if "fp32" in setup else 0.001
    torch.testing.assert_close(losses(found), losses(expected), atol=tolerance, rtol=0)


def test_all_ranks_see_the_same_numbers(engine_directory: Path, results: Results) -> None:
    """As text, in which nan equals nan."""
    other = results_of(engine_directory, "first", rank=1)
    assert json.dumps(other | {"memory": None}) == json.dumps(results | {"memory": None})


@pytest.mark.parametrize("setup", FRESH)
def test_training_begins_with_the_models_weights_in_full_precision(
    engine_directory: Path, results: Results, setup: str
) -> None:
    found = everything(engine_directory / f"fresh-{setup}")
    for name, parameter in build_model(engine_cases.job_of(ranks=2, setup=setup)).named_parameters():
        assert torch.equal(found[f"weight/{name}"], parameter.detach().flatten())
        assert not found[f"exp_avg/{name}"].any()


@pytest.mark.parametrize("setup", POISONED)
def test_a_loss_that_is_not_finite_on_one_rank_changes_nothing_on_any(
    engine_directory: Path, results: Results, setup: str
) -> None:
    """Nothing of the skipped steps is left: what follows is as if they had not been."""
    for _, norm, skipped, _ in results[f"poisoned,{setup}"]["skipped"]:
        assert skipped and not math.isfinite(norm)
    before, after = engine_directory / f"before-{setup}", engine_directory / f"after-{setup}"
    assert same_values(before, after)
    assert state_of(before)["optimizer_steps"] == state_of(after)["optimizer_steps"]
    assert results[f"poisoned,{setup}"]["others"] == results[f"from_scratch,{setup}"][:8]


@pytest.mark.parametrize("setup", LOOKED_AT)
def test_looking_at_the_model_between_steps_leaves_no_trace(results: Results, setup: str) -> None:
    found = results[f"looked_at,{setup}"]
    assert found["nats"] == pytest.approx(found["from_logits"], rel=1e-6)
    assert found["nats"] == pytest.approx(results[f"looked_at,{LOOKED_AT[0]}"]["nats"], rel=1e-6)
    assert found["others"] == results[f"from_scratch,{setup}"][:8]


def test_peak_memory_remembers_what_came_and_went(results: Results) -> None:
    said, wanted = results["memory"]
    assert said == pytest.approx(wanted, rel=0.05)


def config(setup: str) -> dict[str, Any]:
    """What `[deepspeed]` is silent about."""
    precision, stage, offload = setup.split("-")
    return deepspeed_config(tiny_run.job(precision=precision, zero_stage=int(stage), offload=offload), ranks=2)


CPU = {"device": "cpu", "pin_memory": True}
BUCKET = {"reduce_bucket_size": 384 * 64 + 64 * 64 + 2 * (16_640 + 33_088 + 256) + 128}  # all parameters
RECORDS: dict[str, dict[str, Any]] = {
    "fp32-0-none": {"zero_optimization": {**BUCKET, "stage": 0}},
    "fp32-1-none": {"zero_optimization": {**BUCKET, "stage": 1}},
    "bf16-2-none": {
        "zero_optimization": {**BUCKET, "stage": 2},
        "bf16": {"enabled": True},
        "data_types": {"grad_accum_dtype": "fp32"},
    },
    "fp16-3-none": {
        "zero_optimization": {**BUCKET, "stage": 3},
        "fp16": {"enabled": True},
        "data_types": {"grad_accum_dtype": "fp32"},
    },
    "fp32-1-optimizer": {"zero_optimization": {**BUCKET, "stage": 1, "offload_optimizer": CPU}},
    "fp32-3-parameters": {"zero_optimization": {**BUCKET, "stage": 3, "offload_optimizer": CPU, "offload_param": CPU}},
}


@pytest.mark.parametrize("setup", RECORDS)
def test_deepspeeds_configuration(setup: str) -> None:
    """The records. A change here is a change of how every training runs."""
    always = {
        "train_batch_size": 8,
        "train_micro_batch_size_per_gpu": 4,
        "gradient_clipping": 1.0,
        "zero_allow_untested_optimizer": True,
        "zero_force_ds_cpu_optimizer": False,
        "timers": {"throughput": {"enabled": False}},
        "steps_per_print": 2**62,
    }
    assert config(setup) == always | RECORDS[setup]


def test_deepspeeds_own_keys_are_handed_through() -> None:
    job = tiny_run.job(
        zero_stage=2, deepspeed={"communication_data_type": "fp32", "zero_optimization": {"overlap_comm": True}}
    )
    found = deepspeed_config(job, ranks=2)
    assert found["communication_data_type"] == "fp32"
    assert found["zero_optimization"] == {**BUCKET, "stage": 2, "overlap_comm": True}


def test_keys_that_other_settings_decide_are_refused() -> None:
    assert deepspeed_problems({"zero_optimization": {"overlap_comm": True}, "communication_data_type": "fp32"}) == []
    assert deepspeed_problems({"gradient_clipping": 1.0, "zero_optimization": {"stage": 2}}) == [
        "deepspeed.gradient_clipping is set by train.grad_clip; set that instead",
        "deepspeed.zero_optimization.stage is set by train.zero_stage; set that instead",
    ]
    (found,) = deepspeed_problems({"zero_optimization": {"round_robin_gradients": True}})
    assert found.startswith("deepspeed.zero_optimization.round_robin_gradients cannot be set: ")
    assert deepspeed_problems({"zero_optimization": 2}) == ["deepspeed.zero_optimization must be a table, got 2"]
