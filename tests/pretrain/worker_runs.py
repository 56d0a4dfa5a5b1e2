"""Ranks of a real training (`python -m pretrain.worker`), and what they leave in its run directory."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import tiny_run

from data_prep.files import read_json_lines, write_json
from pretrain.settings import TrainingJob

SECONDS = 300  # that nothing here may take, however busy the machine is


class Workers:
    """The ranks of the training in `run`, their output in files, so that it can be read while they run."""

    def __init__(self, run: Path, training: TrainingJob) -> None:
        """`training` becomes the run's job: how it is run may differ from one start to the next."""
        self.run = run
        write_json(run / "pretrain/started.json", training.to_json())
        address = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(tiny_run.free_port()), "OMP_NUM_THREADS": "1"}
        self.logs = [run / f"rank-{rank}.log" for rank in range(training.ranks)]
        self.processes = []
        for rank, log in enumerate(self.logs):
            place = dict(zip(tiny_run.TORCHRUN, map(str, (rank, rank, training.ranks, training.ranks)), strict=True))
            with log.open("wb") as file:
                self.processes.append(
                    subprocess.Popen(
                        [sys.executable, "-m", "pretrain.worker", "--run", str(run)],
                        cwd=tiny_run.ROOT,
                        env=os.environ | address | place,
                        stdout=file,
                        stderr=subprocess.STDOUT,
                    )
                )

    def log(self, rank: int = 0) -> str:
        return self.logs[rank].read_text()

    def send(self, number: signal.Signals, *ranks: int) -> None:
        """To these ranks; to all, when none is named."""
        for rank in ranks or range(len(self.processes)):
            self.processes[rank].send_signal(number)

    def until(self, condition: Callable[[], bool]) -> None:
        """Wait for it while they run."""
        deadline = time.monotonic() + SECONDS
        while not condition():
            assert time.monotonic() < deadline, self.logs_in_short()
            assert all(process.poll() is None for process in self.processes), self.logs_in_short()
            time.sleep(0.002)

    def wait(self) -> list[int]:
        """Exit codes."""
        return [process.wait(SECONDS) for process in self.processes]

    def __enter__(self) -> Workers:
        return self

    def __exit__(self, *exception: object) -> None:
        for process in self.processes:
            process.kill()
        for process in self.processes:
            process.wait(SECONDS)

    def logs_in_short(self) -> str:
        return "\n".join(f"rank {rank}:\n{self.log(rank)[-3000:]}" for rank in range(len(self.logs)))


def train(run: Path, training: TrainingJob) -> str:
    """Train to the end; returns rank 0's log."""
    with Workers(run, training) as workers:
        assert set(workers.wait()) == {0}, workers.logs_in_short()
    return workers.log()


def changed(
    training: TrainingJob, *, ranks: int | None = None, checkpoint: dict[str, Any] | None = None, **train: Any
) -> TrainingJob:
    """The same training, run in another way."""
    return replace(
        training,
        ranks=ranks or training.ranks,
        checkpoint=replace(training.checkpoint, **(checkpoint or {})),
        train=replace(training.train, **train),
    )


def rows_of(run: Path) -> list[dict[str, Any]]:
    return read_json_lines(run / "pretrain/metrics.jsonl")


TIMES = ("tokens_per_second", "mfu", "step_seconds", "data_seconds", "memory_bytes")


def numbers(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """What a resume must repeat: all that does not tell the time or the machine."""
    return [{key: value for key, value in row.items() if key not in TIMES} for row in rows]


def outcome(run: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((run / "pretrain/outcome.json").read_text())
    return found


def step_dir(run: Path, step: int) -> Path:
    return run / f"pretrain/checkpoints/step-{step:08d}"
