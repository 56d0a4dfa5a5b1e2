"""Proves, on real ranks, that a signal stops a training wherever it is, that nothing of it is lost, and that a rank
which dies or stands still takes the others with it.
"""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from signal import SIGINT, SIGKILL, SIGTERM, SIGUSR1, SIGUSR2
from typing import Any, NamedTuple

import pytest
import stalling_file
import tiny_run
from engine_runs import same_values
from worker_runs import SECONDS, Workers, changed, numbers, outcome, rows_of, step_dir, train

from data_prep.files import read_json_lines
from pretrain.checkpoint import CheckpointStore
from pretrain.settings import TrainingJob

MOMENT = 0.3  # seconds: for a step to end and what comes after it to begin
STEPS = 30


def job_of(**changes: Any) -> TrainingJob:
    """30 steps with a long validation after every tenth; dropout, so that its randomness must be repeated too."""
    settings: dict[str, Any] = {"micro_batch_size": 1, "sample_tokens": 0, "every_steps": 10, "model": {"dropout": 0.1}}
    return tiny_run.job(tokens=STEPS * 1024, **(settings | changes))


def make_run(run: Path, training: TrainingJob) -> Path:
    tiny_run.make_run(run, training)
    tiny_run.write_tokens(run / "tokens/val", "web", 800, seed=3)
    return run


class Stop(NamedTuple):
    """What a start that a signal ended has left."""

    codes: list[int]
    log: str
    outcome: dict[str, Any]
    rows: list[dict[str, Any]]
    rows_when_sent: int
    directories: list[str]  # of checkpoints
    published: int  # step of the newest checkpoint that verifies; 0: none


def stopped(
    run: Path,
    training: TrainingJob,
    when: Callable[[Workers], None],
    number: signal.Signals,
    *ranks: int,
    again: tuple[signal.Signals, ...] = (),
) -> Stop:
    """Start the ranks, and send these the signal `when` has come; then the others, again and again, to all."""
    with Workers(run, training) as workers:
        when(workers)
        workers.send(number, *ranks)
        sent = len(rows_of(run))
        while again and any(process.poll() is None for process in workers.processes):
            for other in again:
                workers.send(other)
                time.sleep(0.005)
        codes = workers.wait()
    checkpoints = run / "pretrain/checkpoints"
    newest = CheckpointStore(checkpoints, training).newest_good(print)
    directories = [path.name for path in checkpoints.glob("step-*")]
    return Stop(codes, workers.log(), outcome(run), rows_of(run), sent, directories, newest.step if newest else 0)


def listens(workers: Workers) -> None:
    """The handlers are in place: the process is a fraction of a second old."""
    workers.until(lambda: bool(caught_signals(workers.processes[0].pid) >> (SIGTERM - 1) & 1))


def caught_signals(pid: int) -> int:
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return int(next(line.split()[1] for line in lines if line.startswith("SigCgt")), 16)


def imports(workers: Workers) -> None:
    """torch is in memory, and there is more to come."""
    workers.until(lambda: "libtorch_cpu" in Path(f"/proc/{workers.processes[0].pid}/maps").read_text())


def connected(workers: Workers) -> None:
    """Rank 1 has met rank 0, and makes a model."""
    workers.until(lambda: open_sockets(workers.processes[1].pid) >= 3)


def open_sockets(pid: int) -> int:
    found = 0
    for path in Path(f"/proc/{pid}/fd").iterdir():
        with suppress(FileNotFoundError):
            found += str(path.readlink()).startswith("socket:")
    return found


def has_rows(count: int) -> Callable[[Workers], None]:
    return lambda workers: workers.until(lambda: len(rows_of(workers.run)) >= count)


def validates(step: int) -> Callable[[Workers], None]:
    """Its row comes after the validation, which takes far longer than a step."""

    def when(workers: Workers) -> None:
        has_rows(step - 1)(workers)
        time.sleep(MOMENT)
        assert len(rows_of(workers.run)) == step - 1, "the validation is over: make it longer"

    return when


def samples(workers: Workers) -> None:
    workers.until(lambda: "validation loss" in workers.log())


