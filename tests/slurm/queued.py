"""A run in the test cluster's queue: its jobs, the ranks of its training, and what it must be equal to."""

from __future__ import annotations

import os
import shutil
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from subprocess import CompletedProcess, Popen
from typing import Any

from data_prep.files import read_json, read_json_lines
from tests.conftest import TINY_CONFIG, contents, start_text2lm, text2lm
from tests.slurm.cluster import ENDED, Cluster, ask

SECONDS = 300  # that nothing here may take, however busy the machine is
STEPS, SAVED_EVERY = 100, 20
SLURM_CONFIG = """
[slurm]
elements = 2
cpus = 2
cpus_per_rank = 1
ranks_per_node = 1
poll_seconds = 0.5
environment = {OMP_NUM_THREADS = "1"}
[wandb]
mode = "disabled"
"""
CONFIG = TINY_CONFIG + SLURM_CONFIG
for old, new in (
    ("tokens = 20_480", f"tokens = {STEPS * 1024}"),
    ("every_steps = 10", "every_steps = 50"),
    ("every_steps = 8", f"every_steps = {SAVED_EVERY}"),
    ("val_fraction = 0.05", "val_fraction = 0.02"),
):
    assert old in CONFIG
    CONFIG = CONFIG.replace(old, new)
NUMBERS = ("step", "loss", "lr", "grad_norm", "tokens", "skipped", "val_loss", "val")  # in metrics.jsonl
WORKER = "pretrain.worker"


def numbers(run: Path) -> list[dict[str, Any]]:
    """The rows of a training, without what tells the time or the machine."""
    rows = read_json_lines(run / "pretrain" / "metrics.jsonl")
    return [{name: row.get(name) for name in NUMBERS} for row in rows]


def weights(run: Path) -> dict[str, bytes]:
    """What every rank saved last: weights and optimizer states."""
    return {path: data for path, data in contents(run, "pretrain").items() if path.endswith(".safetensors")}


def processes(*words: str) -> Iterator[tuple[int, dict[str, str]]]:
    """(pid, environment) of every Python process on this machine, its nodes included, that has these arguments."""
    for process in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            program, *arguments = (process / "cmdline").read_bytes().decode(errors="replace").split("\0")
            if "python" in program and all(word in arguments for word in words):
                pairs = (process / "environ").read_bytes().decode(errors="replace").split("\0")
                yield int(process.name), dict(pair.split("=", 1) for pair in pairs if "=" in pair)


def until(condition: Callable[[], Any], what: str) -> Any:
    """The first true answer."""
    deadline = time.monotonic() + SECONDS
    while not (answer := condition()):
        assert time.monotonic() < deadline, f"{what}: not within {SECONDS} s"
        time.sleep(0.01)
    return answer


def stop(found: dict[int, int]) -> dict[int, int]:
    """Stop these processes without a word to them; they are returned."""
    for pid in found.values():
        os.kill(pid, signal.SIGSTOP)
    return found


def go_on(stopped: dict[int, int], *, told: bool = False) -> None:
    """`told`: once they have been told to end."""
    for pid in stopped.values():
        if told:
            until(lambda pid=pid: is_told_to_end(pid), f"SIGTERM for process {pid}")
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGCONT)


class Queued:
    """A run of `tiny.toml` in the directory `name` beside it, whose data are prepared unless it begins with nothing."""

    def __init__(self, cluster: Cluster, project: Path, name: str, *settings: str, data: bool = True) -> None:
        self.cluster, self.project, self.root = cluster, project, project / name
        self.settings = [word for setting in settings for word in ("--set", setting)]
        if data:
            shutil.copytree(project / "data", self.root)

    def command(self, *more: str, until: str = "pretrain") -> list[str]:
        return ["run", "tiny.toml", "--run", self.root.name, "--until", until, "--on", "slurm", *self.settings, *more]

    def run(self, *more: str, until: str = "pretrain", code: int | None = 0) -> CompletedProcess[str]:
        return text2lm(self.project, *self.command(*more, until=until), code=code)

    def submit(self, *more: str, until: str = "pretrain") -> None:
        self.run("--detach", *more, until=until)

    def start(self, *more: str, until: str = "pretrain") -> Popen[str]:
        """The command, which waits for its jobs."""
        return start_text2lm(self.project, *self.command(*more, until=until))

    def jobs(self) -> dict[str, str]:
        """Name -> id of the last submission."""
        path = self.root / "slurm" / "submission.json"
        return {job["name"]: job["id"] for job in read_json(path)["jobs"]} if path.exists() else {}

    def job(self, name: str = "pretrain-train") -> dict[str, str]:
        """What Slurm says of it."""
        return self.cluster.job(self.jobs()[name])

    def log(self, name: str = "pretrain-train") -> str:
        (path,) = (self.root / "logs" / "slurm").glob(f"*.{name}_{self.jobs()[name]}.log")
        return path.read_text()

    def attempts(self, event: str = "end") -> list[dict[str, Any]]:
        path = self.root / "slurm" / "attempts.jsonl"
        return [row for row in read_json_lines(path) if row["event"] == event] if path.exists() else []

    def ranks(self) -> dict[int, int]:
        """The process of each rank that runs now."""
        found = processes(WORKER, str(self.root.resolve()))
        return {int(place.get("RANK", place["SLURM_PROCID"])): pid for pid, place in found}

    def stop_ranks(self, step: int = SAVED_EVERY, *which: int) -> dict[int, int]:
        """Let the training save a step and stop it soon after, without a word to it: it takes no time of the machine
        while Slurm's own clocks go."""
        saved = self.root / "pretrain" / "checkpoints" / f"step-{step:08d}" / "manifest.json"
        until(saved.exists, f"the checkpoint of step {step} of {self.root.name}")
        stopped = stop({rank: pid for rank, pid in self.ranks().items() if rank in which or not which})
        assert len(numbers(self.root)) < STEPS, "the training was done before it could be stopped"
        return stopped

    def warn(self) -> None:
        """What Slurm sends before the time limit."""
        ask("scancel", "--batch", "--signal=USR1", self.jobs()["pretrain-train"])

    def wait_for_restart(self) -> None:
        until(lambda: self.job()["Restarts"] != "0", f"{self.root.name} queued again")

    def wait_for_end(self, name: str = "pretrain-train-gather") -> dict[str, str]:
        until(lambda: self.job(name)["JobState"] in ENDED, f"the end of {name} of {self.root.name}")
        return self.job(name)

    def assert_ended_as(self, unbroken: Path) -> None:
        """Trained to the same bits, and nothing behind the training began before its end."""
        assert self.wait_for_end()["JobState"] == "COMPLETED", self.log()
        train, gather = self.job(), self.job("pretrain-train-gather")
        assert train["JobState"] == "COMPLETED" and train["EndTime"] <= gather["StartTime"]
        assert numbers(self.root) == numbers(unbroken)
        assert weights(self.root) == weights(unbroken) != {}


def is_told_to_end(pid: int) -> bool:
    """Whether SIGTERM waits for a stopped process, or has ended it."""
    try:
        status = Path(f"/proc/{pid}/status").read_text()
    except FileNotFoundError:
        return True
    waiting = (int(line.split()[1], 16) for line in status.splitlines() if line.startswith(("SigPnd", "ShdPnd")))
    return any(mask >> (signal.SIGTERM - 1) & 1 for mask in waiting)
