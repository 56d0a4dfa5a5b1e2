"""A short job that looks at the compute nodes for `text2lm doctor --on slurm`: queued, waited for, answered, judged.

What a login node cannot tell is asked there: whether the nodes see the run's file system, have the same Python
environment, and how fast they sum a vector together. The rank's side is `pretrain.probe`.
"""

from __future__ import annotations

import importlib.metadata
import platform
import re
import shutil
import sys
import tempfile
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

from data_prep.files import UserError, read_json
from launch import slurm
from launch.sbatch import BatchJob, nodes_of, sbatch_argv
from launch.settings import SlurmSettings
from launch.slurm import SlurmRefused
from pipeline.plan import readable
from pipeline.progress import ProgressDisplay
from pipeline.runner import error_in
from pipeline.submission import SCRIPTS

MINUTES = 15  # of the job, at most
LOOK_SECONDS = 0.25  # between two looks into a directory
POLL_SECONDS = 5.0  # between two questions to the controller, at most
SEEN_SECONDS = 90.0  # until a network file system shows what a job that has ended left, at most

Findings = tuple[list[str], list[str]]  # facts, problems


def look_at_nodes(
    settings: SlurmSettings, ranks: int, root: Path, display: ProgressDisplay, patience_minutes: float
) -> Findings:
    """Queue the job, wait for it, read what it found. `root` is a directory of the run's file system.

    The job is cancelled when it has not started in time, and when the user stops waiting.
    """
    directory = Path(tempfile.mkdtemp(prefix="text2lm-doctor-", dir=root))
    job = BatchJob("text2lm-doctor", (str(directory),), "text2lm:doctor", ranks=ranks, script="doctor.sbatch")
    short = replace(settings, time=str(MINUTES), train=replace(settings.train, time=""), warning_seconds=1)
    jobs: list[str] = []
    try:
        jobs.append(slurm.submit(sbatch_argv(job, short, scripts=SCRIPTS, logs=directory, python=sys.executable)))
        display.say(f"job {jobs[0]} is in the queue, to look at {nodes_of(ranks, settings)[0]} nodes")
        facts = _wait(jobs[0], directory, min(settings.poll_seconds, POLL_SECONDS), display, patience_minutes)
    except BaseException as error:
        slurm.cancel(jobs)
        shutil.rmtree(directory, ignore_errors=True)
        if isinstance(error, SlurmRefused):
            return [], [f"Slurm refuses a job: {error}"]
        raise
    job_id = jobs[0]
    log = directory / f"{job.name}_{job_id}.log"
    if facts.get("JobState") == "PENDING":
        why = slurm.why_waits(facts.get("Reason", ""))
        findings: Findings = [], [f"job {job_id} did not start within {patience_minutes:g} minutes: it {why}"]
    else:
        found, summed = _collect(directory, ranks, facts)
        findings = judge(found, summed, settings, ranks)
        if slurm.what_became(facts) != "done" or len(found) < ranks:
            findings[1].append(_why(facts, log, job_id))
    if findings[1] and log.exists():
        findings[0].append(f"what its job said is in {log}")
    else:
        shutil.rmtree(directory, ignore_errors=True)  # some network file systems keep a file that was open a moment ago
    return findings


def _wait(
    job_id: str, directory: Path, poll_seconds: float, display: ProgressDisplay, patience_minutes: float
) -> dict[str, str]:
    """Answer the ranks until the job ends; what Slurm says of it then. A job that did not start is cancelled."""
    begun, asked, said = time.monotonic(), 0.0, ""
    while True:
        for call in directory.glob("call-*"):
            (directory / call.name.replace("call", "answer")).touch()
        if time.monotonic() - asked >= poll_seconds:
            asked, facts = time.monotonic(), slurm.job_facts(job_id)
            state = facts.get("JobState", "")
            if not state or state in slurm.ENDED:
                return facts
            words = slurm.why_waits(facts.get("Reason", "")) if state == "PENDING" else "runs"
            if words != said and (state != "PENDING" or facts.get("Reason") != "None"):  # not yet looked at
                display.say(f"job {job_id} {words}")
                said = words
            if state == "PENDING" and time.monotonic() - begun > 60 * patience_minutes:
                slurm.cancel([job_id])
                return facts
        time.sleep(LOOK_SECONDS)


