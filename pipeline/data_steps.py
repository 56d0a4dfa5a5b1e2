"""The steps of data preparation: each reads a shard, calls the plain functions of `data_prep`, and writes a part."""

from __future__ import annotations

import gzip
import hashlib
import io
import itertools
import lzma
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from data_prep.counts import Counts
from data_prep.document import Broken, Document, Drop
from data_prep.files import UserError, atomic_file, atomic_path, atomic_write, read_json, write_json
from data_prep.shards import Ledger, PartWriter, Shard, cut, read_documents, row_groups
from data_prep.split import side_of, unit_hash
from data_prep.tokens import DocumentRow, TokenWriter, dtype_for
from pipeline.receipt import Entry
from pipeline.stage import Context, Result, input_files

TOKEN_FILE_BYTES = 2 << 30  # a token file is closed at about this size and the next one begun
ENCODE_BATCH = 512  # documents given to the tokenizer at once


def part_name(task: int) -> str:
    return f"part-{task:05d}.parquet"


def shards_of(*needs: str) -> Callable[[Context], list[Shard]]:
    """A plan: the parts of the stages named, cut at row groups; parts of different directories never share a shard."""

    def plan(context: Context) -> list[Shard]:
        parts = sorted(part for name in needs for part in context.parts(name))
        by_directory = itertools.groupby(parts, key=lambda part: str(Path(part).parent))
        return [shard for _, group in by_directory for shard in cut(row_groups(context.run.root, list(group)))]

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
    return Result([part, dropped], counts)


# ingest ---------------------------------------------------------------------------------------------------------------


def ingest_inputs(context: Context) -> list[Entry]:
    from data_prep.sources import find_inputs

    return input_files(context, [item for source in context.config.source for item in find_inputs(source)])


def ingest_plan(context: Context) -> list[Shard]:
    from data_prep.sources import find_inputs, pieces

    return [shard for source in context.config.source for shard in cut(pieces(source, find_inputs(source)))]


def ingest_read(context: Context, task: int) -> Result:
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
    return Result([part, quarantine], counts)


def ingest_ids(context: Context, task: int) -> Result:
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


def ingest_write(context: Context, task: int) -> Result:
    """The part, without documents whose id came earlier."""
    read_part = context.run.work("ingest", "read") / part_name(task)
    repeated = set(read_json(context.run.work("ingest", "ids") / "repeated.json").get(str(task), []))
    shard = row_groups(context.run.root, [str(read_part.relative_to(context.run.root))])
    counts = Counts()
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
                writer.write(document)
    return Result([part, quarantine], counts)


# clean, scrub, split --------------------------------------------------------------------------------------------------


def clean(context: Context, task: int) -> Result:
    """HTML to text, Unicode NFC, then the rules of the document's source."""
    from data_prep.extract import plain_text
    from data_prep.quality import first_reason

    settings = context.config.clean
    sources = {source.name: source for source in context.config.source}

    def change(document: Document) -> Document | Drop:
        source = sources[document.source]
        text = plain_text(document.text, source.format)
        rules = settings.rules if source.rules is None else source.rules
        reason = first_reason(text, rules, settings.thresholds) if text else "empty"
        return Drop(reason) if reason else Document(document.id, text, document.source, document.meta)

    return map_documents(context, task, change)


def scrub(context: Context, task: int) -> Result:
    """Personal values become placeholders; how many of each kind goes into the manifest."""
    from data_prep.pii import scrub as scrub_text

    tally: dict[str, int] = {}

    def change(document: Document) -> Document:
        text, found = scrub_text(document.text, context.config.scrub.kinds)
        for kind, count in found.items():
            tally[kind] = tally.get(kind, 0) + count
        return Document(document.id, text, document.source, document.meta)

    result = map_documents(context, task, change)
    return Result(result.outputs, result.counts, tally)


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


# dedup ----------------------------------------------------------------------------------------------------------------


def dedup_sign(context: Context, task: int) -> Result:
    """A shard's content digests, lengths and MinHash signatures, one row a document."""
    from data_prep.dedup import content_digest, sign

    documents = list(read_documents(context.run.root, context.shard(task)))
    signatures = [signature.tobytes() for signature in sign(document.text for document in documents)]
    columns: dict[str, list[Any]] = {
        "id": [document.id for document in documents],
        "digest": [content_digest(document.text) for document in documents],
        "characters": [len(document.text) for document in documents],
        "signature": signatures,
    }
    out = context.run.work("dedup", "sign") / part_name(task)
    save_table(out, pa.table(columns))
    return Result([out])


