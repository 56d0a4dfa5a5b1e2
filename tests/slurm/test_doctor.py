"""Proves on a real Slurm that doctor looks at the compute nodes through the queue, and says what is wrong there."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from pipeline.config import load_config
from tests.conftest import TINY_CONFIG, start_text2lm, text2lm, write_project
from tests.slurm.cluster import GPUS, NODES, Cluster, ask

SLURM = '[slurm]\nranks_per_node = 1\ncpus_per_rank = 1\npoll_seconds = 1\nenvironment = {OMP_NUM_THREADS = "1"}\n'


@pytest.fixture
def project(tmp_path: Path) -> Path:
    project = tmp_path / "a project"
    write_project(project)
    (project / "tiny.toml").write_text(TINY_CONFIG + SLURM)
    return project


def test_a_sound_site_is_looked_at_from_every_node_and_nothing_is_left(cluster: Cluster, project: Path) -> None:
    said = text2lm(project, "doctor", "tiny.toml", "--on", "slurm", "--run", "runs/one").stdout
    assert f"partition main (default): 2 nodes with 32 CPUs, 62 GiB, {GPUS} GPUs; 2 idle" in said
    assert "arrays of at most 1,001 elements" in said and "(sacctmgr gives no answer)" in said
    assert f"on {', '.join(NODES)}: python " in said and ", as here" in said
    assert "a file went there and an answer back" in said
    assert "over 2 ranks on 2 nodes (gloo)" in said and "missing:" not in said
    assert sorted(path.name for path in project.iterdir()) == ["corpus", "tiny.toml"]  # no run was begun
    table = said[said.index("[slurm]") :]
    assert tomllib.loads(table)["slurm"]["partition"] == "main"
    (project / "next.toml").write_text(TINY_CONFIG + table)
    assert load_config(project / "next.toml").slurm.gpus_per_node == GPUS


def test_what_is_wrong_on_the_nodes_is_named(cluster: Cluster, project: Path) -> None:
    """GPUs that torch cannot see (here they are pretended), a broken package, no interpreter at all."""
    (project / "broken").mkdir()
    (project / "broken" / "tokenizers.py").write_text("raise ImportError('libssl.so.3: cannot open')")
    broken = f'slurm.environment={{PYTHONPATH = "{project}/broken"}}'
    wrong = ("--set", "slurm.gpus_per_node=1", "--set", broken)
    done = text2lm(project, "doctor", "tiny.toml", "--on", "slurm", *wrong, code=2)
    assert f"missing: on {', '.join(NODES)}: torch sees no GPU" in done.stdout
    assert "tokenizers cannot be loaded (ImportError: libssl.so.3: cannot open)" in done.stdout

    nothing = ("--set", "slurm.python=/no/such/python", "--set", "launch.ranks=1")
    done = text2lm(project, "doctor", "tiny.toml", "--on", "slurm", *nothing, code=2)
    assert "/no/such/python" in done.stdout.partition("missing: job ")[2]
    assert any(f"what its job said is in {log}" in done.stdout for log in project.glob("text2lm-doctor-*/*.log"))


def test_what_does_not_fit_is_said_and_nothing_is_queued(cluster: Cluster, project: Path) -> None:
    wrong = ("--set", "slurm.elements=2000", "--set", "slurm.partition=nowhere")
    done = text2lm(project, "doctor", "tiny.toml", "--on", "slurm", *wrong, code=2)
    assert "missing: slurm.elements = 2000: the site's arrays have at most 1001 elements" in done.stdout
    assert "missing: partition 'nowhere' is unknown, there are main, grace, high" in done.stdout
    assert ask("squeue", "--noheader", "--name=text2lm-doctor") == ""


def test_a_job_that_does_not_start_is_cancelled_and_so_is_one_that_nobody_waits_for(
    cluster: Cluster, project: Path
) -> None:
    blocker = cluster.submit("--exclusive", "--nodes=2", "--output=/dev/null", "--wrap", "sleep 300")
    cluster.wait_for_state(blocker, "RUNNING")
    doctor = ("doctor", "tiny.toml", "--on", "slurm", "--wait")
    done = text2lm(project, *doctor, "0.05", code=2)
    assert "did not start within 0.05 minutes: it waits" in done.stdout
    assert ask("squeue", "--noheader", "--name=text2lm-doctor") == ""

    waiting = start_text2lm(project, *doctor, "30")
    try:
        cluster.wait_for(lambda: ask("squeue", "--noheader", "--name=text2lm-doctor"), "the job in the queue")
        waiting.send_signal(signal.SIGINT)
        out, _ = waiting.communicate(timeout=60)
    finally:
        waiting.kill()
    assert waiting.returncode == 3 and "Traceback" not in out
    cluster.wait_for(lambda: not ask("squeue", "--noheader", "--name=text2lm-doctor"), "the end of the job")
    assert not list(project.glob("text2lm-doctor-*"))


def test_a_machine_without_slurm_is_told_so(project: Path) -> None:
    path = Path(sys.executable).parent
    done = subprocess.run(
        [sys.executable, "-m", "pipeline", "doctor", "--on", "slurm"],
        cwd=project,
        env={**os.environ, "PATH": str(path)},
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 2 and "missing: sinfo is not on this machine" in done.stdout
