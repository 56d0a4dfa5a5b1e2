"""Steps that take documents one by one: each reads a shard, calls plain functions of `data_prep`, writes a part."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from pathlib import Path
from typing import Any

from data_prep.counts import Counts
from data_prep.document import Document, Drop
from data_prep.files import UserError
from data_prep.shards import Ledger, PartWriter, Shard, cut, read_documents, row_groups
from data_prep.split import side_of
from pipeline.stage import Context, Result


def part_name(task: int) -> str:
    return f"part-{task:05d}.parquet"


def shards_of(*needs: str) -> Callable[[Context], list[Shard]]:
    """A plan: the parts of the stages named, cut at row groups; parts of different directories never share a shard."""

    def plan(context: Context) -> list[Shard]:
        parts = sorted(part for name in needs for part in context.parts(name))
        by_directory = itertools.groupby(parts, key=lambda part: str(Path(part).parent))
        return cut(*(row_groups(context.run.root, list(group)) for _, group in by_directory))

    return plan


def map_documents(context: Context, task: int, change: Callable[[Document], Document | Drop]) -> Result:
    """Read a shard, let `change` decide about each document, write the part and the ledger of what was dropped."""
    counts = Counts()
    part, dropped = context.directory / part_name(task), context.directory / "dropped" / part_name(task)
    with PartWriter(part) as writer, Ledger(dropped) as ledger:
        for document in read_documents(context.run.root, context.shard(task)):
            counts.documents_in += 1
            result = change(document)
            if isinstance(result, Drop):
                counts.drop(result.reason)
                ledger.write(document, result)
            else:
                counts.documents_out += 1
                counts.bytes += len(result.text.encode())
                writer.write(result)
    return Result([part, *ledger.files], counts)


def split(context: Context, task: int) -> Result:
    """Every document to one side, by a hash of its id."""
    counts = Counts()
    tally = {"train": 0, "val": 0}
    parts = {side: context.directory / side / part_name(task) for side in tally}
    with PartWriter(parts["train"]) as train, PartWriter(parts["val"]) as val:
        for document in read_documents(context.run.root, context.shard(task)):
            side = side_of(document.id, seed=context.config.seed, val_fraction=context.config.split.val_fraction)
            (train if side == "train" else val).write(document)
            tally[side] += 1
            counts.documents_in += 1
            counts.documents_out += 1
            counts.bytes += len(document.text.encode())
    return Result(list(parts.values()), counts, tally)


def split_facts(context: Context, tally: dict[str, int]) -> dict[str, Any]:
    for side in ("train", "val"):
        if not tally.get(side):
            raise UserError(
                f"split put none of {sum(tally.values()):,} documents into {side}: the corpus is too small for "
                f"split.val_fraction = {context.config.split.val_fraction}; change it or add documents"
            )
    return dict(tally)
