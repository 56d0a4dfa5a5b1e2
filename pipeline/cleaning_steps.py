"""The step of clean: text out of pages, repairs, language, rules; and the counts that the report shows."""

from __future__ import annotations

import functools
from typing import Any

import orjson

from data_prep.counts import Counts
from data_prep.document import Document, Drop
from data_prep.files import read_json, write_json
from data_prep.settings import CleanSettings
from data_prep.shards import Ledger, PartWriter, read_tables
from pipeline.document_steps import part_name
from pipeline.receipt import Entry
from pipeline.stage import Context, Result, named_files, with_named_files


def inputs(context: Context) -> list[Entry]:
    """The parts that ingest made, and the lists of addresses and words."""
    return with_named_files(context, list_files(context.config.clean))


def list_files(settings: CleanSettings) -> dict[str, tuple[Any, ...]]:
    """By setting. `UserError` for a pattern that matches no file."""
    lists = {"clean.blocked_urls": settings.blocked_urls, "clean.blocked_words": settings.blocked_words}
    return {setting: named_files(setting, patterns) for setting, patterns in lists.items() if patterns}


@functools.cache
def lists_of(urls: tuple[Any, ...], words: tuple[Any, ...]) -> tuple[Any, Any]:
    """Read once a process."""
    from data_prep.blocklists import UrlList, WordList

    return UrlList.read(urls) if urls else None, WordList.read(words) if words else None


def cleaner_of(context: Context) -> Any:
    from data_prep.cleaning import Cleaner

    settings = context.config.clean
    files = list_files(settings)
    urls, words = lists_of(files.get("clean.blocked_urls", ()), files.get("clean.blocked_words", ()))
    return Cleaner(settings, {source.name: source for source in context.config.source}, urls, words)


def clean(context: Context, task: int) -> Result:
    """Look at a shard's documents, a row group at a time; write those that stay, the ledger, the counts."""
    from data_prep.cleaning_statistics import Statistics

    cleaner, counts, statistics = cleaner_of(context), Counts(), Statistics()
    part, dropped = context.directory / part_name(task), context.directory / "dropped" / part_name(task)
    with PartWriter(part) as writer, Ledger(dropped) as ledger:
        for table in read_tables(context.run.root, context.shard(task)):
            columns = table.to_pydict()
            documents = list(map(Document, columns["id"], columns["text"], columns["source"], columns["meta"]))
            looked = cleaner.look(documents)
            statistics.add(documents, looked)
            for row, document in enumerate(documents):
                counts.documents_in += 1
                changed = Document(document.id, looked.texts[row], document.source, document.meta)
                if reason := looked.reasons[row]:
                    counts.drop(reason)
                    ledger.write(document if not changed.text else changed, Drop(reason, looked.details[row]))
                    continue
                if looked.detected[row]:
                    changed = with_language(changed, looked.languages[row])
                counts.documents_out += 1
                counts.bytes += len(changed.text.encode())
                writer.write(changed)
    of_task = context.run.work("clean", "clean") / f"statistics-{task:05d}.json"
    write_json(of_task, statistics.to_json())
    return Result([part, *ledger.files, of_task], counts)


def with_language(document: Document, language: Any) -> Document:
    """What was seen goes into the document's meta, beside the fields of its row."""
    seen = {"language": language.code, "confidence": round(language.confidence, 3)}
    if language.mixed:
        seen["mixed"] = list(language.mixed)
    meta = orjson.dumps({**orjson.loads(document.meta), "clean": seen}, option=orjson.OPT_SORT_KEYS)
    return Document(document.id, document.text, document.source, meta.decode())


def facts(context: Context, tally: dict[str, int]) -> dict[str, Any]:
    """The counts of all shards, as `data_prep.cleaning_statistics` describes them."""
    from data_prep.cleaning_statistics import merged

    files = [path for path in context.outputs_of("clean") if path.suffix == ".json"]
    found = merged(map(read_json, files))
    for counts in found["sources"].values():  # a check that had a threshold for no document was not asked
        counts["checks"] = {name: check for name, check in counts["checks"].items() if check["bounds"]}
    return {"cleaning": found}
