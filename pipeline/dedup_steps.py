"""The steps of dedup: sign a shard, match a range of bands, collect a shard, cluster, filter a shard.

Between them stand files, and any process can do any task; a document's name in them is its row over all shards.
"""

from __future__ import annotations

import functools
import itertools
import math
from collections import Counter
from pathlib import Path
from typing import Any

from data_prep.document import Document, Drop
from data_prep.files import read_json, write_json
from data_prep.settings import DedupSettings
from data_prep.shards import read_tables
from pipeline.document_steps import map_documents
from pipeline.receipt import Entry
from pipeline.stage import Context, Result, named_files, with_named_files

BANDS_A_TASK = 4
REPEAT_TASKS = 8  # ranges of the keys of lines or paragraphs
DOCUMENT_BYTES = (
    320  # in memory while bands are matched: of each its key, order, row and sketch; and what sorting takes
)
LINE_BYTES = 64  # the same of a line
CHANCE = 0.15  # a pair is looked at when its sketches put it at most so much below the threshold


def inputs(context: Context) -> list[Entry]:
    """The parts that clean made, and the evaluation texts."""
    return with_named_files(context, {"dedup.decontaminate": evaluation_files(context.config.dedup)})


def evaluation_files(settings: DedupSettings) -> tuple[Path, ...]:
    """Those that the config names. `UserError` for a pattern that matches none."""
    return named_files("dedup.decontaminate", settings.decontaminate)


@functools.cache
def evaluation_of(paths: tuple[Path, ...]) -> Any:
    """Read once a process."""
    from data_prep.contamination import read_evaluation

    return read_evaluation(paths) if paths else None


def band_ranges(context: Context) -> int:
    return math.ceil(context.config.dedup.bands / BANDS_A_TASK)


def match_tasks(context: Context) -> int:
    """One for each range of bands, and for each range of keys where lines or paragraphs are looked at."""
    return band_ranges(context) + (REPEAT_TASKS if context.config.dedup.repeats != "keep" else 0)


def files_of(context: Context, step: str, kind: str) -> list[Path]:
    """What the tasks of a step left of one kind, in order."""
    return [path for path in context.outputs_of(step) if path.name.startswith(kind)]


def starts_of(context: Context) -> list[int]:
    """The row of each shard's first document over all shards, and the number of documents."""
    return [0, *itertools.accumulate(sum(piece["rows"] for piece in shard) for shard in context.plan().shards)]


def ranges_for(context: Context, item_bytes: int, items: int) -> int:
    """Into how many pieces so many items are cut, so that one fits into the memory that the config allows."""
    return max(1, math.ceil(items * item_bytes / (context.config.dedup.memory_gb * 2**30)))


def sign(context: Context, task: int) -> Result:
    """What is kept of a shard to compare it: `data_prep.signed` describes it. Also the keys of its lines."""
    from data_prep.signed import save
    from data_prep.signing import sign_shard

    settings = context.config.dedup
    evaluation = evaluation_of(evaluation_files(settings))
    documents, lines = sign_shard(read_tables(context.run.root, context.shard(task)), settings, evaluation)
    work = context.run.work("dedup", "sign")
    outputs = [work / f"documents-{task:05d}.arrow"]
    save(outputs[0], documents)
    if settings.repeats != "keep":
        outputs.append(work / f"lines-{task:05d}.arrow")
        save(outputs[1], lines)
    return Result(outputs)


