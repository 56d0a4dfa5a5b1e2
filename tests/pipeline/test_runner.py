"""Proves what `text2lm run` hears from the ranks of a training, says of it and to whom, and how it ends.

The ranks are real processes of a launcher; instead of training they run a few lines of Python.
"""

from __future__ import annotations

import io
import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from data_prep.files import UserError
from launch.job import JobError
from launch.local import LocalLauncher
from pipeline import runner as runner_module
from pipeline.config import load_config
from pipeline.progress import ProgressDisplay
from pipeline.run_dir import RunDir
from pipeline.runner import PAUSED, Runner
from pipeline.stage import Result, Step
from pipeline.stages import stage_named

# what a rank may do; `outcome(...)` is what training leaves last
PRELUDE = """
import json, os, pathlib, signal, sys, time
run = pathlib.Path(sys.argv[1])
rank = int(os.environ["RANK"])
def say(line):
    print(line, flush=True)
def wait_for(condition):
    deadline = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.01)
def outcome(**facts):
    (run / "pretrain").mkdir(exist_ok=True)
    draft = run / "pretrain" / f"draft-{rank}"
    draft.write_text(json.dumps(facts))
    draft.rename(run / "pretrain" / "outcome.json")
"""
UNTIL_TOLD = """
told = []
for number in range(1, 32):
    if number not in (signal.SIGKILL, signal.SIGSTOP):
        signal.signal(number, lambda number, frame: told.append(number))
(run / f"listening-{rank}").touch()
wait_for((run / f"listening-{1 - rank}").exists)
say("resumed from step-00000008")
wait_for(lambda: told)
say(f"told {told}")
if rank == 0:
    outcome(outcome="paused", step=9)
"""


class Screen(io.StringIO):
    """What the user sees; `on_line` is called while the command runs, when a line has the words."""

    def __init__(self, words: str = "", on_line: Callable[[], None] = lambda: None) -> None:
        super().__init__()
        self.words, self.on_line = words, on_line

    def write(self, text: str) -> int:
        written = super().write(text)
        if self.words and self.words in text:
            self.on_line()
        return written


@pytest.fixture
def train(project: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., int]:
    """Run two ranks of a program as a training, on a screen."""
    monkeypatch.setattr(runner_module, "check_training", lambda context: None)  # of data that are not there

    def run(program: str, screen: Screen, *sets: str) -> int:
        config, directory = load_config(project / "tiny.toml", sets), RunDir(project / "run")
        runner = Runner(config, directory, LocalLauncher(), ProgressDisplay(screen))
        command = (sys.executable, "-c", PRELUDE + program, str(directory.root))
        step = Step("train", run=lambda context, task: Result([]), program=lambda context: command)
        return runner.train(runner.context(stage_named("pretrain")), step)

    return run


def test_what_the_user_must_hear_is_said_at_once_and_once(train: Callable[..., int], project: Path) -> None:
    """The ranks go on only when the line has been seen."""
    log = project / "run" / "logs" / "pretrain-0.log"
    log.parent.mkdir(parents=True)
    log.write_text("resumed from step-00000001\n")  # what an earlier start left
    heard = project / "heard"
    screen = Screen("checkpoint not saved", heard.touch)
    program = f"""
say("skipped checkpoint step-00000016: its manifest is damaged")
say("step 9 of 20")
if rank == 0:
    say("checkpoint not saved: step-00000024: No space left on device")
wait_for(pathlib.Path({str(heard)!r}).exists)
say("resumed from step-00000008")
if rank == 0:
    outcome(outcome="paused", step=9)
"""
    assert train(program, screen) == PAUSED
    assert [line for line in screen.getvalue().splitlines() if "starting" not in line] == [
        "pretrain: skipped checkpoint step-00000016: its manifest is damaged",
        "pretrain: checkpoint not saved: step-00000024: No space left on device",
        "pretrain: resumed from step-00000008",
        "pretrain: paused at step 9, checkpoint saved; run again to go on",
    ]


