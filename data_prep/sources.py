"""Readers: from a source's files to documents. The home of the `datasets` library.

JSON lines and parquet's row groups are read one by one, so that a bad one goes to quarantine and not the whole file;
hub datasets are read through `datasets`, in a stream. A document's text is stored as it is.
"""

from __future__ import annotations

import codecs
import glob
import gzip
import logging
import os
import re
import zlib
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import orjson
import pyarrow as pa
import pyarrow.parquet as pq

from data_prep.document import Broken, Document
from data_prep.files import UserError
from data_prep.settings import SourceSettings
from data_prep.shards import EXCERPT_CHARACTERS, SMALLEST_SHARD_BYTES

SUFFIXES = (".jsonl", ".jsonl.gz", ".parquet", ".txt")
ESCAPED = re.compile(r"\[([*?[])\]")  # as glob.escape writes a character that is no wildcard
HUB_FILE = re.compile(r"hf://datasets/[^@]+@(?P<revision>[^/]+)/(?P<path>.+)")
HUB_CARDS = ("README.md", ".huggingface.yaml", "dataset_infos.json")  # what says which files are which split
CONNECTIONS = 8
COMPRESSED = 6  # a gzip file of text unpacks to about so many times its size


def find_inputs(source: SourceSettings) -> list[dict[str, Any]]:
    """What the source reads, sorted: `{source, name, path, bytes}` a file, `{source, name}` a hub dataset.

    A file's name is its path below the directory that all the source's patterns share, so ids stay the same wherever
    the corpus lies. Raises `UserError` for a pattern that matches nothing and for a file of unknown kind.
    """
    if source.hub:
        folder = Path(source.hub)
        files = sorted(path for path in folder.rglob("*") if path.is_file()) if folder.is_dir() else []
        return [describe(source, path, folder) for path in files] or [{"source": source.name, "name": source.hub}]
    paths: set[str] = set()
    for pattern in source.paths:
        literal = ESCAPED.sub(r"\1", pattern)  # a file that is called so is meant, brackets and all
        matches = [literal] if Path(literal).is_file() else glob.glob(pattern, recursive=True)  # noqa: PTH207
        found = [path for path in matches if Path(path).is_file()]
        if not found:
            raise UserError(f"source '{source.name}': nothing matches {pattern}; check source.paths in the config")
        paths.update(found)
    root = Path(os.path.commonpath([fixed_directory(pattern) for pattern in source.paths]))
    for path in sorted(paths):
        if not is_text(path):
            raise UserError(f"source '{source.name}': the file name {path!r} is not valid UTF-8; rename the file")
        if not path.endswith(SUFFIXES):
            raise UserError(
                f"source '{source.name}': {path} is of a kind that is not read yet, wanted {' '.join(SUFFIXES)}; "
                "name other files in source.paths"
            )
    return [describe(source, Path(path), root) for path in sorted(paths)]


def describe(source: SourceSettings, path: Path, root: Path) -> dict[str, Any]:
    name = str(path.relative_to(root))
    return {"source": source.name, "name": name, "path": str(path), "bytes": path.stat().st_size}


def is_text(path: str) -> bool:
    """Whether a file name is valid UTF-8: others reach Python as lone surrogates, which no file of ours can hold."""
    return not any(0xD800 <= ord(character) < 0xE000 for character in path)


def fixed_directory(pattern: str) -> str:
    """The directory of a pattern before its first wildcard; all of it for a file that is there.

    >>> fixed_directory("/data/*/x.jsonl"), fixed_directory("/data/a/x.jsonl")
    ('/data', '/data/a')
    """
    if Path(literal := ESCAPED.sub(r"\1", pattern)).is_file():
        return str(Path(literal).parent)
    directory = Path(pattern).parent
    while glob.has_magic(ESCAPED.sub("", str(directory))):
        directory = directory.parent
    return ESCAPED.sub(r"\1", str(directory))


