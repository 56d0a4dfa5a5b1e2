"""Proves that metrics.jsonl has neither a gap nor a repeat, and that wandb gets every row of it once.

What wandb got is read from its own transaction log: records in LevelDB's log format, which hold protocol buffers.
"""

from __future__ import annotations

import json
import os
import signal
import struct
import subprocess
import time
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import tiny_run
from wandb.proto.wandb_internal_pb2 import Record

from data_prep.files import UserError, read_json_lines, write_json
from pretrain.metrics import MetricsFile, Row, complete_last, cut_back, flat, open_tracker
from pretrain.sync import sync
from tests.conftest import small_disk, text2lm

LOG_HEADER, BLOCK = 7, 32_768
FULL, LAST = 1, 4  # of the types of a piece: full, first, middle, last


def write_rows(path: Path, first: int, last: int) -> None:
    metrics = MetricsFile(path)
    for step in range(first, last + 1):
        metrics.append({"step": step, "tokens": 10 * step, "loss": 0.1 * step})
    metrics.sync()
    metrics.close()


def steps(path: Path) -> list[int]:
    return [row["step"] for row in read_json_lines(path)]


def test_rows_after_the_checkpoint_are_cut_and_written_again(tmp_path: Path) -> None:
    path = tmp_path / "metrics.jsonl"
    write_rows(path, 1, 7)
    cut_back(path, 5)
    write_rows(path, 6, 9)
    assert steps(path) == list(range(1, 10))
    assert read_json_lines(path)[2]["loss"] == 0.1 * 3  # floats survive exactly


@pytest.mark.parametrize("tail", [b'{"step": 6, "lo', b'{"step": 6}', b"\0" * 4096, b"\0\0\n\xff\n"])
def test_what_a_kill_or_a_power_cut_left_at_the_end_is_dropped(tmp_path: Path, tail: bytes) -> None:
    path = tmp_path / "metrics.jsonl"
    write_rows(path, 1, 5)
    whole = path.read_bytes()
    path.write_bytes(whole + tail)
    cut_back(path, 8)
    assert path.read_bytes() == whole


def test_a_fresh_start_empties_it(tmp_path: Path) -> None:
    path = tmp_path / "metrics.jsonl"
    cut_back(path, 0)
    assert path.read_bytes() == b""
    write_rows(path, 1, 2)
    cut_back(path, 0)
    assert path.read_bytes() == b""


def test_the_last_row_is_completed_in_its_place(tmp_path: Path) -> None:
    path = tmp_path / "metrics.jsonl"
    for rows in (1, 4):
        write_rows(path, 1, rows)
        complete_last(path, {**read_json_lines(path)[-1], "val_loss": 2.5})
        assert steps(path) == list(range(1, rows + 1))
        assert [row.get("val_loss") for row in read_json_lines(path)] == [None] * (rows - 1) + [2.5]
        cut_back(path, 0)


def test_rows_that_a_full_disk_does_not_take_come_when_it_has_room(tmp_path: Path) -> None:
    with small_disk(tmp_path, "64k"):
        ballast = tmp_path / "ballast"
        metrics = MetricsFile(tmp_path / "metrics.jsonl")
        metrics.append({"step": 1})
        with pytest.raises(OSError), ballast.open("wb", buffering=0) as file:
            while file.write(b"x" * 4096):
                pass
        for step in range(2, 2000):
            metrics.append({"step": step})
        assert 0 < len(steps(tmp_path / "metrics.jsonl")) < 1999
        with pytest.raises(OSError, match="No space left"):
            metrics.sync()
        ballast.unlink()
        metrics.sync()
        metrics.append({"step": 2000})
        metrics.close()
        assert steps(tmp_path / "metrics.jsonl") == list(range(1, 2001))


def records(path: Path) -> Iterator[Record]:
    """Those of a .wandb file: after a header, blocks of pieces (checksum, length, type, data) of records."""
    log, position, data = path.read_bytes(), LOG_HEADER, b""
    assert log.startswith(b":W&B")
    while position < len(log):
        left = BLOCK - position % BLOCK
        if left < 7:  # too little for a piece
            position += left
            continue
        checksum, length, kind = struct.unpack_from("<IHB", log, position)
        piece = log[position + 7 : position + 7 + length]
        assert zlib.crc32(bytes([kind]) + piece) == checksum
        position += 7 + length
        data += piece
        if kind in (FULL, LAST):
            record = Record()
            record.ParseFromString(data)
            yield record
            data = b""


def history(run: Path) -> list[Row]:
    """What was logged to an offline run, less wandb's own items; wandb's step must be ours."""
    (path,) = run.glob("*.wandb")
    rows = []
    for record in records(path):
        if record.WhichOneof("record_type") == "history":
            items: dict[str, Any] = {item.nested_key[0]: json.loads(item.value_json) for item in record.history.item}
            assert items["_step"] == record.history.step.num == items["step"]
            rows.append({key: value for key, value in items.items() if not key.startswith("_")})
    return rows


def row_of(step: int) -> Row:
    row: Row = {"step": step, "tokens": 1024 * step, "loss": 10 / step, "mfu": None, "skipped": False}
    if step % 10 == 0:
        row["val"] = {"web": {"loss": 3.5, "perplexity": 33.1}, "a.b": {"loss": 1.25}}
    return row


