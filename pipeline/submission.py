"""A run in Slurm's queue: submitted as one chain, found again, shown, cancelled.

RUN/slurm/submission.json says which jobs there are. Each carries the submission's own token as its comment: a
controller that lost its state gives job ids out again, and a submission that was killed half way leaves jobs that no
file names. The first job is held until the whole chain is queued, so a half chain never starts.
"""

from __future__ import annotations

import secrets
import sys
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import pipeline
from data_prep.files import UserError, make_directory, read_record, write_json
from launch import slurm
from launch.sbatch import BatchJob, job_name, nodes_of, sbatch_argv
from launch.slurm import QueuedJob, SlurmRefused
from pipeline.chain import Kind, Link, chain
from pipeline.config import RunConfig
from pipeline.run_dir import RunDir
from pipeline.stage import Stage

SCRIPTS = Path(pipeline.__file__).parents[1] / "slurm"


@dataclass(frozen=True)
class SubmittedJob:
    name: str
    kind: Kind
    id: str


@dataclass
class Submission:
    """One chain of jobs."""

    token: str
    complete: bool = False  # false: a half chain, whose first job is held
    jobs: list[SubmittedJob] = field(default_factory=list)

    @property
    def comment(self) -> str:
        return f"text2lm:{self.token}"

    def save(self, run: RunDir) -> None:
        write_json(run.slurm / "submission.json", asdict(self))

    def queued(self) -> dict[str, QueuedJob]:
        """What the queue knows of its jobs, by id."""
        return slurm.queue(self.comment)

    def alive(self) -> bool:
        return any(job.alive for job in self.queued().values())


def load_submission(run: RunDir) -> Submission | None:
    """The last one; None when nothing of this run was ever queued."""
    path = run.slurm / "submission.json"
    return read_record(path, _from_json) if path.exists() else None


def _from_json(raw: dict[str, Any]) -> Submission:
    return Submission(raw["token"], raw["complete"], [SubmittedJob(**job) for job in raw["jobs"]])


def submit(config: RunConfig, run: RunDir, stages: list[Stage]) -> Submission:
    """Queue the jobs that bring these stages up to date. All or none: what was queued before a refusal is cancelled."""
    _check(config, run)
    make_directory(run.logs / "slurm")
    submission = Submission(secrets.token_hex(8))
    submission.save(run)  # before the first job: whoever finds it later can ask for its comment
    links = chain(stages)
    try:
        for link in links:
            job_id = slurm.submit(_argv(config, run, link, submission))
            submission.jobs.append(SubmittedJob(link.name, link.kind, job_id))
            submission.save(run)
        submission.complete = True
        submission.save(run)
        release(submission)
    except BaseException as error:
        slurm.cancel([job.id for job in submission.jobs])
        if isinstance(error, SlurmRefused):
            raise UserError(f"Slurm refused a job ({link.name}): {error}; {_advice(str(error))}") from None
        raise
    return submission


def release(submission: Submission) -> None:
    """Let the first job start; nothing happens when it may already."""
    if slurm.job_facts(submission.jobs[0].id).get("Reason") == "JobHeldUser":
        slurm.release(submission.jobs[0].id)


def cancel(submission: Submission) -> int:
    """Take out of the queue what is there of it, the last first, so that none starts meanwhile; how many jobs."""
    alive = [job.job_id for job in submission.queued().values() if job.alive]
    slurm.cancel(sorted(alive, key=int, reverse=True))
    return len(alive)


def log_pattern(run: RunDir, job: SubmittedJob) -> str:
    """The names of a job's logs."""
    return f"{job_name(run.root.resolve().name, job.name)}_{job.id}{'_*' if job.kind == 'array' else ''}.log"


def _argv(config: RunConfig, run: RunDir, link: Link, submission: Submission) -> list[str]:
    root = str(run.root.resolve())
    job = BatchJob(
        name=job_name(run.root.resolve().name, link.name),
        arguments=(root,) if link.kind == "training" else (*link.arguments, "--run", root),
        comment=submission.comment,
        elements=config.slurm.elements if link.kind == "array" else 0,
        ranks=config.launch.ranks if link.kind == "training" else 0,
        after=_after(submission.jobs),
        held=not submission.jobs,
    )
    logs = run.logs.resolve() / "slurm"
    return sbatch_argv(job, config.slurm, scripts=SCRIPTS, logs=logs, python=sys.executable)


def _after(jobs: list[SubmittedJob]) -> tuple[str, ...]:
    """What the next job waits for. Behind an array also for the job before it: if that fails the array never starts,
    which is an end to `afterany`."""
    if not jobs:
        return ()
    if jobs[-1].kind == "array":
        return (f"afterok:{jobs[-2].id}", f"afterany:{jobs[-1].id}")
    return (f"afterok:{jobs[-1].id}",)


def _check(config: RunConfig, run: RunDir) -> None:
    """`UserError` about what no queue has to be asked for."""
    if not str(run.root.resolve()).isprintable() or "\\" in str(run.root.resolve()):
        raise UserError(f"--run {str(run.root)!r}: sbatch takes no such path; choose one without \\ and newlines")
    if not SCRIPTS.is_dir():
        raise UserError(
            f"{SCRIPTS} is missing: text2lm submits from its checkout; install it with pip install --editable"
        )
    try:
        nodes_of(config.launch.ranks, config.slurm)
    except ValueError as error:
        raise UserError(str(error)) from None


def _advice(said: str) -> str:
    for words, advice in (
        ("array", "lower slurm.elements (MaxArraySize of the site)"),
        ("SubmitJob", "lower slurm.elements (each element counts), or wait for other jobs"),
        ("submit limit", "lower slurm.elements (each element counts), or wait for other jobs"),
        ("artition", "set slurm.partition; sinfo lists them"),
        ("ccount", "set slurm.account"),
        ("QOS", "set slurm.qos"),
        ("time limit", "lower slurm.time"),
        ("not on this machine", "type this on a machine where sbatch works"),
    ):
        if words in said:
            return advice
    return "change the [slurm] table; text2lm doctor --on slurm says what the site has"
