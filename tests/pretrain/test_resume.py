"""Proves that a training goes on in new processes as if it had never ended: bit for bit in the layout it had, and to
the last digits of the loss with other ranks, ZeRO stages and micro-batches, from the very same state.
"""

from __future__ import annotations

import itertools
import json
import signal
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
import tiny_run
import torch
from engine_cases import SAVED_AT
from engine_runs import FP32, SETUPS, Numbers, Results, launch, losses, results_of, same, same_values
from worker_runs import Workers, changed, outcome, rows_of, train

from pretrain.batches import TrainingData

MOVES = [*itertools.permutations(FP32, 2), ("bf16-1", "bf16-2"), ("bf16-2", "bf16-3"), ("bf16-3", "bf16-1")]
MOVES_TO_ONE_RANK = [("fp32-0", "fp32-3"), ("fp32-1", "fp32-0"), ("fp32-2", "fp32-1"), ("fp32-3", "fp32-2")]
CHAINS = [  # of two ranks, of three, of one, of two again
    ("fp32-0", "fp32-1", "fp32-2", "fp32-3"),
    ("fp32-1", "fp32-2", "fp32-3", "fp32-0"),
    ("fp32-2", "fp32-3", "fp32-0", "fp32-1"),
    ("fp32-3", "fp32-0", "fp32-1", "fp32-2"),
    ("bf16-1", "bf16-3", "bf16-2", "bf16-1"),
    ("fp16-2", "fp16-3", "fp16-1", "fp16-3"),
]
CHAIN_LAUNCHES = [("three", 3), ("one", 1), ("again", 2)]
STAGE_3 = "fp32-3,fp32-3-of-2"  # at stage 3 the engine has several masters a parameter group here
BUGS = ["shared_step", "first_weight_decay"]


def links(chain: tuple[str, ...]) -> list[tuple[str, str, str]]:
    """(launch, case, name of the checkpoint) of each resume in a chain.

    >>> links(("fp32-0", "fp32-1"))
    [('three', 'resumed,fp32-1,fp32-0-of-2', 'fp32-1-of-3-from-fp32-0-of-2')]
    """
    found, saved = [], f"{chain[0]}-of-2"
    for (name, ranks), setup in zip(CHAIN_LAUNCHES, chain[1:], strict=False):
        case, saved = f"resumed,{setup},{saved}", f"{setup}-of-{ranks}-from-{saved}"
        found.append((name, case, saved))
    return found


def cases() -> Iterator[tuple[str, int, list[str]]]:
    """(launch, ranks, cases), in order: what goes on from the checkpoints of what trained from the start."""
    chained = [link for chain in CHAINS for link in links(chain)]
    one = [f"resumed,{setup},{saved}-of-2" for saved, setup in MOVES_TO_ONE_RANK]
    again = [f"resumed,{setup},{setup}-of-2" for setup in SETUPS]
    again += [f"resumed,{setup},{saved}-of-2" for saved, setup in MOVES]
    again += [f"optimizer,{STAGE_3}", *(f"planted,{STAGE_3},{bug}" for bug in BUGS)]
    yield "three", 3, [case for name, case, _ in chained if name == "three"]
    yield "one", 1, one + [case for name, case, _ in chained if name == "one"]
    yield "again", 2, again + [case for name, case, _ in chained if name == "again"]


@pytest.fixture(scope="module")
def directory(engine_directory: Path) -> Path:
    """Where all launches leave what they found and saved. Each is killed before the next starts."""
    for name, ranks, wanted in cases():
        launch(engine_directory, name, ranks, wanted)
    return engine_directory


@pytest.fixture(scope="module")
def results(directory: Path) -> Results:
    """What rank 0 found on two ranks."""
    return results_of(directory, "first") | results_of(directory, "again")


def unbroken(results: Results, setup: str) -> Numbers:
    """The steps of a training from the start that come after its checkpoint."""
    found: Numbers = results[f"from_scratch,{setup}"][SAVED_AT:]
    return found


def goes_on(found: Numbers, expected: Numbers, setup: str) -> None:
    """As the training from the start did, in another layout.

    In fp16 that holds for the first step only: which step overflows depends on how the gradient is cut.
    """
    tolerance = 2e-6 if "fp32" in setup else 0.001  # a loss of 5 has its last fp32 digit at 5e-7
    compared = 1 if "fp16" in setup else len(expected)
    torch.testing.assert_close(losses(found[:compared]), losses(expected[:compared]), atol=tolerance, rtol=0)


@pytest.mark.parametrize("setup", SETUPS)
def test_a_resume_repeats_the_unbroken_training_bit_for_bit(directory: Path, results: Results, setup: str) -> None:
    """Losses, norms and loss scales of every step, and what the training ends with: weights, moments, counters."""
    saved = f"{setup}-of-2"
    assert results[f"resumed,{setup},{saved}"] == unbroken(results, setup)
    assert same(directory / f"{saved}-end", directory / f"{saved}-from-{saved}-end")
    assert not same_values(directory / f"{saved}-end", directory / saved)


@pytest.mark.parametrize(("saved", "setup"), MOVES)
def test_another_stage_goes_on_where_one_stopped(directory: Path, results: Results, saved: str, setup: str) -> None:
    assert same(directory / f"{saved}-of-2", directory / f"{setup}-of-2-from-{saved}-of-2")
    goes_on(results[f"resumed,{setup},{saved}-of-2"], unbroken(results, saved), saved)


