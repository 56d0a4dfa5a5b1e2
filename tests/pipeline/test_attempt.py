"""Proves what becomes of a training's job: from what its ranks left, and never from a return code.

The logs are as the ranks write them: faulthandler's and torch's lines, and those of pretrain/watchdog.py.
"""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from data_prep.files import UserError
from pipeline.attempt import (
    AGAIN,
    DONE,
    FAILED,
    FIRST_PORT,
    PORTS,
    Attempt,
    RankLog,
    attempts,
    begin,
    end,
    free_port,
    judge,
)
from pipeline.config import load_config
from pipeline.run_dir import RunDir
from tests.conftest import text2lm

HERE = Attempt("7", 0, ["n1", "n2"], 4)  # ranks 0 and 1 on n1
OOM_FACT = "out of memory; lower train.micro_batch_size or ask for more: slurm.memory"
TRACEBACK = ["Traceback (most recent call last):", '  File "x.py", line 1, in train', "KeyError: 'weights'"]
LOST_PEER = [
    "[rank1]: Traceback (most recent call last):",
    "[rank1]: RuntimeError: [../gloo/pair.cc:534] Connection closed by peer [10.0.0.1]:4711",
]
HUNG = ["waiting for the other ranks before step 10 is not done after 600 s, the process ends", "Timeout (0:10:00)!"]
READING = ["reading the data is not done after 600 s, the process ends", "Timeout (0:10:00)!"]


def log(rank: int, lines: list[str], seconds: float = 0.0) -> RankLog:
    return RankLog(rank, ["step 9", *lines], seconds)


def started(progress: int, **facts: Any) -> dict[str, Any]:
    return {"event": "start", "progress": progress, **facts}


def ended(progress: int, exclude: tuple[str, ...] = ()) -> dict[str, Any]:
    return {"event": "end", "progress": progress, "exclude": list(exclude)}


PAUSED: dict[str, Any] = {"outcome": "paused", "step": 12}


