"""The steps of ingest: read rows, find ids that come twice, write the parts."""

from __future__ import annotations

import hashlib
from typing import Any

import numpy as np
import pyarrow.parquet as pq

from data_prep.counts import Counts
from data_prep.document import Broken, Drop
from data_prep.files import UserError, read_json, write_json
from data_prep.shards import Ledger, PartWriter, Shard, commonest_reason, cut, read_documents, row_groups
from pipeline.document_steps import part_name
from pipeline.receipt import Entry
from pipeline.stage import Context, Result, input_files


def inputs(context: Context) -> list[Entry]:
    from data_prep.finding import find_inputs

    return input_files(context, [item for source in context.config.source for item in find_inputs(source)])


def plan(context: Context) -> list[Shard]:
    from data_prep.finding import find_inputs
    from data_prep.sources import pieces

    # by name: the order of the tables in the config changes nothing
    sources = sorted(context.config.source, key=lambda source: source.name)
    return cut(*(pieces(source, find_inputs(source)) for source in sources))


def read(context: Context, task: int) -> Result:
    """Rows become documents; a broken one goes to quarantine."""
    from data_prep.sources import read

    sources = {source.name: source for source in context.config.source}
    counts = Counts()
    part = context.run.work("ingest", "read") / part_name(task)
    quarantine = context.directory / "quarantine" / f"broken-{task:05d}.parquet"
    with PartWriter(part) as writer, Ledger(quarantine) as ledger:
        for piece in context.shard(task):
            for row in read(sources[piece["source"]], piece):
                counts.documents_in += 1
                if isinstance(row, Broken):
                    counts.quarantined += 1
                    ledger.add(row.id, row.source, row.reason, row.excerpt, "")
                else:
                    counts.documents_out += 1
                    writer.write(row)
    return Result([part, *ledger.files], counts)


def ids(context: Context, task: int) -> Result:
    """Which rows, by task, carry an id that an earlier row has: found by sorting 16-byte hashes of the ids."""
    parts = [path for path in context.outputs_of("read") if path.parent.name == "read"]
    ids = [pq.read_table(path, columns=["id"])["id"] for path in parts]
    hashes = b"".join(hashlib.blake2b(str(id).encode(), digest_size=16).digest() for column in ids for id in column)
    high, low = np.frombuffer(hashes, np.uint64).reshape(-1, 2).T
    order = np.lexsort((low, high))  # stable: equal ids stay in the order of their rows
    repeats = (high[order][1:] == high[order][:-1]) & (low[order][1:] == low[order][:-1])
    starts = np.cumsum([0, *map(len, ids)])
    repeated: dict[str, list[int]] = {}
    for row in np.sort(order[1:][repeats]):
        number = int(np.searchsorted(starts, row, side="right")) - 1
        repeated.setdefault(str(number), []).append(int(row - starts[number]))
    out = context.run.work("ingest", "ids") / "repeated.json"
    write_json(out, repeated)
    return Result([out])


def write(context: Context, task: int) -> Result:
    """The part, without documents whose id came earlier."""
    read_part = context.run.work("ingest", "read") / part_name(task)
    repeated = set(read_json(context.run.work("ingest", "ids") / "repeated.json").get(str(task), []))
    shard = row_groups(context.run.root, [str(read_part.relative_to(context.run.root))])
    counts, tally = Counts(), dict.fromkeys((piece["source"] for piece in context.shard(task)), 0)
    part = context.directory / part_name(task)
    quarantine = context.directory / "quarantine" / f"repeated-{task:05d}.parquet"
    with PartWriter(part) as writer, Ledger(quarantine) as ledger:
        for row, document in enumerate(read_documents(context.run.root, shard)):
            counts.documents_in += 1
            if row in repeated:
                counts.quarantined += 1
                ledger.write(document, Drop("duplicate-id"))
            else:
                counts.documents_out += 1
                counts.bytes += len(document.text.encode())
                tally[document.source] += 1
                writer.write(document)
    return Result([part, *ledger.files], counts, tally)


def facts(context: Context, tally: dict[str, int]) -> dict[str, Any]:
    """Documents by source, and licences. A source that holds none is an error here, and not ten stages later."""
    for source in context.config.source:
        if not tally.get(source.name):
            reason = commonest_reason(context.directory / "quarantine", source.name)
            seen = f"{reason}; see {context.directory}/quarantine" if reason else "no rows"
            raise UserError(
                f"source '{source.name}' gave no document ({seen}); "
                "check its paths, text_field, id_field and encoding in the config"
            )
    licenses = {source.name: source.license for source in context.config.source if source.license}
    return {"sources": tally} | ({"licenses": licenses} if licenses else {})
