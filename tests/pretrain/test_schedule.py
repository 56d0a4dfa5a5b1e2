"""Proves learning rates and batch sizes against numbers worked by hand, and that no step is left out."""

from __future__ import annotations

import math
from typing import Any

import pytest

from pretrain.schedule import BatchSizes, lr_at

# peak 8, floor 0.8, 4 warm-up steps of 12: a cosine over the 8 steps after them; (1 + cos(pi x)) / 2 at x = 1/8 .. 8/8
COSINE = {
    0: 2.0,
    1: 4.0,
    2: 6.0,
    3: 8.0,
    4: 0.8 + 7.2 * (1 + math.sqrt(2 + math.sqrt(2)) / 2) / 2,  # cos(pi / 8)
    5: 0.8 + 7.2 * (1 + math.sqrt(0.5)) / 2,  # cos(pi / 4)
    7: 4.4,  # half way
    9: 0.8 + 7.2 * (1 - math.sqrt(0.5)) / 2,
    10: 0.8 + 7.2 * (1 - math.sqrt(2 + math.sqrt(2)) / 2) / 2,
    11: 0.8,
}
# the same with a line: an eighth of 7.2 a step
LINEAR = {0: 2.0, 1: 4.0, 2: 6.0, 3: 8.0, 4: 7.1, 5: 6.2, 6: 5.3, 7: 4.4, 8: 3.5, 9: 2.6, 10: 1.7, 11: 0.8}
# 8 sqrt(4 / n) = 16 / sqrt(n), n from 1
INVERSE_SQRT = {0: 2.0, 1: 4.0, 2: 6.0, 3: 8.0, 4: 16 / math.sqrt(5), 8: 16 / 3, 15: 4.0, 24: 3.2, 63: 2.0, 99: 1.6}
CONSTANT = {0: 2.0, 1: 4.0, 2: 6.0, 3: 8.0, 4: 8.0, 5: 8.0, 8: 8.0, 9: 8.0, 10: 8.0, 11: 8.0}
# a line over the last 4 of 12 steps
WSD = {0: 2.0, 1: 4.0, 2: 6.0, 3: 8.0, 4: 8.0, 7: 8.0, 8: 6.2, 9: 4.4, 10: 2.6, 11: 0.8}
# 8 x 4^-0.5 x min(n^-0.5, n / 8)
NOAM = {0: 0.5, 1: 1.0, 2: 1.5, 3: 2.0, 8: 4 / 3, 15: 1.0, 24: 0.8, 63: 0.5, 99: 0.4, 399: 0.2}
TABLES = {
    "cosine": COSINE,
    "linear": LINEAR,
    "inverse-sqrt": INVERSE_SQRT,
    "constant": CONSTANT,
    "wsd": WSD,
    "noam": NOAM,
}
ROWS = [(schedule, step, lr) for schedule, table in TABLES.items() for step, lr in table.items()]


def rate(schedule: str, step: int, **changed: Any) -> float:
    options: dict[str, Any] = {"peak": 8.0, "min_ratio": 0.1, "warmup_steps": 4, "total_steps": 12}
    options |= {"decay_steps": 4 if schedule == "wsd" else 0, "d_model": 4}
    return lr_at(step, schedule=schedule, **(options | changed))


@pytest.mark.parametrize(("schedule", "step", "lr"), ROWS)
def test_numbers_by_hand(schedule: str, step: int, lr: float) -> None:
    assert rate(schedule, step) == pytest.approx(lr, rel=1e-12)


def test_noam_peaks_where_the_paper_has_it() -> None:
    """Base model of Vaswani et al. 2017: d_model 512, 4,000 warm-up steps."""
    rates = [rate("noam", step, peak=1.0, warmup_steps=4000, d_model=512) for step in range(3990, 4010)]
    assert max(rates) == rates[9] == pytest.approx(6.98771e-4, rel=1e-5)


def test_without_warmup_it_starts_to_fall_at_once() -> None:
    rates = [rate("cosine", step, peak=1.0, min_ratio=0.0, warmup_steps=0, total_steps=4) for step in range(4)]
    assert rates == pytest.approx([(1 + math.sqrt(0.5)) / 2, 0.5, (1 - math.sqrt(0.5)) / 2, 0.0])


@pytest.mark.parametrize("schedule", ["cosine", "linear", "wsd", "constant", "inverse-sqrt"])
def test_a_warmup_longer_than_the_training_only_grows(schedule: str) -> None:
    rates = [rate(schedule, step, peak=1.0, warmup_steps=10, total_steps=5) for step in range(5)]
    assert rates == pytest.approx([0.1, 0.2, 0.3, 0.4, 0.5])


def test_a_constant_batch() -> None:
    sizes = BatchSizes(full=64)
    assert [sizes.batch_tokens(step) for step in (0, 1, 10**12)] == [64, 64, 64]
    assert sizes.tokens_before(10**12) == 64 * 10**12
    assert sizes.steps(63) == 0 and sizes.steps(64) == 1 and sizes.steps(64 * 10**12 + 63) == 10**12


def test_a_ramp_by_hand() -> None:
    """To 40 in steps of 10 over 120 tokens: 40 tokens at each of 10, 20, 30 are 4, 2 and 1.33 -> 2 steps."""
    sizes = BatchSizes(full=40, start=10, ramp_tokens=120)
    assert [sizes.batch_tokens(step) for step in range(11)] == [10, 10, 10, 10, 20, 20, 30, 30, 40, 40, 40]
    assert [sizes.tokens_before(step) for step in range(11)] == [0, 10, 20, 30, 40, 60, 80, 110, 140, 180, 220]
    assert [sizes.steps(tokens) for tokens in (9, 10, 39, 40, 59, 60, 139, 140, 179, 180)] == [
        0, 1, 3, 4, 4, 5, 7, 8, 8, 9,
    ]  # fmt: skip


def test_gpt3s_ramp() -> None:
    """From 32k tokens to 0.5M over 4 billion: 15 sizes below the full one, 266.7 M tokens each: 8,139 steps."""
    sizes = BatchSizes(full=524_288, start=32_768, ramp_tokens=4_000_000_000)
    assert sizes.batch_tokens(8138) == 32_768 and sizes.batch_tokens(8139) == 65_536
    full = next(level for level in sizes.levels if level.batch_tokens == 524_288)
    assert 4_000_000_000 <= full.first_token < 4_004_000_000