def test_a_training_resumed_twice_becomes_one_run(tmp_path: Path) -> None:
    job, path = tiny_run.job(wandb="offline"), tmp_path / "metrics.jsonl"
    write_json(tmp_path / "started.json", job.to_json())
    for checkpoint, killed_at in ((0, 17), (10, 34), (30, 400)):  # a kill loses the steps after a checkpoint
        cut_back(path, checkpoint)
        metrics, tracker = MetricsFile(path), open_tracker(job, tmp_path)
        for step in range(checkpoint + 1, killed_at + 1):
            metrics.append(row_of(step))
            tracker.log(row_of(step))
        metrics.close()
        tracker.close()
    path.write_bytes(path.read_bytes() + b'{"step": 401, "lo')
    segments = set(tmp_path.glob("wandb/offline-run-*"))

    synced = sync(tmp_path, online=False, project="elsewhere")
    assert synced.rows == 400 and segments == set(tmp_path.glob("wandb/offline-run-*")) - {Path(synced.place)}
    assert history(Path(synced.place)) == [flat(row_of(step)) for step in range(1, 401)]
    (log,) = Path(synced.place).glob("*.wandb")
    assert log.stat().st_size > BLOCK  # so the reader's and the writer's notion of blocks was tried
    (run,) = [record.run for record in records(log) if record.WhichOneof("record_type") == "run"]
    assert run.run_id == synced.run_id and run.project == "elsewhere"
    for segment in segments:  # uploading the one run replaces what was uploaded of these
        (log,) = segment.glob("*.wandb")
        assert synced.run_id in {record.run.run_id for record in records(log)}

    again = sync(tmp_path, online=False)
    assert again.run_id == synced.run_id and len(history(Path(again.place))) == 400


def test_the_command_says_what_to_upload(tmp_path: Path) -> None:
    run = tmp_path / "run"
    write_json(run / "pretrain/started.json", tiny_run.job().to_json())
    write_rows(run / "pretrain/metrics.jsonl", 1, 3)
    (run / "config.toml").touch()
    said = text2lm(tmp_path, "sync", "--run", "run", "--mode", "offline").stdout.splitlines()
    assert said[0].startswith("run ") and ": 3 steps in " in said[0]
    place = Path(said[1].removeprefix("send it with: wandb sync "))
    assert history(tmp_path / place) == read_json_lines(run / "pretrain/metrics.jsonl")


def test_wandb_itself_leaves_out_a_step_that_it_has(tmp_path: Path) -> None:
    """The rule by which a run online takes a replay: only what is new."""
    tracker = open_tracker(tiny_run.job(wandb="offline"), tmp_path)
    for step in (1, 2, 3, 2, 3, 4):
        tracker.log(row_of(step))
    tracker.close()
    (run,) = tmp_path.glob("wandb/offline-run-*")
    assert [row["step"] for row in history(run)] == [1, 2, 3, 4]


def test_nested_tables_become_paths() -> None:
    row = {"step": 3, "val": {"web": {"loss": 2.5, "bits_per_byte": 1.1}, "loss": 2.0}, "mfu": None}
    assert flat(row) == {"step": 3, "val/web/loss": 2.5, "val/web/bits_per_byte": 1.1, "val/loss": 2.0, "mfu": None}


def test_what_cannot_be_synced_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(UserError, match=r"metrics\.jsonl has no rows; train first: text2lm run CONFIG --run"):
        sync(tmp_path, online=False)
    write_json(tmp_path / "started.json", tiny_run.job().to_json())
    write_rows(tmp_path / "metrics.jsonl", 1, 2)
    monkeypatch.delenv("WANDB_API_KEY", raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))  # nobody is logged in there
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
    with pytest.raises(UserError, match="without an account take the mode offline"):
        sync(tmp_path, online=True)


def wandb_process(worker: int) -> int:
    """Of a worker's children."""
    children = subprocess.run(["ps", "--ppid", str(worker), "-o", "pid=,args="], capture_output=True, text=True)
    (pid,) = (line.split()[0] for line in children.stdout.splitlines() if "wandb-core" in line)
    return int(pid)


@pytest.mark.parametrize("told_to_stop", [False, True])
def test_a_training_outlives_wandbs_process(tmp_path: Path, told_to_stop: bool) -> None:
    """Of which the kernel rids itself in need of memory; or a scheduler sends SIGTERM to all processes of a job."""
    run = tiny_run.make_run(tmp_path, tiny_run.job(ranks=1, tokens=40 * 1024, wandb="offline"))
    metrics = run / "pretrain/metrics.jsonl"
    ranks = tiny_run.Ranks(1, "-m", "pretrain.worker", "--run", str(run), variables=())
    worker = ranks.processes[0].pid
    while not metrics.exists() or len(steps(metrics)) < 5:
        assert ranks.processes[0].poll() is None
        time.sleep(0.01)
    os.kill(wandb_process(worker), signal.SIGTERM if told_to_stop else signal.SIGKILL)
    if told_to_stop:
        os.kill(worker, signal.SIGTERM)
    ((code, out, err),) = ranks.wait()
    assert (code, err) == (0, "")
    lost = "wandb gets no more rows (Connection lost); metrics.jsonl has them all, and text2lm sync sends them"
    assert out.splitlines().count(lost) == 1
    outcome = json.loads((run / "pretrain/outcome.json").read_text())
    assert outcome["outcome"] == ("paused" if told_to_stop else "done")
    assert steps(metrics) == list(range(1, outcome["step"] + 1))
    assert (run / f"pretrain/checkpoints/step-{outcome['step']:08d}/manifest.json").exists()
