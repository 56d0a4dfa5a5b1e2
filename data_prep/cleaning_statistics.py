"""What cleaning did, counted by source: before and after, drops, edits, and what each check measured.

Everything is a nested dict whose leaves are counts, so that the counts of two shards are added leaf by leaf.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from data_prep.document import Document, utf8_bytes

if TYPE_CHECKING:  # whoever only reads counts does not wait for the kernels behind it
    from data_prep.cleaning import Looked, Outcome
    from data_prep.language import Language

Facts = dict[str, Any]  # str -> int or Facts
Numbers = npt.NDArray[Any]

POWERS = 2.0 ** np.arange(4, 41)
# where the bins of histograms begin: shares in twentieths, small counts one by one, and from 16 on powers of two
BORDERS = np.concatenate([-POWERS[::-1], np.arange(-15.0, 0), np.arange(20) / 20, np.arange(1.0, 16), POWERS])
LABELS = ["", *(f"{border:.15g}" for border in BORDERS)]  # "": the check does not apply


@dataclass
class CheckCounts:
    """Of one check at one source."""

    alone: int = 0  # documents that fail it
    only: int = 0  # documents that fail no other, and have some text left
    values: Numbers = field(default_factory=lambda: np.zeros(len(LABELS), np.int64))  # by `LABELS`
    bounds: Counter[float] = field(default_factory=Counter)  # documents by the threshold that held for them

    def to_json(self) -> Facts:
        return {
            "alone": self.alone,
            "only": self.only,
            "values": {LABELS[number]: int(self.values[number]) for number in np.flatnonzero(self.values)},
            "bounds": {f"{bound:.15g}": count for bound, count in sorted(self.bounds.items())},
        }


@dataclass
class SourceCounts:
    """Of one source. The counters are by the path to their leaf in `to_json`."""

    leaves: Counter[tuple[str, ...]] = field(default_factory=Counter)
    checks: dict[str, CheckCounts] = field(default_factory=dict)

    def to_json(self) -> Facts:
        facts: Facts = {}
        for path, count in self.leaves.items():
            place = facts
            for name in path[:-1]:
                place = place.setdefault(name, {})
            place[path[-1]] = int(count)
        return facts | {"checks": {name: check.to_json() for name, check in self.checks.items()}}


@dataclass
class Statistics:
    """The counts of the documents that were added, by source."""

    sources: dict[str, SourceCounts] = field(default_factory=dict)

    def add(self, documents: Sequence[Document], looked: Looked) -> None:
        """Documents as they came (n,), and what cleaning found out about them."""
        names = [document.source for document in documents]
        failed = np.array([outcome.fails for outcome in looked.checks], bool).reshape(len(looked.checks), len(names))
        nothing_left = np.array([not text for text in looked.texts], bool)
        for number, outcome in enumerate(looked.checks):
            nothing_left &= ~failed[number] | (outcome.check.reason != "empty")  # that is a check's own word
        lonely = failed & (failed.sum(axis=0) + nothing_left == 1)
        bytes_in = np.array([utf8_bytes(document.text) for document in documents])
        kept = np.array([not reason for reason in looked.reasons], bool)
        bytes_out = np.array([utf8_bytes(text) if keep else 0 for text, keep in zip(looked.texts, kept, strict=True)])
        for name in dict.fromkeys(names):
            rows = np.flatnonzero([other == name for other in names])
            counts = self.sources.setdefault(name, SourceCounts())
            leaves = counts.leaves
            leaves["documents_in",] += len(rows)
            leaves["documents_out",] += kept[rows].sum()
            leaves["bytes_in",] += bytes_in[rows].sum()
            leaves["bytes_out",] += bytes_out[rows].sum()
            leaves["words_in",] += looked.words[rows].sum()
            leaves["words_out",] += looked.words_out[rows][kept[rows]].sum()
            add_languages(leaves, [looked.languages[row] for row in rows], [looked.reasons[row] for row in rows])
            for edit, places in looked.edits.items():
                if changed := int(np.count_nonzero(places[rows])):
                    leaves["edits", edit, "documents"] += changed
                    leaves["edits", edit, "places"] += places[rows].sum()
            add_checks(counts.checks, looked.checks, rows, failed[:, rows], lonely[:, rows])

    def to_json(self) -> Facts:
        return {"sources": {name: counts.to_json() for name, counts in self.sources.items()}}


def add_languages(leaves: Counter[tuple[str, ...]], languages: Sequence[Language], reasons: Sequence[str]) -> None:
    """Documents by language, in and out; those of several languages; the dropped by reason and language."""
    for language, reason in zip(languages, reasons, strict=True):
        leaves["languages", language.code, "in"] += 1
        leaves["languages", language.code, "out"] += not reason
        if language.mixed:
            leaves["mixed", "+".join((language.code, *language.mixed))] += 1
        if reason:
            leaves["dropped", reason, language.code] += 1


def add_checks(
    counts: dict[str, CheckCounts], outcomes: Sequence[Outcome], rows: Numbers, failed: Numbers, lonely: Numbers
) -> None:
    """What the checks found about some rows (r,) of a batch; who failed, and failed nothing else: (checks, r).

    Where the value or the threshold is nan the check does not apply.
    """
    if not outcomes:
        return
    values = np.array([outcome.values for outcome in outcomes], np.float64)[:, rows]
    bounds = np.array([outcome.bounds for outcome in outcomes], np.float64)[:, rows]
    width = len(LABELS)
    bins = np.where(np.isnan(values + bounds), 0, np.maximum(np.searchsorted(BORDERS, values, side="right"), 1))
    flat = bins + width * np.arange(len(outcomes))[:, None]
    histograms = np.bincount(flat.ravel(), minlength=width * len(outcomes)).reshape(-1, width)
    one_bound = (bounds == bounds[:, :1]).all(axis=1)
    for number, outcome in enumerate(outcomes):
        check = counts.setdefault(outcome.name, CheckCounts())
        check.alone += int(failed[number].sum())
        check.only += int(lonely[number].sum())
        check.values += histograms[number]
        held = bounds[number, :1] if one_bound[number] else bounds[number][~np.isnan(bounds[number])]
        check.bounds.update({held[0]: len(rows)} if one_bound[number] else Counter(held.tolist()))


def merged(facts: Iterable[Facts]) -> Facts:
    """The sum of nested dicts of counts.

    >>> merged([{"a": 1, "b": {"x": 1}}, {"b": {"x": 2, "y": 3}}])
    {'a': 1, 'b': {'x': 3, 'y': 3}}
    """
    total: Facts = {}
    for part in facts:
        for name, value in part.items():
            before = total.get(name, {} if isinstance(value, dict) else 0)
            total[name] = merged([before, value]) if isinstance(value, dict) else before + value
    return total
