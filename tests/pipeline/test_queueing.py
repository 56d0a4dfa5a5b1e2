"""Proves what `run --on slurm`, `status`, `cancel` and `logs` do without a cluster: where there is no Slurm at all, and
where it refuses. What they do on a real one is in tests/slurm.
"""

from __future__ import annotations

import json
import os
import time
from collections import Counter
from pathlib import Path

import pytest

from launch.slurm import QueuedJob
from pipeline.config import load_config, save_config
from pipeline.run_dir import RunDir
from pipeline.watching import log_files, standing
from tests.conftest import text2lm

ON_SLURM = ("run", "tiny.toml", "--run", "run", "--on", "slurm")


@pytest.fixture
def programs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The only directory on PATH: no command of Slurm is there, unless a test puts one."""
    directory = tmp_path / "programs"
    directory.mkdir()
    monkeypatch.setenv("PATH", str(directory))
    return directory


def program(directory: Path, name: str, text: str) -> None:
    (directory / name).write_text(f"#!/bin/bash\nPATH=/usr/bin:/bin\n{text}\n")
    (directory / name).chmod(0o755)


def test_where_there_is_no_slurm_one_line_says_so(project: Path, programs: Path) -> None:
    for words in (("--detach",), (), ("--detach",)):  # the first leaves a submission without a job
        done = text2lm(project, *ON_SLURM, *words, code=2)
        assert "is not on this machine" in done.stderr and done.stderr.count("\n") == 1
    assert "is not on this machine" in text2lm(project, "cancel", "--run", "run", code=2).stderr
    assert "how its jobs stand is not to be seen from here" in text2lm(project, "status", "--run", "run").stdout
    text2lm(project, "run", "tiny.toml", "--run", "run", "--until", "ingest")  # it is free for a local run


def test_what_was_queued_before_a_refusal_is_cancelled(project: Path, programs: Path) -> None:
    """All or none: the fourth job is one too many for the site."""
    said = "sbatch: error: Batch job submission failed: Job violates accounting/QOS policy (job submit limit, ...)"
    count = f'n=$(ls {programs}/job-* 2>/dev/null | wc -l); [ $n -lt 3 ] || {{ echo "{said}" >&2; exit 1; }}'
    program(programs, "sbatch", f'{count}; printf "%s\\n" "$@" > {programs}/job-$((n + 1)); echo $((n + 1))')
    program(programs, "scancel", f'echo "$@" >> {programs}/cancelled')
    done = text2lm(project, *ON_SLURM, "--detach", code=2)
    assert "Slurm refused a job (ingest-write): Batch job submission failed: Job violates" in done.stderr
    assert "lower slurm.elements (each element counts), or wait for other jobs" in done.stderr
    assert sorted((programs / "cancelled").read_text().split()) == ["1", "2", "3"]
    jobs = [(programs / f"job-{number}").read_text().splitlines() for number in (1, 2, 3)]
    assert "--hold" in jobs[0] and "--hold" not in jobs[1] + jobs[2]
    assert "--dependency=afterok:1" in jobs[1] and "--dependency=afterok:1,afterany:2" in jobs[2]
    submission = json.loads((project / "run" / "slurm" / "submission.json").read_text())
    assert submission["complete"] is False and [job["id"] for job in submission["jobs"]] == ["1", "2", "3"]
    assert all(f"--comment=text2lm:{submission['token']}" in words for words in jobs)


def test_what_cannot_be_queued_is_said_before_anything_is(project: Path, programs: Path) -> None:
    program(programs, "sbatch", f"touch {programs}/asked")
    for words, said in (
        (("--set", "launch.ranks=4", "--set", "slurm.ranks_per_node=3"), "launch.ranks = 4 cannot be shared by nodes"),
        (("--set", "slurm.time=soon"), "slurm.time must be minutes, H:M:S or D-H:M:S, got 'soon'"),
        (("--run", "back\\slash"), "sbatch takes no such path"),
        (("--verify",), "--verify reads every file of the run"),
        (("--until", "nowhere"), "there is no stage 'nowhere'"),
    ):
        done = text2lm(project, *ON_SLURM, *words, code=2)
        assert said in done.stderr and done.stderr.count("\n") == 1
    assert "add --on slurm" in text2lm(project, "run", "tiny.toml", "--detach", code=2).stderr
    assert not (programs / "asked").exists()


@pytest.mark.parametrize(
    ("queued", "words"),
    [
        (QueuedJob("7", Counter(RUNNING=1), [], ["n1"]), "running on n1"),
        (QueuedJob("7", Counter(PENDING=1), ["Dependency"]), "waiting (waits for the job before it)"),
        (
            QueuedJob("7", Counter(PENDING=8, COMPLETED=1, FAILED=1), ["Resources"]),
            "8 waiting (waits for free nodes), 1 done, 1 failed",
        ),
        (QueuedJob("7", Counter(COMPLETED=1), [], [], 2), "done; queued again 2 times"),
        (QueuedJob("7", Counter(OUT_OF_MEMORY=1)), "out of memory"),
        (QueuedJob("7", Counter(RUNNING=2), [], ["n2", "n1"]), "2 running on n1,n2"),
        (QueuedJob("7", Counter(SUSPENDED=1)), "suspended"),
    ],
)
def test_how_a_job_stands_is_said_in_words(queued: QueuedJob, words: str) -> None:
    assert standing(queued) == words


def test_the_logs_of_a_stage_are_found_the_newest_last(project: Path) -> None:
    run = RunDir(project / "run")
    (run.logs / "slurm").mkdir(parents=True)
    save_config(load_config(project / "tiny.toml"), run.config)
    names = ("clean-clean-0.log", "slurm/run.clean-clean_12_3.log", "slurm/run.clean-clean-gather_13.log")
    others = ("tokens-encode-0.log", "slurm/run.tokens-encode_14_0.log", "slurm/cleaner.tokens-encode_15_0.log")
    for age, name in enumerate(reversed([*names, *others])):
        (run.logs / name).write_text(f"words of {name}\n")
        os.utime(run.logs / name, (time.time() - age, time.time() - age))
    found = [str(path.relative_to(run.logs)) for path in log_files(run, "clean")]
    assert found == list(names)
    shown = text2lm(project, "logs", "clean", "--run", "run").stdout
    assert shown.splitlines()[-1] == f"words of {names[-1]}"
    assert "no log of dedup" in text2lm(project, "logs", "dedup", "--run", "run", code=2).stderr
