"""A shard as what is kept of it to compare it with all others: one row a document, and the keys of its lines."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np
import orjson
import pyarrow as pa
import pyarrow.compute as pc

from data_prep.contamination import Evaluation, overlaps
from data_prep.dedup import permutations
from data_prep.lsh import sketch
from data_prep.minhash import sign
from data_prep.repeats import line_keys, url_key
from data_prep.resolution import first_with
from data_prep.settings import DedupSettings
from data_prep.signed import COPY, DEPUTY, OUT, packed, signed_columns, unpacked

LINES = pa.schema([("key", pa.uint64()), ("row", pa.int64())])


def sign_shard(
    tables: Iterable[pa.Table], settings: DedupSettings, evaluation: Evaluation | None
) -> tuple[pa.Table, pa.Table]:
    """(documents, as `signed` describes them; lines or paragraphs: key and row in the shard, sorted)."""
    documents, lines, count = [], [], 0
    for batch in batches(tables):
        documents.append(sign_batch(batch, settings, evaluation))
        if settings.repeats != "keep":
            rows, keys = line_keys(batch["text"], paragraphs=settings.repeats == "paragraphs")
            lines.append(pa.table({"key": keys, "row": rows.astype(np.int64) + count}))
        count += len(batch)
    shard = pa.concat_tables(documents).combine_chunks()
    out = np.zeros(count, bool)
    if settings.contaminated == "drop":
        out = np.asarray(shard["evaluation"].is_valid())
    first = first_with(unpacked(shard["digest"], np.uint64), ~out)
    standing = np.where(out, OUT, np.where(first == np.arange(count), DEPUTY, COPY)).astype(np.uint8)
    keys = pa.concat_tables([LINES.empty_table(), *lines])
    keys = keys.filter(pa.array(~out[keys["row"].to_numpy()])).sort_by([("key", "ascending"), ("row", "ascending")])
    return shard.append_column("standing", pa.array(standing)), keys


def batches(tables: Iterable[pa.Table]) -> Iterator[pa.RecordBatch]:
    for table in tables:
        yield from table.to_batches()


def sign_batch(batch: pa.RecordBatch, settings: DedupSettings, evaluation: Evaluation | None) -> pa.Table:
    texts = batch["text"]
    signatures, digests = sign(texts, permutations(settings.bands * settings.rows))
    found = overlaps(texts, evaluation) if evaluation else [None] * len(batch)
    addresses = np.zeros(len(batch), np.uint64)
    if settings.url_field:
        addresses[:] = [url_key(address_of(meta, settings.url_field)) for meta in batch["meta"].to_pylist()]
    columns: dict[str, Any] = {
        "id": batch["id"],
        "source": batch["source"],
        "characters": pc.cast(pc.utf8_length(texts), pa.int64()),
        "digest": packed(digests),
        "address": addresses,
        "evaluation": pa.array([overlap and overlap.evaluation for overlap in found], pa.string()),
        "ngram": pa.array([overlap and overlap.ngram for overlap in found], pa.string()),
        "sketch": packed(sketch(signatures)),
    }
    return pa.table(columns | signed_columns(signatures, settings.bands))


def address_of(meta: str, field: str) -> str:
    """The document's URL; "" where it has none."""
    value = orjson.loads(meta).get(field)
    return value if isinstance(value, str) else ""
