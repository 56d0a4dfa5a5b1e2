"""What a shard's documents are told in the end: to go, to stay, or to stay without some lines."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import orjson
import pyarrow as pa

from data_prep.document import Document, Drop
from data_prep.settings import DedupSettings
from data_prep.shards import EXCERPT_CHARACTERS, shown
from data_prep.shingles import Hashes
from data_prep.signed import load, load_array


@dataclass(frozen=True)
class Verdicts:
    """By the document's row in its shard; one without an entry stays as it is."""

    drops: dict[int, Drop]
    notes: dict[int, dict[str, Any]]  # for the key "dedup" of `meta`
    lines: dict[int, Hashes]  # the keys of those that go
    paragraphs: bool

    def change(self, row: int, document: Document, tally: Counter[str]) -> Document | Drop:
        """The document as it leaves. What happens to lines and evaluation texts is counted in `tally`."""
        notes = self.notes.get(row, {})
        if "contaminated" in notes:
            tally[f"contaminated/{notes['contaminated']['set']}"] += 1
        if row in self.drops:
            return self.drops[row]
        text = document.text
        if row in self.lines:
            from data_prep.repeats import without  # and with it the kernels

            text, removed = without(text, self.lines[row], paragraphs=self.paragraphs)
            tally[f"repeated/{'paragraphs' if self.paragraphs else 'lines'}"] += removed
            tally["repeated/bytes"] += len(document.text.encode()) - len(text.encode())
            if not text.strip():
                return Drop("repeated-lines", f"nothing is left without the {removed:,} that stand elsewhere, too")
            notes = notes | {"repeats_removed": removed}
        if not notes:
            return document
        meta = orjson.dumps(orjson.loads(document.meta) | {"dedup": notes}, option=orjson.OPT_SORT_KEYS)
        return Document(document.id, text, document.source, meta.decode())


def verdicts_of(decided: Sequence[Path], signed: Path, start: int, stop: int, settings: DedupSettings) -> Verdicts:
    """Those on a shard's documents, whose rows over all shards are `start` to `stop`."""
    named = {path.name: path for path in decided}
    drops: dict[int, Drop] = {}
    notes: dict[int, dict[str, Any]] = {}
    for row in of_rows(load(named["gone.arrow"]), start, stop):
        drops[row["row"] - start] = Drop(row["reason"], f"of {row['survivor']} ({how_alike(row, settings)})")
    for row in of_rows(load(named["survivors.arrow"]), start, stop):
        notes[row["row"] - start] = {"cluster": row["cluster"], "size": row["size"]}
    overlaps = load(signed, ["evaluation", "ngram"])
    for number in np.flatnonzero(np.asarray(overlaps["evaluation"].is_valid())).tolist():
        name = overlaps["evaluation"][number].as_py()
        ngram = shown(overlaps["ngram"][number].as_py()[:EXCERPT_CHARACTERS])
        notes[number] = notes.get(number, {}) | {"contaminated": {"set": name, "ngram": ngram}}
        if settings.contaminated == "drop":
            drops[number] = Drop("contaminated", f"shares '{ngram}' with {name}")
    lines: dict[int, list[Hashes]] = {}
    for path in (path for path in decided if path.name.startswith("lines-")):
        going = load_array(path)
        low, high = np.searchsorted(going["row"], [start, stop])
        borders = np.flatnonzero(np.diff(going["row"][low:high])) + 1
        for entries in np.split(going[low:high], borders):
            for number in entries["row"][:1].tolist():
                lines.setdefault(number - start, []).append(entries["key"])
    keys = {number: np.concatenate(pieces) for number, pieces in lines.items()}
    return Verdicts(drops, notes, keys, settings.repeats == "paragraphs")


def of_rows(table: pa.Table, start: int, stop: int) -> list[dict[str, Any]]:
    """The rows of a table, sorted by its column `row`, in a range of it."""
    low, high = np.searchsorted(table["row"].to_numpy(), [start, stop])
    return list(table.slice(low, high - low).to_pylist())


def how_alike(row: dict[str, Any], settings: DedupSettings) -> str:
    if row["reason"] == "exact-duplicate":
        return "the same text"
    if row["reason"] == "url-duplicate":
        return "the same address"
    return f"{'similarity' if settings.verify else 'estimated similarity'} {row['similarity']:.2f}"
