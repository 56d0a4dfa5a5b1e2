"""The steps from text to token files: train the tokenizer, encode a shard, shuffle and write."""

from __future__ import annotations

import gzip
import io
import itertools
import lzma
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from data_prep.counts import Counts
from data_prep.files import UserError, atomic_file, atomic_write, write_json
from data_prep.shards import read_documents, row_groups, save_table
from data_prep.split import unit_hash
from data_prep.tokens import DocumentRow, TokenStream, TokenWriter, dtype_for, token_files
from pipeline.receipt import Entry
from pipeline.scrub_steps import SecondSearch
from pipeline.stage import Context, Result, input_files
from pretrain.transformers_config import end_of_text_of, settings_of, tokenizer_of

TOKEN_FILE_BYTES = 2 << 30  # a token file is closed at about this size and the next one begun
ENCODE_BATCH = 512  # documents given to the tokenizer at once


def texts_of(context: Context, parts: list[str]) -> Iterator[str]:
    return (document.text for document in read_documents(context.run.root, row_groups(context.run.root, parts)))


def tokenizer_inputs(context: Context) -> list[Entry]:
    """The split documents, and the model that training goes on from, whose tokenizer it keeps."""
    directory = Path(context.config.train.init_from)
    files = sorted(directory.glob("*.json")) + sorted(directory.glob("*.safetensors"))
    found = [
        {"source": "train.init_from", "name": path.name, "path": str(path), "bytes": path.stat().st_size}
        for path in (files if context.config.train.init_from else [])
    ]
    return [*context.upstream("split").outputs, *input_files(context, found)]


def make_tokenizer(context: Context, task: int) -> Result:
    """Byte-level BPE on the train side only; or the tokenizer of the model that training goes on from."""
    from data_prep.bpe import END_OF_TEXT, train

    if context.config.train.init_from:
        return take_tokenizer(context, Path(context.config.train.init_from))
    parts = [part for part in context.parts("split") if part.startswith("split/train/")]
    tokenizer = train(texts_of(context, parts), vocab_size=context.config.tokenizer.vocab_size)
    atomic_write(context.run.tokenizer, tokenizer.to_str(pretty=True))
    end_of_text = tokenizer.token_to_id(END_OF_TEXT)
    assert end_of_text is not None
    tally = {"vocab_size": tokenizer.get_vocab_size(), "end_of_text": end_of_text}
    return Result([context.run.tokenizer], tally=tally)


def take_tokenizer(context: Context, directory: Path) -> Result:
    """The tokenizer.json of an exported model, and beside it the digests of the files it came with."""
    _, vocab_size = settings_of(directory)
    end_of_text = end_of_text_of(directory)
    atomic_write(context.run.tokenizer, tokenizer_of(directory, vocab_size).read_bytes())
    origin = context.run.tokenizer.with_name("init_from.json")
    files = {item["name"]: item["digest"] for item in context.inputs() if item.get("source") == "train.init_from"}
    write_json(origin, files)
    return Result([context.run.tokenizer, origin], tally={"vocab_size": vocab_size, "end_of_text": end_of_text})


def tokens_encode(context: Context, task: int) -> Result:
    """A shard's ids in one array, and a table of its documents; what was written is searched for personal values."""
    from data_prep.encode import encode, load_tokenizer

    tokenizer, facts = load_tokenizer(context.run.tokenizer), context.upstream("tokenizer").facts
    dtype = dtype_for(facts["vocab_size"])
    documents = read_documents(context.run.root, context.shard(task))
    rows: dict[str, list[Any]] = {"id": [], "source": [], "bytes": [], "tokens": []}
    counts = Counts()
    directory = context.run.work("tokens", "encode")
    ids_path, rows_path = directory / f"ids-{task:05d}.bin", directory / f"rows-{task:05d}.parquet"
    with atomic_file(ids_path) as file:
        while batch := list(itertools.islice(documents, ENCODE_BATCH)):
            encoded = encode(tokenizer, [document.text for document in batch], facts["end_of_text"])
            for document, ids in zip(batch, encoded, strict=True):
                file.write(ids.astype(dtype).tobytes())
                size_bytes = len(document.text.encode())
                for name, value in zip(rows, (document.id, document.source, size_bytes, len(ids)), strict=True):
                    rows[name].append(value)
                counts.documents_in += 1
                counts.documents_out += 1
                counts.bytes += size_bytes
    try:
        search_again(context, tokenizer, map_ids(ids_path, dtype), rows)
    except UserError:
        ids_path.unlink()
        raise
    save_table(rows_path, pa.table(rows))
    return Result([ids_path, rows_path], counts, {"searched": counts.documents_in})


def search_again(context: Context, tokenizer: Any, written: Any, rows: dict[str, list[Any]]) -> None:
    """The ids `written` (tokens,) back into texts, and these through the patterns of scrub. `UserError` for a find."""
    from data_prep.encode import decode

    search, done = SecondSearch(context.config), 0
    for first in range(0, len(rows["id"]), ENCODE_BATCH):
        batch = slice(first, first + ENCODE_BATCH)
        ends = np.cumsum(rows["tokens"][batch]) + done
        texts = decode(tokenizer, np.split(written[done : ends[-1]], ends[:-1] - done))
        for id, source, text in zip(rows["id"][batch], rows["source"][batch], texts, strict=True):
            search.add(id, source, text)
        done = int(ends[-1])
    search.check(str(context.run.root))


def tokens_write(context: Context, task: int) -> Result:
    """Token files by side and source, the documents in an order drawn once from the seed and their ids."""
    vocab_size = context.upstream("tokenizer").facts["vocab_size"]
    shards = context.plan().shards
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
    """Documents, bytes and tokens by side and source; and how much the second search for personal values looked at:
    it found none, or the stage had failed.
    """
    facts: dict[str, Any] = {"search": {"searched": tally["searched"], "found": 0}}
    for side in ("train", "val"):
        for source in context.config.source:
            if token_files(context.run.tokens / side, source.name):
                stream = TokenStream(context.run.tokens / side, source.name)
                row = {"documents": stream.document_count, "bytes": stream.text_bytes, "tokens": len(stream)}
                facts.setdefault(side, {})[source.name] = row
    return facts


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
