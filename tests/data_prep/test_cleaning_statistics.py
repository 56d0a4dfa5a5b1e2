"""Proves that the counts of cleaning are those of plain Python over the documents, whatever the batches."""

from __future__ import annotations

import math
from collections import Counter
from typing import Any, NamedTuple

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from data_prep.cleaning import EMPTY, Cleaner, Looked, Outcome
from data_prep.cleaning_statistics import LABELS, Statistics, merged
from data_prep.document import Document
from data_prep.language import Language
from data_prep.quality import CHECKS
from data_prep.settings import CleanSettings, SourceSettings
from tests.conftest import real_texts


class Row(NamedTuple):
    """A document and what was found out about it."""

    source: str
    text: str
    cleaned: str
    reason: str
    language: Language
    values: tuple[float, float]
    bounds: tuple[float, float]
    fails: tuple[bool, bool]
    places: int


NUMBERS = st.one_of(st.just(math.nan), st.floats(0, 1), st.integers(-40, 5000).map(float))
ROWS = st.builds(
    Row,
    st.sampled_from(["web", "books"]),
    st.sampled_from(["", "a b", "ü", "中国 "]),
    st.sampled_from(["", "a", "é"]),
    st.sampled_from(["", "few-words", "empty"]),
    st.sampled_from([Language("en", 0.9), Language("de", 0.7, ("en",)), Language("und", 0.0)]),
    st.tuples(NUMBERS, NUMBERS),
    st.tuples(st.sampled_from([0.1, 50.0]), st.just(3.0)),
    st.tuples(st.booleans(), st.booleans()),
    st.integers(0, 3),
)
MINE = (EMPTY, CHECKS[0])


def look(rows: list[Row]) -> tuple[list[Document], Looked]:
    """The rows as a batch."""
    checks = [
        Outcome(check, *(np.array([row[part][number] for row in rows]) for part in (5, 6, 7)))
        for number, check in enumerate(MINE)
    ]
    looked = Looked(
        [row.cleaned for row in rows],
        [row.reason for row in rows],
        [""] * len(rows),
        [row.language for row in rows],
        [True] * len(rows),
        checks,
        {"nfc": np.array([row.places for row in rows])},
        np.array([len(row.text.split()) for row in rows]),
        np.array([len(row.cleaned.split()) for row in rows]),
    )
    return [Document(str(number), row.text, row.source) for number, row in enumerate(rows)], looked


def counted(batches: list[list[Row]]) -> dict[str, Any]:
    statistics = Statistics()
    for batch in batches:
        statistics.add(*look(batch))
    return statistics.to_json()


def size(text: str) -> int:
    return len(text.encode())


@settings(deadline=None)
@given(st.lists(ROWS, min_size=1, max_size=12), st.integers(0, 12))
def test_the_counts_are_those_of_the_documents(rows: list[Row], cut: int) -> None:
    facts = counted([part for part in (rows[:cut], rows[cut:]) if part])["sources"]
    assert set(facts) == {row.source for row in rows}
    for source, found in facts.items():
        mine = [row for row in rows if row.source == source]
        kept = [row for row in mine if not row.reason]
        assert found["documents_in"] == len(mine) and found["documents_out"] == len(kept)
        assert found["bytes_in"] == sum(size(row.text) for row in mine)
        assert found["bytes_out"] == sum(size(row.cleaned) for row in kept)
        assert found["words_in"] == sum(len(row.text.split()) for row in mine)
        assert found["words_out"] == sum(len(row.cleaned.split()) for row in kept)
        for code, counts in found["languages"].items():
            assert counts["in"] == sum(row.language.code == code for row in mine)
            assert counts["out"] == sum(row.language.code == code for row in kept)
        assert sum(counts["in"] for counts in found["languages"].values()) == len(mine)
        assert found.get("mixed", {}).get("de+en", 0) == sum(bool(row.language.mixed) for row in mine)
        dropped = Counter((row.reason, row.language.code) for row in mine if row.reason)
        assert dropped == {
            (reason, code): count for reason, of in found.get("dropped", {}).items() for code, count in of.items()
        }
        edited = [row.places for row in mine if row.places]
        assert found.get("edits", {}) == ({"nfc": {"documents": len(edited), "places": sum(edited)}} if edited else {})
        for number, name in enumerate(check.name for check in MINE):
            check = found["checks"][name]
            assert check["alone"] == sum(row.fails[number] for row in mine)
            others = [row.fails[1 - number] or not (row.cleaned or row.fails[0]) for row in mine]
            assert check["only"] == sum(
                row.fails[number] and not other for row, other in zip(mine, others, strict=True)
            )
            assert check["values"] == Counter(label_of(row.values[number]) for row in mine)
            assert {float(bound): count for bound, count in check["bounds"].items()} == Counter(
                row.bounds[number] for row in mine
            )


