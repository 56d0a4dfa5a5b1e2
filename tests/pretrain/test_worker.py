"""Proves, in real processes, that a training can be stopped or killed at any time and goes on as if it had not been."""

from __future__ import annotations

import json
import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import tiny_run
import torch
from worker_runs import outcome, rows_of
from worker_runs import step_dir as checkpoint

from data_prep.files import UserError, write_json
from pretrain.fragments import read_full
from pretrain.settings import TrainingJob
from pretrain.worker import RankVariables, rank_variables


def start(run: Path, ranks: int = 2, variables: tuple[str, ...] = tiny_run.TORCHRUN) -> tiny_run.Ranks:
    return tiny_run.Ranks(ranks, "-m", "pretrain.worker", "--run", str(run), variables=variables)


def numbers(run: Path) -> list[tuple[Any, ...]]:
    """What a resume must repeat bit for bit."""
    return [(row["step"], row["loss"], row["lr"], row["grad_norm"], row["tokens"]) for row in rows_of(run)]


def wait_for(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 120
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.005)


def long_job(**changes: Any) -> TrainingJob:
    """Long enough to be interrupted, a few seconds of steps; dropout, so that its randomness must be repeated too."""
    return tiny_run.job(tokens=80 * 1024, every_steps=20, model={"dropout": 0.1}, **changes)


@pytest.fixture(scope="module")
def uninterrupted(tmp_path_factory: pytest.TempPathFactory) -> Path:
    run = tiny_run.make_run(tmp_path_factory.mktemp("whole"), long_job(wandb="offline"))
    for code, out, err in start(run).wait():
        assert code == 0, err
        assert err == ""
        assert "[WARNING]" not in out and "MA 0." not in out  # DeepSpeed and wandb are quiet
    return run


def test_a_training_leaves_its_record(uninterrupted: Path) -> None:
    assert outcome(uninterrupted) == {"outcome": "done", "step": 80, "tokens": 80 * 1024}
    rows = rows_of(uninterrupted)
    assert [row["step"] for row in rows] == list(range(1, 81))
    assert rows[-1]["loss"] < rows[0]["loss"] - 1
    assert [row["step"] for row in rows if "val_loss" in row] == [10, 20, 30, 40, 50, 60, 70, 80]
    assert set(rows[0]) == {
        "step", "loss", "lr", "grad_norm", "skipped", "targets", "memory_bytes",
        "tokens", "tokens_per_second", "mfu", "step_seconds", "data_seconds",
    }  # fmt: skip
    manifest = json.loads((checkpoint(uninterrupted, 80) / "manifest.json").read_text())
    assert manifest["tokens"] == 80 * 1024 and manifest["precision"] == "fp32" and manifest["wandb_run_id"]
    assert list((uninterrupted / "pretrain/wandb").glob(f"offline-run-*-{manifest['wandb_run_id']}"))
    assert not checkpoint(uninterrupted, 40).exists()  # beyond keep_last


def test_stopped_and_resumed_it_repeats_the_uninterrupted_one_bit_for_bit(uninterrupted: Path, tmp_path: Path) -> None:
    run = tiny_run.make_run(tmp_path, long_job())
    processes = start(run)
    wait_for(lambda: len(rows_of(run)) >= 30)
    processes.processes[1].send_signal(signal.SIGTERM)  # to one rank only
    assert [code for code, _, _ in processes.wait()] == [0, 0]
    paused = outcome(run)
    assert paused["outcome"] == "paused" and 30 <= paused["step"] < 80
    assert (checkpoint(run, paused["step"]) / "manifest.json").exists()

    (code, out, err), _ = start(run, variables=tiny_run.SRUN).wait()
    assert code == 0, err
    assert f"resumed from step-{paused['step']:08d}" in out
    assert outcome(run)["outcome"] == "done"
    assert numbers(run) == numbers(uninterrupted)
    ours, theirs = (read_full(sorted(checkpoint(of, 80).glob("rank-*"))) for of in (run, uninterrupted))
    assert all(torch.equal(ours[name], theirs[name]) for name in theirs)


