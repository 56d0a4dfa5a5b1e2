"""Walks the stages: skips what is fresh, does what is stale, stops where a signal or an error says so."""

from __future__ import annotations

import itertools
import os
import shutil
import signal
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from types import FrameType

from data_prep.files import UserError, last_json_line, read_json
from launch.job import Job, Launcher, State, Status
from pipeline.config import RunConfig, save_config
from pipeline.model_steps import refuse_other_data, refuse_other_settings, training_begun
from pipeline.progress import ProgressDisplay
from pipeline.run_dir import RunDir
from pipeline.stage import NEVER_RUN, Context, Stage, Step, begin, is_done, run_task, seal, why_stale
from pipeline.stages import STAGES, stage_named

DONE, PAUSED = 0, 3
POLL_SECONDS = 0.05
FULL_DISK_BYTES = 1 << 20
SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGUSR1)


class RunError(Exception):
    """Work that failed while running: exit code 1, one line that names the log."""


class Paused(Exception):  # noqa: N818 (no error)
    """A signal ended the work; what was finished is kept."""


@dataclass
class Runner:
    """One `text2lm run`."""

    config: RunConfig
    run: RunDir
    launcher: Launcher
    display: ProgressDisplay
    verify: bool = False
    restart: bool = False
    stop_signals: list[int] = field(default_factory=list)  # received so far

    def __call__(self, first: str | None = None, until: str | None = None) -> int:
        """Bring every stage up to date, from the first to `until`; from `first` on, fresh or not."""
        names = [stage.name for stage in STAGES]
        last = names.index(stage_named(until).name) if until else len(names) - 1
        forced = names.index(stage_named(first).name) if first else len(names)
        if first == "pretrain" and not self.restart:
            raise UserError("--from pretrain would train again: add --restart, which sets the old training aside")
        with self.run.lock():
            if "pretrain" in names[: last + 1] and not self.restart:
                refuse_other_settings(self.context(stage_named("pretrain")))
            save_config(self.config, self.run.config)
            return self._until_paused(lambda: self._walk(STAGES[: last + 1], forced))

    def train(self, context: Context, step: Step) -> int:
        """Run a parallel program alone, by hand."""
        return self._until_paused(lambda: self._run_program(context, step))

    def update(self, stage: Stage) -> None:
        """Bring one stage up to date; what it needs must be."""
        context = self.context(stage)
        if why_stale(context):
            self._do(context)

    def _until_paused(self, work: Callable[[], None]) -> int:
        for number in SIGNALS:
            signal.signal(number, self._stop)
        try:
            work()
        except Paused:
            return PAUSED
        return DONE

    def context(self, stage: Stage) -> Context:
        return Context(self.config, self.run, stage, verify=self.verify)

    def _stop(self, number: int, frame: FrameType | None) -> None:
        self.stop_signals.append(number)

    def _walk(self, stages: Sequence[Stage], forced: int) -> None:
        redone = 0
        for number, stage in enumerate(stages):
            if self.stop_signals:
                raise Paused
            context = self.context(stage)
            if stage.keeps and self.restart:
                self._set_aside(stage)
            reason = why_stale(context)
            if number >= forced and not stage.keeps:
                reason = "asked for with --from"
                self.run.manifest(stage.name).unlink(missing_ok=True)
                self.run.plan(stage.name).unlink(missing_ok=True)
            if reason is None:
                continue
            redone += 1
            if reason != NEVER_RUN:
                self.display.say(f"{stage.name}: {reason}")
            self._do(context)
        fresh = len(stages) - redone
        if not redone:
            self.display.say(f"nothing to do: all {fresh} stages are fresh in {self.run.root}")
        elif fresh:
            self.display.say(f"{redone} stages done, {fresh} were fresh")

    def _do(self, context: Context) -> None:
        stage, started = context.stage, time.monotonic()
        if stage.name == "pretrain":
            refuse_other_data(context)
        begin(context)
        for step in stage.steps:
            pending = [task for task in range(context.tasks(step)) if not is_done(context, step, task)]
            if not pending:
                continue
            if step.program:
                self._run_program(context, step)
            else:
                self._run_tasks(context, step, pending)
        manifest = seal(context)
        line = stage.say(manifest)
        self.display.say(f"{stage.name}: {line}{', ' if line else ''}{time.monotonic() - started:.1f} s")

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
        shards = context.plan().shards
        sizes = {task: sum(piece["bytes"] for piece in shards[task]) if step.each_shard else 1 for task in pending}
        receipts = {task: run.receipt(stage.name, step.name, task) for task in pending}
        begun = time.time()

        def look() -> tuple[float, str]:
            done = [task for task, path in receipts.items() if path.exists() and path.stat().st_mtime >= begun - 1]
            return sum(sizes[task] for task in done), f"{len(done)} of {len(pending)} tasks"

        self._wait(job, f"{stage.name}/{step.name}", sum(sizes.values()), look)

    def _run_program(self, context: Context, step: Step) -> None:
        """Start the ranks of a parallel program, wait for its outcome, and collect."""
        assert step.program
        command = step.program(context)
        self.run.outcome.unlink(missing_ok=True)
        job = Job(context.stage.name, (command,) * self.config.launch.ranks, self.run.logs, ranks=True)
        steps = self.config.train.steps

        def look() -> tuple[float, str]:
            row = last_json_line(self.run.metrics)
            if row is None:
                return 0, "starting"
            return row["step"], (
                f"step {row['step']:,} of {steps:,}, loss {row['loss']:.3f}, {row['tokens_per_second']:,.0f} tokens/s"
            )

        self._wait(job, context.stage.name, steps, look)
        outcome = read_json(self.run.outcome)
        if outcome["outcome"] == "paused":
            self.display.say(
                f"{context.stage.name}: paused at step {outcome['step']:,}, checkpoint saved; run again to go on"
            )
            raise Paused
        run_task(context, step, 0)

    def _wait(self, job: Job, name: str, total: float, look: Callable[[], tuple[float, str]]) -> None:
        """Submit, show progress, pass signals on; returns when the job is done, raises when it failed or was paused."""
        job_id = self.launcher.submit(job)
        passed_on, next_look = 0, 0.0
        self.display.begin(name, total)
        try:
            while (status := self.launcher.state(job_id)).state is State.RUNNING:
                if len(self.stop_signals) > passed_on:
                    passed_on = len(self.stop_signals)
                    self.launcher.signal(job_id, signal.SIGTERM)
                if time.monotonic() >= next_look:
                    next_look = time.monotonic() + 0.5
                    self.display.update(*look())
                time.sleep(POLL_SECONDS)
        finally:
            self.display.end()
        if self.stop_signals and not job.ranks:
            self.display.say(f"{name}: stopped by a signal; finished tasks are kept, run again to go on")
            raise Paused
        if status.state is State.FAILED:
            raise failure(name, status)
        if self.stop_signals and not self.run.outcome.exists():
            raise Paused

    def _set_aside(self, stage: Stage) -> None:
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


