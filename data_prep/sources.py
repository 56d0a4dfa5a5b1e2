"""Readers: from a source's files to documents. The home of the `datasets` library.

`finding` says which files a source has, `ranges` where a large one is cut, `records` and `pages` what is in one; here
this becomes pieces of work and documents. A document's text is stored as it is.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import orjson

from data_prep.document import Broken, Document
from data_prep.files import UserError
from data_prep.finding import kind_of
from data_prep.pages import html_rows, text_rows, warc_rows
from data_prep.ranges import line_ranges, row_group_ranges
from data_prep.records import csv_rows, json_rows, parquet_rows
from data_prep.rows import LARGEST_BYTES, Bad, Page, Row, Rows, UnreadableError, show
from data_prep.settings import SourceSettings
from data_prep.shards import EXCERPT_CHARACTERS, SMALLEST_SHARD_BYTES, shard_bytes
from data_prep.unpacking import packing_of

JSON = (".jsonl", ".ndjson")
HUB_FILE = re.compile(r"hf://datasets/[^@]+@(?P<revision>[^/]+)/(?P<path>.+)")
HUB_CARDS = ("README.md", ".huggingface.yaml", "dataset_infos.json")  # what says which files are which split
CONNECTIONS = 8
COMPRESSED = 6  # a packed file of text holds about so many times its size


def pieces(source: SourceSettings, inputs: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The inputs as pieces that can be read apart, with the bytes each is worth: files, or a hub dataset's shards.

    A file that is more than a shard comes in ranges: lines of JSON that are not packed, row groups of parquet. Other
    kinds can be read from their beginning only.
    """
    if source.hub:
        of = load_hub(source.hub).num_shards
        name = Path(source.hub).name if Path(source.hub).is_dir() else source.hub
        return [
            {"source": source.name, "name": f"{name}/{shard}", "shard": shard, "of": of, "bytes": SMALLEST_SHARD_BYTES}
            for shard in range(of)
        ]
    weighed = [piece | {"bytes": piece["bytes"] * (COMPRESSED if packing_of(piece["path"]) else 1)} for piece in inputs]
    total = sum(piece["bytes"] for piece in weighed)
    return [part for piece in weighed for part in ranges(piece, shard_bytes(total, total))]


def ranges(piece: dict[str, Any], target: int) -> list[dict[str, Any]]:
    """A file as it is, or in ranges of about `target` bytes."""
    path = Path(piece["path"])
    found: list[dict[str, Any]] = []
    if piece["bytes"] > target and not packing_of(path.name):
        if kind_of(path.name) in JSON:
            found = line_ranges(path, target)
        elif kind_of(path.name) == ".parquet":
            found = row_group_ranges(path, target)
    return [piece | part for part in found] if len(found) > 1 else [piece]


def read(source: SourceSettings, piece: dict[str, Any]) -> Iterator[Document | Broken]:
    """Every row of a piece, as a document or as what is broken about it. Rows count from 0."""
    return read_hub(source, piece) if source.hub else read_file(source, piece)


def read_file(source: SourceSettings, piece: dict[str, Any]) -> Iterator[Document | Broken]:
    """The same of a file or a range of it. Where the rest cannot be read, that is one row more."""
    number = piece.get("row", 0) - 1
    try:
        for number, row in file_rows(source, piece):
            yield to_document(source, f"{piece['name']}#{number}", row)
    except UnreadableError as error:
        yield to_document(source, f"{piece['name']}#{number + 1}", error.bad)


def file_rows(source: SourceSettings, piece: dict[str, Any]) -> Rows:
    """The rows of a file or a range of it, by the reader of its kind."""
    path = Path(piece["path"])
    kind = kind_of(path.name)
    if kind in JSON:
        return json_rows(path, piece)
    if kind == ".parquet":
        return parquet_rows(path, piece)
    reader = {".csv": csv_rows, ".txt": text_rows, ".html": html_rows, ".htm": html_rows, ".warc": warc_rows}[kind]
    return reader(path, source.encoding)


