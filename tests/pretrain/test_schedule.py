"""Proves the learning rate against numbers worked by hand, and that no step is left out."""

from __future__ import annotations

import math

import pytest

from pretrain.schedule import lr_at

# peak 8, floor 0.8, 4 warm-up steps of 12: a cosine over the 8 steps after them; (1 + cos(pi x)) / 2 at x = 1/8 .. 8/8
BY_HAND = {
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


@pytest.mark.parametrize(("step", "lr"), BY_HAND.items())
def test_numbers_by_hand(step: int, lr: float) -> None:
    assert lr_at(step, peak=8.0, min_ratio=0.1, warmup_steps=4, total_steps=12) == pytest.approx(lr, rel=1e-12)


def test_without_warmup_it_starts_to_fall_at_once() -> None:
    rates = [lr_at(step, peak=1.0, min_ratio=0.0, warmup_steps=0, total_steps=4) for step in range(4)]
    assert rates == pytest.approx([(1 + math.sqrt(0.5)) / 2, 0.5, (1 - math.sqrt(0.5)) / 2, 0.0])


def test_a_warmup_longer_than_the_training_only_grows() -> None:
    rates = [lr_at(step, peak=1.0, min_ratio=0.1, warmup_steps=10, total_steps=5) for step in range(5)]
    assert rates == pytest.approx([0.1, 0.2, 0.3, 0.4, 0.5])