def saves(workers: Workers) -> None:
    """After a few steps, a checkpoint is being written."""
    has_rows(3)(workers)
    directory = workers.run / "pretrain/checkpoints"
    workers.until(lambda: any(not (path / "manifest.json").exists() for path in directory.glob("step-*[0-9]")))


def waits_for_data(server: subprocess.Popen[bytes], rows: int) -> Callable[[Workers], None]:
    """The file server has stood still for so long that all that was read before it did is trained on."""

    def when(workers: Workers) -> None:
        has_rows(rows)(workers)
        assert server.stdin
        server.stdin.write(b"stand still")
        server.stdin.flush()
        before, since = -1, 0.0

        def nothing_came() -> bool:
            nonlocal before, since
            if len(rows_of(workers.run)) != before:
                before, since = len(rows_of(workers.run)), time.monotonic()
            return time.monotonic() - since > 2

        workers.until(nothing_came)

    return when


@contextmanager
def served(path: Path) -> Iterator[subprocess.Popen[bytes]]:
    """`path`, served by a file server that can be stopped."""
    size = path.stat().st_size
    (original := path.with_suffix(".original")).write_bytes(path.read_bytes())
    path.write_bytes(b"")
    command = [sys.executable, stalling_file.__file__, str(path), str(original)]
    server = subprocess.Popen(command, stdin=subprocess.PIPE)
    try:
        while path.stat().st_size != size:
            if server.poll() is not None:
                (pytest.fail if "CI" in os.environ else pytest.skip)("a file can be served by root, with /dev/fuse")
            time.sleep(0.01)
        path.open("rb").close()  # the first close asks for a flush, and nothing kills one that waits for it
        yield server
    finally:
        server.kill()
        server.communicate()
        subprocess.run(["umount", "-l", str(path)], check=False)
        original.replace(path)


@pytest.fixture(scope="module")
def unbroken(tmp_path_factory: pytest.TempPathFactory) -> Path:
    run = make_run(tmp_path_factory.mktemp("unbroken"), job_of())
    train(run, job_of())
    return run


@pytest.fixture(scope="module")
def standing_still(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Workers]:
    """Two ranks, the second of which was stopped in the middle of its training."""
    run, job = tmp_path_factory.mktemp("still"), job_of(hang_minutes=0.5)  # longer than a start takes
    tiny_run.make_run(run, job)
    with Workers(run, job) as workers:
        has_rows(3)(workers)
        workers.send(signal.SIGSTOP, 1)
        yield workers


class Life(NamedTuple):
    run: Path
    stops: dict[str, Stop]


@pytest.fixture(scope="module")
def life(tmp_path_factory: pytest.TempPathFactory, standing_still: Workers) -> Life:
    """One training, started again after each stop; the last time it is left alone. (Others stand still meanwhile.)"""
    run = make_run(tmp_path_factory.mktemp("life"), job_of())
    job, often = job_of(), changed(job_of(), checkpoint={"every_steps": 1})
    alone = changed(job, ranks=1)  # as good as two where there is no step
    stops = {
        "listens": stopped(run, alone, listens, SIGTERM),
        "imports": stopped(run, alone, imports, SIGINT),
        "connected": stopped(run, job, connected, SIGUSR2, 0),
        "saves": stopped(run, often, saves, SIGTERM, 0, again=(SIGINT, SIGUSR1, SIGTERM)),
        "validates": stopped(run, job, validates(10), SIGUSR1, 1),
        "samples": stopped(run, changed(job, sample_tokens=600), samples, SIGINT, 0),
    }
    with served(run / "tokens/train/web-00000.bin") as server:
        stops["waits for data"] = stopped(run, job, waits_for_data(server, rows=15), SIGTERM)
    stops["validates at the end"] = stopped(run, job, validates(STEPS), SIGUSR1, 0)
    train(run, job)
    return Life(run, stops)


PHASES = ["listens", "imports", "connected", "saves", "validates", "samples", "waits for data"]


