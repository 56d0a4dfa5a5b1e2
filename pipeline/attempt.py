"""One attempt of a training in a batch job: what stands before the ranks, and what is to become of the job after them.

What happened is read from what the ranks left: RUN/pretrain/outcome.json, and their logs. RUN/slurm/attempts.jsonl
has a row for the beginning and the end of every attempt; one without an end was cut off with its node.
"""

from __future__ import annotations

import json
import os
import re
import socket
import time
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

from data_prep.files import UserError, make_directory, read_json, read_json_lines, read_record
from launch.job import JobError
from pipeline.by_hand import need_steps_before
from pipeline.config import RunConfig
from pipeline.run_dir import RunDir
from pipeline.runner import SHOWN_LINES, error_in
from pipeline.stage import Context, is_done
from pipeline.stages import stage_named
from pipeline.training_steps import check_training, refuse_other_data, start_training
from pretrain.checkpoint import CheckpointStore
from pretrain.settings import TrainingJob

DONE, FAILED, AGAIN = 0, 1, 3  # exit codes for slurm/gpu.sbatch
HANGS = re.compile(r"(.+) is not done after \d+ s, the process ends")
WAITS = "waiting for the other ranks"
LOST_PEER = re.compile(r"connection (closed|reset)|broken pipe|remote process exited", re.IGNORECASE)
PORT_TAKEN = re.compile(r"EADDRINUSE|address already in use", re.IGNORECASE)
FIRST_PORT, PORTS, TRIED_PORTS = 20_000, 10_000, 100
TAIL_BYTES = 1 << 16


class Attempt(NamedTuple):
    """Where and as what."""

    job: str
    restart: int
    nodes: list[str]
    ranks: int


class Verdict(NamedTuple):
    """What becomes of the job."""

    code: int
    reason: str
    exclude: tuple[str, ...] = ()  # nodes that the next attempt does without


class RankLog(NamedTuple):
    """What one rank wrote during this attempt."""

    rank: int
    lines: list[str]
    last_seconds: float  # when it wrote last, since the epoch


def begin(config: RunConfig, run: RunDir, attempt: Attempt) -> int | None:
    """Check, write what the ranks read, take the run; the port where they meet. None: it was trained to the end.

    The ranks are those that Slurm gave, whatever the config says: their number changes no result.
    """
    stage = stage_named("pretrain")
    context = Context(replace(config, launch=replace(config.launch, ranks=attempt.ranks)), run, stage)
    step = stage.step("train")
    if not run.plan("pretrain").exists() or context.plan().key != context.key():
        raise UserError(f"{run.root} is not ready to train; run: text2lm stage tokens/encode --gather --run {run.root}")
    need_steps_before(context, step)
    if is_done(context, step, 0) or (run.outcome.exists() and read_json(run.outcome)["outcome"] == "done"):
        return None
    refuse_other_data(context)
    check_training(context)
    run.take_for_job(attempt.job)
    start_training(context)
    run.outcome.unlink(missing_ok=True)
    make_directory(run.logs)
    sizes = [_size(_log(run, rank)) for rank in range(attempt.ranks)]
    if (rows := attempts(run)) and rows[-1]["event"] == "start":
        before = Attempt(rows[-1]["job"], rows[-1]["restart"], rows[-1]["nodes"], attempt.ranks)
        _note(
            run, before, event="end", progress=progress(run), outcome="failed", reason=cut_off(run, before), exclude=[]
        )
    _state(run, attempt.job).unlink(missing_ok=True)
    _note(run, attempt, event="start", progress=progress(run), log_bytes=sizes)
    return free_port(attempt)


