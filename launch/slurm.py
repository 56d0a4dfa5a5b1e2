"""The queue: asks a Slurm controller what becomes of jobs, and tells it what to do with them.

Every question is one command, its answer read by a pure function. A controller that restarts refuses for a while: it is
asked again.
"""

from __future__ import annotations

import os
import re
import subprocess
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from launch.job import JobError

PATIENCE_SECONDS = 300.0  # for a controller that does not answer
RETRY_SECONDS = 5.0
AWAY = (
    "Unable to contact slurm controller",
    "Socket timed out",
    "Connection refused",
    "Zero Bytes were transmitted",
    "Resource temporarily unavailable",
    "Unexpected message received",
)
UNKNOWN_JOB = ("Invalid job id", "Invalid Job Id", "already completing or completed")
COLUMNS = {  # of squeue, with their widths
    "JobArrayID": 64,
    "State": 24,
    "RestartCnt": 12,
    "Reason": 64,
    "NodeList": 128,
    "Comment": 96,
}
ENDED_WELL, AT_WORK = "COMPLETED", ("RUNNING", "COMPLETING")
WAITING = ("PENDING", "CONFIGURING", "REQUEUED", "REQUEUE_HOLD", "REQUEUE_FED", "RESV_DEL_HOLD", "SPECIAL_EXIT")
ENDED = (  # of every other state more is to come: SUSPENDED, SIGNALING, ...
    "BOOT_FAIL",
    "CANCELLED",
    ENDED_WELL,
    "DEADLINE",
    "FAILED",
    "LAUNCH_FAILED",
    "NODE_FAIL",
    "OUT_OF_MEMORY",
    "PREEMPTED",
    "RECONFIG_FAIL",
    "REVOKED",
    "TIMEOUT",
)


@dataclass
class QueuedJob:
    """What the queue says of a job; of an array, of all its elements."""

    job_id: str
    states: Counter[str] = field(default_factory=Counter)  # of elements; Slurm's words
    reasons: list[str] = field(default_factory=list)  # why some wait
    nodes: list[str] = field(default_factory=list)
    restarts: int = 0  # of all elements together

    @property
    def alive(self) -> bool:
        return any(state not in ENDED for state in self.states)


class SlurmRefused(Exception):  # noqa: N818 (what it did)
    """Slurm said no. Its text is what it said, in one line."""


def ask(*command: str) -> str:
    """A command's output. Asked again while the controller is away; raises `SlurmRefused`, or `JobError` at last."""
    deadline = time.monotonic() + PATIENCE_SECONDS
    # a job that queues jobs must not hand its own place on to them
    outside = {name: value for name, value in os.environ.items() if not name.startswith(("SLURM_", "SBATCH_"))}
    environment = outside | {name: os.environ[name] for name in ("SLURM_CONF",) if name in os.environ}
    while True:
        try:
            done = subprocess.run(command, capture_output=True, text=True, env=environment, timeout=120)
        except FileNotFoundError:
            raise SlurmRefused(f"{command[0]} is not on this machine") from None
        except subprocess.TimeoutExpired:
            said = "no answer in two minutes"
        else:
            if done.returncode == 0:
                return done.stdout
            lines = (done.stderr or done.stdout).replace(f"{command[0]}: error: ", "").splitlines()
            said = "; ".join(filter(None, map(str.strip, lines))) or f"{command[0]} ended with {done.returncode}"
            if not any(word in said for word in AWAY):
                raise SlurmRefused(said)
        if time.monotonic() > deadline:
            raise JobError(f"the Slurm controller does not answer: {said}")
        time.sleep(RETRY_SECONDS)


def submit(argv: Sequence[str]) -> str:
    """Queue a job; its id."""
    return ask(*argv).strip().partition(";")[0]  # a federation says which cluster


def queue(comment: str) -> dict[str, QueuedJob]:
    """This user's jobs with that comment, by id: those in the queue and, for some minutes, those that have ended."""
    columns = ",".join(f"{name}:{width}" for name, width in COLUMNS.items())
    user = str(os.getuid())
    return read_queue(ask("squeue", f"--user={user}", "--states=all", "--noheader", "-O", columns), comment)


def read_queue(text: str, comment: str) -> dict[str, QueuedJob]:
    """The lines of `squeue -O` with COLUMNS, each a job or some elements of an array, as jobs.

    >>> cells = ["7_[2-3]", "PENDING", "0", "Resources", "", "mine"]
    >>> line = "".join(cell.ljust(width) for cell, width in zip(cells, COLUMNS.values()))
    >>> read_queue(line, "mine")["7"].states
    Counter({'PENDING': 2})
    """
    found: dict[str, QueuedJob] = {}
    for line in text.splitlines():
        cells, start = [], 0
        for width in COLUMNS.values():
            cells.append(line[start : start + width].strip())
            start += width
        name, state, restarts, reason, nodes, of = cells
        if of != comment:
            continue
        job_id, _, elements = name.partition("_")
        count = element_count(elements)
        job = found.setdefault(job_id, QueuedJob(job_id))
        job.states[state] += count
        job.restarts += int(restarts or 0) * count
        job.reasons += [reason] if state in WAITING and reason not in ("", "None", *job.reasons) else []
        job.nodes += [nodes] if nodes and state in AT_WORK else []
    return found


