"""Who finds what in labelled text: precision and recall by kind, for benchmarks/scrub.py."""

from __future__ import annotations

import json
import random
import re
from collections import defaultdict
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

from scrub_chinese import chinese
from scrub_labels import VALID, Label, Labelled, contacts
from scrub_negatives import SORTS, negatives

from data_prep.pii import Scrubber

SEED = 2026
Span = tuple[int, int, str]  # in characters, and the kind
Finder = Callable[[list[str]], list[list[Span]]]
CONTEXT = 40  # characters around what is listed


def generated(share: float) -> dict[str, list[Labelled]]:
    """3,000 Chinese sentences, 3,000 lines that hold nothing personal, 120 lists of 25 contacts; or a share of them."""
    chance = random.Random(SEED)
    return {
        "contacts": [contacts(chance) for _ in range(round(120 * share))],
        "Chinese": [chinese(chance) for _ in range(round(3000 * share))],
        "hard negatives": [negatives(chance, sort) for sort in SORTS for _ in range(max(1, round(8 * share)))],
    }


def read_sentences(file: Path) -> list[Labelled]:
    """What benchmarks/scrub_peers.py wrote."""
    rows = [json.loads(line) for line in file.read_text().split("\n") if line]
    return [Labelled(row["text"], tuple(Label(*label) for label in row["labels"])) for row in rows]


def ours(scrubber: Scrubber) -> Finder:
    """Byte offsets in UTF-8 become characters."""

    def find(texts: list[str]) -> list[list[Span]]:
        return [spans(scrubber, text) for text in texts]

    return find


def spans(scrubber: Scrubber, text: str) -> list[Span]:
    data = text.encode("utf-8", "surrogatepass")

    def characters(end: int) -> int:
        return len(data[:end].decode("utf-8", "surrogatepass"))

    return [(characters(one.start), characters(one.end), one.kind) for one in scrubber.find(text)]


@dataclass
class Tally:
    """Of one kind in one set."""

    labels: int = 0
    valid: int = 0  # labels whose value `VALID` says is one
    valid_found: int = 0
    right: int = 0  # found spans that share a character with a label of their kind
    exact: int = 0  # those whose borders are the label's
    wrong: int = 0

    @property
    def precision(self) -> float:
        return self.right / max(self.right + self.wrong, 1)

    @property
    def recall(self) -> float:
        return self.valid_found / max(self.valid, 1)

    def add(self, other: Tally) -> None:
        for name, number in vars(other).items():
            setattr(self, name, getattr(self, name) + number)


def judged(labelled: Iterable[Labelled], found: Iterable[list[Span]]) -> dict[str, Tally]:
    tallies: dict[str, Tally] = defaultdict(Tally)
    for one, its in zip(labelled, found, strict=True):
        for label in one.labels:
            valid = label.kind not in VALID or VALID[label.kind](label.value)
            tallies[label.kind].labels += 1
            tallies[label.kind].valid += valid
            tallies[label.kind].valid_found += valid and any(overlap(span, label) for span in its)
        for span in its:
            over = [label for label in one.labels if overlap(span, label)]
            tallies[span[2]].right += bool(over)
            tallies[span[2]].wrong += not over
            tallies[span[2]].exact += any(span[:2] == (label.start, label.end) for label in over)
    return tallies


def overlap(span: Span, label: Label) -> bool:
    return span[2] == label.kind and span[0] < label.end and label.start < span[1]


def mistakes(labelled: Iterable[Labelled], found: Iterable[list[Span]]) -> list[str]:
    """What was found and is no label's, and what was not and is valid; all values masked."""
    rows = []
    for one, its in zip(labelled, found, strict=True):
        labels = [(label.start, label.end, label.kind) for label in one.labels]
        wrong = [span for span in its if not any(overlap(span, label) for label in one.labels)]
        missed = [
            span
            for span, label in zip(labels, one.labels, strict=True)
            if label.kind in VALID and VALID[label.kind](label.value) and not any(overlap(span, label) for span in its)
        ]
        if wrong or missed:
            text = masked(one.text, [*its, *labels])
            rows += [
                f"{name} {shown(text, span)}" for name, its in (("found ", wrong), ("missed", missed)) for span in its
            ]
    return rows


def shown(text: str, span: Span) -> str:
    """A place in a masked text, in one line."""
    start, end, kind = span
    around = f"{text[max(0, start - CONTEXT) : start]}<<{text[start:end]}>>{text[end : end + CONTEXT]}"
    return f"{kind}: {around}".replace("\n", "\\n")


def masked(text: str, spans: list[Span]) -> str:
    """Digits as 9 and ASCII letters as a in the spans, and in all words that hold a digit or an at-sign.

    >>> masked("write to Jo, jo.42@example.org, today", [(9, 11, "person")])
    'write to aa, aa.99@aaaaaaa.aaa, today'
    """

    def hide(match: re.Match[str]) -> str:
        return re.sub(r"[a-zA-Z]", "a", re.sub(r"\d", "9", match[0]))

    for start, end, _ in spans:
        text = text[:start] + re.sub(r"(?s).+", hide, text[start:end]) + text[end:]
    return re.sub(r"\S*[\d@]\S*", hide, text)


def table(sets: dict[str, list[Labelled]], finders: dict[str, Finder]) -> dict[str, Tally]:
    """Prints precision and recall by set, kind and finder; the first finder's tallies over all sets are returned."""
    judgements: dict[str, dict[str, dict[str, Tally]]] = {}
    totals: dict[str, dict[str, Tally]] = {name: defaultdict(Tally) for name in finders}
    for title, labelled in sets.items():
        texts = [one.text for one in labelled]
        judgements[title] = {name: judged(labelled, find(texts)) for name, find in finders.items()}
        for name, tallies in judgements[title].items():
            for kind, tally in tallies.items():
                totals[name][kind].add(tally)
    heads = " | ".join(f"{name}: precision | recall | exact" for name in finders)
    print(f"\n| set, kind | values | valid | {heads} |\n|---|{(2 + 3 * len(finders)) * '--:|'}")
    for title, its in {**judgements, "all": totals}.items():
        for kind in sorted(kind for kind, tally in its[next(iter(finders))].items() if tally.labels):
            row(f"{title}, {kind}", kind, its, totals)
    for title, its in judgements.items():
        for name, tallies in its.items():
            if wrong := {kind: tally.wrong for kind, tally in sorted(tallies.items()) if tally.wrong}:
                print(f"wrong in {title}, {name}: {wrong}")
    return totals[next(iter(finders))]


def row(title: str, kind: str, its: dict[str, dict[str, Tally]], totals: dict[str, dict[str, Tally]]) -> None:
    """Empty where a finder knows no such kind. Exact: the share of what is rightly found that has a label's borders."""
    cells = []
    for name, tallies in its.items():
        tally, known = tallies.get(kind, Tally()), totals[name][kind].right
        share = tally.exact / max(tally.right, 1)
        cells.append(f"{tally.precision:.3f} | {tally.recall:.3f} | {share:.3f}" if known else " | | ")
    tally = its[next(iter(its))][kind]
    print(f"| {title} | {tally.labels} | {tally.valid} | {' | '.join(cells)} |")
