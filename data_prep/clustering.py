"""Who goes, and for whom, over all shards: ranks the documents that are like any other, verifies, resolves.

Only documents that have company are held in memory: their ids, digests and pairs.
"""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from data_prep.clusters import similarities
from data_prep.matching import Rows, digest_halves, pairs_of, repeated_rows
from data_prep.repeats import keepers
from data_prep.resolution import REASONS, STAYS, Resolution, Similarities, first_with, resolve
from data_prep.signed import bands_of, each, load, load_array
from data_prep.sorting import distinct

INVOLVED = pa.schema(
    [
        ("id", pa.large_string()),  # of many documents: more than two gigabytes
        ("source", pa.large_string()),
        ("characters", pa.int64()),
        ("digest", pa.binary(16)),
        ("address", pa.uint64()),
    ]
)
EXAMPLES, EXAMPLE_MEMBERS = 10, 5
PAIRS_AT_ONCE = 1 << 18


class Clustered(NamedTuple):
    """What is decided, as tables that are sorted by row (the document's number over all shards)."""

    gone: pa.Table  # row, reason, survivor (id), similarity (NaN: nobody looked)
    survivors: pa.Table  # row, cluster (id), size
    facts: dict[str, Any]
    ranked: Rows  # the rows of all documents with company, the best first
    stays: npt.NDArray[np.bool_]  # whether each of them does


def cluster(
    signed: Sequence[Path],
    runs: Sequence[Path],
    sets: Sequence[Path],
    *,
    threshold: float | None,
    priority: Sequence[str],
    starts: Sequence[int],
    ranges: int,
    lines: Sequence[Path],
) -> Clustered:
    """`signed` and `sets` are the shards' files, which begin at the rows `starts`, `runs` hold the pairs, `lines` what
    stands in several documents. Threshold None: pairs are not verified."""
    left, right = (np.concatenate(rows) for rows in zip(*all_pairs(runs, starts), strict=True))
    company = [repeated_rows(signed, column, ranges=ranges) for column in ("digest", "address")]
    company += [distinct(load_array(path)["row"]) for path in lines]
    involved = distinct(np.concatenate([left, right, *company]))
    documents = pa.concat_tables(
        table.take(involved[slice(*np.searchsorted(involved, [start, start + len(table)]))] - start)
        for start, table in each(signed, "id", "source", "characters", "digest", "address")
    ).cast(INVOLVED)
    order = by_rank(documents, priority)
    documents, ranked = documents.take(order), involved[order]
    number = np.empty(len(involved), np.int64)
    number[order] = np.arange(len(order))
    pairs = (number[np.searchsorted(involved, left)], number[np.searchsorted(involved, right)])
    digests = digest_halves(documents)
    alike = (
        estimated(signed, starts, ranked)
        if threshold is None
        else exact(sets, starts, ranked, digests, np.concatenate(pairs))
    )
    resolution = resolve(digests, documents["address"].to_numpy(), pairs, alike, threshold)
    return tables(documents, ranked, resolution)


def all_pairs(runs: Sequence[Path], starts: Sequence[int]) -> Iterator[tuple[Rows, Rows]]:
    """Each pair once, the smaller row first, a shard at a time."""
    yield np.empty(0, np.int64), np.empty(0, np.int64)
    for start, stop in itertools.pairwise(starts):
        left, right = pairs_of(runs, start, stop)
        forward = left < right
        yield left[forward], right[forward]


def by_rank(documents: pa.Table, priority: Sequence[str]) -> Rows:
    """The best first: of the source named first in `priority`, then the longest, then the smallest id."""
    first = pc.index_in(documents["source"], value_set=pa.array(priority, pa.large_string()))
    keys = pa.table(
        {
            "priority": pc.fill_null(first, len(priority)),
            "characters": documents["characters"],
            "id": documents["id"],
        }
    )
    order = [("priority", "ascending"), ("characters", "descending"), ("id", "ascending")]
    return np.asarray(pc.sort_indices(keys, sort_keys=order)).astype(np.int64)


def exact(
    sets: Sequence[Path], starts: Sequence[int], ranked: Rows, digests: Any, paired: Rows
) -> Callable[[Rows, Rows], Similarities]:
    """The Jaccard similarity of two documents' shingles. A text's set lies with any of its documents that is paired."""
    text = first_with(digests, np.ones(len(digests), bool))
    collected = np.full(len(digests), -1)
    collected[text[paired]] = paired

    def measure(shard: tuple[int, int], left: Rows, right: Rows) -> Similarities:
        return np.asarray(similarities(*held(shard[0], left), *held(shard[1], right)))

    def held(shard: int, rows: Rows) -> tuple[Any, Any, Rows]:
        """The sets of a shard, their bounds, and which of them are the rows'."""
        table = load(sets[shard])
        lists = table["shingles"].chunk(0)
        return lists.values.to_numpy(), lists.offsets.to_numpy(), np.searchsorted(table["row"].to_numpy(), rows)

    def rows_of(documents: Rows) -> Rows:
        return np.asarray(ranked[collected[text[documents]]])

    return lambda left, right: by_shards(starts, rows_of(left), rows_of(right), measure)


