"""Proves that the DeepSpeed engine trains as plain torch does at every ZeRO stage, that a step which is not finite
changes nothing, and that a checkpoint outlives its layout.
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

from pretrain.checks import deepspeed_problems
from pretrain.engine import deepspeed_config
from pretrain.fragments import Piece, read_full, read_into
from pretrain.model import build_model

FP32 = ["fp32-0", "fp32-1", "fp32-2", "fp32-3"]
BF16 = ["bf16-1", "bf16-2", "bf16-3"]
FP16 = ["fp16-1", "fp16-2", "fp16-3"]
SETUPS = FP32 + BF16 + FP16
SAME_NUMBERS = [  # a setup that must train as another
    ("fp32-1-offload", "fp32-1"),
    ("fp32-3-offload_all", "fp32-3"),
    ("bf16-2-offload", "bf16-2"),
    ("fp32-1-checkpointing", "fp32-1"),
    ("fp32-3-checkpointing", "fp32-3"),
    ("fp32-1-compile", "fp32-1"),
]
MOVES = [*itertools.permutations(FP32, 2), ("bf16-1", "bf16-2"), ("bf16-2", "bf16-3"), ("bf16-3", "bf16-1")]
MOVES_TO_ONE_RANK = [("fp32-0", "fp32-3"), ("fp32-1", "fp32-0"), ("fp32-2", "fp32-1"), ("fp32-3", "fp32-2")]
POISONED = [*FP32, *BF16, "bf16-2-offload"]
FRESH = ["fp32-0", "bf16-1", "bf16-2", "fp16-3"]
LOOKED_AT = ["fp32-1", "fp32-3"]


def two_ranks() -> list[str]:
    """The cases, those with a stage 3 last: DeepSpeed's stage 3 replaces `F.linear` for the rest of the process."""
    cases = [f"from_scratch,{setup}" for setup in SETUPS + [setup for setup, _ in SAME_NUMBERS]]
    cases += [f"resumed,{setup},{setup}" for setup in SETUPS]
    cases += [f"resumed,{setup},{saved}" for saved, setup in MOVES]
    cases += [f"poisoned,{setup}" for setup in POISONED] + [f"looked_at,{setup}" for setup in LOOKED_AT]
    cases += [f"fresh,{setup}" for setup in FRESH]
    return sorted([*cases, "with_documents,fp32-3", "stop", "memory"], key=lambda case: "-3" in case)


ONE_RANK = [f"resumed,{setup},{saved}" for saved, setup in MOVES_TO_ONE_RANK]

Results = dict[str, Any]
Numbers = list[list[float]]  # a StepResult each: loss, gradient's norm, targets, skipped, stop, loss scale