def end(config: RunConfig, run: RunDir, attempt: Attempt, *, signal: str, state: str) -> Verdict:
    """What became of the attempt, from what it left; `signal` is what the job was sent, `state` what Slurm says."""
    rows = [row for row in attempts(run) if row["job"] == attempt.job]
    sizes = next((row["log_bytes"] for row in reversed(rows) if row["event"] == "start"), [0] * attempt.ranks)
    logs = [_read_log(_log(run, rank), rank, start) for rank, start in enumerate(sizes)]
    outcome = read_json(run.outcome) if run.outcome.exists() else None
    warned = signal == config.slurm.warning_signal and signal != "TERM"
    verdict = judge(outcome, logs, attempt, rows, progress(run), warned=warned, state=state)
    word = {DONE: "done", FAILED: "failed", AGAIN: "paused"}[verdict.code]
    _note(
        run, attempt, event="end", progress=progress(run), outcome=word, reason=verdict.reason, exclude=verdict.exclude
    )
    run.leave_for_job(attempt.job)
    return verdict


def cut_off(run: RunDir, attempt: Attempt) -> str:
    """Why an attempt has no end: its batch script noted what Slurm said when it was told to stop, if it was."""
    path = _state(run, attempt.job)
    said = path.read_text().strip() if path.exists() else ""
    words = {"REQUEUED": "preempted", "TIMEOUT": "the time limit", "CANCELLED": "cancelled"}
    return f"{words[said]}, with no time to say so" if said in words else "lost its node"


def judge(
    outcome: dict[str, Any] | None,
    logs: list[RankLog],
    attempt: Attempt,
    rows: list[dict[str, Any]],
    steps: int,
    *,
    warned: bool,
    state: str,
) -> Verdict:
    """`rows` are those of the job's attempts, this one's start the last; `steps` those in the newest checkpoint."""
    if outcome and outcome["outcome"] == "done":
        return Verdict(DONE, "trained to the end")
    if outcome and "reason" in outcome:
        return Verdict(FAILED, outcome["reason"])
    if state == "CANCELLED":
        return Verdict(FAILED, "cancelled")
    if state == "REQUEUED":
        return Verdict(AGAIN, "preempted" if outcome else "preempted, before it could save")
    starts = [row["progress"] for row in rows if row["event"] == "start"]
    stuck = starts and steps <= starts[-1]
    no_words = not any(log.lines for log in logs)
    limit = state == "TIMEOUT" or (warned and (outcome or no_words))  # its own TERM hides the warning
    if limit and stuck:
        what = "no step was finished" if outcome else "nothing was saved"
        return Verdict(FAILED, f"{what} within the time limit, since step {steps}; ask for more: slurm.time")
    if limit:
        how = "the time limit" if outcome else "the time limit, before it could save; raise slurm.warning_seconds"
        return Verdict(AGAIN, how)
    if outcome:
        return Verdict(AGAIN, "preempted with a time of grace, or told to stop")
    if state == "OUT_OF_MEMORY":
        return Verdict(FAILED, "out of memory; lower train.micro_batch_size or ask for more: slurm.memory")
    hung = _hung(logs)
    if hung is not None:
        node = _node(attempt, hung.rank)
        said = next((line for log in logs for line in log.lines if HANGS.match(line)), "")
        if stuck and len(starts) > 1 and starts[-1] <= starts[-2]:
            return Verdict(FAILED, f"rank {hung.rank} hung on {node}, for the second time since step {steps}: {said}")
        before = {name for row in rows for name in row.get("exclude", ())}
        return Verdict(AGAIN, f"rank {hung.rank} hung on {node}", tuple(sorted({*before, node})))
    if any(PORT_TAKEN.search(line) for log in logs for line in log.lines):
        return Verdict(AGAIN, "another program had taken the port where the ranks meet")
    in_turn = sorted(logs, key=lambda log: log.last_seconds)
    errors = [(log.rank, error) for log in in_turn if (error := error_in(log.lines))]
    silent = [log for log in logs if not error_in(log.lines)]
    if errors and silent and all(LOST_PEER.search(error) for _, error in errors):
        node = _node(attempt, silent[0].rank)
        return Verdict(FAILED, f"rank {silent[0].rank} was killed on {node}, and left no word; out of memory?")
    if errors:  # the first to speak
        return Verdict(FAILED, "rank {} failed: {}".format(*errors[0]))
    last = next((log.lines[-1] for log in logs if log.lines and log.lines[-1].startswith("text2lm: ")), "")
    return Verdict(FAILED, last.removeprefix("text2lm: ") or "a rank was killed, and left no word; out of memory?")


