"""What is to be seen of a run in the queue: jobs, attempts, progress, why something waits, and how it ended."""

from __future__ import annotations

import math
import time
from pathlib import Path

from data_prep.files import last_json_line
from launch import slurm
from launch.job import JobError
from launch.slurm import QueuedJob
from pipeline.attempt import attempts
from pipeline.config import RunConfig, load_config
from pipeline.progress import ProgressDisplay
from pipeline.run_dir import RunDir
from pipeline.stage import Context
from pipeline.stages import stage_named
from pipeline.submission import Submission, SubmittedJob, log_pattern

TAIL_BYTES = 1 << 14


def watch(config: RunConfig, run: RunDir, submission: Submission, display: ProgressDisplay) -> None:
    """Show the jobs until all have ended. Few questions to the controller: one every `slurm.poll_seconds`."""
    shown: dict[str, str] = {}
    display.begin("queue", len(submission.jobs))
    try:
        while True:
            found = submission.queued()
            for job in submission.jobs:
                queued = found.get(job.id)
                words = standing(queued) if queued else ""
                if words and shown.get(job.id) != words and (queued and not _merely_waits(queued)):
                    display.say(f"{job.name} (job {job.id}): {words}")
                shown[job.id] = words
            never = [job.job_id for job in found.values() if "DependencyNeverSatisfied" in job.reasons and job.alive]
            slurm.cancel(never)
            if not any(job.alive for job in found.values()):
                return
            ended = sum(not (job.id in found and found[job.id].alive) for job in submission.jobs)
            display.update(ended, how_far(run, submission, found))
            time.sleep(config.slurm.poll_seconds)
    finally:
        display.end()


def _merely_waits(queued: QueuedJob) -> bool:
    return set(queued.states) == {"PENDING"} and set(queued.reasons) <= {"Dependency", "None"}


def standing(queued: QueuedJob) -> str:
    """How a job stands, in words.

    >>> from collections import Counter
    >>> standing(QueuedJob("7", Counter(RUNNING=2, PENDING=3), ["Resources"], ["node1"]))
    '2 running on node1, 3 waiting (waits for free nodes)'
    """
    groups = {"running": slurm.AT_WORK, "waiting": slurm.WAITING, "done": (slurm.ENDED_WELL,)}
    counts = {word: sum(queued.states[state] for state in states) for word, states in groups.items()}
    total = sum(queued.states.values())
    other = {state: n for state, n in queued.states.items() if not any(state in states for states in groups.values())}
    parts = []
    for word, count in [*counts.items(), *((state.lower().replace("_", " "), n) for state, n in other.items())]:
        if count:
            parts.append(word if count == total == 1 else f"{count} {word}")
            if word == "running" and queued.nodes:
                parts[-1] += f" on {','.join(sorted(set(queued.nodes)))}"
            if word == "waiting" and queued.reasons:
                parts[-1] += f" ({', '.join(dict.fromkeys(map(slurm.why_waits, queued.reasons)))})"
    again = f"; queued again {queued.restarts} times" if queued.restarts else ""
    return ", ".join(parts) + again


def how_far(run: RunDir, submission: Submission, found: dict[str, QueuedJob]) -> str:
    """Progress of what runs now."""
    for job in submission.jobs:
        queued = found.get(job.id)
        if queued and any(queued.states[state] for state in slurm.AT_WORK):
            return f"{job.name}: {_progress(run, job)}"
    return "nothing runs at the moment"


def _progress(run: RunDir, job: SubmittedJob) -> str:
    stage, _, step = job.name.partition("-")
    if job.kind == "array" and run.plan(stage).exists():
        context = Context(load_config(run.config), run, stage_named(stage))
        return f"{len(context.receipts.done_tasks(step))} of {context.tasks(context.stage.step(step))} tasks"
    row = last_json_line(run.metrics) if job.kind == "training" else None
    return f"step {row['step']:,}, loss {row['loss'] or math.nan:.3f}" if row else "at work"


def job_lines(run: RunDir, submission: Submission) -> list[str]:
    """For `text2lm status`: every job, and every attempt of the training."""
    found = submission.queued()
    lines = [] if submission.complete else ["the submission was cut short; run again to submit anew"]
    for job in submission.jobs:
        queued = found.get(job.id)
        words = standing(queued) if queued else slurm.what_became(slurm.job_facts(job.id))
        far = f"; {_progress(run, job)}" if queued and queued.alive and "running" in words else ""
        lines.append(f"{job.name:<22} job {job.id:<8} {words}{far}")
    for row in attempts(run):
        when = time.strftime("%m-%d %H:%M", time.localtime(row["time"]))
        what = f"{row['outcome']}: {row['reason']}" if row["event"] == "end" else f"on {','.join(row['nodes'])}"
        who = f"job {row['job']} attempt {row['restart'] + 1}"
        lines.append(f"  {when} {who}: {row['event']} at step {row['progress']:,}, {what}")
    return lines


def why_failed(run: RunDir, submission: Submission) -> JobError:
    """The first job of the chain that did not do its work."""
    for job in submission.jobs:
        facts = slurm.job_facts(job.id)
        if facts.get("JobState", "COMPLETED") == "COMPLETED" or job.kind == "array":  # what it left its gather says
            continue
        logs = sorted((run.logs / "slurm").glob(log_pattern(run, job)))
        said = next(filter(None, map(_last_error, logs)), "")
        where = logs[0] if len(logs) == 1 else run.logs / "slurm" / log_pattern(run, job)
        return JobError(
            f"{job.name} (job {job.id}) {slurm.what_became(facts)}{f': {said}' if said else ''}; see {where}"
        )
    return JobError(f"the jobs have ended and the run is not finished; see {run.logs / 'slurm'}, and run again")


def _last_error(log: Path) -> str:
    """The last line of ours in a job's log that says what went wrong."""
    with log.open("rb") as file:
        file.seek(max(0, log.stat().st_size - TAIL_BYTES))
        lines = file.read().decode(errors="replace").splitlines()
    return next((line.removeprefix("text2lm: ") for line in reversed(lines) if line.startswith("text2lm: ")), "")


def log_files(run: RunDir, stage: str) -> list[Path]:
    """The logs of a stage, the newest last: of its jobs in the queue, and of its processes."""
    found = {*run.logs.glob(f"{stage}-*.log"), *(run.logs / "slurm").glob(f"*.{stage}-*.log")}
    found |= set((run.logs / "slurm").glob(f"{stage}-*.log"))
    return sorted(found, key=lambda path: path.stat().st_mtime_ns)
