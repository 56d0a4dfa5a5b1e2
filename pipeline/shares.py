"""An array of jobs shares the tasks of a step: each element does its own range of the tasks, then what others left.

Before it does a task an element claims it, by a file that only one can make, so that no two do the same. A claim holds
its maker's name: one that is started again takes up what it had claimed of its own range. What an element leaves undone
for good (it was killed and not started again, a task failed) the job behind the array tries once more, and names what
fails again.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import socket
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from types import FrameType

from data_prep.files import UserError, read_json, write_json
from launch.job import Job, JobError
from launch.slurm import this_job
from pipeline.runner import DONE, PAUSED, Paused, Runner
from pipeline.stage import Context, Step, each_shard, is_done, run_task

NAMED = 5  # failed tasks that a message names
TRIED_AGAIN = 100  # missing tasks that are tried once more, at most: with more of them it is no shard's trouble


@dataclass(frozen=True)
class Share:
    """The work of worker `number` of `of`, in an element that is called `element`."""

    number: int
    of: int
    element: str

    @property
    def worker(self) -> str:
        """A name of its own: two of one element must not do the same task."""
        return f"{self.element} {self.number}/{self.of}"

    def tasks(self, count: int) -> range:
        """
        >>> [list(Share(number, 3, "").tasks(7)) for number in range(3)]
        [[0, 1], [2, 3], [4, 5, 6]]
        """
        return range(count * self.number // self.of, count * (self.number + 1) // self.of)


def parse_share(text: str, element: str) -> Share:
    """`"3/16"`: the fourth of sixteen shares."""
    number, slash, of = text.partition("/")
    if not (slash and text.isascii() and number.isdecimal() and of.isdecimal() and int(number) < int(of)):
        raise UserError(f"--share {text}: wanted I/N with I below N, such as 0/16")
    return Share(int(number), int(of), element)


def element_name() -> str:
    """What stays the same when Slurm starts an element again; elsewhere a name that is nobody else's."""
    return this_job() or f"{socket.gethostname()}-{os.getpid()}"


def work_on(context: Context, step: Step, share: Share) -> int:
    """One worker process: the share's tasks, then what is left. A task that fails is recorded and passed over.

    A signal ends it after the task at hand.
    """
    signals: list[int] = []

    def stop(number: int, frame: FrameType | None) -> None:
        signals.append(number)

    signal.signal(signal.SIGTERM, stop)
    for task in _in_turn(context, step, share):
        if signals:
            return PAUSED
        if is_done(context, step, task) or not _claim(context, step, task, share.worker):
            continue
        failed = _failure(context, step, task)
        try:
            run_task(context, step, task)
            failed.unlink(missing_ok=True)
        except Exception as error:  # a shard's trouble is no reason to leave the others undone
            words = " ".join(f"{type(error).__name__}: {error}".split())
            print(f"task {task} failed: {words}", file=sys.stderr, flush=True)
            write_json(failed, {"error": words, "host": socket.gethostname(), "element": share.element})
    return DONE


def _named(context: Context, step: Step, task: int) -> str:
    """A task by its number and what it reads, for people."""
    if step.tasks is not each_shard:
        return f"task {task}"
    names = dict.fromkeys(str(piece.get("part", piece.get("name"))) for piece in context.shard(task))
    return f"task {task}, {next(iter(names))}{f' and {len(names) - 1} more' if len(names) > 1 else ''}"


def _in_turn(context: Context, step: Step, share: Share) -> Iterator[int]:
    """This share's tasks in order, then those that nobody has claimed, from the ends of the other ranges."""
    count = context.tasks(step)
    yield from share.tasks(count)
    others = [Share((share.number + ahead) % share.of, share.of, "") for ahead in range(1, share.of)]
    claims = context.run.claims(context.stage.name)
    # one listing: there are many of us
    claimed = {path.name for path in claims.iterdir()} if claims.exists() else set()
    for other in others:
        for task in reversed(other.tasks(count)):
            if _claim_path(context, step, task).name not in claimed:
                yield task


def _claim_path(context: Context, step: Step, task: int) -> Path:
    return context.run.claims(context.stage.name) / f"{step.name}-{task:05d}"


