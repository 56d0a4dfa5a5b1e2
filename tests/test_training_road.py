"""Proves, with the command and real ranks, what a training may be asked once it has begun, and what it goes on from."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from data_prep.files import read_json, read_json_lines
from tests.conftest import text2lm

CONSTANT = ("--set", "train.schedule=constant", "--set", "split.val_fraction=0.1")
LONG = ("--set", "train.tokens=20480")
SHORT = ("--set", "train.tokens=10240")  # 10 steps


def rows(run: Path) -> list[dict[str, Any]]:
    return read_json_lines(run / "pretrain/metrics.jsonl")


def numbers(run: Path) -> list[tuple[Any, ...]]:
    return [(row["step"], row["loss"], row["lr"], row["grad_norm"], row["skipped"]) for row in rows(run)]


@pytest.fixture(scope="module")
def road(finished_data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project with one finished training of 20 steps at a constant rate (`run`), and its data alone (`data`)."""
    directory = tmp_path_factory.mktemp("road")
    shutil.copytree(finished_data, directory, dirs_exist_ok=True)
    (directory / "run").rename(directory / "data")
    text2lm(directory, "run", "tiny.toml", "--run", "data", *CONSTANT, "--until", "tokens")  # another split
    shutil.copytree(directory / "data", directory / "run")
    text2lm(directory, "run", "tiny.toml", "--run", "run", *CONSTANT, *LONG)
    return directory


def test_a_training_extended_is_the_long_one_bit_for_bit(road: Path) -> None:
    shutil.copytree(road / "data", road / "short")
    text2lm(road, "run", "tiny.toml", "--run", "short", *CONSTANT, *SHORT, "--until", "pretrain")
    assert len(rows(road / "short")) == 10
    done = text2lm(road, "run", "tiny.toml", "--run", "short", *CONSTANT, *LONG, "--until", "pretrain")
    assert "pretrain: train.tokens changed from 10240 to 20480" in done.stdout
    assert "resumed from step-00000010" in done.stdout
    assert numbers(road / "short") == numbers(road / "run")
    refused = text2lm(road, "run", "tiny.toml", "--run", "short", *CONSTANT, *SHORT, code=2)
    assert "it has trained on 20480 tokens already, train.tokens is 10240 now" in refused.stderr
    # a mix for the end is a phase more
    phases = ("[{tokens=20480, weights={guide=1.0, notes=0.5}}, {tokens=2048, weights={notes=1.0}}]", "22528")
    more = ("--set", f"train.phase={phases[0]}", "--set", f"train.tokens={phases[1]}")
    text2lm(road, "run", "tiny.toml", "--run", "short", *CONSTANT, *more, "--until", "pretrain")
    assert numbers(road / "short")[:20] == numbers(road / "run") and len(rows(road / "short")) == 22
    last = text2lm(road, "batch", "--run", "short", "--step", "22").stdout.splitlines()
    assert last and all(line.startswith("notes:") for line in last)


def test_a_cosine_is_not_stretched(road: Path) -> None:
    shutil.copytree(road / "run", road / "cosine")
    started = road / "cosine/pretrain/started.json"
    job = read_json(started)
    other = ("--set", "split.val_fraction=0.1")  # tiny.toml's own schedule: another training
    refused = text2lm(road, "run", "tiny.toml", "--run", "cosine", *other, code=2)
    assert "train.schedule changed from constant to cosine" in refused.stderr
    text2lm(road, "run", "tiny.toml", "--run", "cosine", *other, *SHORT, "--restart", "--until", "pretrain")
    refused = text2lm(road, "run", "tiny.toml", "--run", "cosine", *other, *LONG, code=2)
    assert "the learning rates of the 10 steps it took would be others" in refused.stderr
    assert read_json(started) != job


def test_a_step_left_out_leaves_every_other_in_its_place(road: Path) -> None:
    shutil.copytree(road / "data", road / "skip")
    skip = ("--set", "train.skip_steps=[12, 13]")
    text2lm(road, "run", "tiny.toml", "--run", "skip", *CONSTANT, *LONG, *skip, "--until", "pretrain")
    whole, without = rows(road / "run"), rows(road / "skip")
    assert numbers(road / "skip")[:11] == numbers(road / "run")[:11]
    assert [row["step"] for row in without if row["skipped"]] == [12, 13]
    assert [row["loss"] for row in without[11:13]] == [None, None]
    assert [row["tokens_per_second"] for row in without[11:13]] == [0, 0]
    assert [row["lr"] for row in without] == [row["lr"] for row in whole]
    assert [row["tokens"] for row in without] == [row["tokens"] for row in whole]
    assert without[13]["loss"] != whole[13]["loss"]  # other weights
    facts = read_json(road / "skip/pretrain/manifest.json")["facts"]
    assert facts["skipped_steps"] == [12, 13]
    batch = ("batch", "--step", "14", "--run")
    assert text2lm(road, *batch, "skip").stdout == text2lm(road, *batch, "run").stdout