def match(context: Context, task: int) -> Result:
    """Candidates: pairs that share a band of a range; or lines, of a range of keys, that stand in several documents."""
    from data_prep.lsh import most_unequal_bits
    from data_prep.matching import band_pairs, lines_in, repeated_lines
    from data_prep.signed import save_array

    settings, work = context.config.dedup, context.run.work("dedup", "match")
    documents = files_of(context, "sign", "documents")
    number = task - band_ranges(context)
    outputs = []
    if number < 0:
        permutations = settings.bands * settings.rows
        unequal_bits = most_unequal_bits(permutations, settings.threshold - CHANCE) if settings.verify else None
        ranges = ranges_for(context, DOCUMENT_BYTES, starts_of(context)[-1])
        bands = range(task * BANDS_A_TASK, min((task + 1) * BANDS_A_TASK, settings.bands))
        for band, part, pairs in band_pairs(documents, bands, ranges=ranges, unequal_bits=unequal_bits):
            outputs.append(work / f"pairs-{band:04d}-{part:04d}.npy")
            save_array(outputs[-1], pairs)
    else:
        lines = files_of(context, "sign", "lines")
        ranges = ranges_for(context, LINE_BYTES, lines_in(lines) // REPEAT_TASKS)
        for part in range(ranges):
            outputs.append(work / f"lines-{number:04d}-{part:04d}.npy")
            repeated = repeated_lines(lines, starts_of(context), number * ranges + part, REPEAT_TASKS * ranges)
            save_array(outputs[-1], repeated)
    return Result(outputs)


def collect(context: Context, task: int) -> Result:
    """The shingles of those documents of a shard that may be like another."""
    from data_prep.matching import paired_rows
    from data_prep.shingles import shingles_of
    from data_prep.signed import save

    start, stop = starts_of(context)[task : task + 2]
    runs = files_of(context, "match", "pairs") if context.config.dedup.verify else []
    out = context.run.work("dedup", "collect") / f"shingles-{task:05d}.arrow"
    rows = paired_rows(runs, start, stop)
    tables = read_tables(context.run.root, context.shard(task)) if len(rows) else ()
    save(out, shingles_of(tables, rows, start))
    return Result([out])


def cluster(context: Context, task: int) -> Result:
    """Which documents go and for which, which stay for several, and which lines go from which document."""
    from data_prep.clustering import cluster, lines_that_go
    from data_prep.signed import save, save_array

    settings, work = context.config.dedup, context.run.work("dedup", "cluster")
    lines = files_of(context, "match", "lines")
    decided = cluster(
        files_of(context, "sign", "documents"),
        files_of(context, "match", "pairs"),
        files_of(context, "collect", "shingles"),
        threshold=settings.threshold if settings.verify else None,
        priority=settings.priority,
        starts=starts_of(context),
        ranges=ranges_for(context, DOCUMENT_BYTES, starts_of(context)[-1]),
        lines=lines,
    )
    outputs = [work / "gone.arrow", work / "survivors.arrow", work / "facts.json"]
    save(outputs[0], decided.gone)
    save(outputs[1], decided.survivors)
    write_json(outputs[2], decided.facts)
    for number, going in enumerate(lines_that_go(lines, decided)):
        outputs.append(work / f"lines-{number:05d}.npy")
        save_array(outputs[-1], going)
    return Result(outputs)


def filter(context: Context, task: int) -> Result:
    """The shard without the documents and lines that go. Who stays for others says so in its `meta`."""
    from data_prep.verdicts import verdicts_of

    start, stop = starts_of(context)[task : task + 2]
    decided, signed = files_of(context, "cluster", ""), files_of(context, "sign", "documents")[task]
    verdicts = verdicts_of(decided, signed, start, stop, context.config.dedup)
    row, tally = itertools.count(), Counter[str]()

    def change(document: Document) -> Document | Drop:
        result = verdicts.change(next(row), document, tally)
        if isinstance(result, Drop):
            tally[f"removed_bytes/{document.source}"] += len(document.text.encode())
        return result

    result = map_documents(context, task, change)
    return Result(result.outputs, result.counts, dict(tally))


def facts(context: Context, tally: dict[str, int]) -> dict[str, Any]:
    """What the report shows: clusters, bytes by source, documents by evaluation text, repeated lines."""
    (path,) = files_of(context, "cluster", "facts")
    found: dict[str, Any] = read_json(path)
    for name, count in tally.items():
        kind, _, of = name.partition("/")
        found.setdefault(kind, {})[of] = count
    return found