def estimated(signed: Sequence[Path], starts: Sequence[int], ranked: Rows) -> Callable[[Rows, Rows], Similarities]:
    """The share of equal values of two signatures (Broder 1997)."""

    def measure(shard: tuple[int, int], left: Rows, right: Rows) -> Similarities:
        one, other = (bands_of(signed[number]) for number in shard)
        left_rows, right_rows = left - starts[shard[0]], right - starts[shard[1]]
        equal = sum((a[left_rows] == b[right_rows]).sum(axis=1) for a, b in zip(one, other, strict=True))
        return np.asarray(equal / sum(band.shape[1] for band in one))

    return lambda left, right: by_shards(starts, ranked[left], ranked[right], measure)


def by_shards(
    starts: Sequence[int], left: Rows, right: Rows, measure: Callable[[tuple[int, int], Rows, Rows], Similarities]
) -> Similarities:
    """`measure` of pairs of rows, those of the same two shards at a time."""
    found = np.empty(len(left))
    shards = np.stack([np.searchsorted(starts, side, side="right") - 1 for side in (left, right)], axis=1)
    order = np.lexsort(shards.T)
    borders = np.flatnonzero(np.any(np.diff(shards[order], axis=0) != 0, axis=1)) + 1
    for block in np.split(order, borders) if len(order) else []:
        for piece in np.split(block, range(PAIRS_AT_ONCE, len(block), PAIRS_AT_ONCE)):
            one, other = shards[piece[0]].tolist()
            found[piece] = measure((one, other), left[piece], right[piece])
    return found


def tables(documents: pa.Table, ranked: Rows, resolution: Resolution) -> Clustered:
    """A resolution in the words of those who read it."""
    goes_for, why, similarity, clusters = resolution
    ids = documents["id"].combine_chunks()
    gone = np.flatnonzero(why != STAYS)
    gone = gone[np.argsort(ranked[gone])]
    final = goes_for[goes_for]  # one of an address may go for one that goes for another
    sizes = np.bincount(final, minlength=len(final))
    survivors = np.flatnonzero((why == STAYS) & (sizes > 1))
    survivors = survivors[np.argsort(ranked[survivors])]
    reasons = pa.array([REASONS[number] for number in why[gone].tolist()], pa.string())
    largest = sorted(survivors.tolist(), key=lambda number: (-int(sizes[number]), number))[:EXAMPLES]
    histogram = Counter(sizes[survivors].tolist())
    facts = {
        "cluster_sizes": {str(size): histogram[size] for size in sorted(histogram)},
        "clusters": [example(ids, resolution, final, number, int(sizes[number])) for number in largest],
    }
    return Clustered(
        pa.table(
            {
                "row": ranked[gone],
                "reason": reasons,
                "survivor": ids.take(pa.array(goes_for[gone])),
                "similarity": similarity[gone],
            }
        ),
        pa.table(
            {
                "row": ranked[survivors],
                "cluster": ids.take(pa.array(clusters[survivors])),
                "size": sizes[survivors],
            }
        ),
        {name: value for name, value in facts.items() if value},
        ranked,
        why == STAYS,
    )


def example(ids: pa.Array, resolution: Resolution, final: Rows, survivor: int, size: int) -> dict[str, Any]:
    """A cluster for people: who stays, and some of those who go for it."""
    members = np.flatnonzero((final == survivor) & (resolution.why != STAYS))[:EXAMPLE_MEMBERS].tolist()
    return {
        "survivor": ids[survivor].as_py(),
        "size": size,
        "members": [
            {
                "id": ids[member].as_py(),
                "reason": REASONS[int(resolution.why[member])],
                **({} if np.isnan(found) else {"similarity": round(float(found), 4)}),
            }
            for member in members
            for found in [resolution.similarity[member]]
        ],
    }


def lines_that_go(lines: Sequence[Path], decided: Clustered) -> Iterator[npt.NDArray[np.void]]:
    """Of each file of repeated lines those that go, as `LINE`, sorted by row: the best that stays keeps its own."""
    order = np.argsort(decided.ranked)
    for path in lines:
        found = load_array(path)
        number = order[np.searchsorted(decided.ranked, found["row"], sorter=order)]
        going = found[keepers(found["key"], number, np.arange(len(order)), decided.stays)]
        yield going[np.lexsort((going["key"], going["row"]))]
