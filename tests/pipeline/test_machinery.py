"""Proves the machinery of stages: what is stale and why, moved runs, stages by hand, and kill -9 at any time."""

from __future__ import annotations

import json
import os
import random
import shutil
import time
from pathlib import Path

import pytest

from tests.conftest import contents, start_text2lm, text2lm

DATA = ("ingest", "clean", "dedup", "scrub", "split", "tokenizer", "tokens")
RUN = ("run", "tiny.toml", "--run", "run", "--until", "tokens")


@pytest.fixture
def copy(finished_data: Path, tmp_path: Path) -> Path:
    shutil.copytree(finished_data, tmp_path / "copy")
    return tmp_path / "copy"


def stale(project: Path, *arguments: str) -> dict[str, str]:
    """Why each data stage is stale, by `text2lm plan`."""
    plan = json.loads(text2lm(project, "plan", "tiny.toml", "--run", "run", "--json", *arguments).stdout)
    return {name: why for name, why in plan["stages"].items() if why and name in DATA}


def test_one_worker_or_two_give_the_same_bytes(finished_data: Path, tmp_path: Path) -> None:
    one = ("--run", str(tmp_path / "one"), "--set", "launch.workers=1")
    text2lm(finished_data, "run", "tiny.toml", *one, "--until", "tokens")
    assert contents(tmp_path / "one", *DATA) == contents(finished_data / "run", *DATA)


def test_a_changed_threshold_redoes_from_clean_on(copy: Path) -> None:
    changed = ("--set", "clean.thresholds.gopher-quality.min_words=60")
    reasons = stale(copy, *changed)
    assert list(reasons) == ["clean", "dedup", "scrub", "split", "tokenizer", "tokens"]
    assert reasons["clean"] == "clean.thresholds.gopher-quality.min_words changed from nothing to 60.0"
    assert reasons["dedup"] == "clean will be redone"
    ingest = (copy / "run" / "ingest" / "manifest.json").stat().st_mtime_ns
    done = text2lm(copy, *RUN, *changed)
    # all documents of this corpus have more than 60 words: clean's output is the same, so what follows is fresh
    assert "1 stages done, 6 were fresh" in done.stdout
    assert (copy / "run" / "ingest" / "manifest.json").stat().st_mtime_ns == ingest
    strict = text2lm(copy, *RUN, "--set", "clean.thresholds.gopher-quality.min_stop_words=5")
    assert "6 stages done, 1 were fresh" in strict.stdout


def test_execution_settings_invalidate_nothing(copy: Path) -> None:
    sets = ["launch.workers=1", "launch.ranks=1", "train.micro_batch_size=2", "train.zero_stage=2"]
    sets += ["checkpoint.every_steps=3", "wandb.mode=disabled"]
    assert stale(copy, *(word for item in sets for word in ("--set", item))) == {}


def test_a_changed_source_file_is_noticed_by_content_not_by_time(copy: Path) -> None:
    path = copy / "corpus" / "notes.jsonl"
    path.write_bytes(path.read_bytes())  # a new time
    assert stale(copy) == {}
    path.write_bytes(path.read_bytes().replace(b"\n", b" \n", 1))
    assert stale(copy)["ingest"] == "its input changed (notes.jsonl)"


def test_another_file_of_the_same_name_size_and_time_is_another_input(copy: Path) -> None:
    """As two releases of a corpus are, unpacked from archives with fixed times."""
    old = copy / "corpus" / "notes.jsonl"
    new = copy / "newer" / "notes.jsonl"
    new.parent.mkdir()
    new.write_bytes(old.read_bytes()[::-1])
    os.utime(new, ns=(old.stat().st_atime_ns, old.stat().st_mtime_ns))
    assert "ingest" in stale(copy, "--set", 'source.1.paths=["newer/notes.jsonl"]')


def test_the_order_of_the_sources_in_the_config_changes_nothing(copy: Path) -> None:
    config = (copy / "tiny.toml").read_text()
    head, first, second = config.partition("[split]")[0].split("[[source]]")
    swapped = f"{head}[[source]]{second}[[source]]{first}[split]{config.partition('[split]')[2]}"
    (copy / "tiny.toml").write_text(swapped)
    assert stale(copy) == {}
    text2lm(copy, "run", "tiny.toml", "--run", "swapped", "--until", "tokens")
    assert contents(copy / "swapped", *DATA) == contents(copy / "run", *DATA)


def test_verify_finds_what_size_and_time_hide_and_repairs_it(copy: Path) -> None:
    before = contents(copy / "run", *DATA)
    part = copy / "run" / "clean" / "part-00000.parquet"
    status, data = part.stat(), bytearray(part.read_bytes())
    data[100] ^= 1
    part.write_bytes(data)
    os.utime(part, ns=(status.st_atime_ns, status.st_mtime_ns))
    assert "nothing to do" in text2lm(copy, *RUN).stdout
    done = text2lm(copy, *RUN, "--verify")
    assert "clean: the content of its output clean/part-00000.parquet has changed" in done.stdout
    assert contents(copy / "run", *DATA) == before


