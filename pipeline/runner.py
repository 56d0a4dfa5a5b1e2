"""Walks the stages: skips what is fresh, does what is stale, stops where a signal or an error says so."""

from __future__ import annotations

import itertools
import os
import re
import shutil
import signal
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from types import FrameType

from data_prep.files import UserError, last_json_line, read_json
from launch.job import Job, JobError, Launcher, State, Status
from pipeline.config import RunConfig, save_config
from pipeline.freshness import NEVER_RUN, why_stale
from pipeline.progress import LOG_SECONDS, GrowingLog, ProgressDisplay
from pipeline.run_dir import RunDir
from pipeline.sealing import clear, seal
from pipeline.stage import Context, Stage, Step, begin, each_shard, is_done, run_task
from pipeline.stages import STAGES, stage_named
from pipeline.training_steps import check_training, refuse_other_data, refuse_other_settings, training_begun

DONE, IMPOSSIBLE, PAUSED = 0, 2, 3  # exit codes
POLL_SECONDS = 0.05
LOOK_SECONDS = 0.5
WORTH_SAYING = (  # of what training writes into its log
    "resumed from",
    "skipped checkpoint",
    "train.skip_steps names",
    "checkpoint not saved",
    "wandb gets no more rows",
)
FULL_DISK_BYTES = 1 << 20
SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
ERROR = re.compile(r"(?:\[rank\d+\]: )?([\w.]*(?:Error|Exception)(?::.*)?)$")  # torch marks the lines of a rank
STACKS, STACKS_END = ("Fatal Python error: ", "Timeout ("), "Extension modules: "  # faulthandler's
SHOWN_LINES = 30  # of the log of a rank that failed


class Paused(Exception):  # noqa: N818 (no error)
    """A signal ended the work; what was finished is kept."""