def label_of(value: float) -> str:
    """The bin of a value, by going through all."""
    if math.isnan(value):
        return ""
    return max((label for label in LABELS if label and float(label) <= value), key=float)


@pytest.mark.parametrize(
    ("value", "label"),
    [
        (0, "0"), (0.049, "0"), (0.05, "0.05"), (7 / 20, "0.35"), (0.999, "0.95"), (1, "1"), (4.7, "4"), (15, "15"),
        (16, "16"), (100, "64"), (128, "128"), (1e6, "524288"), (-3, "-3"), (-2.5, "-3"), (-17, "-32"),
        (1e30, str(2**40)), (-1e30, str(-(2**40))), (math.inf, str(2**40)), (math.nan, ""),
    ],
)  # fmt: skip
def test_bins_by_hand(value: float, label: str) -> None:
    """Shares in twentieths, whole numbers below 16, powers of two from there on."""
    row = Row("web", "", "", "", Language("en", 0.9), (value, 1), (1, 1), (False, False), 0)
    values = counted([[row]])["sources"]["web"]["checks"][EMPTY.name]["values"]
    assert values == {label: 1}


@given(st.lists(ROWS, min_size=2, max_size=12), st.integers(1, 11))
def test_shards_add_up(rows: list[Row], cut: int) -> None:
    """Two shards counted apart and added are one shard."""
    parts = [counted([part]) for part in (rows[:cut], rows[cut:]) if part]
    assert merged(parts) == counted([rows])


def test_without_checks_and_without_documents() -> None:
    documents, looked = look([Row("web", "a", "a", "", Language("en", 0.9), (1, 1), (1, 1), (False, False), 0)])
    looked.checks = []
    statistics = Statistics()
    statistics.add(documents, looked)
    statistics.add([], Looked([], [], [], [], [], [], {}, np.zeros(0), np.zeros(0)))
    assert statistics.to_json()["sources"]["web"]["checks"] == {}
    assert merged([]) == {} and merged([{"sources": {}}]) == {"sources": {}}


@pytest.mark.parametrize(("rules", "several"), [(["c4"], 1), (["c4", "gopher-quality"], 2)])
def test_only_it_is_what_would_stay_without_the_check(rules: list[str], several: int) -> None:
    """Real texts, cleaned with every check, and again without each of those that some text fails.

    C4 leaves nothing of those that are one line without an end: they go without any check of its, too.
    """
    texts = [text.replace(". ", ".\n") if number % 4 else text for number, text in enumerate(real_texts()[:300])]
    documents = [Document(f"web:{number}", text, "web") for number, text in enumerate(texts)]
    documents += [Document("web:empty", " ", "web"), Document("web:short", "No. No. No.", "web")]

    def counts(thresholds: dict[str, dict[str, float]]) -> dict[str, Any]:
        settings = CleanSettings(rules=rules, thresholds=thresholds, detect_language=False)
        statistics = Statistics()
        statistics.add(documents, Cleaner(settings, {"web": SourceSettings("web", ["web"])}).look(documents))
        found: dict[str, Any] = statistics.to_json()["sources"]["web"]
        return found

    everything = counts({})
    fired = {name: check for name, check in everything["checks"].items() if check["alone"] and name != EMPTY.name}
    assert len(fired) > several and sum(check["only"] > 0 for check in fired.values()) >= several
    for name, check in fired.items():
        rule, _, threshold = name.partition(".")
        no_limit = -math.inf if threshold.startswith("min") else math.inf
        without = counts({rule: {threshold: no_limit}})
        assert without["documents_out"] - everything["documents_out"] == check["only"], name