@pytest.mark.parametrize(
    ("outcome", "logs", "rows", "steps", "warned", "state", "code", "reason", "exclude"),
    [
        ({"outcome": "done", "step": 20}, [], [started(0)], 20, False, "RUNNING", DONE, "trained to the end", ()),
        # what was done before the job was cancelled stays done
        ({"outcome": "done", "step": 20}, [], [started(0)], 20, False, "CANCELLED", DONE, "trained to the end", ()),
        (PAUSED, [], [started(8)], 12, True, "RUNNING", AGAIN, "the time limit", ()),
        (
            *(PAUSED, [], [started(12)], 12, True, "RUNNING", FAILED),
            "no step was finished within the time limit, since step 12; ask for more: slurm.time",
            (),
        ),
        # who is preempted at once is not to blame for it
        (PAUSED, [], [started(12)], 12, False, "RUNNING", AGAIN, "preempted with a time of grace, or told to stop", ()),
        (PAUSED, [], [started(8)], 12, False, "REQUEUED", AGAIN, "preempted", ()),
        (None, [log(0, LOST_PEER)], [started(8)], 8, False, "REQUEUED", AGAIN, "preempted, before it could save", ()),
        (PAUSED, [], [started(8)], 12, False, "CANCELLED", FAILED, "cancelled", ()),
        (None, [log(0, TRACEBACK)], [started(8)], 8, False, "CANCELLED", FAILED, "cancelled", ()),
        (
            *(PAUSED | {"reason": "step 9 could not be saved: No space left on device"}, [], [started(8)], 8, False),
            *("RUNNING", FAILED, "step 9 could not be saved: No space left on device", ()),
        ),
        (
            *(None, [], [started(8)], 12, False, "TIMEOUT", AGAIN),
            "the time limit, before it could save; raise slurm.warning_seconds",
            (),
        ),
        (
            *(None, [], [started(8)], 8, False, "TIMEOUT", FAILED),
            "nothing was saved within the time limit, since step 8; ask for more: slurm.time",
            (),
        ),
        (PAUSED, [], [started(8)], 12, False, "TIMEOUT", AGAIN, "the time limit", ()),
        (None, [log(0, LOST_PEER)], [started(8)], 8, False, "OUT_OF_MEMORY", FAILED, OOM_FACT, ()),
        # the first to speak is the culprit, not the first in number
        (
            *(None, [log(0, LOST_PEER, 5.0), log(1, LOST_PEER, 4.0), log(2, TRACEBACK, 3.0), log(3, [], 1.0)]),
            *([started(8)], 8, False, "RUNNING", FAILED, "rank 2 failed: KeyError: 'weights'", ()),
        ),
        # all that spoke had lost somebody, who said nothing
        (
            *(None, [log(0, LOST_PEER, 5.0), log(1, LOST_PEER, 4.0), log(2, LOST_PEER, 6.0), log(3, [], 3.0)]),
            *([started(8)], 8, False, "RUNNING", FAILED),
            "rank 3 was killed on n2, and left no word; out of memory?",
            (),
        ),
        # three wait, the fourth says nothing: it hung, on the second node
        (
            *(None, [log(0, HUNG, 3.0), log(1, HUNG, 3.0), log(2, HUNG, 3.0), log(3, [], 1.0)]),
            *([started(8)], 8, False, "RUNNING", AGAIN, "rank 3 hung on n2", ("n2",)),
        ),
        # all speak: the one that did something else than wait
        (
            *(None, [log(0, HUNG, 3.0), log(1, READING, 3.1), log(2, HUNG, 3.0), log(3, HUNG, 3.0)]),
            *([started(8)], 8, False, "RUNNING", AGAIN, "rank 1 hung on n1", ("n1",)),
        ),
        # one was ended by the crash of its peer: it neither hung nor is to blame
        (
            *(None, [log(0, HUNG, 3.0), log(1, LOST_PEER, 4.0), log(2, HUNG, 3.0), log(3, [], 1.0)]),
            *([started(8)], 8, False, "RUNNING", AGAIN, "rank 3 hung on n2", ("n2",)),
        ),
        # a list of nodes replaces the one before: earlier ones stay in it
        (
            *(None, [log(0, HUNG), log(1, HUNG), log(2, HUNG), log(3, [])]),
            *([started(0), ended(8, ("n5",)), started(8), ended(12), started(12)], 12, False, "RUNNING"),
            *(AGAIN, "rank 3 hung on n2", ("n2", "n5")),
        ),
        (
            *(None, [log(0, HUNG), log(1, HUNG), log(2, HUNG), log(3, [])]),
            *([started(8), ended(8, ("n5",)), started(8)], 8, False, "RUNNING", FAILED),
            f"rank 3 hung on n2, for the second time since step 8: {HUNG[0]}",
            (),
        ),
        (
            *(
                None,
                [log(0, ["RuntimeError: The server socket has failed to listen: errno: 98 - Address already in use"])],
            ),
            *([started(8)], 8, False, "RUNNING", AGAIN),
            "another program had taken the port where the ranks meet",
            (),
        ),
        (
            *(None, [log(0, []), log(1, ["text2lm: 3 GPUs are visible, wanted 4; lower launch.ranks"])]),
            *([started(8)], 8, False, "RUNNING", FAILED, "3 GPUs are visible, wanted 4; lower launch.ranks", ()),
        ),
        (
            *(
                None,
                [log(0, []), log(1, ["Fatal Python error: Segmentation fault", "Current thread (most recent call"])],
            ),
            *([started(8)], 8, False, "RUNNING", FAILED, "rank 1 failed: Fatal Python error: Segmentation fault", ()),
        ),
        (
            *(None, [log(0, []), log(1, [])], [started(8)], 8, False, "RUNNING", FAILED),
            "a rank was killed, and left no word; out of memory?",
            (),
        ),
        (None, [], [], 0, False, "", FAILED, "a rank was killed, and left no word; out of memory?", ()),
    ],
)
def test_what_becomes_of_the_job(
    outcome: dict[str, Any] | None,
    logs: list[RankLog],
    rows: list[dict[str, Any]],
    steps: int,
    warned: bool,
    state: str,
    code: int,
    reason: str,
    exclude: tuple[str, ...],
) -> None:
    assert judge(outcome, logs, HERE, rows, steps, warned=warned, state=state) == (code, reason, exclude)


