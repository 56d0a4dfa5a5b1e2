"""Proves that ranks which share the work of a validation score as one process does, whatever they hold of the model.

The one process is `evaluate`, whose numbers test_evaluate.py proves against transformers.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import tiny_run
import validate_cases
from tokenizer_file import write_tokenizer

from pretrain.evaluate import evaluate, rates
from pretrain.model import build_model
from pretrain.sample import generate, open_tokenizer

STAGES = [str(stage) for stage in validate_cases.STAGES]


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_run.make_run(tmp_path_factory.mktemp("run"), validate_cases.job_of(1))


@pytest.fixture(scope="module")
def found(run: Path) -> list[dict[str, Any]]:
    """What each rank found, by ZeRO stage."""
    for code, out, err in tiny_run.Ranks(validate_cases.RANKS, validate_cases.__file__, str(run)).wait():
        assert code == 0, f"{out}\n{err}"
    return [json.loads((run / f"found-{rank}.json").read_text()) for rank in range(validate_cases.RANKS)]


@pytest.mark.parametrize("stage", STAGES)
def test_shared_scores_are_those_of_one_process(run: Path, found: list[dict[str, Any]], stage: str) -> None:
    """The held-out text is shorter than what a validation looks at, so both see all of it."""
    job = validate_cases.job_of(int(stage))
    wanted = evaluate(job, build_model(job).eval(), run / "tokens/val")
    scores = found[0][stage]["scores"]
    assert scores["sources"].keys() == wanted["sources"].keys() == {"web", "papers"}
    for name in ("loss", "perplexity", "bits_per_byte"):
        assert scores[name] == pytest.approx(wanted[name], rel=1e-6)
        for source, row in wanted["sources"].items():
            assert scores["sources"][source][name] == pytest.approx(row[name], rel=1e-6)
    assert found[0] == found[1]


@pytest.mark.parametrize("stage", STAGES)
def test_all_ranks_stop_when_one_is_asked_to(found: list[dict[str, Any]], stage: str) -> None:
    for rank in found:
        assert rank[stage]["stopped"] is None and rank[stage]["asked"] == 0  # in the third turn, both
        assert rank[stage]["training"]  # and go on with dropout


@pytest.mark.parametrize("stage", STAGES)
def test_ranks_write_the_text_of_one_process(tmp_path: Path, found: list[dict[str, Any]], stage: str) -> None:
    job, tokenizer = validate_cases.job_of(int(stage)), open_tokenizer(write_tokenizer(tmp_path / "t.json"))
    options = {"end_of_text": job.end_of_text, "max_tokens": 64, "temperature": 0.8, "top_k": 50, "seed": job.seed}
    wanted = generate(build_model(job).eval(), tokenizer, "", **options)
    assert wanted and found[0][stage]["sample"] == found[1][stage]["sample"] == wanted


def test_the_rates_of_a_hopeless_model_are_numbers() -> None:
    """e^710 is above what a float holds."""
    assert rates(7100.0, 10, 40)["perplexity"] == float("inf")
