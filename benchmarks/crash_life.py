"""One life of the command, in processes of its own, and the blows that can end it."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

MARK = "TEXT2LM_CRASH"  # a variable of every process that a life consists of, by which they are found again
BOUND_SECONDS = 60.0  # a deadline against hanging: the machine may be busy
LIFE_SECONDS = 900.0  # the same, for a life that nobody ends
FROZEN_SECONDS = 1.0  # at most, between SIGSTOP and SIGKILL
BLOWS = ("kill-child", "kill-launcher", "kill-all", "stop-kill", "term")  # a child: a rank, or a worker on data


class Life:
    """`text2lm run ...` as a user starts it in `project`; the run directory is `run`."""

    def __init__(self, project: Path, run: Path, arguments: Sequence[str]) -> None:
        self.run = run
        self.started = time.monotonic()
        self._out, self._err = run.with_name(f"{run.name}.out"), run.with_name(f"{run.name}.err")
        command = [sys.executable, "-m", "pipeline", "run", "tiny.toml", "--run", str(run), *arguments]
        with self._out.open("wb") as out, self._err.open("wb") as err:
            self.launcher = subprocess.Popen(
                command,
                cwd=project,
                env=os.environ | {MARK: f"{run}/", "OMP_NUM_THREADS": "1"},
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=err,
                start_new_session=True,  # Ctrl-C is for the campaign
            )

    @property
    def ended(self) -> bool:
        return self.launcher.poll() is not None

    @property
    def seconds(self) -> float:
        return time.monotonic() - self.started

    @property
    def out(self) -> str:
        return self._out.read_text()

    @property
    def err(self) -> str:
        return self._err.read_text()

    def wait(self) -> int:
        """The exit code of a life that nobody ends."""
        code = self.launcher.wait(LIFE_SECONDS)
        self.until_gone()
        return code

    def children(self) -> list[int]:
        """The processes of this life without the launcher, by pid."""
        return sorted(set(processes(f"{self.run}/")) - {self.launcher.pid})

    def until_gone(self) -> list[str]:
        """Wait until no process is left; those that are past the bound are returned as command lines, and killed."""
        deadline = time.monotonic() + BOUND_SECONDS
        while time.monotonic() < deadline:
            if self.ended and not processes(f"{self.run}/"):
                return []
            time.sleep(0.01)
        left = [command_line(pid) for pid in processes(f"{self.run}/")]
        end_all(f"{self.run}/")
        self.launcher.wait()
        return left

    def strike(self, blow: str, rng: random.Random) -> str:
        """Deal a blow; who was hit."""
        launcher, children = self.launcher.pid, self.children()
        child = rng.choice(children) if children else launcher
        everyone = rng.sample([launcher, *children], 1 + len(children))
        victims = {"kill-child": [child], "kill-all": everyone}.get(blow, [launcher])
        if blow == "stop-kill":
            victims = rng.choice([[child], [launcher], everyone])
            send(victims, signal.SIGSTOP)
            time.sleep(rng.uniform(0, FROZEN_SECONDS))
        send(victims, signal.SIGTERM if blow == "term" else signal.SIGKILL)
        if len(victims) > 1:
            return "all"
        return "launcher" if victims == [launcher] else "child"


def send(pids: Sequence[int], number: int) -> None:
    for pid in pids:
        try:
            os.kill(pid, number)
        except ProcessLookupError:
            continue


def processes(mark: str) -> dict[int, str]:
    """Living processes whose mark begins so, and their marks."""
    found = {}
    for path in Path("/proc").glob("[0-9]*/environ"):
        try:
            variables = path.read_bytes().split(b"\0")
        except OSError:  # it ended, or is another user's
            continue
        for variable in variables:
            name, _, value = variable.decode(errors="replace").partition("=")
            if name == MARK and value.startswith(mark):
                found[int(path.parent.name)] = value
    return found


def end_all(mark: str) -> None:
    """Kill what an earlier, interrupted campaign left running."""
    while left := processes(mark):
        send(list(left), signal.SIGKILL)
        time.sleep(0.01)


def command_line(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace").strip()
    except OSError:
        return ""


def listens(pid: int, number: int) -> bool:
    """Whether a process has a handler for a signal: before that, no program can answer it with an exit code."""
    try:
        status = Path(f"/proc/{pid}/status").read_text()
    except OSError:
        return False
    caught = next(line.split()[1] for line in status.splitlines() if line.startswith("SigCgt"))
    return bool(int(caught, 16) >> (number - 1) & 1)


def exit_problem(life: Life, blow: str, victim: str, listened: bool, done: bool) -> str | None:
    """What is wrong with how the launcher ended, or None. `listened`: it had a handler when SIGTERM came."""
    code = life.launcher.returncode
    if done and code == 0:
        return None
    wanted = {"launcher": -signal.SIGKILL, "all": -signal.SIGKILL, "child": 1}[victim]
    if blow == "term":
        wanted = 3 if listened else -signal.SIGTERM
    if code != wanted:
        return f"exit code {code} after {blow} of {victim}, wanted {wanted}: {life.err.strip()[-500:]}"
    lines = life.err.splitlines()
    if code == 1 and not (len(lines) == 1 and lines[0].startswith("text2lm: ")):
        return f"wanted one line of error, got {life.err[-500:]!r}"
    return None