def _node(attempt: Attempt, rank: int) -> str:
    """Where a rank is: srun fills one node after the other."""
    return attempt.nodes[rank * len(attempt.nodes) // attempt.ranks]


def _hung(logs: list[RankLog]) -> RankLog | None:
    """The rank that the others waited for: one that said nothing while others spoke of a hang, else the first that
    spoke and did not merely wait."""
    spoke = [log for log in logs if any(HANGS.match(line) for line in log.lines)]
    if not spoke:
        return None
    silent = [log for log in logs if log not in spoke and not error_in(log.lines)]
    if silent:
        return silent[0]
    alone = [log for log in spoke if not any(line.startswith(WAITS) for line in log.lines if HANGS.match(line))]
    return min(alone or spoke, key=lambda log: log.last_seconds)


def last_words(run: RunDir, attempt: Attempt, verdict: Verdict) -> list[str]:
    """For the job's own log: the end of the log that says why."""
    match = re.match(r"rank (\d+) (failed|hung|was killed)", verdict.reason)
    rows = [row for row in attempts(run) if row["job"] == attempt.job and row["event"] == "start"]
    if not match or not rows:
        return []
    hung = match[2] == "hung"  # of which others tell
    for rank in range(attempt.ranks) if hung else [int(match[1])]:
        lines = _read_log(_log(run, rank), rank, rows[-1]["log_bytes"][rank]).lines
        if not hung or any(map(HANGS.match, lines)):
            return [f"the last lines of {_log(run, rank)}", *(f"  {line}" for line in lines[-SHOWN_LINES:])]
    return []


def attempts(run: RunDir) -> list[dict[str, Any]]:
    return read_json_lines(run.slurm / "attempts.jsonl")


def progress(run: RunDir) -> int:
    """Steps in the newest checkpoint."""
    if not run.started.exists():
        return 0
    return CheckpointStore(run.checkpoints, read_record(run.started, TrainingJob.from_json)).newest_step()


def free_port(attempt: Attempt) -> int:
    """A port of this node that nobody listens on: from the job's id and the attempt, so that jobs differ."""
    first = int(re.sub(r"\D", "", attempt.job) or 0) * TRIED_PORTS + attempt.restart
    for number in range(TRIED_PORTS):
        port = FIRST_PORT + (first + number) % PORTS
        with socket.socket() as listener:
            try:
                listener.bind(("", port))
            except OSError:
                continue
            return port
    raise JobError(
        f"none of the ports {FIRST_PORT + first % PORTS} and the {TRIED_PORTS} behind it is free on this node"
    )


def _note(run: RunDir, attempt: Attempt, **facts: Any) -> None:
    row = {"job": attempt.job, "restart": attempt.restart, "nodes": attempt.nodes, "time": round(time.time()), **facts}
    make_directory(run.slurm)
    with (run.slurm / "attempts.jsonl").open("a") as file:
        file.write(json.dumps(row) + "\n")
        file.flush()
        os.fsync(file.fileno())


def _state(run: RunDir, job: str) -> Path:
    return run.slurm / f"state-{job}"


def _log(run: RunDir, rank: int) -> Path:
    return run.logs / f"pretrain-{rank}.log"


def _size(path: Path) -> int:
    return path.stat().st_size if path.exists() else 0


def _read_log(path: Path, rank: int, start: int) -> RankLog:
    if not path.exists():
        return RankLog(rank, [], 0.0)
    with path.open("rb") as file:
        file.seek(max(start, _size(path) - TAIL_BYTES))
        lines = file.read().decode(errors="replace").splitlines()
    return RankLog(rank, lines, path.stat().st_mtime)
