"""Proves that a training survives what ends its job early, and that what must not be tried again is not.

These wait for Slurm's clocks more than for the machine, so they run side by side, each in a thread: a test is the end
of one.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import text2lm
from tests.slurm.cluster import Cluster, ask
from tests.slurm.queued import SAVED_EVERY, Queued, go_on, numbers, stop, until, weights

Scenario = Callable[[Cluster, Path], Any]
Begun = dict[Scenario, "Future[Any]"]


def comes_to_its_time_limit(cluster: Cluster, project: Path) -> Queued:
    run = Queued(cluster, project, "time limit", 'slurm.train.time="1"', "slurm.warning_seconds=5")
    run.submit()
    go_on(run.stop_ranks(), told=True)
    run.wait_for_restart()
    ask("scontrol", "update", f"JobId={run.jobs()['pretrain-train']}", "TimeLimit=30")  # one real minute is enough
    run.wait_for_end()
    return run


def has_no_time_for_a_step(cluster: Cluster, project: Path) -> tuple[Queued, str]:
    run = Queued(cluster, project, "too short")
    with run.start() as command:
        pretrain = run.root / "pretrain"
        until(lambda: len([*pretrain.glob("stacks-rank-*")]) == 2 and len(run.ranks()) == 2, "two ranks that start")
        stopped = stop(run.ranks())
        assert not numbers(run.root), "a step was faster than this test"
        run.warn()
        go_on(stopped, told=True)
        said = command.communicate()[0]
        assert command.returncode == 1, said
    return run, said


def may_restart_once(cluster: Cluster, project: Path) -> tuple[Queued, str]:
    run = Queued(cluster, project, "one restart", "slurm.max_restarts=1")
    with run.start() as command:
        for step in (SAVED_EVERY, 2 * SAVED_EVERY):
            stopped = run.stop_ranks(step)
            run.warn()
            go_on(stopped, told=True)
            until(lambda step=step: len(run.attempts()) == step // SAVED_EVERY, "the end of an attempt")
        said = command.communicate()[0]
        assert command.returncode == 1, said
    return run, said


def hangs(cluster: Cluster, project: Path) -> Queued:
    """Both ranks on one node, so that there is another."""
    run = Queued(cluster, project, "hang", "train.hang_minutes=1", "slurm.ranks_per_node=2")
    run.submit()
    run.stop_ranks(SAVED_EVERY, 1)
    run.wait_for_end()
    return run


def fails(cluster: Cluster, project: Path) -> tuple[Queued, str]:
    """Rank 1 finds a directory where it wants a file; rank 0 waits for it."""
    run = Queued(cluster, project, "crash")
    (run.root / "pretrain" / "stacks-rank-00001.txt").mkdir(parents=True)
    return run, run.run(code=1).stderr


def is_cancelled(cluster: Cluster, project: Path) -> list[tuple[Queued, str]]:
    """By Slurm's command, by ours, and not again."""
    run, said = Queued(cluster, project, "cancelled"), []
    for attempt, cancel in enumerate((["scancel"], None)):
        with run.start() as command:
            stopped = run.stop_ranks(SAVED_EVERY * (attempt + 1))
            if cancel:
                ask(*cancel, run.jobs()["pretrain-train"])
            else:
                said.append(text2lm(project, "cancel", "--run", run.root.name).stdout)
            go_on(stopped, told=True)
            said.append(command.communicate()[0])
            assert command.returncode == 1, said
    return run, said


SCENARIOS: tuple[Scenario, ...] = (comes_to_its_time_limit, hangs, has_no_time_for_a_step, fails, may_restart_once)
SCENARIOS += (is_cancelled,)


@pytest.fixture(scope="module")
def begun(started_cluster: Cluster, project: Path) -> Iterator[Begun]:
    pool = ThreadPoolExecutor(len(SCENARIOS))
    yield {scenario: pool.submit(scenario, started_cluster, project) for scenario in SCENARIOS}
    started_cluster.clear()
    pool.shutdown()


def test_a_training_that_meets_its_time_limit_saves_and_goes_on(begun: Begun, project: Path) -> None:
    run = begun[comes_to_its_time_limit].result()
    run.assert_ended_as(project / "local")
    assert run.job()["Restarts"] == "1"
    assert [(row["outcome"], row["reason"]) for row in run.attempts()] == [
        ("paused", "the time limit"),
        ("done", "trained to the end"),
    ]
    assert [row["progress"] for row in run.attempts("start")] == [0, run.attempts()[0]["progress"]]


def test_an_attempt_without_progress_is_the_last(begun: Begun) -> None:
    run, said = begun[has_no_time_for_a_step].result()
    why = "no step was finished within the time limit, since step 0; ask for more: slurm.time"
    assert [(row["outcome"], row["reason"]) for row in run.attempts()] == [("failed", why)]
    assert why in said and run.job()["Restarts"] == "0"


def test_a_job_queues_itself_again_as_often_as_it_may(begun: Begun) -> None:
    run, said = begun[may_restart_once].result()
    assert "queued again 1 times, and no more (slurm.max_restarts)" in said
    assert run.job()["Restarts"] == "1" and run.job("pretrain-train-gather")["JobState"] == "CANCELLED"


def test_a_rank_that_hangs_is_found_and_its_node_left_out(begun: Begun, project: Path) -> None:
    run = begun[hangs].result()
    run.assert_ended_as(project / "local")
    first, second = run.attempts("start")
    assert first["nodes"] != second["nodes"] and run.job()["ExcNodeList"] == first["nodes"][0]
    assert run.attempts()[0]["reason"] == f"rank 1 hung on {first['nodes'][0]}"
    log = run.log()  # with the stacks of who found it
    assert re.search(r"is not done after \d+ s, the process ends", log) and "pretrain/worker.py" in log


def test_a_rank_that_fails_ends_the_job_and_says_why(begun: Begun) -> None:
    run, said = begun[fails].result()
    (row,) = run.attempts()
    assert row["outcome"] == "failed" and row["reason"].startswith("rank 1 failed: IsADirectoryError: ")
    assert row["reason"] in said and "pretrain-train (job " in said
    assert "Traceback (most recent call last)" in run.log()
    assert (run.job()["JobState"], run.job()["ExitCode"], run.job()["Restarts"]) == ("FAILED", "1:0", "0")
    assert run.job("pretrain-train-gather")["JobState"] == "CANCELLED"


def test_a_cancelled_training_stays_cancelled_until_it_is_asked_for(begun: Begun, project: Path) -> None:
    run, (by_slurm, cancelled, by_us) = begun[is_cancelled].result()
    assert "pretrain-train" in by_slurm and "cancelled" in by_slurm and "cancelled" in by_us
    assert cancelled == "2 jobs cancelled; what was finished is kept, the same text2lm run goes on\n"
    assert [row["restart"] for row in run.attempts("start")] == [0, 0]
    assert run.job("pretrain-train-gather")["JobState"] == "CANCELLED"
    done = run.run()
    assert "jobs are in the queue, from pretrain to pretrain" in done.stdout
    assert numbers(run.root) == numbers(project / "local") and weights(run.root) == weights(project / "local")
    assert run.attempts("start")[-1]["progress"] >= 2 * SAVED_EVERY