def test_killed_during_a_save_it_goes_on_from_the_one_before(uninterrupted: Path, tmp_path: Path) -> None:
    run = tiny_run.make_run(tmp_path, long_job())
    processes = start(run)
    wait_for(lambda: checkpoint(run, 40).exists())
    processes.send(signal.SIGKILL)
    processes.wait()
    assert (checkpoint(run, 20) / "manifest.json").exists()
    (checkpoint(run, 40) / "manifest.json").unlink(missing_ok=True)  # where the kill came a moment too late
    with (run / "pretrain/metrics.jsonl").open("ab") as metrics:
        metrics.write(b'{"step": 41, "los')

    results = start(run).wait()
    assert [code for code, _, _ in results] == [0, 0], results
    assert "resumed from step-00000020" in results[0][1]
    assert numbers(run) == numbers(uninterrupted)


def test_a_finished_training_run_again_is_done_at_once(uninterrupted: Path) -> None:
    before = numbers(uninterrupted)
    assert [code for code, _, _ in start(uninterrupted).wait()] == [0, 0]
    assert outcome(uninterrupted)["outcome"] == "done"
    assert numbers(uninterrupted) == before


def test_a_single_process_needs_no_rank_variables(tmp_path: Path) -> None:
    run = tiny_run.make_run(tmp_path, tiny_run.job(ranks=1, tokens=4 * 1024, precision="bf16"))
    ((code, _, err),) = start(run, ranks=1, variables=()).wait()
    assert (code, err) == (0, "")
    assert outcome(run)["step"] == len(rows_of(run)) == 4


def test_another_identity_is_refused_in_one_line_by_both_ranks(uninterrupted: Path) -> None:
    started = uninterrupted / "pretrain/started.json"
    original = started.read_bytes()
    write_json(started, long_job(key="another", lr=1e-3).to_json() | {"dataset": "another"})
    results = start(uninterrupted).wait()
    started.write_bytes(original)
    assert [code for code, _, _ in results] == [2, 2]
    assert (
        "its train.lr is 0.003, this run's is 0.001; its dataset is synthetic, this run's is another" in results[0][2]
    )
    assert [err.count("\n") for _, _, err in results] == [1, 0]


def test_what_deepspeed_says_of_its_table_fits_one_line(tmp_path: Path) -> None:
    run = tiny_run.make_run(tmp_path, tiny_run.job(ranks=1, deepspeed={"zero_optimization": {"nosuch": 3}}))
    ((code, _, error),) = tiny_run.Ranks(1, "-m", "pretrain.worker", "--run", str(run), variables=()).wait()
    assert code == 2 and error.count("\n") == 1
    assert "[deepspeed]: 1 validation error for DeepSpeedZeroConfig nosuch Extra inputs are not permitted" in error


def test_rank_variables_come_from_torchrun_or_srun_or_nowhere() -> None:
    address = {"MASTER_ADDR": "node1", "MASTER_PORT": "1234"}
    torchrun = {"RANK": "3", "LOCAL_RANK": "1", "WORLD_SIZE": "4", "LOCAL_WORLD_SIZE": "2"} | address
    assert rank_variables(torchrun) == RankVariables(3, 1, 4, 2)
    srun = {"SLURM_PROCID": "5", "SLURM_LOCALID": "1", "SLURM_NTASKS": "8", "SLURM_NTASKS_PER_NODE": "4"} | address
    assert rank_variables(srun) == RankVariables(5, 1, 8, 4)
    assert rank_variables(srun | {"CUDA_VISIBLE_DEVICES": "0,1,2,3"}) == RankVariables(5, 1, 8, 4)
    alone = srun | {"CUDA_VISIBLE_DEVICES": "3"}  # srun --gpus-per-task=1 numbers what a task sees from 0
    assert rank_variables(alone) == RankVariables(5, 0, 8, 4)
    assert rank_variables(srun | torchrun) == RankVariables(3, 1, 4, 2)
    assert rank_variables({}) == RankVariables(0, 0, 1, 1)
    with pytest.raises(UserError, match="RANK is set but MASTER_ADDR, MASTER_PORT is not"):
        rank_variables({"RANK": "0", "LOCAL_RANK": "0", "WORLD_SIZE": "2"})
