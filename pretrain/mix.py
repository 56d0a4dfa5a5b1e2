"""A fair sequence of sources: after any number of samples, each source has had its share to within one sample.

The j-th sample of a source with share w must come in the slots floor(j / w) .. ceil((j + 1) / w): so its count stays
the floor or the ceiling of its quota. Taking, slot by slot, the source whose sample is due first meets every such
deadline (Tijdeman 1980, "The chairman assignment problem"; Baruah et al. 1996, "Proportionate progress").

That sequence is made from its beginning, which a training of a trillion tokens cannot afford. So it is cut into
blocks: how many samples each source has had at a block's border is computed from the border's number alone, and
within a block the rule above runs from one border to the next. All arithmetic is in integers.
"""

from __future__ import annotations

import math
from fractions import Fraction
from functools import lru_cache
from heapq import heappop, heappush
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from data_prep.files import UserError

BLOCK = 4096  # samples; a block is made in about 5 ms
RAREST = 2**18  # a block is as long as the rarest source's wait, so there must be a bound

Integers = npt.NDArray[np.int64]


class _Block(NamedTuple):
    first: list[int]  # samples each source has had before it
    sources: Integers  # (size,) whose sample it is
    numbers: Integers  # (size,) how many of that source came before


class Mix:
    """An endless sequence of samples of sources, by their weights. The order of `weights` does not matter.

    >>> mix = Mix({"a": 0.75, "b": 0.25})
    >>> [mix.at(number) for number in range(5)]
    [('a', 0), ('a', 1), ('a', 2), ('b', 0), ('a', 3)]
    >>> mix.count("b", 10**12)
    250000000000
    """

    def __init__(self, weights: dict[str, float]) -> None:
        self.names = sorted(weights)
        exact = [Fraction(str(weights[name])) for name in self.names]  # 0.1 is a tenth, not the float next to it
        common = math.lcm(*(weight.denominator for weight in exact))
        self._shares = [int(weight * common) for weight in exact]
        self._total = sum(self._shares)
        for name, share in zip(self.names, self._shares, strict=True):
            if share * RAREST < self._total:
                raise UserError(
                    f"source '{name}' is less than one sample in {RAREST:,} of its mix ({share / self._total:.1e}); "
                    "give it a larger weight, or leave it out"
                )
        # no sample's slots may reach over two borders, so that borders can be settled one by one
        self.block_size = max(BLOCK, math.ceil(self._total / min(self._shares)))
        self._block = lru_cache(maxsize=4)(self._make_block)

    def at(self, number: int) -> tuple[str, int]:
        """The source of sample `number`, from 0, and how many samples of that source came before."""
        block, slot = divmod(number, self.block_size)
        made = self._block(block)
        return self.names[made.sources[slot]], int(made.numbers[slot])

    def count(self, source: str, number: int) -> int:
        """How many of the first `number` samples are of `source`."""
        index = self.names.index(source)
        block, slots = divmod(number, self.block_size)
        made = self._block(block)
        return made.first[index] + int(np.count_nonzero(made.sources[:slots] == index))

    def _make_block(self, block: int) -> _Block:
        start, size = block * self.block_size, self.block_size
        first, after = self._border(start), self._border(start + size)
        samples = sorted(  # by release; one that the borders put into this block must find its slot in it
            (max(0, self._release(index, j) - start), min(size, self._deadline(index, j) - start), index)
            for index in range(len(first))
            for j in range(first[index], after[index])
        )
        sources, numbers = np.empty(size, np.int64), np.empty(size, np.int64)
        had, released, ready = first.copy(), 0, list[tuple[int, int]]()
        for slot in range(size):
            while released < size and samples[released][0] <= slot:
                heappush(ready, samples[released][1:])
                released += 1
            deadline, index = heappop(ready)
            assert deadline > slot
            sources[slot], numbers[slot] = index, had[index]
            had[index] += 1
        return _Block(first, sources, numbers)

    def _border(self, slot: int) -> list[int]:
        """How many samples each source has had before `slot`: the floor of its quota, or one more for some.

        A sample whose slots lie on both sides may come before or after. Before: those with the earliest deadlines,
        as many as the quotas leave room for, each only if there is a slot for it. The sets for which there are slots
        are a matroid, in which this greedy choice holds as many of the urgent samples as any choice could; the fair
        sequence from the beginning is such a choice, so what comes after the border can still meet every deadline.
        """
        had = [slot * share // self._total for share in self._shares]
        open_ = [index for index, share in enumerate(self._shares) if slot * share % self._total]
        if not open_:
            return had
        horizon = min(self._release(index, had[index]) for index in open_)
        taken = np.zeros(slot - horizon, np.int64)  # samples released in each slot that must come before the border
        for index, count in enumerate(had):
            j = count - 1
            while j >= 0 and (release := self._release(index, j)) >= horizon:
                taken[release - horizon] += 1
                j -= 1
        # room[r]: slots from r to the border, less the samples that have only these
        room = np.arange(slot - horizon, 0, -1) - np.cumsum(taken[::-1])[::-1]
        missing = slot - sum(had)
        for index in sorted(open_, key=lambda index: (self._deadline(index, had[index]), index)):
            reach = room[: self._release(index, had[index]) - horizon + 1]
            if missing and reach.min() > 0:
                reach -= 1
                had[index] += 1
                missing -= 1
        assert missing == 0
        return had

    def _release(self, index: int, j: int) -> int:
        """The first slot in which sample j of a source may come."""
        return j * self._total // self._shares[index]

    def _deadline(self, index: int, j: int) -> int:
        """The slot before which sample j of a source must come."""
        return -(-(j + 1) * self._total // self._shares[index])
