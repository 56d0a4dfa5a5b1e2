"""Proves that preemption, power cuts and a dead controller cost a training its time and nothing else."""

from __future__ import annotations

from pathlib import Path

from tests.conftest import contents
from tests.slurm.cluster import Cluster
from tests.slurm.queued import SAVED_EVERY, STEPS, Queued, go_on, numbers, processes, stop, until


def test_preempted_trainings_come_back_and_nothing_starts_between(cluster: Cluster, project: Path) -> None:
    """`main` gives way at once, `grace` is warned, and its ranks then end by themselves as those of a job that is
    done do."""
    at_once = Queued(cluster, project, "preempted at once", "slurm.train.partition=main")
    warned = Queued(cluster, project, "preempted with grace", "slurm.train.partition=grace")
    for run in (at_once, warned):
        run.submit()
    stopped = {run.root: run.stop_ranks() for run in (at_once, warned)}
    cluster.submit("--output=/dev/null", "--partition=high", "--exclusive", "--wrap=true")
    for run in (at_once, warned):
        go_on(stopped[run.root], told=True)
    for run in (at_once, warned):
        run.wait_for_restart()
        assert run.job("pretrain-train-gather")["JobState"] == "PENDING"
    for run in (at_once, warned):
        run.assert_ended_as(project / "local")
        assert run.attempts("start")[1]["progress"] >= SAVED_EVERY
    assert at_once.attempts()[0]["reason"].startswith("preempted")
    assert warned.attempts()[0]["reason"] == "preempted with a time of grace, or told to stop"


def test_a_power_cut_moves_a_training_and_an_array_to_another_node(cluster: Cluster, project: Path) -> None:
    training = Queued(cluster, project, "power cut in training", "slurm.ranks_per_node=2")
    training.submit()
    training.stop_ranks()
    array = Queued(cluster, project, "power cut in array")
    array.submit("--from", "ingest", until="ingest")
    claims = array.root / "ingest" / "claims"
    until(lambda: claims.exists() and any(claims.iterdir()), "a task at work")
    workers = stop(dict(enumerate(pid for pid, _ in processes("ingest/read", str(array.root.resolve())))))
    done = {path.stem for path in (array.root / "ingest" / "receipts").glob("read-*.json")}
    at_work = {path.name: path.read_text().split()[0] for path in claims.iterdir() if path.name not in done}
    element = next(iter(at_work.values()))  # a claim is signed with an element's name

    node = training.job()["NodeList"]
    assert cluster.job(element)["NodeList"] == node
    cluster.power_cut(node)
    go_on(workers)  # those on the other node
    until(lambda: cluster.job(element)["Restarts"] == "1", f"{element} queued again")
    training.assert_ended_as(project / "local")
    assert array.wait_for_end("ingest-write-gather")["JobState"] == "COMPLETED"
    first, second = training.attempts("start")
    assert second["progress"] == SAVED_EVERY and first["nodes"] == [node] != second["nodes"]
    assert cluster.job(element)["NodeList"] == second["nodes"][0]
    assert contents(array.root, "ingest") == contents(project / "data", "ingest")


def test_a_controller_that_dies_loses_nothing(cluster: Cluster, project: Path) -> None:
    """The training comes to its end meanwhile, and the command that watches it asks again."""
    run = Queued(cluster, project, "controller")
    with run.start() as command:
        stopped = run.stop_ranks()
        cluster.save_state()
        cluster.kill_controller()
        go_on(stopped)
        until(lambda: len(numbers(run.root)) == STEPS, "the last step")
        cluster.start_controller()
        said = command.communicate()[0]
    assert command.returncode == 0, said
    run.assert_ended_as(project / "local")
    assert len(run.attempts("start")) == 1