def _collect(directory: Path, ranks: int, facts: dict[str, str]) -> tuple[list[dict[str, Any]], dict[str, Any] | None]:
    """What the ranks left, in order; and of the sum. A job that ended well has left all of it."""
    wanted = [directory / f"rank-{rank:05d}.json" for rank in range(ranks)]
    summed = directory / "all-reduce.json"
    well = slurm.what_became(facts) == "done"
    begun = time.monotonic()
    while well and time.monotonic() - begun < SEEN_SECONDS:
        if all(path.exists() for path in (*wanted, *([summed] if ranks > 1 else []))):
            break
        time.sleep(LOOK_SECONDS)
    return [read_json(path) for path in wanted if path.exists()], read_json(summed) if summed.exists() else None


def _why(facts: dict[str, str], log: Path, job_id: str) -> str:
    """What went wrong, from the job's log as far as it is seen here."""
    became = f"job {job_id} {slurm.what_became(facts)}"
    if facts.get("JobState") == "CANCELLED":
        return became
    if not log.exists():
        return f"{became}, and nothing that it wrote is seen here: {log.parent} is not shared with the compute nodes"
    lines = [re.sub(r"^\s*\d+: ", "", line) for line in log.read_text(errors="replace").splitlines()]
    ours = next((line.removeprefix("text2lm: ") for line in reversed(lines) if line.startswith("text2lm: ")), "")
    return f"{became}: {ours or error_in(lines) or (lines or ['it left no word'])[-1]}"


def judge(found: list[dict[str, Any]], summed: dict[str, Any] | None, settings: SlurmSettings, ranks: int) -> Findings:
    """Facts and problems from what each rank saw, and from the sum over all of them (None: there was none)."""
    if not found:
        return [], []
    hosts = list(dict.fromkeys(rank["host"] for rank in found))
    here = {name: _version(name) for name in found[0]["versions"]}
    problems: dict[str, list[str]] = {}  # on which hosts
    for rank in found:
        wrong = [
            f"{name} {version}" if "cannot" in version else f"{name} is {version}, {here[name]} here"
            for name, version in rank["versions"].items()
            if version != here[name]
        ]
        if settings.gpus_per_node and not rank["gpus"]:
            wrong.append("torch sees no GPU; a driver, or a torch for GPUs, is missing")
        if rank["called"] and rank["round_trip"] is None:
            wrong.append("an answer from here is not seen; the directory is not shared both ways")
        for problem in wrong:
            problems.setdefault(problem, []).append(rank["host"])
    facts = []
    if all(rank["versions"] == here for rank in found):
        words = ", ".join(f"{name} {version}" for name, version in here.items())
        facts.append(f"on {_named(hosts)}: {words}, as here")
    trips = [rank["round_trip"] for rank in found if rank["round_trip"] is not None]
    if trips:
        facts.append(f"the run's file system is shared: a file went there and an answer back in {max(trips):.2f} s")
    least = min(found, key=lambda rank: rank["scratch_bytes"])
    facts.append(f"node-local disk: {readable(least['scratch_bytes'])} free in {least['scratch']} of {least['host']}")
    gpus = {(rank["gpus"], rank["gpu"]) for rank in found}
    facts += [f"a rank sees {count} GPUs ({name})" for count, name in sorted(gpus) if count]
    if summed:
        facts.append(_bandwidth(summed, len(hosts)))
    return facts, [f"on {_named(where)}: {problem}" for problem, where in problems.items()]


def _bandwidth(summed: dict[str, Any], nodes: int) -> str:
    """Both as nccl-tests define them (doc/PERFORMANCE.md there): a ring of n ranks sends a byte 2(n-1)/n times."""
    ranks, speed = summed["ranks"], summed["bytes"] / summed["seconds"] / 1e9
    return (
        f"all-reduce of {readable(summed['bytes'])} over {ranks} ranks on {nodes} nodes ({summed['backend']}): "
        f"{1000 * summed['seconds']:.1f} ms, algorithm bandwidth {speed:.2f} GB/s (bytes by time), bus bandwidth "
        f"{speed * 2 * (ranks - 1) / ranks:.2f} GB/s (2(n-1)/n of it, as nccl-tests count)"
    )


def _named(hosts: list[str]) -> str:
    """
    >>> _named(["a", "b", "b"]), _named(["a", "b", "c", "d"])
    ('a, b', 'a, b and 2 more nodes')
    """
    different = list(dict.fromkeys(hosts))
    more = f" and {len(different) - 2} more nodes" if len(different) > 2 else ""
    return ", ".join(different[:2]) + more


def _version(name: str) -> str:
    """Of Python or a package, here."""
    if name == "python":
        return platform.python_version()
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        raise UserError(f"{name} is not installed here; run: make setup") from None