@dataclass
class Runner:
    """One `text2lm run`."""

    config: RunConfig
    run: RunDir
    launcher: Launcher
    display: ProgressDisplay
    verify: bool | None = False  # see Context
    restart: bool = False
    hands_over: bool = False  # steps that are shared and training are left to jobs of their own
    stop_signals: list[int] = field(default_factory=list)  # received so far
    _waiting: bool = False  # for a job

    def __call__(self, first: str | None = None, until: str | None = None) -> int:
        """Bring every stage up to date, from the first to `until`; from `first` on, fresh or not."""
        last = place(until) if until else len(STAGES) - 1
        forced = place(first) if first else len(STAGES)
        if first and forced > last:
            raise UserError(f"--from {first} comes after --until {until}; name an earlier stage or a later end")
        if first == "pretrain" and not self.restart:
            raise UserError("--from pretrain would train again: add --restart, which sets the old training aside")
        with self.run.lock():
            if last >= place("pretrain") and not self.restart:
                refuse_other_settings(self.context(stage_named("pretrain")))
            save_config(self.config, self.run.config)
            return self.until_paused(lambda: self._walk(STAGES[: last + 1], forced))

    def train(self, context: Context, step: Step) -> int:
        """Run a parallel program alone, by hand."""
        check_training(context)
        return self.until_paused(lambda: self._run_program(context, step))

    def update(self, stage: Stage) -> int:
        """Bring one stage up to date; what it needs must be."""
        context = self.context(stage)
        if why_stale(context, STAGES) is None:
            return DONE
        return self.until_paused(lambda: self.do(context))

    def until_paused(self, work: Callable[[], object]) -> int:
        """Do it, listening to signals; the exit code."""
        names = {*self.config.checkpoint.stop_signals, f"SIG{self.config.slurm.warning_signal}"} - {"SIGTERM"}
        numbers = [*SIGNALS, *(signal.Signals[name] for name in names)]
        if signal.getsignal(signal.SIGHUP) is signal.SIG_IGN:  # nohup
            numbers.remove(signal.SIGHUP)
        before = {number: signal.signal(number, self._stop) for number in numbers}
        try:
            work()
        except Paused:
            return PAUSED
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)
        return DONE

    @property
    def out_of_time(self) -> bool:
        """Whether it was the warning before a time limit that stopped the work, and nothing else."""
        return set(self.stop_signals) == {signal.Signals[f"SIG{self.config.slurm.warning_signal}"]}

    def context(self, stage: Stage) -> Context:
        return Context(self.config, self.run, stage, verify=self.verify)

    def _stop(self, number: int, frame: FrameType | None) -> None:
        """A job that runs is told and waited for. Between jobs every file is whole at any instant: stop at once."""
        self.stop_signals.append(number)
        if not self._waiting:
            raise Paused

    def _walk(self, stages: Sequence[Stage], forced: int) -> None:
        redone = 0
        self.forget(stages[forced:])
        for number, stage in enumerate(stages):
            context = self.context(stage)
            reason = why_stale(context, STAGES)
            if stage.keeps and self.restart:
                reason = "asked for with --restart"
            elif number >= forced and not stage.keeps:
                reason = "asked for with --from"
            if reason is None:
                clear(context, STAGES)  # a kill can come after the seal
                continue
            if not redone and not self.restart and training_begun(self.run) and number < place("pretrain"):
                self.display.say("the training that is there keeps its checkpoints; on other data it cannot go on")
            redone += 1
            if reason != NEVER_RUN:
                self.display.say(f"{stage.name}: {reason}")
            self.do(context)
        fresh = len(stages) - redone
        if not redone:
            self.display.say(f"nothing to do: all {fresh} stages are fresh in {self.run.root}")
        elif fresh:
            self.display.say(f"{redone} stages done, {fresh} were fresh")

    def forget(self, stages: Sequence[Stage]) -> None:
        """These are to be done again, fresh or not. All at once: one whose parts were dropped has to know who wants
        them."""
        for stage in stages:
            if not stage.keeps:
                self.run.manifest(stage.name).unlink(missing_ok=True)
                self.run.plan(stage.name).unlink(missing_ok=True)

    def do(self, context: Context) -> bool:
        """Bring one stage up to date; False when it was handed over before it was sealed."""
        stage, started = context.stage, time.monotonic()
        if stage.keeps:
            if not self.restart:
                refuse_other_data(context)
            check_training(context)
            if self.restart:
                self.set_aside(stage)
        begin(context)
        self.run.manifest(stage.name).unlink(missing_ok=True)  # until it is sealed anew
        for step in stage.steps:
            pending = [task for task in range(context.tasks(step)) if not is_done(context, step, task)]
            context.receipts.forget(step.name, pending)  # one that --verify found damaged looks whole to a worker
            if not pending:
                continue
            if self.hands_over and (step.tasks or step.program):
                if step.program:
                    self.run.outcome.unlink(missing_ok=True)  # of a shorter training, for example
                self.display.say(f"{stage.name}/{step.name}: {len(pending)} of {context.tasks(step)} tasks to do")
                return False
            if step.program:
                self._run_program(context, step)
            else:
                self._run_tasks(context, step, pending)
        manifest = seal(context)
        clear(context, STAGES)
        line = stage.say(manifest)
        self.display.say(f"{stage.name}: {line}{', ' if line else ''}{time.monotonic() - started:.1f} s")
        return True

    def _run_tasks(self, context: Context, step: Step, pending: list[int]) -> None:
        """Spread the tasks over worker processes, each a range of `text2lm stage NAME/STEP --task A-B`."""
        stage, run = context.stage, self.run
        workers = min(self.config.launch.workers, len(pending))
        bounds = [len(pending) * worker // workers for worker in range(workers + 1)]
        ranges = [pending[low:high] for low, high in itertools.pairwise(bounds)]
        # -P: nothing in the directory where the user stands is imported
        verb = (sys.executable, "-P", "-m", "pipeline", "stage", f"{stage.name}/{step.name}")
        where = ("--run", str(run.root.resolve()))
        commands = tuple((*verb, *where, "--task", f"{tasks[0]}-{tasks[-1]}") for tasks in ranges)
        threads = str(max(1, (os.cpu_count() or 1) // workers))
        environment = {"OMP_NUM_THREADS": threads, "RAYON_NUM_THREADS": threads, "TOKENIZERS_PARALLELISM": "true"}
        job = Job(f"{stage.name}-{step.name}", commands, run.logs, environment=environment)
        shards = context.plan().shards if step.tasks is each_shard else []
        sizes = {task: sum(piece["bytes"] for piece in shards[task]) if shards else 1 for task in pending}
        receipts = {task: run.receipt(stage.name, step.name, task) for task in pending}
        begun = time.time()

        def look() -> tuple[float, str]:
            done = [task for task, path in receipts.items() if path.exists() and path.stat().st_mtime >= begun - 1]
            return sum(sizes[task] for task in done), f"{len(done)} of {len(pending)} tasks"

        self.wait(job, f"{stage.name}/{step.name}", sum(sizes.values()), look)

    def _run_program(self, context: Context, step: Step) -> None:
        """Start the ranks of a parallel program, wait for its outcome, and collect."""
        assert step.program
        command = step.program(context)
        self.run.outcome.unlink(missing_ok=True)
        crash = {"PYTHONFAULTHANDLER": "1"}  # one that a fault ends leaves its stack
        commands = (command,) * self.config.launch.ranks
        job = Job(context.stage.name, commands, self.run.logs, ranks=True, environment=crash)
        steps = self.config.train.steps

        log = GrowingLog(self.run.logs / f"{job.name}-0.log")

        def look() -> tuple[float, str]:
            for line in log.new_lines():
                if line.startswith(WORTH_SAYING):
                    self.display.say(f"{job.name}: {line}")
            row = last_json_line(self.run.metrics)
            if row is None:
                return 0, "starting"
            loss = "none" if row["loss"] is None else f"{row['loss']:.3f}"
            return row["step"], (
                f"step {row['step']:,} of {steps:,}, loss {loss}, {row['tokens_per_second']:,.0f} tokens/s"
            )

        self.wait(job, job.name, steps, look)
        outcome = read_json(self.run.outcome)
        if "reason" in outcome:
            raise JobError(f"{context.stage.name} paused: {outcome['reason']}")
        if outcome["outcome"] == "paused":
            saved = f"at step {outcome['step']:,}, checkpoint saved" if outcome["step"] else "before the first step"
            self.display.say(f"{context.stage.name}: paused {saved}; run again to go on")
            raise Paused
        run_task(context, step, 0)

    def wait(self, job: Job, name: str, total: float, look: Callable[[], tuple[float, str]]) -> None:
        """Submit, show progress, pass signals on; returns when the job is done, raises when it failed or was paused."""
        passed_on, next_look = 0, 0.0
        self._waiting = True
        job_id = self.launcher.submit(job)
        self.display.begin(name, total)
        try:
            while (status := self.launcher.state(job_id)).state is State.RUNNING:
                if len(self.stop_signals) > passed_on:
                    passed_on = len(self.stop_signals)
                    self.launcher.signal(job_id, signal.SIGTERM)
                if time.monotonic() >= next_look:
                    next_look = time.monotonic() + (LOOK_SECONDS if self.display.terminal else LOG_SECONDS / 2)
                    self.display.update(*look())
                time.sleep(POLL_SECONDS)
            self.display.update(*look())
        finally:
            self.display.end()
            self._waiting = False
        by_signal = status.state is State.FAILED and status.exit_code == -signal.SIGTERM  # before it could listen
        if self.stop_signals and (not job.ranks or by_signal):
            self.display.say(f"{name}: stopped by a signal; what was finished is kept, run again to go on")
            raise Paused
        # the outcome is the last thing written: a rank that fails after it lost nothing
        told = job.ranks and self.run.outcome.exists()
        if status.state is State.FAILED and not told:
            if job.ranks and status.tail and status.exit_code != IMPOSSIBLE:
                shown = [line for line in status.tail if not line.startswith((STACKS_END, *WORTH_SAYING))]
                self.display.say("\n  ".join((f"{name}: the last lines of {status.log}", *shown[-SHOWN_LINES:])))
            raise failure(name, status)

    def set_aside(self, stage: Stage) -> None:
        """Move a training out of the way under a free name. Nothing is deleted."""
        directory = self.run.stage(stage.name)
        if training_begun(self.run):
            number = 1
            while (aside := directory.with_name(f"{directory.name}.old-{number}")).exists():
                number += 1
            directory.rename(aside)
            self.display.say(f"{stage.name}: the old training is set aside as {aside}")
        elif directory.exists():
            shutil.rmtree(directory)


def place(stage: str) -> int:
    """A stage's number in the table."""
    return STAGES.index(stage_named(stage))


def failure(name: str, status: Status) -> Exception:
    """The error of a failed job, from the last lines that its process left."""
    assert status.log
    last = (status.tail or ("it left no message",))[-1].removeprefix("text2lm: ")
    if status.exit_code == IMPOSSIBLE:
        return UserError(last)
    how, last = f"exit code {status.exit_code}", error_in(status.tail) or last
    if status.exit_code < 0:
        how = f"killed by {signal.Signals(-status.exit_code).name}"
        last = "out of memory?" if status.exit_code == -signal.SIGKILL else last
    if shutil.disk_usage(status.log.parent).free < FULL_DISK_BYTES:  # a log on a full disk may have lost its last words
        last = "the disk is full; free some space and run again"
    return JobError(f"{name} failed ({how}): {last}; see {status.log}")


def error_in(lines: Sequence[str]) -> str | None:
    """The error that a traceback names; what ends a process may write more behind it.

    >>> error_in(["Traceback (most recent call last):", '  File "x.py", line 1', "KeyError: 'a'", "terminate called"])
    "KeyError: 'a'"
    """
    errors = [match[1] for line in lines[-SHOWN_LINES:] if (match := ERROR.match(line))]
    errors = errors or [line for line in lines if line.startswith(STACKS)]
    return errors[-1] if errors else None
