"""What a run takes on disk, stage by stage: exact for stages that are done, foretold for those to come."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from data_prep.shards import shard_bytes
from data_prep.tokens import dtype_for
from pipeline.config import RunConfig
from pipeline.receipt import Manifest
from pipeline.run_dir import RunDir
from pipeline.stage import Stage
from pipeline.token_steps import TOKEN_FILE_BYTES
from pretrain.cost import parameter_count
from pretrain.memory import FRAGMENT_BYTES
from pretrain.settings import CheckpointSettings

PLAIN = (".jsonl", ".ndjson", ".csv", ".txt", ".html", ".htm", ".warc")  # other files are compressed already
PACKED = 3  # times that English text shrinks in a parquet file; 2.5 to 5 are common
BYTES_PER_TOKEN = 4  # of text: a little below English by GPT-2's tokenizer; by less than 2,048 tokens fewer
TOKENIZER_BYTES = 70  # an entry of the vocabulary, with its merge
METRICS_BYTES = 500  # a step
PER_SHARD = {"ingest": 1, "clean": 2, "dedup": 2, "scrub": 1, "split": 2}  # files: a part, ledger, the other side

Size = dict[str, Any]  # {"bytes", "files", "exact"}


def disk(config: RunConfig, run: RunDir, stages: dict[str, str | None], vocab_size: int) -> dict[str, Size]:
    """Bytes and files by stage; `stages` tells why each is to be done (None: it is done).

    Stages of documents are taken to drop nothing. Receipts and manifests, some kB a stage, come on top.
    """
    text = source_bytes(config)  # unpacked
    sizes: dict[str, Size] = {}
    for name, why in stages.items():
        manifest = Manifest.load(run.manifest(name)) if why is None else None
        if manifest:
            sizes[name] = there(run, manifest)
            text = manifest.counts.bytes or text
        else:
            bytes_, files = foretold(name, config, text, vocab_size)
            sizes[name] = {"bytes": bytes_, "files": files, "exact": False}
    return sizes


def source_bytes(config: RunConfig) -> int:
    """About how much text the sources hold. A hub's dataset, whose size nobody here knows, counts nothing."""
    from data_prep.finding import find_inputs

    files = [item for source in config.source for item in find_inputs(source) if "path" in item]
    return sum(item["bytes"] * (1 if item["path"].endswith(PLAIN) else PACKED) for item in files)


def there(run: RunDir, manifest: Manifest) -> Size:
    """What a finished stage has left."""
    files = {path for path in run.stage(manifest.stage).rglob("*") if path.is_file()}
    outputs = [] if manifest.emptied else manifest.outputs
    files |= {run.root / item["path"] for item in outputs}  # the report lies beside its stage
    return {"bytes": sum(path.stat().st_size for path in files), "files": len(files), "exact": True}


def foretold(name: str, config: RunConfig, text: int, vocab_size: int) -> tuple[int, int]:
    """(bytes, files) of a stage to come that reads `text` bytes of documents."""
    model, sources = config.model, len(config.source)
    if name in PER_SHARD:
        return text // PACKED, math.ceil(text / shard_bytes(text, text)) * PER_SHARD[name]
    if name == "tokenizer":
        return TOKENIZER_BYTES * vocab_size, 1
    if name == "tokens":
        bytes_per_token = min(BYTES_PER_TOKEN, 1 + math.log2(vocab_size / 256))  # 256 tokens are bytes
        size = int(text / bytes_per_token) * dtype_for(vocab_size).itemsize
        return size, 3 * sources * (math.ceil(size / TOKEN_FILE_BYTES / sources) + 1)  # train, and one of val
    if name == "pretrain":
        saved = most_checkpoints(config.checkpoint, config.train.steps)
        state = saved * FRAGMENT_BYTES * parameter_count(model, model.padded_vocab(vocab_size))
        return state + METRICS_BYTES * config.train.steps, saved * (config.launch.ranks + 1)  # and its manifest
    if name == "export":
        return 4 * parameter_count(model, vocab_size) + TOKENIZER_BYTES * vocab_size, 5
    return 100_000, 1


def most_at_once(sizes: dict[str, Size], stages: Sequence[Stage], *, keep_intermediates: bool) -> tuple[int, int]:
    """(bytes, files) when the disk is fullest. What is dropped is there until the last stage that reads it is done."""
    goes: dict[str, int] = {}  # after which stage
    for stage in stages:
        readers = [number for number, reader in enumerate(stages) if stage.name in reader.needs]
        goes[stage.name] = max(readers) if stage.intermediate and not keep_intermediates else len(stages)
    there = [
        [sizes[stage.name] for stage in stages[: number + 1] if goes[stage.name] >= number]
        for number in range(len(stages))
    ]
    most_bytes, most_files = (max(sum(size[what] for size in now) for now in there) for what in ("bytes", "files"))
    return most_bytes, most_files


def most_checkpoints(keep: CheckpointSettings, steps: int) -> int:
    """That there are at any time: the newest while one more is written, those kept for good, and the best.

    >>> most_checkpoints(CheckpointSettings(every_steps=500, keep_last=2, keep_every=5000, keep_best=1), steps=20_000)
    8
    """
    for_good = steps // keep.keep_every if keep.keep_every else 0
    return min(keep.keep_last + 1 + for_good + keep.keep_best, math.ceil(steps / keep.every_steps))


def free_bytes(path: Path) -> int:
    """Space left where `path` is or will be."""
    import shutil

    while not path.exists():
        path = path.parent
    return shutil.disk_usage(path).free