def pieces(source: SourceSettings, inputs: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The inputs as pieces that can be read apart, with the bytes each is worth: files, or a hub dataset's shards."""
    if source.hub:
        of = load_hub(source.hub).num_shards
        name = Path(source.hub).name if Path(source.hub).is_dir() else source.hub
        return [
            {"source": source.name, "name": f"{name}/{shard}", "shard": shard, "of": of, "bytes": SMALLEST_SHARD_BYTES}
            for shard in range(of)
        ]
    return [
        piece | {"bytes": piece["bytes"] * (COMPRESSED if piece["path"].endswith(".gz") else 1)} for piece in inputs
    ]


def read(source: SourceSettings, piece: dict[str, Any]) -> Iterator[Document | Broken]:
    """Every row of a piece, as a document or as what is broken about it. Rows count from 0."""
    name = piece["name"]
    if source.hub:
        return read_hub(source, piece, name)
    path = Path(piece["path"])
    if path.suffix == ".parquet":
        return read_parquet(source, path, name)
    if path.suffix == ".txt":
        return read_text(source, path, name)
    return read_json_lines(source, path, name)


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


def read_hub(source: SourceSettings, piece: dict[str, Any], name: str) -> Iterator[Document | Broken]:
    """One shard of a hub dataset. An error while reading fails the task: it may be the network's, and pass."""
    rows = load_hub(source.hub or "")
    rows = rows.shard(num_shards=piece["of"], index=piece["shard"]) if piece["of"] > 1 else rows
    for number, row in enumerate(rows):
        yield to_document(source, f"{name}#{number}", row)


def read_parquet(source: SourceSettings, path: Path, name: str) -> Iterator[Document | Broken]:
    """The rows of every row group that can be read; one that cannot is one broken row. Rows count over all groups."""
    try:
        file = pq.ParquetFile(path)
    except pa.ArrowException as error:
        yield Broken(f"{source.name}:{name}#0", source.name, "unreadable-parquet", str(error)[:EXCERPT_CHARACTERS])
        return
    with file:
        start = 0
        for group in range(file.num_row_groups):
            try:
                rows = file.read_row_group(group).to_pylist()
            except (pa.ArrowException, OSError, UnicodeDecodeError) as error:
                if isinstance(error, OSError) and error.errno:  # the disk's error, not the content's: it may pass
                    raise
                excerpt = str(error)[:EXCERPT_CHARACTERS]
                yield Broken(f"{source.name}:{name}#{start}", source.name, "unreadable-parquet", excerpt)
            else:
                for number, row in enumerate(rows, start):
                    yield to_document(source, f"{name}#{number}", row)
            start += file.metadata.row_group(group).num_rows


def read_text(source: SourceSettings, path: Path, name: str) -> Iterator[Document | Broken]:
    """A text file is one document."""
    data = path.read_bytes()
    try:
        yield Document(f"{source.name}:{name}#0", data.decode("utf-8-sig"), source.name)
    except UnicodeDecodeError:
        yield Broken(f"{source.name}:{name}#0", source.name, "invalid-utf8", show(data))


def read_json_lines(source: SourceSettings, path: Path, name: str) -> Iterator[Document | Broken]:
    """One JSON object a line; blank lines count as rows for the numbering but are nothing."""
    number = -1
    try:
        with gzip.open(path) if path.suffix == ".gz" else path.open("rb") as lines:
            for number, line in enumerate(lines):
                if number == 0:
                    line = line.removeprefix(codecs.BOM_UTF8)
                if not line.strip():
                    continue
                where = f"{name}#{number}"
                try:
                    row = orjson.loads(line)
                except orjson.JSONDecodeError as error:
                    reason = "invalid-utf8" if "UTF-8" in str(error) else "invalid-json"
                    yield Broken(f"{source.name}:{where}", source.name, reason, show(line))
                    continue
                if isinstance(row, dict):
                    yield to_document(source, where, row)
                else:
                    yield Broken(f"{source.name}:{where}", source.name, "not-an-object", show(line))
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        yield Broken(f"{source.name}:{name}#{number + 1}", source.name, "truncated-gzip", str(error))


def to_document(source: SourceSettings, where: str, row: dict[str, Any]) -> Document | Broken:
    """A row as a document: its text and id by the source's fields, everything else as `meta`."""
    fallback = f"{source.name}:{where}"
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
    return Document(f"{source.name}:{value}", text, source.name, meta.decode())


def show(data: bytes) -> str:
    return data[: 4 * EXCERPT_CHARACTERS].decode(errors="backslashreplace")[:EXCERPT_CHARACTERS].strip()