@pytest.mark.parametrize("name", ["SIGINT", "SIGTERM", "SIGHUP", "SIGUSR1", "SIGUSR2"])
def test_a_signal_means_save_and_stop_for_every_rank(train: Callable[..., int], project: Path, name: str) -> None:
    before = {number: signal.getsignal(number) for number in signal.valid_signals()}
    """SIGUSR1 is what Slurm's jobs are warned by."""
    screen = Screen("resumed from", lambda: os.kill(os.getpid(), signal.Signals[name]))
    assert train(UNTIL_TOLD, screen, "checkpoint.stop_signals=['SIGUSR2']") == PAUSED
    assert "paused at step 9, checkpoint saved" in screen.getvalue()
    for rank in range(2):
        assert "told [15]" in (project / "run" / "logs" / f"pretrain-{rank}.log").read_text()
    assert {number: signal.getsignal(number) for number in before} == before


def test_other_signals_are_left_as_they_are(train: Callable[..., int]) -> None:
    """One that is not named, and a hangup that nohup has turned off."""
    heard: list[int] = []
    at_hangup: list[object] = []
    old_user = signal.signal(signal.SIGUSR1, lambda number, frame: heard.append(number))
    old_hangup = signal.signal(signal.SIGHUP, signal.SIG_IGN)

    def send() -> None:
        at_hangup.append(signal.getsignal(signal.SIGHUP))
        for number in (signal.SIGUSR1, signal.SIGHUP, signal.SIGTERM):
            os.kill(os.getpid(), number)

    try:
        named = ("checkpoint.stop_signals=['SIGUSR2']", "slurm.warning_signal='USR2'")
        assert train(UNTIL_TOLD, Screen("resumed from", send), *named) == PAUSED
    finally:
        signal.signal(signal.SIGUSR1, old_user)
        signal.signal(signal.SIGHUP, old_hangup)
    assert heard == [signal.SIGUSR1] and at_hangup == [signal.SIG_IGN]


def test_a_rank_that_raises_shows_its_traceback_before_the_error(train: Callable[..., int]) -> None:
    screen = Screen()
    program = """
def train():
    raise KeyError("weights")
for step in range(100):
    say(f"step {step}")
say("resumed from step-00000008")
if rank == 1:
    wait_for(lambda: "resumed" in (run / "logs" / "pretrain-0.log").read_text())
    train()
wait_for(lambda: False)
"""
    with pytest.raises(JobError, match=r"^pretrain failed \(exit code 1\): KeyError: 'weights'; see .*pretrain-1.log$"):
        train(program, screen)
    shown = screen.getvalue().partition("the last lines of ")[2].splitlines()
    assert shown[0].endswith("pretrain-1.log") and len(shown) == 1 + runner_module.SHOWN_LINES
    assert shown[-1] == "  KeyError: 'weights'"
    assert "  step 99" in shown and "  step 1" not in shown
    assert "  Traceback (most recent call last):" in shown and any("in train" in line for line in shown)
    assert screen.getvalue().count("resumed from") == 1


def test_a_rank_that_crashes_shows_its_stack(train: Callable[..., int]) -> None:
    screen = Screen()
    program = """
def read_a_page_that_is_gone():
    os.kill(os.getpid(), signal.SIGBUS)
if rank == 1:
    read_a_page_that_is_gone()
wait_for(lambda: False)
"""
    with pytest.raises(JobError, match=r"\(killed by SIGBUS\): Fatal Python error: Bus error; see .*pretrain-1.log$"):
        train(program, screen)
    assert "in read_a_page_that_is_gone" in screen.getvalue()


@pytest.mark.parametrize(
    ("program", "error", "words"),
    [
        ("say('text2lm: the data are too few; add text'); sys.exit(2)", UserError, "the data are too few; add"),
        ("os.kill(os.getpid(), signal.SIGKILL)", JobError, r"pretrain failed \(killed by SIGKILL\): out of memory\?"),
        (
            "outcome(outcome='paused', step=8, reason='step 9 could not be saved')",
            JobError,
            "^pretrain paused: step 9 could not be saved$",
        ),
    ],
)
def test_where_there_is_nothing_to_show_one_line_is_enough(
    train: Callable[..., int], program: str, error: type[Exception], words: str
) -> None:
    screen = Screen()
    with pytest.raises(error, match=words):
        train(program, screen)
    assert [line for line in screen.getvalue().splitlines() if "starting" not in line] == []
