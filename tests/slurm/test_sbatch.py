"""Proves on a real Slurm that slurm/*.sbatch do a run, and that a warned job saves, queues itself again and goes on."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.conftest import write_project
from tests.slurm.cluster import ask, cluster, job_facts, missing, wait_for

ROOT = Path(__file__).parents[2]
LACKS = missing()
pytestmark = pytest.mark.skipif(
    bool(LACKS) and "CI" not in os.environ, reason=f"no Slurm here: {', '.join(LACKS)} missing (see .ci/run)"
)


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A project beside a running cluster. CI fails here, and does not skip, where Slurm is missing."""
    assert not LACKS, f"CI must have Slurm, but {', '.join(LACKS)} missing"
    project = tmp_path_factory.mktemp("slurm project")  # with a space in its path
    write_project(project)
    with cluster():
        yield project


def submit(project: Path, script: str, *arguments: str, options: tuple[str, ...] = ()) -> str:
    """The id of a job submitted from the checkout, as the README says."""
    command = ["sbatch", "--parsable", f"--output={project}/%x_%j.log", "--cpus-per-task=2", *options]
    done = subprocess.run([*command, f"slurm/{script}", *arguments], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def wait_for_end(job_id: str, project: Path) -> dict[str, str]:
    wait_for(lambda: job_facts(job_id)["JobState"] in ("COMPLETED", "FAILED", "TIMEOUT", "NODE_FAIL"), "the end", 240)
    facts = job_facts(job_id)
    facts["log"] = (project / f"text2lm_{job_id}.log").read_text()
    return facts


def losses(run: Path) -> list[tuple[int, float, float]]:
    rows = [json.loads(line) for line in (run / "pretrain" / "metrics.jsonl").read_text().splitlines()]
    return [(row["step"], row["loss"], row["grad_norm"]) for row in rows]


def test_a_warned_job_saves_queues_itself_again_and_ends_as_an_unbroken_one(project: Path) -> None:
    until = ("--until", "pretrain", "--set", "wandb.mode=disabled")
    config = str(project / "tiny.toml")
    whole = submit(project, "cpu.sbatch", config, "--run", str(project / "whole"), *until)
    facts = wait_for_end(whole, project)
    assert facts["JobState"] == "COMPLETED" and facts["Restarts"] == "0", facts["log"]

    broken = submit(project, "cpu.sbatch", config, "--run", str(project / "broken"), *until)
    metrics = project / "broken" / "pretrain" / "metrics.jsonl"
    wait_for(lambda: metrics.exists() and metrics.read_text().count("\n") >= 3, "the third step", 240)
    ask("scancel", "--batch", "--signal=TERM", broken)  # what --signal=B:TERM@300 sends before the time limit
    facts = wait_for_end(broken, project)
    assert facts["JobState"] == "COMPLETED" and facts["Restarts"] == "1", facts["log"]
    assert "paused at step" in facts["log"] and "pretrain: it was started and not finished" in facts["log"]
    assert losses(project / "broken") == losses(project / "whole")


def test_a_gpu_job_has_a_rank_for_every_gpu_and_an_impossible_one_fails_at_once(project: Path) -> None:
    """The GPUs are pretended: the ranks find none and train on the CPU, but there are as many as Slurm gave."""
    config = str(project / "tiny.toml")
    arguments = ("--run", str(project / "gpu"), "--until", "tokens")
    job = submit(project, "gpu.sbatch", config, *arguments, options=("--gpus-per-node=2",))
    facts = wait_for_end(job, project)
    assert facts["JobState"] == "COMPLETED", facts["log"]
    assert "ranks = 2" in (project / "gpu" / "config.toml").read_text()

    wrong = wait_for_end(submit(project, "cpu.sbatch", config, "--until", "the-end"), project)
    assert (wrong["JobState"], wrong["ExitCode"], wrong["Restarts"]) == ("FAILED", "2:0", "0")
    assert "text2lm: there is no stage 'the-end'" in wrong["log"]