def test_ports_differ_by_job_and_attempt_and_a_taken_one_is_passed_over() -> None:
    first, other = (Attempt(job, 0, ["n1"], 1) for job in ("100", "101"))
    port = free_port(first)
    assert FIRST_PORT <= port < FIRST_PORT + PORTS and port != free_port(other)
    with socket.socket() as listener:
        listener.bind(("", port))
        listener.listen()
        assert free_port(first) > port and free_port(first._replace(restart=1)) != port
    assert free_port(Attempt("5_6", 0, ["n1"], 1)) == free_port(Attempt("56", 0, ["n1"], 1))


@pytest.fixture(scope="module")
def prepared(finished_data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run that is ready to train for four steps."""
    project = tmp_path_factory.mktemp("prepared")
    shutil.copytree(finished_data, project, dirs_exist_ok=True)
    sets = ("train.tokens=4096", "wandb.mode=disabled", "train.warmup_steps=1", "train.schedule=constant")
    words = [word for item in sets for word in ("--set", item)]
    text2lm(project, "run", "tiny.toml", "--run", "run", "--until", "tokens", *words)
    text2lm(project, "stage", "tokens", "--gather", "--until", "pretrain", "--run", "run")
    return project


def words_of(job: str, restart: int = 0) -> list[str]:
    return ["--run", "run", "--job", job, "--restart", str(restart), "--nodes", "n1", "--ranks", "1"]


def slurm_says(directory: Path, monkeypatch: pytest.MonkeyPatch, state: str) -> None:
    """Of any job, by a program that stands in for scontrol."""
    (directory / "scontrol").write_text(f"#!/bin/sh\necho JobId=7 JobState={state} Reason=None\n")
    (directory / "scontrol").chmod(0o755)
    monkeypatch.setenv("PATH", f"{directory}:{os.environ['PATH']}")


def test_a_job_that_ended_without_a_word_holds_the_run_no_more(
    prepared: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its node was lost: `attempt end` never ran."""
    run = RunDir(shutil.copytree(prepared / "run", tmp_path / "run"))
    config = load_config(run.config)
    monkeypatch.setenv("SLURM_JOB_ID", "7")
    begin(config, run, Attempt("7", 0, ["n1"], 1))
    (run.slurm / "state-7").write_text("REQUEUED\n")  # what gpu.sbatch notes when Slurm tells it to stop
    begin(config, run, Attempt("7", 1, ["n2"], 1))  # queued again by Slurm: the same job
    monkeypatch.setenv("SLURM_JOB_ID", "8")
    slurm_says(tmp_path, monkeypatch, "NODE_FAIL")
    begin(config, run, Attempt("8", 0, ["n1"], 1))
    assert json.loads((run.root / "lock.json").read_text())["job"] == "8"
    run.leave_for_job("7")  # not its any more
    assert (run.root / "lock.json").exists()
    cut_off = [row for row in attempts(run) if row["event"] == "end"]
    assert [(row["job"], row["restart"], row["outcome"]) for row in cut_off] == [("7", 0, "failed"), ("7", 1, "failed")]
    assert [row["reason"] for row in cut_off] == ["preempted, with no time to say so", "lost its node"]


def test_attempts_of_a_real_training_leave_rows_and_hold_the_run(
    prepared: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The first is killed, the second is told to stop, the third trains to the end."""
    run = RunDir(prepared / "run")
    config = load_config(run.config)
    first = Attempt("7", 0, ["n1"], 1)
    assert isinstance(begin(config, run, first), int)
    assert config.launch.ranks == 2 and json.loads(run.started.read_text())["ranks"] == 1  # as many as Slurm gave
    assert json.loads((run.root / "lock.json").read_text()) | {"host": ""} == {
        "host": "",
        "pid": 0,
        "started": 0,
        "job": "7",
    }
    slurm_says(tmp_path, monkeypatch, "RUNNING")
    with pytest.raises(UserError, match=r"is in use by Slurm's job 7; wait for it"):
        begin(config, run, Attempt("8", 0, ["n1"], 1))
    (run.logs / "pretrain-0.log").write_text("\n".join(TRACEBACK) + "\n")
    verdict = end(config, run, first, signal="", state="RUNNING")
    assert verdict == (FAILED, "rank 0 failed: KeyError: 'weights'", ())
    assert not (run.root / "lock.json").exists()

    said = text2lm(prepared, "attempt", "begin", *words_of("7", 1))
    port = int(said.stdout)
    with (run.logs / "pretrain-0.log").open("ab") as out:
        worker = [sys.executable, "-m", "pretrain.worker", "--run", str(run.root)]
        place = {"RANK": "0", "LOCAL_RANK": "0", "WORLD_SIZE": "1", "LOCAL_WORLD_SIZE": "1"}
        meeting = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port), "OMP_NUM_THREADS": "1"}
        subprocess.run(worker, env=os.environ | place | meeting, stdout=out, stderr=out, timeout=120, check=True)
    said = text2lm(prepared, "attempt", "end", *words_of("7", 1), "--state", "RUNNING")
    assert said.stdout == "\n" and said.stderr == "text2lm: trained to the end\n"
    again = text2lm(prepared, "attempt", "begin", *words_of("7", 2))
    assert again.stdout == "\n" and not (run.root / "lock.json").exists()  # nothing left to train
    rows = attempts(run)
    assert [(row["job"], row["restart"], row["event"]) for row in rows] == [
        ("7", 0, "start"),
        ("7", 0, "end"),
        ("7", 1, "start"),
        ("7", 1, "end"),
    ]
    assert [row["progress"] for row in rows] == [0, 0, 0, 4]
    assert rows[1]["outcome"] == "failed" and rows[3]["outcome"] == "done" and rows[0]["nodes"] == ["n1"]
    assert rows[2]["log_bytes"] == [len("\n".join(TRACEBACK)) + 1]  # the error of the first is not that of the second

    text2lm(prepared, "stage", "pretrain/train", "--gather", "--until", "pretrain", "--run", "run")
    longer = run.config.read_text().replace("tokens = 4096", "tokens = 8192")
    run.config.write_text(longer)
    early = text2lm(prepared, "attempt", "begin", *words_of("9"), code=2)
    assert "is not ready to train" in early.stderr
    begun = text2lm(prepared, "stage", "pretrain", "--gather", "--until", "pretrain", "--run", "run")
    assert "pretrain/train: 1 of 1 tasks to do" in begun.stdout
    ended = text2lm(prepared, "stage", "pretrain/train", "--gather", "--until", "pretrain", "--run", "run", code=1)
    assert "not trained to the end" in ended.stderr  # what the shorter one left is no end of this one
    assert text2lm(prepared, "attempt", "begin", *words_of("9")).stdout.strip().isdecimal()


def test_what_is_not_ready_to_train_is_refused(tmp_path: Path, prepared: Path) -> None:
    config = load_config(prepared / "tiny.toml")
    with pytest.raises(UserError, match=r"is not ready to train; run: text2lm stage tokens/encode --gather --run"):
        begin(config, RunDir(tmp_path), Attempt("7", 0, ["n1"], 1))