def failure(name: str, status: Status) -> Exception:
    """The error of a failed job, from the last line that its process left."""
    assert status.log
    lines = status.log.read_text(errors="replace").strip().splitlines()
    last = lines[-1].removeprefix("text2lm: ") if lines else "it left no message"
    if shutil.disk_usage(status.log.parent).free < FULL_DISK_BYTES:  # a log on a full disk may have lost its last words
        last = "the disk is full; free some space and run again"
    if status.exit_code == 2:
        return UserError(last)
    how = f"exit code {status.exit_code}"
    if status.exit_code < 0:
        how = f"killed by {signal.Signals(-status.exit_code).name}"
        last = "out of memory?" if status.exit_code == -signal.SIGKILL else last
    return RunError(f"{name} failed ({how}): {last}; see {status.log}")


def run_by_hand(runner: Runner, name: str, step_name: str | None, tasks: range | None) -> int:
    """`text2lm stage`: the tasks of one step (those without a valid receipt), or the seal (`tasks` None).

    Takes no lock, since many batch jobs work on one stage; a parallel program takes it. The shard plan is written if
    there is none; one that was made for something else is refused, since other jobs may be at work on it.
    """
    context = runner.context(stage_named(name))
    if not runner.run.plan(name).exists():
        begin(context)
    elif context.plan().key != context.key():
        raise UserError(
            f"the shard plan of {name} was made for other settings or inputs; "
            f"bring it up to date: text2lm run CONFIG --run {runner.run.root} --until {name}"
        )
    if tasks is None:
        seal(context)
        return DONE
    step = context.stage.step(step_name)
    if tasks.stop > context.tasks(step):
        raise UserError(f"{name}/{step.name} has the tasks 0 to {context.tasks(step) - 1}, got {tasks.stop - 1}")
    if step.program:
        with runner.run.lock():
            return runner.train(context, step)
    for task in tasks:
        if not is_done(context, step, task):
            run_task(context, step, task)
    return DONE