def _claim(context: Context, step: Step, task: int, worker: str) -> bool:
    """Whether the task is this worker's to do. Exclusive creation holds on network file systems, too."""
    path = _claim_path(context, step, task)
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        with path.open("x") as file:
            file.write(worker)
        return True
    except FileExistsError:
        return path.read_text() == worker


def _failure(context: Context, step: Step, task: int) -> Path:
    return context.run.receipt(context.stage.name, step.name, task).with_suffix(".failed.json")


def share_out(runner: Runner, context: Context, step: Step, share: Share, workers: int) -> None:
    """One element: its share, by worker processes. Raises `Paused` when a signal stopped it."""
    stage, run = context.stage, context.run
    name = f"{stage.name}/{step.name}"
    verb = (sys.executable, "-P", "-m", "pipeline", "stage", name, "--run", str(run.root.resolve()))
    each = [f"{share.number * workers + worker}/{share.of * workers}" for worker in range(workers)]
    commands = tuple((*verb, "--share", part, "--element", share.element) for part in each)
    threads = {"OMP_NUM_THREADS": "1", "RAYON_NUM_THREADS": "1", "TOKENIZERS_PARALLELISM": "true"}
    job = Job(f"{stage.name}-{step.name}-{share.element}", commands, run.logs / "slurm", environment=threads)
    own = share.tasks(context.tasks(step))

    def done() -> int:
        """Of its own range: many elements that listed all receipts would ask much of a file system."""
        return sum(run.receipt(stage.name, step.name, task).exists() for task in own)

    def look() -> tuple[float, str]:
        return (count := done()), f"{count} of its own {len(own)} tasks"

    before = done()
    try:
        runner.wait(job, name, len(own), look)
        for number in range(workers):  # with nothing to say, as nearly all
            if not (log := job.log_directory / f"{job.name}-{number}.log").stat().st_size:
                log.unlink()
    except Paused:
        if runner.out_of_time and before == done() < len(own):
            raise JobError(f"{name}: no task was finished within the time limit; ask for more: slurm.time") from None
        raise
    mine = [task for task, row in failures(context, step).items() if row["element"] == share.element]
    if mine:
        raise JobError(f"{name}: {in_words(context, step, mine)}")


def failures(context: Context, step: Step) -> dict[int, dict[str, str]]:
    """The tasks that failed and were not done since, with what they failed of."""
    paths = context.run.receipts(context.stage.name).glob(f"{step.name}-*.failed.json")
    found = {int(path.name.removeprefix(f"{step.name}-").partition(".")[0]): read_json(path) for path in paths}
    return dict(sorted(found.items()))


def in_words(context: Context, step: Step, tasks: list[int]) -> str:
    """Which tasks are missing, and why as far as they said."""
    said = failures(context, step)
    named = [
        f"{_named(context, step, task)} ({said[task]['error'] if task in said else 'it left no word'})"
        for task in tasks[:NAMED]
    ]
    more = f" and {len(tasks) - NAMED} more" if len(tasks) > NAMED else ""
    return f"{len(tasks)} of {context.tasks(step)} tasks are missing: {', '.join(named)}{more}"


def complete(runner: Runner, context: Context, step: Step) -> None:
    """After an array: what its elements left undone is tried once more, here. `JobError` names what stays undone."""

    def missing() -> list[int]:
        return [task for task in range(context.tasks(step)) if not is_done(context, step, task)]

    name = f"{context.stage.name}/{step.name}"
    shutil.rmtree(context.run.claims(context.stage.name), ignore_errors=True)  # the elements have ended
    if not (before := missing()):
        return
    if len(before) <= TRIED_AGAIN:
        runner.display.say(f"{name}: {in_words(context, step, before)}; once more, here")
        with contextlib.suppress(JobError):  # said below, of all tasks
            workers = min(runner.config.launch.workers, len(before))
            share_out(runner, context, step, Share(0, 1, element_name()), workers)
    if left := missing():
        raise JobError(f"{name}: {in_words(context, step, left)}; see {context.run.logs}/slurm")
