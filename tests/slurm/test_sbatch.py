"""Proves that slurm/*.sbatch do what their first lines say when a person submits them."""

from __future__ import annotations

import shutil
from pathlib import Path

from tests.conftest import contents, text2lm
from tests.slurm.cluster import Cluster, ask
from tests.slurm.queued import Queued, go_on, numbers, weights

ROOT = Path(__file__).parents[2]
ONE_THREAD = ("--env", "OMP_NUM_THREADS=1")  # for the script; what stands behind goes to text2lm


def sbatch(run: Queued, script: str, *arguments: str, options: tuple[str, ...] = ()) -> str:
    """The id of a job submitted from the checkout, as the README says."""
    options = (f"--output={run.project}/%x_%A_%a.log", "--cpus-per-task=2", f"--chdir={ROOT}", *options)
    return run.cluster.submit(*options, str(ROOT / "slurm" / script), *ONE_THREAD, *arguments)


def log(run: Queued, job: str) -> str:
    return "\n".join(path.read_text() for path in run.project.glob(f"*_{job}_*.log"))


def ends_well(run: Queued, job: str) -> None:
    assert run.cluster.wait_for_end(job)["JobState"] == "COMPLETED", log(run, job)


def test_a_stage_as_an_array_and_its_gather(cluster: Cluster, project: Path) -> None:
    run = Queued(cluster, project, "by hand")
    for stage in ("clean", "dedup", "scrub", "split", "tokenizer", "tokens"):
        shutil.rmtree(run.root / stage)
    stage = ("stage", "clean", "--run", str(run.root))
    array = sbatch(run, "cpu.sbatch", *stage, options=("--array=0-1",))
    gather = sbatch(run, "cpu.sbatch", *stage, "--gather", options=(f"--dependency=afterok:{array}",))
    ends_well(run, gather)
    assert contents(run.root, "clean") == contents(project / "data", "clean")
    assert "dedup/sign: 1 of 1 tasks to do" in log(run, gather)


def test_a_training_has_a_rank_for_every_gpu(cluster: Cluster, project: Path) -> None:
    """The GPUs are pretended: the ranks find none and train on the CPU."""
    run = Queued(cluster, project, "by hand on GPUs")
    text2lm(project, "stage", "tokens/encode", "--gather", "--run", run.root.name)
    job = sbatch(run, "gpu.sbatch", str(run.root), options=("--gres=gpu:2", "--ntasks-per-node=2"))
    ends_well(run, job)
    assert cluster.job(job)["TresPerNode"] == "gres:gpu:2" and f"job {job} on node1, 2 ranks" in log(run, job)
    text2lm(project, "stage", "pretrain/train", "--gather", "--until", "pretrain", "--run", run.root.name)
    assert numbers(run.root) == numbers(project / "local")
    assert weights(run.root) == weights(project / "local") != {}


def test_a_whole_run_in_one_job_goes_on_after_a_warning(cluster: Cluster, project: Path) -> None:
    run = Queued(cluster, project, "by hand in one job")
    command = ("run", str(project / "tiny.toml"), "--run", str(run.root), "--until", "pretrain")
    job = sbatch(run, "cpu.sbatch", *command)
    stopped = run.stop_ranks()
    ask("scancel", "--batch", "--signal=USR1", job)
    go_on(stopped, told=True)
    ends_well(run, job)
    assert cluster.job(job)["Restarts"] == "1" and "pretrain: paused at step" in log(run, job)
    assert numbers(run.root) == numbers(project / "local")
    assert weights(run.root) == weights(project / "local") != {}


def test_an_impossible_job_fails_at_once_and_says_why(cluster: Cluster, project: Path) -> None:
    run = Queued(cluster, project, "impossible", data=False)
    job = sbatch(run, "cpu.sbatch", "run", str(project / "tiny.toml"), "--until", "the-end")
    facts = cluster.wait_for_end(job)
    assert (facts["JobState"], facts["ExitCode"], facts["Restarts"]) == ("FAILED", "2:0", "0")
    assert "text2lm: there is no stage 'the-end'" in log(run, job)