@pytest.mark.parametrize("phase", [*PHASES, "validates at the end"])
def test_a_stop_leaves_the_last_step_in_a_checkpoint_and_nothing_behind_it(life: Life, phase: str) -> None:
    stop = life.stops[phase]
    assert set(stop.codes) == {0}, stop.log
    step = len(stop.rows)
    assert stop.outcome == {"outcome": "paused", "step": step, "tokens": step * 1024}
    assert stop.published == step


@pytest.mark.parametrize("phase", ["listens", "imports", "connected"])
def test_a_stop_while_it_starts_leaves_no_checkpoint(life: Life, phase: str) -> None:
    assert life.stops[phase].outcome["step"] == 0 and not life.stops[phase].directories


def test_no_step_begins_after_a_stop(life: Life) -> None:
    """But for the one that the ranks had agreed on when the signal came."""
    for phase in ("saves", "waits for data"):
        stop = life.stops[phase]
        assert 0 < stop.rows_when_sent <= len(stop.rows) <= stop.rows_when_sent + 1
    assert [len(life.stops[phase].rows) for phase in ("validates", "samples", "validates at the end")] == [
        10,
        10,
        STEPS,
    ]


def test_a_validation_that_a_stop_cuts_short_is_made_up_for(life: Life) -> None:
    for phase in ("validates", "validates at the end"):
        assert "val_loss" not in life.stops[phase].rows[-1]
    assert "val_loss" in life.stops["samples"].rows[-1]


def test_what_the_model_was_writing_is_written_to_the_end(life: Life) -> None:
    assert [row["step"] for row in read_json_lines(life.run / "pretrain/samples.jsonl")] == [10]


def test_nothing_of_the_training_differs_from_one_that_nobody_stopped(life: Life, unbroken: Path) -> None:
    """Rows of metrics, validations among them, and the bits that it ends with."""
    assert numbers(rows_of(life.run)) == numbers(rows_of(unbroken))
    assert [row["step"] for row in rows_of(unbroken) if "val_loss" in row] == [10, 20, 30]
    assert outcome(life.run) == outcome(unbroken) == {"outcome": "done", "step": STEPS, "tokens": STEPS * 1024}
    assert same_values(step_dir(life.run, STEPS), step_dir(unbroken, STEPS))


# --- signals that do not mean stop, and ranks that do not answer


def test_a_signal_that_does_not_mean_stop_is_as_it_was_found() -> None:
    """Here ignored, as nohup ignores SIGHUP; the next test has the kernel's own way."""
    code = """
import signal
from pretrain.stop import StopRequest

signal.signal(signal.SIGUSR2, signal.SIG_IGN)
request = StopRequest()
request.install()
request.keep(["SIGUSR1"])
signal.raise_signal(signal.SIGUSR2)
print(request.requested)
signal.raise_signal(signal.SIGUSR1)
print(request.requested)
"""
    done = subprocess.run([sys.executable, "-c", code], cwd=tiny_run.ROOT, capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (0, "False\nTrue\n"), done.stderr


@pytest.mark.parametrize(("number", "rank"), [(SIGUSR2, 1), (SIGKILL, 0)])
def test_a_rank_that_dies_takes_the_other_with_it(tmp_path: Path, number: signal.Signals, rank: int) -> None:
    """Of a kill, or of a signal that is not said to mean stop: then what the kernel does with it is what happens."""
    job = job_of(checkpoint={"stop_signals": ["SIGUSR1"]})
    tiny_run.make_run(tmp_path, job)
    with Workers(tmp_path, job) as workers:
        has_rows(3)(workers)
        workers.send(number, rank)
        codes = workers.wait()
    assert (codes[rank], codes[1 - rank]) == (-number, 1), workers.log(1 - rank)
    assert not (tmp_path / "pretrain/outcome.json").exists()


def test_a_rank_that_stands_still_ends_the_other_which_says_where_it_waited(standing_still: Workers) -> None:
    assert standing_still.processes[0].wait(SECONDS) == 1
    assert re.search(r"step \d+ is not done after \d+ s, the process ends", standing_still.log())
    for stack in (standing_still.log(), (standing_still.run / "pretrain/stacks-rank-00000.txt").read_text()):
        assert "in all_reduce" in stack and "loop.py" in stack
