"""Proves that a task that fails is tried again, named, and done alone once it can be; nothing behind it runs before."""

from __future__ import annotations

from pathlib import Path

from tests.conftest import contents
from tests.slurm.cluster import Cluster
from tests.slurm.queued import Queued, until


def test_a_failing_shard_is_tried_again_and_named_and_done_alone_later(cluster: Cluster, project: Path) -> None:
    """A directory stands where one of two tasks wants to write its file."""
    run = Queued(cluster, project, "failing shard", data=False)
    in_the_way = run.root / "ingest" / "work" / "read" / "part-00000.parquet" / "stray"
    with run.start(until="clean") as command:
        until((run.root / "ingest" / "plan.json").exists, "the plan")  # what was there before it is cleared away
        in_the_way.mkdir(parents=True)
        said = command.communicate()[0]
        assert command.returncode == 1, said
    assert "ingest/read: 1 of 2 tasks are missing: task 0, guide-0.jsonl.gz and 1 more (IsADirectoryError: " in said
    assert "ingest-read-gather (job " in said and "failed (exit code 1)" in said
    log = run.log("ingest-read-gather")
    assert log.count("1 of 2 tasks are missing: task 0, guide-0.jsonl.gz") == 2 and "once more, here" in log
    assert {job["JobState"] for job in cluster.jobs(run.jobs()["ingest-read"])} == {"FAILED", "COMPLETED"}
    names = [*run.jobs()]
    behind = names[names.index("ingest-read-gather") + 1 :]
    assert len(behind) == 4
    for name in behind:
        assert {job["JobState"] for job in cluster.jobs(run.jobs()[name])} == {"CANCELLED"}
        (told,) = [line for line in said.splitlines() if line.startswith(f"{name} (job {run.jobs()[name]}): ")]
        assert "cancelled" in told

    other = run.root / "ingest" / "receipts" / "read-00001.json"
    inode = other.stat().st_ino  # one that is written again is another file
    in_the_way.rmdir()
    in_the_way.parent.rmdir()
    run.submit(until="clean")
    run.wait_for_end("ingest-read-gather")
    assert other.stat().st_ino == inode and "ingest/read: 1 of 2 tasks to do" in run.log("ingest-begin")
    assert run.wait_for_end("clean-clean-gather")["JobState"] == "COMPLETED"
    assert contents(run.root, "ingest", "clean") == contents(project / "data", "ingest", "clean")
