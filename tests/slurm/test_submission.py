"""Proves that a run is in the queue once, whoever types it however often, and that half a chain never starts."""

from __future__ import annotations

import signal
from pathlib import Path

import pytest

from data_prep.files import read_json
from tests.conftest import text2lm
from tests.slurm.cluster import Cluster, ask
from tests.slurm.queued import Queued, until

LATER = 'slurm.options=["--begin=now+1hour"]'  # nothing here is to run
CHAIN = 23  # jobs from the raw text to the trained model


@pytest.fixture
def run(cluster: Cluster, project: Path, request: pytest.FixtureRequest) -> Queued:
    return Queued(cluster, project, request.node.name, LATER, data=False)


def waiting() -> set[str]:
    """Ids of the jobs in the queue."""
    return {line.partition("_")[0] for line in ask("squeue", "--noheader", "--format=%i").split()}


def test_two_at_the_same_instant_and_one_later_queue_one_chain(run: Queued) -> None:
    both = [run.start("--detach") for _ in range(2)]
    said = [command.communicate()[0] for command in both]
    codes = sorted(command.returncode for command in both)
    assert codes in ([0, 0], [0, 2]), said  # one is told that the other holds the run, or finds its jobs
    assert sum(f"{CHAIN} jobs are in the queue, from ingest to pretrain" in words for words in said) == 1
    assert waiting() == set(run.jobs().values()) and len(run.jobs()) == CHAIN
    later = run.run("--detach")
    assert f"{CHAIN} jobs of this run are in the queue already; nothing was submitted" in later.stdout
    assert waiting() == set(run.jobs().values())


def test_what_a_killed_submission_left_is_taken_away(run: Queued) -> None:
    with run.start("--detach") as command:
        until(lambda: len(run.jobs()) >= 3, "some jobs of the chain")
        command.send_signal(signal.SIGKILL)
    half = waiting()
    assert 3 <= len(half) < CHAIN and not read_json(run.root / "slurm" / "submission.json")["complete"]
    assert run.cluster.job(min(half, key=int))["Reason"] == "JobHeldUser"
    assert "the submission was cut short" in text2lm(run.project, "status", "--run", run.root.name).stdout
    run.submit()
    assert waiting() == set(run.jobs().values()) and len(run.jobs()) == CHAIN and not half & waiting()


def test_queued_jobs_are_shown_kept_from_others_and_cancelled(run: Queued) -> None:
    run.submit()
    until(lambda: run.job("ingest-begin")["Reason"] == "BeginTime", "a first job that is not held any more")
    status = text2lm(run.project, "status", "--run", run.root.name).stdout
    for name, job in run.jobs().items():
        assert f"{name:<22} job {job}" in status
    assert "waits for its begin time" in status and "waits for the job before it" in status

    other = run.run("--set", "tokenizer.vocab_size=600", code=2)
    assert "in the queue with other settings (tokenizer.vocab_size changed from 512 to 600)" in other.stderr
    local = text2lm(run.project, "run", "tiny.toml", "--run", run.root.name, code=2)
    assert "are in the queue; wait for them with --on slurm, or cancel them" in local.stderr

    assert f"{CHAIN} jobs cancelled" in text2lm(run.project, "cancel", "--run", run.root.name).stdout
    assert not waiting()
    assert text2lm(run.project, "cancel", "--run", run.root.name).stdout == "no job is left\n"


def test_a_refusal_leaves_nothing_in_the_queue(run: Queued) -> None:
    refused = run.run("--set", "slurm.train.partition=nowhere", code=2)
    assert "Slurm refused a job (pretrain-train): " in refused.stderr and "set slurm.partition" in refused.stderr
    assert not waiting()
