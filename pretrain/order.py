"""Which training sample comes when: a pure function of the sample's number. No list, no state.

Sample i of a training is a window (a run of context_length tokens) of one source. Every rank computes the same answer
for the same i, so the sequence does not know how many ranks, what micro-batch or which resume asked.

Sources are mixed by a tree of two-way splits. At a node that has seen n samples, round(n p) of them went left, where p
is the left side's share; which side sample n takes, and its number there, follow by arithmetic. Each split is off by
at most half a sample and passes its parent's error on in proportion, and the tree is Huffman's, so any two splits in
a row at least halve a share: after any number of samples each source has had its share to within 2 samples (1/2 with
two sources).
"""

from __future__ import annotations

import hashlib
import heapq
from typing import NamedTuple

SHARE_BITS = 64  # shares are integers over 2^64: floats would skip or repeat a sample after billions of them


class Source(NamedTuple):
    """One part of the mix."""

    name: str
    weight: float
    windows: int  # windows of context_length tokens (and the one after) in its training stream


class Sample(NamedTuple):
    """Window `window` of source `source`; it covers tokens window * T .. window * T + T, and the target after."""

    source: str
    window: int


class _Split(NamedTuple):
    left: _Split | Source
    right: _Split | Source
    left_share: int  # of this node's samples, over 2^SHARE_BITS


class Order:
    """The sequence of samples of a training.

    Windows of one source are read in sequence, from a place that `seed` picks, and wrap around: documents were
    shuffled when they were written.
    """

    def __init__(self, seed: int, sources: list[Source]) -> None:
        self.sources = sources
        self._first = {source.name: _start(seed, source) for source in sources}
        self._root = _huffman(sources)

    def sample(self, index: int) -> Sample:
        """The sample that has number `index`, counted from 0, in the whole training."""
        node = self._root
        while isinstance(node, _Split):
            before, after = _left_count(index, node.left_share), _left_count(index + 1, node.left_share)
            node, index = (node.left, before) if after > before else (node.right, index - before)
        return Sample(node.name, (self._first[node.name] + index) % node.windows)


def step_range(step: int, samples_per_step: int, rank: int = 0, ranks: int = 1) -> range:
    """Numbers of the samples of optimizer step `step` (from 0) that `rank` trains on: ranks slice the step evenly.

    >>> [list(step_range(3, 4, rank, 2)) for rank in range(2)]
    [[12, 13], [14, 15]]
    """
    share = samples_per_step // ranks
    start = step * samples_per_step + rank * share
    return range(start, start + share)


def _left_count(samples: int, share: int) -> int:
    """round(samples x share), in exact integers."""
    return (samples * share + (1 << SHARE_BITS - 1)) >> SHARE_BITS


def _start(seed: int, source: Source) -> int:
    digest = hashlib.sha256(f"{seed}:{source.name}".encode()).digest()
    return int.from_bytes(digest[:8], "big") % source.windows


def _huffman(sources: list[Source]) -> _Split | Source:
    heap: list[tuple[float, int, _Split | Source]] = [(s.weight, number, s) for number, s in enumerate(sorted(sources))]
    heapq.heapify(heap)
    for number in range(len(sources), 2 * len(sources) - 1):  # a number breaks ties of weight: the tree is one
        right_weight, _, right = heapq.heappop(heap)
        left_weight, _, left = heapq.heappop(heap)
        weight = left_weight + right_weight
        share = round(left_weight / weight * (1 << SHARE_BITS))
        heapq.heappush(heap, (weight, number, _Split(left, right, share)))
    return heap[0][2]
