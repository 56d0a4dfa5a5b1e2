"""Proves what counts as a spike and as too many skipped steps, on sequences worked by hand."""

from __future__ import annotations

from pretrain.steadiness import BadSteps, SpikeDetector


def spikes(norms: list[float]) -> list[int]:
    """Positions of the norms that are called spikes."""
    detector = SpikeDetector()
    return [number for number, norm in enumerate(norms) if detector.saw(norm)]


def test_a_norm_above_four_medians_is_a_spike() -> None:
    steady = [0.9, 1.0, 1.1] * 10  # median 1.0
    assert spikes([*steady, 4.0]) == []
    assert spikes([*steady, 4.1]) == [30]
    detector = SpikeDetector()
    for norm in steady:
        detector.saw(norm)
    assert detector.saw(12.5) == ("a spike: the gradient norm is 12.5, 12.5 times the median of the steps before")


def test_spikes_do_not_hide_those_that_follow() -> None:
    """A mean of these 23 would be 14 at the last; their median stays 1."""
    assert spikes([1.0] * 20 + [100.0, 100.0, 100.0]) == [20, 21, 22]


def test_a_new_level_is_a_spike_only_until_it_is_the_median() -> None:
    """After 50 high ones among the last 100, the median lies between: (1 + 10) / 2."""
    assert spikes([1.0] * 100 + [10.0] * 80) == list(range(100, 150))


def test_the_first_steps_are_not_judged() -> None:
    assert spikes([1.0] * 19 + [50.0]) == []
    assert spikes([1.0] * 20 + [50.0]) == [20]


def test_a_fall_through_warmup_is_no_spike() -> None:
    assert spikes([10 * 0.97**step for step in range(200)]) == []


def test_only_skipped_steps_in_a_row_are_too_many() -> None:
    bad = BadSteps(3)
    found = []
    for skipped in (True, True, False, True, True, True, False):
        assert bad.saw(skipped) == skipped
        found.append((bad.in_a_row, bad.too_many))
    assert found == [(1, False), (2, False), (0, False), (1, False), (2, False), (3, True), (0, False)]
