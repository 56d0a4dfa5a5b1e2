"""Proves, on a real file system that is full for a while, that a training goes on and loses nothing by it."""

from __future__ import annotations

import re
from pathlib import Path

import tiny_run
from engine_runs import same_values
from worker_runs import Workers, numbers, outcome, rows_of, step_dir

from data_prep.files import read_json_lines
from pretrain.checkpoint import CheckpointStore
from tests.conftest import small_disk

STEPS, EVERY = 64, 8


def fill(path: Path) -> None:
    """Make a file of all that is left."""
    with path.open("wb", buffering=0) as file:
        try:
            while True:
                file.write(bytes(4096))
        except OSError:
            return


def test_a_disk_that_is_full_for_a_while_costs_the_checkpoints_of_that_time_and_nothing_else(tmp_path: Path) -> None:
    whole, run = tmp_path / "whole", tmp_path / "run"
    job = tiny_run.job(tokens=STEPS * 1024, every_steps=EVERY, micro_batch_size=2, model={"dropout": 0.1})
    (run / "pretrain").mkdir(parents=True)
    with small_disk(run / "pretrain", "8m"):
        for directory in (whole, run):
            tiny_run.make_run(directory, job)
        store, ballast = CheckpointStore(run / "pretrain/checkpoints", job), run / "pretrain/ballast"
        with Workers(run, job) as workers:
            workers.until(lambda: "saved step-00000008" in workers.log())
            fill(ballast)
            workers.until(lambda: workers.log().count("checkpoint not saved") == 3)
            said, rows = re.findall("checkpoint not saved: step-(.*)\n", workers.log()), rows_of(run)
            there, newest = sorted(path.name for path in store.directory.glob("step-*")), store.newest_good(print)
            ballast.unlink()
            assert workers.wait() == [0, 0], workers.logs_in_short()
        assert newest is not None and there[-1] == newest.path.name
        failed = newest.step + 2 * EVERY + EVERY  # the third
        assert said[-1] == f"{failed:08d}: No space left on device (ranks 0, 1); {newest.path.name} is intact"
        assert len(rows) < failed <= STEPS - 2 * EVERY  # rows had no room either
        saved = [int(step) for step in re.findall("saved step-([0-9]+)\n", workers.log())]
        assert [step for step in saved if newest.step < step < STEPS] == list(range(failed + EVERY, STEPS, EVERY))

        with Workers(whole, job) as unbroken:
            assert unbroken.wait() == [0, 0], unbroken.logs_in_short()
        assert outcome(run) == outcome(whole) == {"outcome": "done", "step": STEPS, "tokens": STEPS * 1024}
        assert numbers(rows_of(run)) == numbers(rows_of(whole))
        texts = [read_json_lines(directory / "pretrain/samples.jsonl") for directory in (run, whole)]
        assert texts[0] == texts[1] and len(texts[0]) == STEPS // 10 + 1
        assert same_values(step_dir(run, STEPS), step_dir(whole, STEPS))
