"""Proves that the chain of jobs is the whole road: its commands, one after the other, make what `text2lm run` makes."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from pipeline.chain import Link, chain
from pipeline.config import load_config, save_config
from pipeline.run_dir import RunDir
from pipeline.stages import STAGES
from tests.conftest import contents, start_text2lm, text2lm

SETS = ("train.tokens=4096", "launch.ranks=1", "wandb.mode=disabled", "train.warmup_steps=1", "launch.workers=1")


def test_every_step_that_is_shared_is_an_array_and_its_gather_behind_it() -> None:
    links = chain(STAGES)
    assert [(link.name, link.kind) for link in links] == [
        ("ingest-begin", "gather"),
        ("ingest-read", "array"),
        ("ingest-read-gather", "gather"),
        ("ingest-write", "array"),
        ("ingest-write-gather", "gather"),
        ("clean-clean", "array"),
        ("clean-clean-gather", "gather"),
        ("dedup-sign", "array"),
        ("dedup-sign-gather", "gather"),
        ("dedup-match", "array"),
        ("dedup-match-gather", "gather"),
        ("dedup-collect", "array"),
        ("dedup-collect-gather", "gather"),
        ("dedup-filter", "array"),
        ("dedup-filter-gather", "gather"),
        ("scrub-scrub", "array"),
        ("scrub-scrub-gather", "gather"),
        ("split-split", "array"),
        ("split-split-gather", "gather"),
        ("tokens-encode", "array"),
        ("tokens-encode-gather", "gather"),
        ("pretrain-train", "training"),
        ("pretrain-train-gather", "gather"),
    ]
    shared = [f"{stage.name}-{step.name}" for stage in STAGES for step in stage.steps if step.tasks]
    assert [link.name for link in links if link.kind == "array"] == shared
    assert links[0].arguments == ("stage", "ingest", "--gather", "--until", "report")
    assert links[1].arguments == ("stage", "ingest/read")
    assert links[2].arguments == ("stage", "ingest/read", "--gather", "--until", "report")
    assert links[21].arguments == ()


def test_a_chain_begins_with_the_first_stale_stage_and_ends_where_it_was_told() -> None:
    names = [stage.name for stage in STAGES]
    data = chain(STAGES[names.index("scrub") : names.index("tokenizer") + 1])
    assert [link.name for link in data] == [
        "scrub-begin",
        "scrub-scrub",
        "scrub-scrub-gather",
        "split-split",
        "split-split-gather",
    ]
    assert data[-1].arguments == ("stage", "split/split", "--gather", "--until", "tokenizer")
    assert [link.kind for link in chain(STAGES[names.index("pretrain") :])] == ["gather", "training", "gather"]
    assert [link.arguments for link in chain(STAGES[-1:])] == [("stage", "report", "--gather", "--until", "report")]


@pytest.fixture
def both(finished_data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A project whose `local` a run has made, and whose `jobs` has its settings only."""
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    shutil.copytree(finished_data, tmp_path, dirs_exist_ok=True)
    (tmp_path / "run").rename(tmp_path / "local")
    text2lm(tmp_path, "run", "tiny.toml", "--run", "local", *(word for item in SETS for word in ("--set", item)))
    (tmp_path / "jobs").mkdir()
    save_config(load_config(tmp_path / "tiny.toml", SETS), RunDir(tmp_path / "jobs").config)
    return tmp_path


def do(project: Path, link: Link) -> None:
    """A job of the chain, without Slurm: an array as two elements at once, the training as one rank here."""
    run = ("--run", "jobs")
    if link.kind == "gather":
        text2lm(project, *link.arguments, *run)
    elif link.kind == "training":
        text2lm(project, "stage", "pretrain/train", "--task", "0", *run)
    else:
        words = [*link.arguments, *run, "--workers", "1", "--share"]
        for element in [start_text2lm(project, *words, share) for share in ("0/2", "1/2")]:
            out, _ = element.communicate(timeout=120)
            assert element.returncode == 0, out


def test_the_jobs_of_the_chain_in_order_make_what_a_local_run_makes(both: Path) -> None:
    for link in chain(STAGES):
        do(both, link)
    names = [stage.name for stage in STAGES if stage.name not in ("pretrain", "report")]
    assert contents(both / "jobs", *names) == contents(both / "local", *names)
    weights = [(both / name / "export" / "hf" / "model.safetensors").read_bytes() for name in ("jobs", "local")]
    assert weights[0] == weights[1]
    done = text2lm(both, "status", "--run", "jobs")
    assert done.stdout.count("done") == len(STAGES) and (both / "jobs" / "report.html").exists()
    assert "nothing to do" in text2lm(both, "run", str(both / "jobs" / "config.toml"), "--run", "jobs").stdout
