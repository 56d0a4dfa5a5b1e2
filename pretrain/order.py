"""Which sample comes when: a pure function of the sample's number. No list of indices, no state.

Every rank computes the same answer for the same number, so the sequence does not know how many ranks, what
micro-batch, what batch size or which resume asked.
"""

from __future__ import annotations

import itertools
from bisect import bisect_right
from typing import NamedTuple

from pretrain.mix import Mix


class Phase(NamedTuple):
    """A mix of sources for a number of samples."""

    samples: int
    weights: dict[str, float]


class Sample(NamedTuple):
    """Window `number` of a source, counted on over all phases: pretrain/windows.py says which text that is."""

    source: str
    number: int


class Order:
    """Phases one after another; the last goes on for ever, so one appended later changes nothing before it.

    >>> order = Order([Phase(3, {"web": 2, "code": 1}), Phase(2, {"code": 1})])
    >>> [tuple(order.sample(index)) for index in range(5)]
    [('web', 0), ('code', 0), ('web', 1), ('code', 1), ('code', 2)]
    """

    def __init__(self, phases: list[Phase]) -> None:
        self._mixes = [Mix(phase.weights) for phase in phases]
        self._starts = [0, *itertools.accumulate(phase.samples for phase in phases[:-1])]
        self._before: list[dict[str, int]] = [dict.fromkeys(itertools.chain(*(mix.names for mix in self._mixes)), 0)]
        for mix, phase in zip(self._mixes[:-1], phases, strict=False):
            had = {name: mix.count(name, phase.samples) for name in mix.names}
            self._before.append({name: count + had.get(name, 0) for name, count in self._before[-1].items()})

    @property
    def sources(self) -> list[str]:
        """Every source of any phase."""
        return list(self._before[0])

    def sample(self, index: int) -> Sample:
        """The sample that has number `index`, counted from 0, in the whole training."""
        phase = self._phase(index)
        source, number = self._mixes[phase].at(index - self._starts[phase])
        return Sample(source, self._before[phase][source] + number)

    def count(self, source: str, index: int) -> int:
        """How many of the first `index` samples are of `source`."""
        phase = self._phase(index)
        mix, before = self._mixes[phase], self._before[phase][source]
        return before + (mix.count(source, index - self._starts[phase]) if source in mix.names else 0)

    def _phase(self, index: int) -> int:
        return bisect_right(self._starts, index) - 1
