"""Proves, on real processes that hang, that a hang leaves its stack and ends the process."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import tiny_run

# A worker in short; each test says what its steps do
WORKER = """
import sys, time
from pathlib import Path
from pretrain import watchdog
from pretrain.watchdog import Watchdog

watchdog.FLOOR_SECONDS, watchdog.LOOK_SECONDS, watchdog.GRACE_SECONDS = 0.3, 0.05, 0.5
watchdog.WAITING_SECONDS = 1.0
dog = Watchdog(Path(sys.argv[1]), factor=5, limit_seconds=float(sys.argv[2]), say=lambda line: print(line, flush=True))

def reads_a_dead_disk(seconds):
    time.sleep(seconds)

def quick_steps():
    for number in range(1, 7):
        with dog.step(number):
            time.sleep(0.01)
"""


def work(stacks: Path, code: str, limit_seconds: float) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", WORKER + code, str(stacks), str(limit_seconds)],
        cwd=tiny_run.ROOT,
        capture_output=True,
        text=True,
        timeout=60,
    )


def test_a_slow_step_leaves_its_stack_once_and_the_work_goes_on(tmp_path: Path) -> None:
    stacks = tmp_path / "stacks.txt"
    code = """
quick_steps()
with dog.step(7):
    reads_a_dead_disk(1)
with dog.step(8):
    time.sleep(0.01)
print("trained")
"""
    done = work(stacks, code, limit_seconds=60)
    assert done.returncode == 0, done.stderr
    said, trained = done.stdout.splitlines()
    assert said.startswith("step 7 takes long") and str(stacks) in said and trained == "trained"
    found = stacks.read_text()
    assert found.count("in reads_a_dead_disk") == 1  # the stack of the main thread, once
    assert "step 7" in found and "step 8" not in found


def test_first_steps_may_take_their_time(tmp_path: Path) -> None:
    """They compile, and there is nothing to compare them with."""
    done = work(tmp_path / "stacks.txt", "with dog.step(1):\n    reads_a_dead_disk(0.6)", limit_seconds=60)
    assert done.returncode == 0 and not done.stdout
    assert (tmp_path / "stacks.txt").read_text() == ""


def test_work_past_the_bound_ends_the_process(tmp_path: Path) -> None:
    stacks = tmp_path / "stacks.txt"
    done = work(stacks, "with dog.watch('saving'):\n    reads_a_dead_disk(50)", limit_seconds=1)
    assert done.returncode == 1
    assert done.stdout.startswith("saving is not done after") and str(stacks) in done.stdout
    assert "in reads_a_dead_disk" in stacks.read_text()


def test_one_who_waits_for_others_lets_them_speak_first(tmp_path: Path) -> None:
    done = work(
        tmp_path / "stacks.txt", "with dog.watch('x', waiting=True):\n    reads_a_dead_disk(50)", limit_seconds=1
    )
    assert done.returncode == 1
    found = re.match(r"x is not done after (\d+) s", done.stdout)
    assert found and int(found[1]) >= 2


def test_a_full_disk_does_not_keep_it_from_ending_the_process(tmp_path: Path) -> None:
    done = work(Path("/dev/full"), "with dog.watch('saving'):\n    reads_a_dead_disk(50)", limit_seconds=1)
    assert done.returncode == 1
    assert done.stdout.startswith("saving is not done after")
    assert "in reads_a_dead_disk" in done.stderr


def test_so_does_work_that_holds_the_interpreters_lock(tmp_path: Path) -> None:
    """No other Python thread runs while a regular expression searches for the end of time."""
    stacks = tmp_path / "stacks.txt"
    code = """
import re
def matches_for_ever():
    re.match(r"(a+)+$", "a" * 64 + "b")

with dog.step(1):
    matches_for_ever()
"""
    done = work(stacks, code, limit_seconds=1)
    assert done.returncode == 1 and not done.stdout
    assert "in matches_for_ever" in stacks.read_text()


def test_a_step_that_fails_is_not_watched_any_longer(tmp_path: Path) -> None:
    code = """
try:
    with dog.step(1):
        raise UserWarning
except UserWarning:
    time.sleep(2)
"""
    assert work(tmp_path / "stacks.txt", code, limit_seconds=1).returncode == 0