def dedup_match(context: Context, task: int) -> Result:
    """Pairs of documents (row numbers over all shards, in order) that are the same or similar enough."""
    from data_prep.dedup import match

    table = read_tables(context.outputs_of("sign"))
    pairs = match(table["digest"].to_pylist(), signatures_of(table), context.config.dedup.threshold)
    columns = zip(*pairs, strict=True) if pairs else ([], [], [])
    out = context.run.work("dedup", "match") / "pairs.parquet"
    schema = pa.schema([("left", pa.int64()), ("right", pa.int64()), ("similarity", pa.float64())])
    save_table(out, pa.table(list(map(list, columns)), schema=schema))
    return Result([out])


def dedup_cluster(context: Context, task: int) -> Result:
    """For each document that goes: its shard and row, and its cluster's survivor (the longest, then smallest id)."""
    from data_prep.dedup import Pair, cluster, estimate

    tables = [pq.read_table(path) for path in context.outputs_of("sign")]
    table = pa.concat_tables(tables)
    ids, digests, signatures = table["id"].to_pylist(), table["digest"].to_pylist(), signatures_of(table)
    pairs = pq.read_table(context.outputs_of("match")[0])
    rank = list(zip((-length for length in table["characters"].to_pylist()), ids, strict=True))
    survivors = cluster(len(ids), map(Pair, *(pairs[name].to_pylist() for name in pairs.column_names)), rank)
    starts = np.cumsum([0, *map(len, tables)])
    drops: dict[str, list[Any]] = {"task": [], "row": [], "reason": [], "detail": []}
    for row, survivor in enumerate(survivors):
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


def dedup_filter(context: Context, task: int) -> Result:
    """The shard without the documents that go."""
    table = pq.read_table(context.run.work("dedup", "cluster") / "drops.parquet", filters=[("task", "=", task)])
    drops = {row["row"]: Drop(row["reason"], row["detail"]) for row in table.to_pylist()}
    row = itertools.count()
    return map_documents(context, task, lambda document: drops.get(next(row), document))


def signatures_of(table: pa.Table) -> Any:
    from data_prep.dedup import PERMUTATIONS

    return np.frombuffer(b"".join(table["signature"].to_pylist()), np.uint32).reshape(-1, PERMUTATIONS)


def save_table(path: Path, table: pa.Table) -> None:
    with atomic_path(path) as temporary:
        pq.write_table(table, temporary, compression="zstd")


def read_tables(paths: list[Path]) -> pa.Table:
    return pa.concat_tables([pq.read_table(path) for path in paths])


# tokenizer, tokens ----------------------------------------------------------------------------------------------------


def texts_of(context: Context, parts: list[str]) -> Iterator[str]:
    return (document.text for document in read_documents(context.run.root, row_groups(context.run.root, parts)))


def train_tokenizer(context: Context, task: int) -> Result:
    """Byte-level BPE on the train side only."""
    from data_prep.bpe import train

    parts = [part for part in context.parts("split") if part.startswith("split/train/")]
    tokenizer = train(texts_of(context, parts), vocab_size=context.config.tokenizer.vocab_size)
    atomic_write(context.run.tokenizer, tokenizer.to_str(pretty=True))
    return Result([context.run.tokenizer], tally={"vocab_size": tokenizer.get_vocab_size()})


def tokens_encode(context: Context, task: int) -> Result:
    """A shard's ids in one array, and a table of its documents."""
    from data_prep.encode import encode, load_tokenizer

    tokenizer = load_tokenizer(context.run.tokenizer)
    dtype = dtype_for(tokenizer.get_vocab_size())
    documents = read_documents(context.run.root, context.shard(task))
    rows: dict[str, list[Any]] = {"id": [], "source": [], "bytes": [], "tokens": []}
    counts = Counts()
    directory = context.run.work("tokens", "encode")
    ids_path, rows_path = directory / f"ids-{task:05d}.bin", directory / f"rows-{task:05d}.parquet"
    with atomic_file(ids_path) as file:
        while batch := list(itertools.islice(documents, ENCODE_BATCH)):
            for document, ids in zip(batch, encode(tokenizer, [document.text for document in batch]), strict=True):
                file.write(ids.astype(dtype).tobytes())
                size_bytes = len(document.text.encode())
                for name, value in zip(rows, (document.id, document.source, size_bytes, len(ids)), strict=True):
                    rows[name].append(value)
                counts.documents_in += 1
                counts.documents_out += 1
                counts.bytes += size_bytes
    save_table(rows_path, pa.table(rows))
    return Result([ids_path, rows_path], counts)