def test_status_and_trace_do_not_mix_results_of_different_corpora(copy: Path) -> None:
    strict = ("--until", "clean", "--set", "clean.thresholds.gopher-quality.min_stop_words=5")
    text2lm(copy, "run", "tiny.toml", "--run", "run", *strict)
    status = text2lm(copy, "status", "--run", "run").stdout
    assert "clean      done" in status and "dedup      stale" in status and "tokens     stale" in status
    assert "dedup" not in text2lm(copy, "trace", "guide:t20", "--run", "run").stdout


def test_a_moved_run_and_a_moved_corpus_are_still_fresh(copy: Path) -> None:
    (copy / "elsewhere").mkdir()
    (copy / "run").rename(copy / "elsewhere" / "moved")
    done = text2lm(copy, "run", "tiny.toml", "--run", "elsewhere/moved", "--until", "tokens")
    assert "nothing to do" in done.stdout


@pytest.mark.parametrize("damage", ["missing", "shorter", "other content"])
def test_a_damaged_output_is_found_and_only_its_task_redone(copy: Path, damage: str) -> None:
    before = contents(copy / "run", *DATA)
    part = copy / "run" / "clean" / "part-00000.parquet"
    data = part.read_bytes()
    part.unlink()
    if damage != "missing":
        part.write_bytes(data[:-1] if damage == "shorter" else bytes([data[0] ^ 1]) + data[1:])
    assert "clean/part-00000.parquet" in stale(copy)["clean"]
    assert "1 stages done, 6 were fresh" in text2lm(copy, *RUN).stdout
    assert contents(copy / "run", *DATA) == before


def test_from_redoes_a_stage_and_what_follows_to_the_same_bytes(copy: Path) -> None:
    before = contents(copy / "run", *DATA)
    done = text2lm(copy, *RUN, "--from", "scrub")
    assert "scrub: asked for with --from" in done.stdout and "4 stages done, 3 were fresh" in done.stdout
    assert contents(copy / "run", *DATA) == before


def test_a_stage_can_be_done_by_hand(copy: Path) -> None:
    before = contents(copy / "run", "dedup")
    shutil.rmtree(copy / "run" / "dedup")
    assert "is missing" in text2lm(copy, "stage", "dedup", "--run", "run", "--seal", code=2).stderr
    early = text2lm(copy, "stage", "dedup/match", "--run", "run", "--task", "0", code=2)
    assert "dedup/sign is not finished" in early.stderr
    for step, tasks in (("sign", "0"), ("match", "0-7"), ("collect", "0"), ("cluster", "0"), ("filter", "0")):
        text2lm(copy, "stage", f"dedup/{step}", "--run", "run", "--task", tasks)
    text2lm(copy, "stage", "dedup", "--run", "run", "--seal")
    assert contents(copy / "run", "dedup") == before
    assert "nothing to do" in text2lm(copy, "stage", "dedup", "--run", "run", "--seal").stdout
    shutil.rmtree(copy / "run" / "dedup")
    assert "no step" in text2lm(copy, "stage", "dedup", "--run", "run", "--task", "0", code=2).stderr
    assert "has the tasks 0 to 0" in text2lm(copy, "stage", "dedup/sign", "--run", "run", "--task", "7", code=2).stderr


def test_a_second_run_on_one_directory_is_refused(project: Path) -> None:
    run = (*RUN[:-1], "clean")
    first = start_text2lm(project, *run)
    while not (project / "run" / "lock.json").exists():
        time.sleep(0.01)
    second = text2lm(project, *run, code=2)
    assert f"run is in use by process {first.pid}" in second.stderr
    first.kill()  # its lock stays behind
    first.communicate()
    assert (project / "run" / "lock.json").exists()
    text2lm(project, *run)
    assert not (project / "run" / "lock.json").exists()


def test_kill_9_at_random_instants_then_run_again_gives_the_same_bytes(finished_data: Path, tmp_path: Path) -> None:
    """Each round kills the command (its workers die with it), until one gets through; nothing finished is redone."""
    wanted = contents(finished_data / "run", *DATA)
    moments = random.Random(1)
    run = ("run", str(finished_data / "tiny.toml"), "--run", "run", "--until", "tokens")
    kills = 0
    for _ in range(12):
        process = start_text2lm(tmp_path, *run)
        time.sleep(moments.uniform(0.3, 3.0))
        kills += process.poll() is None
        process.kill()
        process.communicate()
    text2lm(tmp_path, *run)
    assert kills >= 4
    assert contents(tmp_path / "run", *DATA) == wanted
    left = [path for path in (tmp_path / "run").rglob("*") if path.name.endswith(".tmp") or path.parent.name == "work"]
    assert left == []


@pytest.mark.parametrize("name", ["clean/manifest.json", "clean/plan.json", "clean/receipts/clean-00000.json"])
@pytest.mark.parametrize("content", ["", "[1]"])
def test_a_damaged_record_is_named_and_running_without_it_repairs(copy: Path, name: str, content: str) -> None:
    path = copy / "run" / name
    before = contents(copy / "run", *DATA)
    if "manifest" not in name:
        (copy / "run" / "clean" / "manifest.json").unlink()
    path.write_text(content)
    damaged = text2lm(copy, *RUN, code=2)
    assert name in damaged.stderr and "remove it and run again" in damaged.stderr
    assert len(damaged.stderr.splitlines()) == 1
    path.unlink()
    text2lm(copy, *RUN)
    assert contents(copy / "run", *DATA) == before