def load_hub(name: str) -> Any:
    """The train split of a hub dataset or of a dataset folder, streamed."""
    import datasets

    datasets.disable_progress_bars()
    try:
        return datasets.load_dataset(name, split="train", streaming=True)
    except Exception as error:  # the hub's own errors are many: not found, gated, offline, no such split
        first_line = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise UserError(f"hub dataset '{name}' cannot be loaded ({first_line}); check source.hub") from None


def download_hub(name: str, folder: Path, progress: Callable[[int, int], None]) -> None:
    """Bring to `folder` what `load_hub(name)` reads: the data files of the dataset, and what says which these are.

    `progress` is told how many files are there, of how many. What an earlier try has left in `folder` is gone on with.
    `UserError` when the hub cannot be reached or has no such dataset.
    """
    import datasets
    import huggingface_hub
    from huggingface_hub.utils.tqdm import disable_progress_bars

    datasets.disable_progress_bars()
    disable_progress_bars()
    logging.getLogger("huggingface_hub").setLevel(logging.ERROR)  # it tells of every try
    try:
        splits = (datasets.load_dataset_builder(name).config.data_files or {}).values()
        places = [match for urls in splits for url in urls if (match := HUB_FILE.fullmatch(url))]
        revision = places[0]["revision"]
        listed = huggingface_hub.HfApi().list_repo_files(name, repo_type="dataset", revision=revision)
        paths = sorted({*(place["path"] for place in places), *(path for path in HUB_CARDS if path in listed)})

        def fetch(path: str) -> None:
            huggingface_hub.hf_hub_download(name, path, repo_type="dataset", revision=revision, local_dir=folder)

        with ThreadPoolExecutor(CONNECTIONS) as pool:
            try:
                for done, _ in enumerate(pool.map(fetch, paths), 1):
                    progress(done, len(paths))
            except BaseException:
                pool.shutdown(cancel_futures=True)
                raise
    except Exception as error:  # as in load_hub
        first_line = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise UserError(
            f"hub dataset '{name}' cannot be fetched ({first_line}); check source.hub, and that this machine sees the "
            "internet"
        ) from None


def read_hub(source: SourceSettings, piece: dict[str, Any]) -> Iterator[Document | Broken]:
    """One shard of a hub dataset. An error while reading fails the task: it may be the network's, and pass."""
    rows = load_hub(source.hub or "")
    rows = rows.shard(num_shards=piece["of"], index=piece["shard"]) if piece["of"] > 1 else rows
    for number, row in enumerate(rows):
        yield to_document(source, f"{piece['name']}#{number}", row)


def to_document(source: SourceSettings, where: str, row: Row) -> Document | Broken:
    """A row as a document: its text and id by the source's fields, everything else as `meta`.

    Pages have no field that is their text, and need not have the one that is their id.
    """
    fallback = f"{source.name}:{where}"
    if isinstance(row, Bad):
        return Broken(fallback, source.name, row.reason, row.excerpt[:EXCERPT_CHARACTERS])
    if isinstance(row, Page):
        id = f"{source.name}:{row.meta.get(source.id_field or '') or where}"
        return Document(id, row.text, source.name, orjson.dumps(row.meta, option=orjson.OPT_SORT_KEYS).decode())
    text = row.pop(source.text_field, None)
    value = row.pop(source.id_field, None) if source.id_field else where
    try:
        meta = orjson.dumps(row, default=str, option=orjson.OPT_SORT_KEYS)
    except TypeError:  # it reads 1,024 levels and writes 254
        return Broken(fallback, source.name, "too-deep", text[:EXCERPT_CHARACTERS] if isinstance(text, str) else "")
    if not isinstance(text, str):
        return Broken(fallback, source.name, "no-text-field" if text is None else "text-not-a-string", show(meta))
    if not isinstance(value, str | int) or value == "":
        return Broken(fallback, source.name, "no-id-field", text[:EXCERPT_CHARACTERS])
    if len(text) > LARGEST_BYTES:
        return Broken(fallback, source.name, "too-long", text[:EXCERPT_CHARACTERS])
    return Document(f"{source.name}:{value}", text, source.name, meta.decode())
