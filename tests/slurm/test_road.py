"""Proves that the queue brings out what one machine does, to the byte, and that a run that is done is left alone."""

from __future__ import annotations

from pathlib import Path

from tests.conftest import contents, text2lm
from tests.slurm.cluster import Cluster
from tests.slurm.queued import Queued, numbers, weights

STAGES = ("ingest", "clean", "dedup", "scrub", "split", "tokenizer", "tokens", "evaluate", "export")


def test_the_whole_road_on_two_nodes_makes_what_one_machine_makes(cluster: Cluster, project: Path) -> None:
    run = Queued(cluster, project, "whole road", data=False)
    done = run.run(until="report")
    assert "jobs are in the queue, from ingest to report" in done.stdout
    assert run.attempts("start")[0]["nodes"] == ["node1", "node2"]
    made, wanted = contents(run.root, *STAGES), contents(project / "local", *STAGES)
    assert made.keys() == wanted.keys() != set()
    assert [path for path in made if made[path] != wanted[path]] == []
    assert numbers(run.root) == numbers(project / "local")
    assert weights(run.root) == weights(project / "local") != {}
    assert (run.root / "report.html").exists()

    jobs = run.jobs()
    again = run.run(until="report")
    assert "nothing to do: all 11 stages are fresh" in again.stdout and run.jobs() == jobs
    local = text2lm(project, "run", "tiny.toml", "--run", run.root.name)
    assert "nothing to do" in local.stdout

    status = text2lm(project, "status", "--run", run.root.name).stdout
    for name, job in jobs.items():
        (line,) = [line for line in status.splitlines() if line.startswith(f"{name} ") and f" job {job} " in line]
        assert line.endswith("done")
    assert "end at step 100, done: trained to the end" in status
    logs = text2lm(project, "logs", "pretrain", "--run", run.root.name).stdout
    for name in (f"whole-road.pretrain-train_{jobs['pretrain-train']}.log", "pretrain-0.log", "pretrain-1.log"):
        assert name in logs