def element_count(text: str) -> int:
    """How many elements of an array a line of squeue stands for. A long list is cut off by squeue, at any character.

    >>> element_count(""), element_count("3"), element_count("[2-5,9,12%4]"), element_count("[0-10:5]")
    (1, 1, 6, 3)
    """
    if not text.startswith("["):
        return 1
    pieces = re.findall(r"(\d+)(?:-(\d+))?(?::(\d+))?", text.partition("%")[0])
    counts = ((int(last or first) - int(first)) // int(stride or 1) + 1 for first, last, stride in pieces)
    return sum(max(count, 1) for count in counts)


def job_facts(job_id: str) -> dict[str, str]:
    """What `scontrol show job` says of one job; {} when the controller has forgotten it."""
    try:
        return read_facts(ask("scontrol", "show", "job", "--oneliner", job_id).partition("\n")[0])
    except SlurmRefused as refused:
        if any(word in str(refused) for word in UNKNOWN_JOB):
            return {}
        raise


def read_facts(line: str) -> dict[str, str]:
    """`Key=value Key=value ...`, values with spaces and equal signs in them.

    >>> read_facts("JobId=7 JobName=a b JobState=FAILED Dependency=(null) ExitCode=1:0")["JobName"]
    'a b'
    """
    pairs = re.findall(r"(?:^| )([A-Z][A-Za-z/:]*)=(.*?)(?=(?: [A-Z][A-Za-z/:]*=)|$)", line.strip())
    facts: dict[str, str] = {}
    for name, value in pairs:
        facts.setdefault(name, value)  # the first: a command or comment behind it may look like one
    return facts


def this_job() -> str:
    """The batch job that this process belongs to, an element of an array by its own name; "" outside of Slurm."""
    array, element = (os.environ.get(f"SLURM_ARRAY_{what}_ID") for what in ("JOB", "TASK"))
    return f"{array}_{element}" if array else os.environ.get("SLURM_JOB_ID", "")


def is_running(job_id: str) -> bool:
    """Whether this job has its nodes now, suspended or not."""
    state = job_facts(job_id).get("JobState", "")
    return bool(state) and state not in (*WAITING, *ENDED)


def release(job_id: str) -> None:
    ask("scontrol", "release", job_id)


def cancel(job_ids: Sequence[str]) -> None:
    """Jobs that have ended already are passed over."""
    for job_id in job_ids:
        try:
            ask("scancel", job_id)
        except SlurmRefused as refused:
            if not any(word in str(refused) for word in UNKNOWN_JOB):
                raise


def what_became(facts: Mapping[str, str]) -> str:
    """Why a job ended as it did, in words that tell apart whose fault it was.

    >>> what_became({"JobState": "OUT_OF_MEMORY", "ExitCode": "0:125"})
    'out of memory'
    """
    state, reason = facts.get("JobState", ""), facts.get("Reason", "")
    words = {
        "": "no longer known to Slurm",
        "COMPLETED": "done",
        "TIMEOUT": "ended by the time limit",
        "DEADLINE": "ended by its deadline",
        "PREEMPTED": "preempted by another job",
        "NODE_FAIL": "lost its node",
        "BOOT_FAIL": "its node did not boot",
        "OUT_OF_MEMORY": "out of memory",
        "LAUNCH_FAILED": "could not be started on its node",
    }
    if state in words:
        return words[state]
    if state == "CANCELLED":
        return "never started: a job before it failed" if "Dependency" in reason else "cancelled"
    if state == "FAILED":
        code, _, signal = facts.get("ExitCode", "1:0").partition(":")
        return f"failed (killed by signal {signal})" if signal not in ("", "0") else f"failed (exit code {code})"
    return state.lower().replace("_", " ")


WAITS = {
    "Dependency": "waits for the job before it",
    "DependencyNeverSatisfied": "can never start: a job before it failed",
    "Resources": "waits for free nodes",
    "Priority": "waits behind jobs of higher priority",
    "BeginTime": "waits for its begin time (a job that was queued again waits a moment)",
    "JobHeldUser": "is held",
    "JobHeldAdmin": "is held by an administrator",
    "JobArrayTaskLimit": "waits for other elements of its array (slurm.elements_at_once)",
    "PartitionTimeLimit": "asks for more time than its partition gives; lower slurm.time",
    "PartitionNodeLimit": "asks for more nodes than its partition has",
    "PartitionDown": "waits for its partition, which is down",
    "ReqNodeNotAvail": "waits for nodes that are down or reserved",
    "Licenses": "waits for licenses",
    "Cleaning": "is being queued again",
}


def why_waits(reason: str) -> str:
    """A reason of squeue in words.

    >>> why_waits("QOSMaxSubmitJobPerUserLimit"), why_waits("(ReqNodeNotAvail, UnavailableNodes:node2)")[:5]
    ('waits for a limit of the site (QOSMaxSubmitJobPerUserLimit)', 'waits')
    """
    word = re.split(r"[,(\s]+", reason.lstrip("( "))[0].rstrip(")")
    if word in WAITS:
        return WAITS[word]
    if word.startswith(("QOS", "Assoc", "Max")):
        return f"waits for a limit of the site ({word})"
    return f"waits ({reason})"
