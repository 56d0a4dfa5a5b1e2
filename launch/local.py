"""Processes on this machine.

Each process leads a session of its own, so Ctrl-C in the terminal reaches only the command that the user typed, which
passes it on as it sees fit. And each dies with that command, whatever kills it, so a run directory never has two
writers: `python -m launch.local PARENT COMMAND...` binds itself to the parent, then becomes the command.
"""

from __future__ import annotations

import ctypes
import os
import signal
import socket
import subprocess
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO

from launch.job import Job, JobId, State, Status

PR_SET_PDEATHSIG = 1  # prctl(2)
GRACE_SECONDS = 5.0  # from the first failure to SIGKILL for the rest
LINGER_SECONDS = 120.0  # from the first rank that is done to SIGKILL for the rest: some hang while they exit
TAIL_BYTES, TAIL_LINES = 1 << 16, 200  # of a log: room for the stacks of every thread


def rank_environment(rank: int, ranks: int, port: int) -> dict[str, str]:
    """The variables that tell a rank of a one-machine job its place (torch.distributed's names)."""
    return {
        "RANK": str(rank),
        "LOCAL_RANK": str(rank),
        "WORLD_SIZE": str(ranks),
        "LOCAL_WORLD_SIZE": str(ranks),
        "MASTER_ADDR": "127.0.0.1",
        "MASTER_PORT": str(port),
        "GLOO_SOCKET_IFNAME": "lo",
    }


@dataclass
class _Processes:
    job: Job
    processes: list[subprocess.Popen[bytes]] = field(default_factory=list)
    log_starts: list[int] = field(default_factory=list)  # logs are appended to: where this job's part begins
    failed: list[int] = field(default_factory=list)  # those that failed by themselves, before the others were told
    failed_at: float = 0.0
    done_at: float | None = None  # when the first was done


class LocalLauncher:
    """Starts a job's processes here. `state` must be called now and then: it is what ends a job one of whose processes
    failed."""

    def __init__(self) -> None:
        self._jobs: dict[JobId, _Processes] = {}

    def submit(self, job: Job) -> JobId:
        job.log_directory.mkdir(parents=True, exist_ok=True)
        running = _Processes(job)
        job_id = f"{job.name}-{len(self._jobs)}"
        self._jobs[job_id] = running
        port = free_port() if job.ranks else 0
        for number, command in enumerate(job.commands):
            environment = dict(os.environ) | dict(job.environment)
            if job.ranks:
                environment |= rank_environment(number, len(job.commands), port)
            with self._log(job, number).open("ab") as log:
                running.log_starts.append(log.tell())
                running.processes.append(start(command, environment, log))
        return job_id

    def state(self, job_id: JobId) -> Status:
        running = self._jobs[job_id]
        codes = [process.poll() for process in running.processes]
        if not running.failed:
            running.failed = [number for number, code in enumerate(codes) if code]
            if running.failed:
                running.failed_at = time.monotonic()
                self.signal(job_id, signal.SIGTERM)
        elif time.monotonic() - running.failed_at > GRACE_SECONDS:
            self.signal(job_id, signal.SIGKILL)
        if running.job.ranks and 0 in codes:
            running.done_at = running.done_at or time.monotonic()
            if time.monotonic() - running.done_at > LINGER_SECONDS:
                self.signal(job_id, signal.SIGKILL)
        if None in codes:
            return Status(State.RUNNING)
        if not running.failed:
            return Status(State.DONE)
        culprit, speaker = self._culprit(running)
        code = running.processes[culprit].returncode
        return Status(State.FAILED, code, self._log(running.job, speaker), self._tail(running, speaker))

    def signal(self, job_id: JobId, number: int) -> None:
        for process in self._jobs[job_id].processes:
            if process.poll() is None:
                process.send_signal(number)

    def _culprit(self, running: _Processes) -> tuple[int, int]:
        """The process that the others failed for, and the one that says why: ranks that lose one of them say so, all
        within a moment.

        The first to fall silent, then: what the others say of it comes later. One that ended with a code and without a
        word left it to another to say why, which may have been told to end while it did; one that a signal killed had
        no time for words.
        """
        codes = [process.returncode for process in running.processes]
        alone = [number for number, code in enumerate(codes) if code > 0 or number in running.failed]
        told = [number for number in alone if codes[number] < 0 or self._tail(running, number)]
        if not told:
            others = [number for number in range(len(codes)) if self._tail(running, number)]
            return alone[0], (others or alone)[0]
        first = min(told, key=lambda number: self._log(running.job, number).stat().st_mtime_ns)
        return first, first

    def _tail(self, running: _Processes, number: int) -> tuple[str, ...]:
        with self._log(running.job, number).open("rb") as log:
            end = log.seek(0, os.SEEK_END)
            log.seek(max(running.log_starts[number], end - TAIL_BYTES))
            return tuple(log.read().decode(errors="replace").strip().splitlines()[-TAIL_LINES:])

    @staticmethod
    def _log(job: Job, number: int) -> Path:
        return job.log_directory / f"{job.name}-{number}.log"


def start(command: tuple[str, ...], environment: dict[str, str], log: IO[bytes]) -> subprocess.Popen[bytes]:
    """One process in a session of its own, bound to this one's life, its output in `log`."""
    # -P: a launch.py in the directory where the user stands must not win
    bound = [sys.executable, "-P", "-m", "launch.local", str(os.getpid()), *command]
    return subprocess.Popen(
        bound, stdin=subprocess.DEVNULL, stdout=log, stderr=subprocess.STDOUT, env=environment, start_new_session=True
    )


def free_port() -> int:
    """A TCP port that nobody listens on at this moment."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


def become(parent: int, command: list[str]) -> None:
    """Ask the kernel to kill this process when its parent ends, then replace it by the command."""
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:  # it ended before we asked
        os.kill(os.getpid(), signal.SIGKILL)
    os.execvp(command[0], command)


if __name__ == "__main__":
    become(int(sys.argv[1]), sys.argv[2:])
