"""Proves that a training goes on under other settings only where no step already taken would have been another."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import tiny_run

from pretrain.continuation import continuation_problems
from pretrain.settings import PhaseSettings, TrainingJob

MIX = {"web": 3.0, "papers": 1.0}
K = 1024  # tokens a step


def problems(old: TrainingJob, steps: int, **train: Any) -> list[str]:
    return continuation_problems(old, replace(old, train=replace(old.train, **train)), steps)


@pytest.mark.parametrize("schedule", ["constant", "inverse-sqrt", "noam"])
def test_more_tokens_where_the_rate_does_not_know_the_end(schedule: str) -> None:
    assert problems(tiny_run.job(schedule=schedule), 20, tokens=40 * K) == []


@pytest.mark.parametrize("schedule", ["cosine", "linear"])
def test_no_more_tokens_where_it_does(schedule: str) -> None:
    (problem,) = problems(tiny_run.job(schedule=schedule), 20, tokens=40 * K)
    assert "the learning rates of the 20 steps it took would be others" in problem
    assert problems(tiny_run.job(schedule=schedule), 4, tokens=40 * K) == []  # warm-up only


def test_wsd_before_its_decay_only() -> None:
    job = tiny_run.job(schedule="wsd", decay_steps=5)  # steps 15 to 19 decay
    assert problems(job, 15, tokens=40 * K) == []
    assert len(problems(job, 16, tokens=40 * K)) == 1
    assert problems(job, 15, tokens=40 * K, decay_steps=10) == []


def test_fewer_tokens_than_it_has_seen() -> None:
    (problem,) = problems(tiny_run.job(schedule="constant"), 10, tokens=9 * K)
    assert problem.startswith("it has trained on 10240 tokens already")


def test_phases_are_appended_and_never_changed() -> None:
    job = tiny_run.job(schedule="constant")
    first, decay = PhaseSettings(20 * K, MIX), PhaseSettings(10 * K, {"papers": 1.0})
    assert problems(job, 20, tokens=30 * K, phase=[first, decay]) == []
    assert problems(job, 10, tokens=20 * K, phase=[replace(first, tokens=10 * K), decay]) == []  # not reached yet
    (problem,) = problems(job, 11, tokens=20 * K, phase=[replace(first, tokens=10 * K), decay])
    assert "the mix of sources of the 11264 tokens" in problem
    (problem,) = problems(job, 1, phase=[PhaseSettings(20 * K, {"web": 1.0})])
    assert "append phases only" in problem
