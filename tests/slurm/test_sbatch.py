"""Proves on a real Slurm that slurm/*.sbatch do a run, and that a warned job saves, queues itself again and goes on."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.conftest import write_project
from tests.slurm.cluster import Cluster, ask

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    project = tmp_path_factory.mktemp("slurm project")  # with a space in its path
    write_project(project)
    return project


def submit(cluster: Cluster, project: Path, script: str, *arguments: str, options: tuple[str, ...] = ()) -> str:
    """The id of a job submitted from the checkout, as the README says."""
    options = (f"--output={project}/%x_%j.log", "--cpus-per-task=2", f"--chdir={ROOT}", *options)
    return cluster.submit(*options, str(ROOT / "slurm" / script), *arguments)


def wait_for_end(cluster: Cluster, job_id: str, project: Path) -> dict[str, str]:
    facts = cluster.wait_for_end(job_id)
    facts["log"] = (project / f"text2lm_{job_id}.log").read_text()
    return facts


def losses(run: Path) -> list[tuple[int, float, float]]:
    rows = [json.loads(line) for line in (run / "pretrain" / "metrics.jsonl").read_text().splitlines()]
    return [(row["step"], row["loss"], row["grad_norm"]) for row in rows]


def test_a_warned_job_saves_queues_itself_again_and_ends_as_an_unbroken_one(cluster: Cluster, project: Path) -> None:
    until = ("--until", "pretrain", "--set", "wandb.mode=disabled")
    config = str(project / "tiny.toml")
    whole = submit(cluster, project, "cpu.sbatch", config, "--run", str(project / "whole"), *until)
    facts = wait_for_end(cluster, whole, project)
    assert facts["JobState"] == "COMPLETED" and facts["Restarts"] == "0", facts["log"]

    broken = submit(cluster, project, "cpu.sbatch", config, "--run", str(project / "broken"), *until)
    metrics = project / "broken" / "pretrain" / "metrics.jsonl"
    cluster.wait_for(lambda: metrics.exists() and metrics.read_text().count("\n") >= 3, "the third step", 240)
    ask("scancel", "--batch", "--signal=TERM", broken)  # what --signal=B:TERM@300 sends before the time limit
    facts = wait_for_end(cluster, broken, project)
    assert facts["JobState"] == "COMPLETED" and facts["Restarts"] == "1", facts["log"]
    assert "paused at step" in facts["log"] and "pretrain: it was started and not finished" in facts["log"]
    assert losses(project / "broken") == losses(project / "whole")


def test_a_gpu_job_has_a_rank_for_every_gpu_and_an_impossible_one_fails_at_once(
    cluster: Cluster, project: Path
) -> None:
    """The GPUs are pretended: the ranks find none and train on the CPU, but there are as many as Slurm gave."""
    config = str(project / "tiny.toml")
    arguments = ("--run", str(project / "gpu"), "--until", "tokens")
    job = submit(cluster, project, "gpu.sbatch", config, *arguments, options=("--gpus-per-node=2",))
    facts = wait_for_end(cluster, job, project)
    assert facts["JobState"] == "COMPLETED", facts["log"]
    assert "ranks = 2" in (project / "gpu" / "config.toml").read_text()

    wrong = wait_for_end(cluster, submit(cluster, project, "cpu.sbatch", config, "--until", "the-end"), project)
    assert (wrong["JobState"], wrong["ExitCode"], wrong["Restarts"]) == ("FAILED", "2:0", "0")
    assert "text2lm: there is no stage 'the-end'" in wrong["log"]