@pytest.mark.parametrize(("saved", "setup"), MOVES_TO_ONE_RANK)
def test_one_rank_goes_on_where_two_stopped(directory: Path, results: Results, saved: str, setup: str) -> None:
    assert same(directory / f"{saved}-of-2", directory / f"{setup}-of-1-from-{saved}-of-2")
    found = results_of(directory, "one")[f"resumed,{setup},{saved}-of-2"]
    goes_on(found, unbroken(results, saved), saved)


@pytest.mark.parametrize("chain", CHAINS, ids=" ".join)
def test_a_checkpoint_outlives_moves_to_three_ranks_to_one_and_to_two(
    directory: Path, results: Results, chain: tuple[str, ...]
) -> None:
    """Each link loads what the one before it saved right after loading. Three ranks cut most parameters unevenly."""
    for name, case, saved in links(chain):
        assert same(directory / f"{chain[0]}-of-2", directory / saved)
        goes_on(results_of(directory, name)[case], unbroken(results, chain[0]), chain[0])


@pytest.mark.parametrize(("name", "rank"), [("three", 1), ("three", 2), ("again", 1)])
def test_all_ranks_go_on_with_the_same_numbers(directory: Path, name: str, rank: int) -> None:
    """As text, in which nan equals nan."""
    own = {f"optimizer,{STAGE_3}": None}
    assert json.dumps(results_of(directory, name) | own) == json.dumps(results_of(directory, name, rank) | own)


def test_at_stage_3_every_master_counts_its_own_steps_and_every_group_keeps_its_weight_decay(directory: Path) -> None:
    """Where DeepSpeed 0.19 itself loads another layout's checkpoint, all masters share one tensor that AdamW counts in,
    and the first group's weight decay becomes the others'."""
    for rank in range(2):
        found = results_of(directory, "again", rank)[f"optimizer,{STAGE_3}"]
        assert len(found["steps"]) > 2
        assert set(found["steps"]) == {SAVED_AT}
        assert len(set(found["memory"])) == len(found["steps"])
        assert found["weight_decay"] == [0.1, 0.0]


@pytest.mark.parametrize("bug", BUGS)
def test_with_that_bug_a_resume_is_another_training(results: Results, bug: str) -> None:
    found, expected = results[f"planted,{STAGE_3},{bug}"], unbroken(results, "fp32-3")
    assert found[0] == expected[0]  # its loss is that of the weights as they were loaded
    assert all(row != other for row, other in zip(found[1:], expected[1:], strict=True))


def test_a_training_moves_between_machines_and_repeats_the_one_that_did_not(tmp_path: Path) -> None:
    """One run directory through 1, 2, 3 and 1 ranks, each started as the pipeline starts it and stopped by a signal."""
    whole, moved = tmp_path / "whole", tmp_path / "moved"
    job = tiny_run.job(
        ranks=1,
        tokens=80 * 768,
        global_batch_tokens=768,  # 12 samples
        deepspeed={"zero_optimization": {"stage3_param_persistence_threshold": 0}},
        validate_every_steps=40,
        lr=1e-3,
    )
    for run in (whole, moved):
        tiny_run.make_run(run, job)
    layouts = [(1, 1, 4), (2, 2, 2), (3, 3, 2), (1, 1, 4)]  # ranks, ZeRO stage, micro-batch
    stops = [(signal.SIGTERM, 0), (signal.SIGUSR1, 1), (signal.SIGINT, 2)]
    bounds = [0]
    with Workers(whole, job) as unbroken:
        for (ranks, stage, size), (number, rank) in zip(layouts, stops, strict=False):
            with Workers(moved, changed(job, ranks=ranks, zero_stage=stage, micro_batch_size=size)) as workers:
                workers.until(lambda: len(rows_of(moved)) >= bounds[-1] + 10)
                workers.send(number, rank)
                assert workers.wait() == [0] * ranks, workers.logs_in_short()
            assert bounds[-1] == 0 or f"resumed from step-{bounds[-1]:08d}" in workers.log()
            assert outcome(moved)["outcome"] == "paused"
            bounds.append(outcome(moved)["step"])
        ranks, stage, size = layouts[-1]
        train(moved, changed(job, ranks=ranks, zero_stage=stage, micro_batch_size=size))
        assert unbroken.wait() == [0], unbroken.logs_in_short()
    assert outcome(moved) == outcome(whole)

    one, other = rows_of(moved), rows_of(whole)
    for key in ("step", "tokens", "targets", "lr"):
        assert [row[key] for row in one] == [row[key] for row in other]
    for key in ("loss", "val_loss"):
        found, expected = ([row[key] for row in rows if key in row] for rows in (one, other))
        torch.testing.assert_close(found, expected, atol=1e-6, rtol=0)  # the last digits of a sum of 768 in fp32
    assert one[0]["loss"] - one[-1]["loss"] > 1  # there is something to follow

    data = {
        layout: TrainingData(changed(job, micro_batch_size=layout[2]), moved / "tokens/train") for layout in layouts
    }
    for step in range(0, 80, 7):
        read = [rows_of_step(data[layout], step, layout[0]) for layout in layouts]
        assert all(np.array_equal(rows, read[0]) for rows in read)


def rows_of_step(data: TrainingData, step: int, ranks: int) -> npt.NDArray[np.int64]:
    """(2, B, T): the inputs and the targets of a step, over all ranks."""
    batches = [batch for rank in range(ranks) for batch in data.micro_batches(step, rank, ranks)]
    return np.stack([np.concatenate(field) for field in zip(*(batch[:2] for batch in batches), strict=True)])
