"""Proves, with the command and a model that learns its text by heart, that scrubbing keeps personal values out of the
tokens and out of the model: a small form of benchmarks/canaries.py, whose values are made up."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import TINY_CONFIG, real_texts, text2lm

ROOT = Path(__file__).parents[2]
LEARNED = ("credit-card", "iban", "email", "phone")  # in many documents; of each kind there is one in two
SMALL = {
    "train.tokens": 92_160,
    "train.global_batch_tokens": 1024,
    "model.d_model": 128,
    "model.context_length": 128,
    "launch.ranks": 1,
    "launch.workers": 1,
    "split.val_fraction": 0.02,
    "train.validate_every_steps": 1000,
    "checkpoint.every_steps": 1000,
}


@pytest.fixture(scope="module")
def seen(tmp_path_factory: pytest.TempPathFactory) -> dict[str, list[Any]]:
    """What two runs show of the canaries, by the runs' names."""
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(ROOT / "benchmarks"))
        import canaries

    directory = tmp_path_factory.mktemp("canaries")
    planted = canaries.canaries(measured=LEARNED)
    texts = canaries.plant(real_texts()[:40], planted, 2)
    texts = canaries.plant(texts, [canary for canary in planted if canary.kind in LEARNED], 40)
    (directory / "corpus").mkdir()
    for name, its in (("guide-0", texts[:20]), ("notes", texts[20:])):
        rows = [json.dumps({"id": f"{name}{number}", "text": text}) for number, text in enumerate(its)]
        (directory / "corpus" / f"{name}.jsonl").write_text("\n".join(rows))
    (directory / "tiny.toml").write_text(TINY_CONFIG.replace(".jsonl.gz", ".jsonl"))
    small = [word for name, value in SMALL.items() for word in ("--set", f"{name}={value}")]
    found = {}
    for name, settings in canaries.RUNS.items():
        text2lm(directory, "run", "tiny.toml", "--run", name, "--until", "pretrain", *small, *settings)
        found[name] = canaries.look(directory / name, planted)
    return found


def test_no_kind_of_value_is_in_the_tokens(seen: dict[str, list[Any]]) -> None:
    assert {row.kind: row.in_tokens for row in seen["scrubbed"] if row.in_tokens} == {}


def test_each_would_be_there_without_scrubbing(seen: dict[str, list[Any]]) -> None:
    assert {row.kind: row.in_tokens for row in seen["plain"] if row.in_tokens < 2} == {}
    assert min(row.in_tokens for row in seen["plain"] if row.kind in LEARNED) >= 40


def test_the_model_gives_none_away(seen: dict[str, list[Any]]) -> None:
    """By chance the mean exposure of four values exceeds 4 bits about once in a thousand times."""
    measured = [row for row in seen["scrubbed"] if not math.isnan(row.exposure)]
    assert sorted(row.kind for row in measured) == sorted(LEARNED)
    assert not any(row.extracted for row in measured)
    assert sum(row.exposure for row in measured) / len(LEARNED) < 4


def test_without_scrubbing_it_gives_them_away(seen: dict[str, list[Any]]) -> None:
    """All of the 127 other values of the same format are less likely, and decoding yields the value itself."""
    measured = [row for row in seen["plain"] if row.kind in LEARNED]
    assert {row.kind: row.exposure for row in measured} == dict.fromkeys((row.kind for row in measured), 7.0)
    assert sum(row.extracted for row in measured) >= 2
