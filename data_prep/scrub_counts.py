"""What scrubbing replaced, by source and kind, and a few places of each kind to judge it by. No value is in it."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from data_prep.cleaning_statistics import merged
from data_prep.document import Document, utf8_bytes
from data_prep.pii import Scrubbed, shown_scrubber
from data_prep.recognizer import KINDS
from data_prep.shards import shown
from data_prep.split import unit_hash

SAMPLES = 5  # places of a kind
CONTEXT_CHARACTERS = 40  # that are shown on both sides of one

Facts = dict[str, Any]


@dataclass
class ScrubCounts:
    """Of a shard, or of as much of it as was added.

    Which places are samples follows from hashes of the documents' ids, so neither shards nor order make a difference.
    """

    sources: dict[str, Facts] = field(default_factory=dict)
    samples: dict[str, list[Facts]] = field(default_factory=dict)  # by kind, by rank: the first are shown

    def add(
        self, document: Document, scrubbed: Scrubbed, in_fields: Counter[str], *, dropped: bool, named: bool = False
    ) -> None:
        """A document as it came, what scrubbing made of its text, and the values in its other fields by kind.

        `named`: a value stands in its id, too, which is left as it is.
        """
        counts = self.sources.setdefault(document.source, empty_counts())
        found = in_fields + Counter(scrubbed.found)
        counts["documents_in"] += 1
        counts["documents_touched"] += bool(found)
        counts["documents_dropped"] += dropped
        counts["documents_named"] += named
        counts["bytes_in"] += utf8_bytes(document.text)
        counts["hidden_bytes"] += scrubbed.hidden_bytes
        for kind, values in found.items():
            of_kind = counts["kinds"].setdefault(kind, {"values": 0, "documents": 0})
            of_kind["values"] += values
            of_kind["documents"] += 1
        for kind in scrubbed.found:
            self._add_sample(kind, document, scrubbed.text)

    def _add_sample(self, kind: str, document: Document, scrubbed: str) -> None:
        """At most one place of a document: a phone book would fill the list."""
        samples = self.samples.setdefault(kind, [])
        rank = unit_hash(0, f"scrub {kind}", document.id)
        if len(samples) == SAMPLES and rank >= samples[-1]["rank"]:
            return
        placeholder = re.compile(rf"<{kind.upper()}(?:-[a-z]{{12}})?>")
        places = [match.span() for match in placeholder.finditer(scrubbed)]
        if not places or placeholder.search(document.text):  # its own words: which ones stand for values?
            return
        context = context_of(scrubbed, *places[int(rank * len(places))])
        samples.append(
            {"kind": kind, "source": document.source, "id": shown(document.id), "context": context, "rank": rank}
        )
        samples.sort(key=lambda sample: sample["rank"])
        del samples[SAMPLES:]

    def to_json(self) -> Facts:
        return {"sources": self.sources, "samples": [sample for of_kind in self.samples.values() for sample in of_kind]}


def empty_counts() -> Facts:
    names = (
        "documents_in", "documents_touched", "documents_dropped", "documents_named", "bytes_in", "hidden_bytes",
    )  # fmt: skip
    return dict.fromkeys(names, 0) | {"kinds": {}}


def context_of(text: str, start: int, end: int) -> str:
    """A placeholder in a scrubbed text with what stands around it, in which every value that patterns can tell is
    masked, those of kinds that the config leaves in, too. All of the text is searched: no value is cut before it goes.
    """
    here = "<\0>"  # no value reaches across; a text that has it, too, shows another place
    before, _, after = shown_scrubber().scrub(text[:start] + here + text[end:]).text.partition(here)
    left, right = before[-CONTEXT_CHARACTERS:], after[:CONTEXT_CHARACTERS]
    return f"{'…' * (left != before)}{left}{text[start:end]}{right}{'…' * (right != after)}"


def merged_counts(shards: Iterable[Facts]) -> Facts:
    """What the shards' counts say together, in an order of its own: sources by name, kinds by precedence."""
    counts: Facts = {}
    samples: list[Facts] = []
    for shard in shards:
        counts = merged([counts, shard["sources"]])
        samples += shard["samples"]
    for of_source in counts.values():
        of_source["kinds"] = {kind: of_source["kinds"][kind] for kind in KINDS if kind in of_source["kinds"]}
    shown = []
    for kind in KINDS:
        of_kind = sorted((sample for sample in samples if sample["kind"] == kind), key=lambda sample: sample["rank"])
        shown += [{name: sample[name] for name in ("kind", "source", "id", "context")} for sample in of_kind[:SAMPLES]]
    return {"sources": dict(sorted(counts.items())), "samples": shown}
