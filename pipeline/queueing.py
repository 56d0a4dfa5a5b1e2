"""`text2lm run --on slurm`: queue what is to be done, or join the jobs that are queued, and wait for their end."""

from __future__ import annotations

from collections.abc import Callable

from data_prep.files import UserError, read_json
from launch import slurm
from launch.job import JobError
from launch.slurm import SlurmRefused
from pipeline.config import load_config, save_config
from pipeline.freshness import changed_settings, why_stale
from pipeline.run_dir import RunDir
from pipeline.runner import DONE, PAUSED, Runner, place
from pipeline.stage import Stage
from pipeline.stages import STAGES, stage_named
from pipeline.submission import Submission, cancel, load_submission, release, submit
from pipeline.training_steps import refuse_other_settings
from pipeline.watching import job_lines, watch, why_failed


def run_in_queue(runner: Runner, first: str | None, until: str | None, *, detach: bool) -> int:
    """Safe to type again at any time: while jobs of the run are in the queue it shows these, and queues none."""
    run, say = runner.run, runner.display.say
    if runner.verify:
        raise UserError("--verify reads every file of the run: too much for a login node; use --on local")
    runner.verify = None
    last = place(until) if until else len(STAGES) - 1
    try:
        submission = _attach(runner, say) or _queue(runner, first, last)
        if submission is None or detach:
            return DONE
        while True:
            watch(runner.config, run, submission, runner.display)
            stages = _to_do(runner, None, last)
            if not stages:
                return DONE
            if not _asks_to_be_queued_again(run, submission):
                raise why_failed(run, submission)
            say("pretrain: paused, and its job may not queue itself again (slurm.requeue): submitted anew")
            submission = submit(runner.config, run, stages)
    except KeyboardInterrupt:
        say(f"detached; the jobs go on. text2lm status --run {run.root}; text2lm cancel --run {run.root}")
        return PAUSED
    except SlurmRefused as refused:
        raise UserError(f"{refused}; type this where Slurm's commands work, or run with --on local") from None


def refuse_jobs(run: RunDir) -> None:
    """`UserError` when jobs of the run are in the queue: two would work on one run."""
    submission = load_submission(run)
    if submission is None:
        return
    try:
        alive = submission.alive()
    except (SlurmRefused, JobError):  # no queue to be seen from here; the lock stays
        return
    if alive:
        raise UserError(
            f"jobs of {run.root} are in the queue; wait for them with --on slurm, or cancel them: "
            f"text2lm cancel --run {run.root}"
        )


def cancel_jobs(run: RunDir) -> str:
    submission = load_submission(run)
    if submission is None:
        return f"{run.root} was never put into a queue"
    try:
        count = cancel(submission)
    except SlurmRefused as refused:
        raise UserError(f"{refused}; type this where Slurm's commands work") from None
    return (
        f"{count} jobs cancelled; what was finished is kept, the same text2lm run goes on"
        if count
        else "no job is left"
    )


def queue_lines(run: RunDir) -> list[str]:
    """The jobs, for `text2lm status`; [] for a run that was never queued."""
    submission = load_submission(run)
    if submission is None:
        return []
    try:
        return ["", *job_lines(run, submission)]
    except (SlurmRefused, JobError) as error:
        return ["", f"how its jobs stand is not to be seen from here: {error}"]


def _queue(runner: Runner, first: str | None, last: int) -> Submission | None:
    """Submit what is to be done; None when that is nothing."""
    run, say = runner.run, runner.display.say
    with run.lock():
        submission = _attach(runner, say)  # somebody may have been faster
        if submission:
            return submission
        if left := load_submission(run):
            cancel(left)  # a half chain, of which none ever starts
        stages = _to_do(runner, first, last)
        if not stages:
            say(f"nothing to do: all {last + 1} stages are fresh in {run.root}")
            return None
        submission = submit(runner.config, run, stages)
        say(f"{len(submission.jobs)} jobs are in the queue, from {stages[0].name} to {stages[-1].name}")
        return submission


def _attach(runner: Runner, say: Callable[[str], None]) -> Submission | None:
    """The submission whose jobs are in the queue."""
    run = runner.run
    submission = load_submission(run)
    if submission is None or not submission.complete or not submission.alive():
        return None
    queued = load_config(run.config)
    changes = {
        change
        for stage in STAGES
        for change in changed_settings(queued.identity(*stage.reads), runner.config.identity(*stage.reads))
    }
    if changes:
        raise UserError(
            f"jobs of {run.root} are in the queue with other settings ({'; '.join(sorted(changes))}); wait for them, "
            f"or cancel them first: text2lm cancel --run {run.root}"
        )
    release(submission)
    say(f"{len(submission.jobs)} jobs of this run are in the queue already; nothing was submitted")
    return submission


def _to_do(runner: Runner, first: str | None, last: int) -> list[Stage]:
    """The stages from the first stale one on, ready to be queued. Nothing heavy: this is a login node."""
    if first:
        runner.forget(STAGES[place(first) : last + 1])
    if last >= place("pretrain"):
        if runner.restart:
            runner.set_aside(stage_named("pretrain"))
            runner.restart = False
        else:
            refuse_other_settings(runner.context(stage_named("pretrain")))
    save_config(runner.config, runner.run.config)
    for number, stage in enumerate(STAGES[: last + 1]):
        if why_stale(runner.context(stage), STAGES):
            return list(STAGES[number : last + 1])
    return []


def _asks_to_be_queued_again(run: RunDir, submission: Submission) -> bool:
    """Whether the training's job left a paused training that it could not queue again itself."""
    training = next((job for job in submission.jobs if job.kind == "training"), None)
    if training is None or not run.outcome.exists() or read_json(run.outcome)["outcome"] != "paused":
        return False
    return slurm.job_facts(training.id).get("ExitCode") == "3:0"