@pytest.fixture(scope="module")
def directory(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the ranks leave what they found and saved."""
    directory = tmp_path_factory.mktemp("engine")
    for ranks, cases in ((2, two_ranks()), (1, ONE_RANK)):
        outcome = tiny_run.Ranks(ranks, str(Path(engine_cases.__file__)), str(directory), *cases).wait(timeout=600)
        assert [code for code, _, _ in outcome] == [0] * ranks, outcome
    return directory


@pytest.fixture(scope="module")
def results(directory: Path) -> Results:
    """What rank 0 of two found."""
    return results_of(directory, rank=0)


def results_of(directory: Path, rank: int, ranks: int = 2) -> Results:
    found: Results = json.loads((directory / f"results-{ranks}-{rank}.json").read_text())
    return found


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


def losses(numbers: Numbers) -> torch.Tensor:
    return torch.tensor([row[0] for row in numbers], dtype=torch.float64)


def norms(numbers: Numbers) -> torch.Tensor:
    return torch.tensor([row[1] for row in numbers], dtype=torch.float64)


def everything(step_dir: Path) -> dict[str, torch.Tensor]:
    """The fp32 weights and both moments of a checkpoint, whole, by kind and name."""
    kinds = ("weight", "exp_avg", "exp_avg_sq")
    whole = {name: {kind: torch.empty(w.numel()) for kind in kinds} for name, w in read_full(step_dir).items()}
    read_into(step_dir, {name: Piece(0, views) for name, views in whole.items()})
    return {f"{kind}/{name}": tensor for name, views in whole.items() for kind, tensor in views.items()}


def same(one: Path, other: Path) -> bool:
    """Whether two checkpoints hold the same bits and the same `state()`."""
    a, b = everything(one), everything(other)
    states = [json.loads((step_dir / "state.json").read_text()) for step_dir in (one, other)]
    return states[0] == states[1] and a.keys() == b.keys() and all(torch.equal(a[name], b[name]) for name in a)


@pytest.mark.parametrize("setup", FP32)
def test_two_ranks_with_uneven_accumulation_and_targets_follow_plain_torch(
    results: Results, wanted: Numbers, setup: str
) -> None:
    found = results[f"from_scratch,{setup}"]
    assert wanted[0][0] - wanted[-1][0] > 0.3  # there is something to follow
    assert float(norms(wanted).min()) > engine_cases.CLIP  # and something to clip
    torch.testing.assert_close(losses(found), losses(wanted), atol=3e-6, rtol=0)
    torch.testing.assert_close(norms(found), norms(wanted), atol=0, rtol=1e-4)
    assert [row[2] for row in found] == [int((engine_cases.batch_of(step)[1] >= 0).sum()) for step in range(20)]


def test_documents_of_one_row_are_kept_apart(results: Results) -> None:
    found = results["with_documents,fp32-3"]
    torch.testing.assert_close(losses(found), losses(reference(documents=True))[: len(found)], atol=3e-6, rtol=0)


@pytest.mark.parametrize("setup", BF16)
def test_bf16_stays_near_fp32(results: Results, wanted: Numbers, setup: str) -> None:
    torch.testing.assert_close(losses(results[f"from_scratch,{setup}"]), losses(wanted), atol=0.02, rtol=0)


@pytest.mark.parametrize("setup", FP16)
def test_fp16_skips_what_overflows_until_its_loss_scale_fits(results: Results, setup: str) -> None:
    numbers = results[f"from_scratch,{setup}"]
    skipped = [bool(row[3]) for row in numbers]
    scales = [2.0**20, *(row[5] for row in numbers)]
    assert skipped[0] and not all(skipped[:10])
    assert numbers[-1][0] < numbers[0][0] - 0.3
    for row, before, after in zip(numbers, scales, scales[1:], strict=False):
        assert math.isfinite(row[0]) and math.isinf(row[1]) == row[3]
        assert after <= before if row[3] else after >= before
    assert any(after > before for before, after in itertools.pairwise(scales))  # and grows again when it does


@pytest.mark.parametrize(("setup", "plain"), SAME_NUMBERS)
def test_options_of_how_to_run_change_no_number(results: Results, setup: str, plain: str) -> None:
    found, expected = results[f"from_scratch,{setup}"], results[f"from_scratch,{plain}"]
    tolerance = 3e-6 if "fp32" in setup else 0.001
    torch.testing.assert_close(losses(found), losses(expected), atol=tolerance, rtol=0)


def test_all_ranks_see_the_same_numbers(directory: Path, results: Results) -> None:
    """As text, in which nan equals nan."""
    other = results_of(directory, rank=1)
    assert json.dumps(other | {"memory": None}) == json.dumps(results | {"memory": None})


@pytest.mark.parametrize("setup", FRESH)
def test_training_begins_with_the_models_weights_in_full_precision(
    directory: Path, results: Results, setup: str
) -> None:
    found = everything(directory / f"fresh-{setup}")
    for name, parameter in build_model(engine_cases.job_of(ranks=2, setup=setup)).named_parameters():
        assert torch.equal(found[f"weight/{name}"], parameter.detach().flatten())
        assert not found[f"exp_avg/{name}"].any()


@pytest.mark.parametrize("setup", SETUPS)
def test_a_resume_repeats_the_uninterrupted_training_bit_for_bit(results: Results, setup: str) -> None:
    assert results[f"resumed,{setup},{setup}"] == results[f"from_scratch,{setup}"][engine_cases.SAVED_AT :]


@pytest.mark.parametrize(("saved", "setup"), MOVES)
def test_another_stage_goes_on_where_one_stopped(directory: Path, results: Results, saved: str, setup: str) -> None:
    assert same(directory / f"{saved}-of-2", directory / f"{saved}-as-{setup}-of-2")
    found, expected = results[f"resumed,{setup},{saved}"], results[f"from_scratch,{saved}"][engine_cases.SAVED_AT :]
    torch.testing.assert_close(losses(found), losses(expected), atol=3e-6 if "fp32" in setup else 0.001, rtol=0)


@pytest.mark.parametrize(("saved", "setup"), MOVES_TO_ONE_RANK)
def test_one_rank_goes_on_where_two_stopped(directory: Path, results: Results, saved: str, setup: str) -> None:
    assert same(directory / f"{saved}-of-2", directory / f"{saved}-as-{setup}-of-1")
    found = results_of(directory, rank=0, ranks=1)[f"resumed,{setup},{saved}"]
    expected = results[f"from_scratch,{saved}"][engine_cases.SAVED_AT :]
    torch.testing.assert_close(losses(found), losses(expected), atol=3e-6, rtol=0)


@pytest.mark.parametrize("setup", POISONED)
def test_a_loss_that_is_not_finite_on_one_rank_changes_nothing_on_any(
    directory: Path, results: Results, setup: str
) -> None:
    """Nothing of the skipped steps is left: what follows is as if they had not been."""
    for _, norm, _, skipped, *_ in results[f"poisoned,{setup}"]["skipped"]:
        assert skipped and not math.isfinite(norm)
    assert same(directory / f"before-{setup}", directory / f"after-{setup}")
    assert results[f"poisoned,{setup}"]["others"] == results[f"from_scratch,{setup}"][:8]


@pytest.mark.parametrize("setup", LOOKED_AT)
def test_looking_at_the_model_between_steps_leaves_no_trace(results: Results, setup: str) -> None:
    found = results[f"looked_at,{setup}"]
    assert found["nats"] == pytest.approx(found["from_logits"], rel=1e-6)
    assert found["nats"] == pytest.approx(results[f"looked_at,{LOOKED_AT[0]}"]["nats"], rel=1e-6)
    assert found["others"] == results[f"from_scratch,{setup}"][:8]


def test_all_ranks_hear_of_a_stop_that_one_wants(results: Results) -> None:
    assert results["stop"] == [False, True]


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
