"""The steps of dedup: sign a shard, match, cluster, filter a shard."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from data_prep.document import Drop
from data_prep.shards import read_documents, save_table
from pipeline.document_steps import map_documents, part_name
from pipeline.stage import Context, Result


def sign(context: Context, task: int) -> Result:
    """A shard's content digests, lengths and MinHash signatures, one row a document."""
    from data_prep.dedup import content_digest, sign

    columns: dict[str, list[Any]] = {"id": [], "digest": [], "characters": []}

    def texts() -> Iterator[str]:
        """One in memory at a time."""
        for document in read_documents(context.run.root, context.shard(task)):
            columns["id"].append(document.id)
            columns["digest"].append(content_digest(document.text))
            columns["characters"].append(len(document.text))
            yield document.text

    columns["signature"] = [signature.tobytes() for signature in sign(texts())]
    out = context.run.work("dedup", "sign") / part_name(task)
    save_table(out, pa.table(columns))
    return Result([out])


def match(context: Context, task: int) -> Result:
    """Pairs of documents (row numbers over all shards, in order) that connect all that are similar enough."""
    from data_prep.dedup import match

    table = pa.concat_tables([pq.read_table(path) for path in context.outputs_of("sign")])
    pairs = match(table["digest"].to_pylist(), signatures_of(table), context.config.dedup.threshold)
    columns = {"left": [pair.left for pair in pairs], "right": [pair.right for pair in pairs]}
    out = context.run.work("dedup", "match") / "pairs.parquet"
    save_table(out, pa.table(columns, schema=pa.schema([("left", pa.int64()), ("right", pa.int64())])))
    return Result([out])


def cluster(context: Context, task: int) -> Result:
    """For each document that goes: its shard and row, and for which: the longest stays, then the smallest id."""
    from data_prep.dedup import Pair, estimate, survivors

    tables = [pq.read_table(path) for path in context.outputs_of("sign")]
    table = pa.concat_tables(tables)
    ids, digests, signatures = table["id"].to_pylist(), table["digest"].to_pylist(), signatures_of(table)
    pairs = pq.read_table(context.outputs_of("match")[0])
    rank = list(zip((-length for length in table["characters"].to_pylist()), ids, strict=True))
    edges = map(Pair, pairs["left"].to_pylist(), pairs["right"].to_pylist())
    stands_for = survivors(edges, rank, signatures, context.config.dedup.threshold)
    starts = np.cumsum([0, *map(len, tables)])
    drops: dict[str, list[Any]] = {"task": [], "row": [], "reason": [], "detail": []}
    for row, survivor in enumerate(stands_for):
        if row != survivor:
            number = int(np.searchsorted(starts, row, side="right")) - 1
            exact = digests[row] == digests[survivor]
            how = "the same text" if exact else f"similarity {estimate(signatures[row], signatures[survivor]):.2f}"
            drops["task"].append(number)
            drops["row"].append(int(row - starts[number]))
            drops["reason"].append("exact-duplicate" if exact else "near-duplicate")
            drops["detail"].append(f"of {ids[survivor]} ({how})")
    out = context.run.work("dedup", "cluster") / "drops.parquet"
    kinds = {"task": pa.int64(), "row": pa.int64(), "reason": pa.string(), "detail": pa.string()}
    save_table(out, pa.table(drops, schema=pa.schema(kinds)))
    return Result([out])


def filter(context: Context, task: int) -> Result:
    """The shard without the documents that go."""
    table = pq.read_table(context.run.work("dedup", "cluster") / "drops.parquet", filters=[("task", "=", task)])
    drops = {row["row"]: Drop(row["reason"], row["detail"]) for row in table.to_pylist()}
    row = itertools.count()
    return map_documents(context, task, lambda document: drops.get(next(row), document))


def signatures_of(table: pa.Table) -> Any:
    from data_prep.dedup import PERMUTATIONS

    return np.frombuffer(b"".join(table["signature"].to_pylist()), np.uint32).reshape(-1, PERMUTATIONS)
