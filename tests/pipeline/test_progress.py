"""Proves that what is said stays to be read, and that what others write is read once and whole."""

from __future__ import annotations

import os
import pty
from pathlib import Path

import pytest

from pipeline.progress import GrowingLog, ProgressDisplay


def test_a_line_said_in_a_terminal_is_not_drawn_over(monkeypatch: pytest.MonkeyPatch) -> None:
    """The bar is erased first, and drawn anew below the line."""
    monkeypatch.setenv("TERM", "xterm")
    ours, theirs = pty.openpty()
    erase = "\x1b[2K"
    with os.fdopen(theirs, "w") as terminal:
        display = ProgressDisplay(terminal)
        display.begin("pretrain", 20)
        display.update(3, "step 3")
        display.say("checkpoint not saved: step-00000008 [ranks 0, 1]")
        display.end()
        display.say("the end")
        shown = b""
        while not shown.endswith(b"the end\r\n"):
            shown += os.read(ours, 1 << 16)
    os.close(ours)
    before, line, after = shown.decode().partition(f"{erase}checkpoint not saved: step-00000008 [ranks 0, 1]\r\n")
    assert line and "pretrain" in before and "pretrain" in after
    assert after.endswith(f"{erase}the end\r\n")


def test_a_growing_log_gives_whole_lines_once(tmp_path: Path) -> None:
    path = tmp_path / "log"
    log = GrowingLog(path)
    assert log.new_lines() == []
    with path.open("ab", buffering=0) as file:
        file.write(b"one\ntw")
        assert log.new_lines() == ["one"]
        assert log.new_lines() == []
        file.write(b"o\n\nthree\n")
        assert log.new_lines() == ["two", "", "three"]
        file.write(b"four\n")
        assert GrowingLog(path).new_lines() == []
    assert log.new_lines() == ["four"]
