"""Proves that a run directory has one writer: of many that find a dead lock, at most one gets in at a time."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from data_prep.files import UserError
from pipeline.run_dir import RunDir, prepare, process_start

# Tries for the lock again and again; inside it, an exclusively made file shows any second holder.
CONTENDER = """
import os, sys, time
from pathlib import Path
from data_prep.files import UserError
from pipeline.run_dir import RunDir
run, entered = RunDir(Path(sys.argv[1])), 0
deadline = time.monotonic() + 60
while entered < 15 and time.monotonic() < deadline:
    try:
        with run.lock():
            os.close(os.open(run.root / "inside", os.O_CREAT | os.O_EXCL))
            time.sleep(0.001)
            (run.root / "inside").unlink()
            entered += 1
            if entered % 3 == 0:  # as a killed holder leaves it: the lock of a process that is gone
                dead = '{"host": "%s", "pid": 4194304, "started": 1}' % os.uname().nodename
                (run.root / "lock.json").write_text(dead)
    except UserError:
        time.sleep(0.0005)
print(entered)
"""


def test_many_contenders_never_hold_the_lock_together(tmp_path: Path) -> None:
    command = [sys.executable, "-c", CONTENDER, str(tmp_path)]
    contenders = [
        subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) for _ in range(4)
    ]
    for contender in contenders:
        out, err = contender.communicate(timeout=120)
        assert contender.returncode == 0, err  # a FileExistsError here is two holders
        assert out.strip() == "15"


def test_the_lock_of_a_living_process_is_respected_and_a_foreign_one_is_not_removed(tmp_path: Path) -> None:
    run = RunDir(tmp_path)
    with run.lock():
        with pytest.raises(UserError, match="is in use by process"), run.lock():
            pass
        assert json.loads((tmp_path / "lock.json").read_text())["started"] == process_start(os.getpid())
        (tmp_path / "lock.json").write_text('{"host": "elsewhere", "pid": 1, "started": 1}')
    assert (tmp_path / "lock.json").exists()
    with pytest.raises(UserError, match="process 1 on elsewhere"), run.lock():
        pass


def test_what_a_killed_first_start_leaves_does_not_close_the_directory(tmp_path: Path) -> None:
    for name in (".config.toml.77.tmp", ".lock.host.77", "lock.json"):
        (tmp_path / name).write_text("")
    (tmp_path / "lock.json").write_text("[1]")
    with prepare(tmp_path).lock():
        assert not (tmp_path / ".config.toml.77.tmp").exists()