def tokens_write(context: Context, task: int) -> Result:
    """Token files by side and source, the documents in an order drawn once from the seed and their ids."""
    from data_prep.encode import load_tokenizer

    vocab_size = load_tokenizer(context.run.tokenizer).get_vocab_size()
    shards = context.plan()["shards"]
    directory = context.run.work("tokens", "encode")
    outputs: list[Path] = []
    counts = Counts()
    for side in ("train", "val"):
        tasks = [number for number, shard in enumerate(shards) if Path(shard[0]["part"]).parent.name == side]
        files = [directory / f"ids-{number:05d}.bin" for number in tasks]
        arrays = [map_ids(path, dtype_for(vocab_size)) for path in files]
        tables = [pq.read_table(directory / f"rows-{number:05d}.parquet").to_pydict() for number in tasks]
        documents = [
            (unit_hash(context.config.seed, "shuffle", id), id, source, size_bytes, array[end - length : end])
            for array, table in zip(arrays, tables, strict=True)
            for id, source, size_bytes, length, end in zip(
                *table.values(), itertools.accumulate(table["tokens"]), strict=True
            )
        ]
        documents.sort(key=lambda document: document[:2])
        for source in [source.name for source in context.config.source]:
            rows = [(ids, DocumentRow(id, size_bytes)) for _, id, name, size_bytes, ids in documents if name == source]
            outputs += write_token_files(context.run.tokens / side, source, rows, vocab_size)
            counts += Counts(len(rows), len(rows), bytes=sum(row.size_bytes for _, row in rows))
    return Result(outputs, counts)


def map_ids(path: Path, dtype: np.dtype[Any]) -> Any:
    """A file of ids without reading it; numpy maps no empty file."""
    return np.memmap(path, dtype, mode="r") if path.stat().st_size else np.zeros(0, dtype)


def write_token_files(directory: Path, source: str, rows: list[tuple[Any, DocumentRow]], vocab_size: int) -> list[Path]:
    """Numbered token files of one source, each closed once it passes the size limit. None for a source without rows."""
    outputs: list[Path] = []
    remaining = iter(rows)
    head = next(remaining, None)
    while head is not None:
        prefix = directory / f"{source}-{len(outputs) // 3:05d}"
        with TokenWriter(prefix, vocab_size) as writer:
            while head is not None and writer.size_bytes < TOKEN_FILE_BYTES:
                writer.add(*head)
                head = next(remaining, None)
        outputs += [prefix.with_suffix(suffix) for suffix in (".bin", ".docs.jsonl", ".idx")]
    return outputs


def tokens_facts(context: Context, tally: dict[str, int]) -> dict[str, Any]:
    """Documents, bytes and tokens by side and source."""
    from data_prep.tokens import TokenStream

    facts: dict[str, Any] = {}
    for side in ("train", "val"):
        for source in context.config.source:
            if any((context.run.tokens / side).glob(f"{source.name}-*.idx")):
                stream = TokenStream(context.run.tokens / side, source.name)
                row = {"documents": stream.document_count, "bytes": stream.text_bytes, "tokens": len(stream)}
                facts.setdefault(side, {})[source.name] = row
    return facts


# evaluate -------------------------------------------------------------------------------------------------------------


def compressed_bits_per_byte(context: Context) -> dict[str, dict[str, float]]:
    """gzip -9 and xz -9 on the validation documents joined by newlines, in bits per byte of the documents, by source.

    The key "" holds all sources together.
    """
    texts: dict[str, list[bytes]] = {"": []}
    parts = [part for part in context.parts("split") if part.startswith("split/val/")]
    for document in read_documents(context.run.root, row_groups(context.run.root, parts)):
        for name in ("", document.source):
            texts.setdefault(name, []).append(document.text.encode())
    result = {}
    for name, documents in texts.items():
        text, size_bytes = b"\n".join(documents), sum(map(len, documents))
        buffer = io.BytesIO()
        with gzip.GzipFile(fileobj=buffer, mode="wb", compresslevel=9, mtime=0) as file:
            file.write(text)
        packed = {"gzip": len(buffer.getvalue()), "xz": len(lzma.compress(text, preset=9))}
        result[name] = {f"{tool}_bits_per_byte": 8 * size / size_bytes for tool, size in packed.items()}
    return result