def test_a_training_that_only_skips_pauses_and_names_its_steps(road: Path) -> None:
    """A learning rate that breaks everything at once: steps 1 or 2 are finite, none after them."""
    shutil.copytree(road / "data", road / "broken")
    broken = ("--set", "train.lr=1e30", "--set", "train.warmup_steps=0", "--set", "train.max_bad_steps=3")
    failed = text2lm(road, "run", "tiny.toml", "--run", "broken", *CONSTANT, *LONG, *broken, code=1)
    bad = [row["step"] for row in rows(road / "broken") if row["skipped"]]
    assert len(bad) == 3 and bad[-1] == len(rows(road / "broken"))
    assert f"the loss or the gradient of steps {bad[0]} to {bad[-1]} is not finite" in failed.stderr
    assert f"text2lm batch --step {bad[-1]}" in failed.stderr
    assert (road / f"broken/pretrain/checkpoints/step-{bad[-1]:08d}/manifest.json").exists()


def test_the_manifest_accounts_for_every_token(road: Path) -> None:
    tokens = read_json(road / "run/tokens/manifest.json")["facts"]["train"]
    facts = read_json(road / "run/pretrain/manifest.json")["facts"]
    assert facts["accounting"][""]["trained"] == 20_480
    for source, row in tokens.items():
        account = facts["accounting"][source]
        assert account["trained"] - account["repeated"] + account["lost"] + account["unread"] == row["tokens"]
        assert account["lost"] == account["padded"] == 0
        assert facts["epochs"][source] == pytest.approx(account["trained"] / row["tokens"])


def test_a_source_is_not_read_more_often_than_it_may(road: Path) -> None:
    shutil.copytree(road / "data", road / "often")
    limit = ("--set", "source.1.max_epochs=0.05")
    refused = text2lm(road, "run", "tiny.toml", "--run", "often", *CONSTANT, *LONG, *limit, code=2)
    assert "source 'notes' would be read" in refused.stderr and "its max_epochs is 0.05" in refused.stderr
    assert not (road / "often/pretrain/checkpoints").exists()


@pytest.mark.parametrize("windows", ["sentence", "document"])
def test_padded_windows_with_a_document_mask_at_zero_3(road: Path, windows: str) -> None:
    shutil.copytree(road / "data", road / windows)
    options = [f"train.windows={windows}", "train.document_mask=true", "train.zero_stage=3", "model.position=rotary"]
    sets = [item for option in options for item in ("--set", option)]
    text2lm(road, "run", "tiny.toml", "--run", windows, *CONSTANT, *SHORT, *sets)
    trained = rows(road / windows)
    assert trained[-1]["loss"] < trained[0]["loss"] - 0.3
    assert {row["targets"] for row in trained} != {1024} and max(row["targets"] for row in trained) <= 1024
    account = read_json(road / windows / "pretrain/manifest.json")["facts"]["accounting"][""]
    assert account["trained"] + account["padded"] == 10_240 and account["padded"] > 0
    assert account["trained"] == sum(row["targets"] for row in trained)
    assert read_json(road / windows / "export/manifest.json")["facts"]["what"].startswith("none: ")
    refused = text2lm(road, "export", "--run", windows, code=2)
    assert "nothing to export" in refused.stderr and "model.position" in refused.stderr
    assert text2lm(road, "sample", "--run", windows, "--prompt", "The", "--max-tokens", "5").stdout.startswith("The")


def test_going_on_from_an_export(road: Path) -> None:
    """Trained at almost no rate, the imported model scores what the exported one did; and its tokenizer is kept."""
    origin = ("--set", "train.init_from=run/export/hf", "--set", "train.lr=1e-30")
    text2lm(road, "run", "tiny.toml", "--run", "onward", *CONSTANT, *SHORT, *origin)
    before, after = (read_json(road / name / "evaluate/results.json") for name in ("run", "onward"))
    assert after["loss"] == pytest.approx(before["loss"], rel=1e-6)
    assert after["bits_per_byte"] == pytest.approx(before["bits_per_byte"], rel=1e-6)
    tokenizers = [(road / name / "tokenizer/tokenizer.json").read_bytes() for name in ("run", "onward")]
    assert tokenizers[0] == tokenizers[1]
    refused = text2lm(road, "run", "tiny.toml", "--run", "new", *CONSTANT, *origin, "--set", "model.n_layers=4", code=2)
    assert "has model.n_layers = 2, the config 4" in refused.stderr
    weights = road / "run/export/hf/model.safetensors"
    original = weights.read_bytes()
    weights.write_bytes(original[:-100])
    refused = text2lm(road, "run", "tiny.toml", "--run", "torn", *CONSTANT, *SHORT, *origin, code=2)
    weights.write_bytes(original)
    assert "model.safetensors" in refused.stderr and "Traceback" not in refused.stderr
    config = road / "run/export/hf/config.json"
    changed = json.loads(config.read_text()) | {"activation_function": "silu"}
    original = config.read_bytes()
    config.write_text(json.dumps(changed))
    refused = text2lm(road, "run", "tiny.toml", "--run", "foreign", *CONSTANT, *SHORT, *origin, code=2)
    config.write_bytes(original)
    assert "activation_function" in refused.stderr
