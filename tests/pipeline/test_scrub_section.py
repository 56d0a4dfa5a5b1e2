"""Proves that the report's section on personal values shows the counts that scrub left, and foreign text as text."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from data_prep.counts import Counts
from pipeline.report import write_report
from pipeline.run_dir import RunDir
from pipeline.scrub_section import personal
from pipeline.stages import STAGES
from tests.pipeline.test_report import Page, seal

WEB: dict[str, Any] = {
    "documents_in": 1000,
    "documents_touched": 75,
    "documents_dropped": 4,
    "documents_named": 12,
    "bytes_in": 4_000_000,
    "hidden_bytes": 10_000,
    "kinds": {"email": {"values": 300, "documents": 60}, "ip": {"values": 30, "documents": 15}},
}
BOOKS: dict[str, Any] = {
    "documents_in": 1000,
    "documents_touched": 5,
    "documents_dropped": 0,
    "documents_named": 0,
    "bytes_in": 4_000_000,
    "hidden_bytes": 70,
    "kinds": {"email": {"values": 100, "documents": 5}},
}
SAMPLES = [
    {"kind": "email", "source": "web", "id": "web:<i>1</i>", "context": "…<script>mail</script> <EMAIL> & so on"},
    {"kind": "email", "source": "books", "id": "books:2", "context": "by <EMAIL>\nin one line"},
    {"kind": "ip", "source": "web", "id": "web:3", "context": "from <IP>"},
]


def shown(facts: dict[str, Any]) -> tuple[Page, str]:
    """The section as a page, and its text with white space as one."""
    page = Page(personal(facts).replace("</t", " </t").replace("</dd", " </dd"))
    return page, " ".join(page.words.split())


def test_tables_bars_and_samples_are_the_counts() -> None:
    page, words = shown({"sources": {"web": WEB, "books": BOOKS}, "samples": SAMPLES})
    assert "web 1,000 75 (7.5%) 4 10.0 kB (0.25%) 330" in words
    assert "books 1,000 5 (0.5%) 0 70 B (0.0018%) 100" in words  # 70 / 4,000,000
    assert "all 2,000 80 (4%) 4 10.1 kB (0.13%) 430" in words
    assert "In the ids of 12 documents something looks like a personal value." in words
    assert "400 values · 65 documents" in words and "30 values · 15 documents" in words
    widths = {value for name, value in page.attributes if name == "width"}
    assert {"7.50%", "16.25%", "3.75%"} <= widths  # of the 400 e-mail addresses: 30, 65, 15
    assert "email 300 (60) 100 (5)" in words and "ip 30 (15) –" in words
    assert "web:<i>1</i> …<script>mail</script> <EMAIL> & so on" in words.replace("</i>…", "</i> …")
    assert not {"script", "i"} & set(page.tags)
    assert page.words.index("books:2") < page.words.index("IP addresses") < page.words.index("web:3")


def test_one_source_needs_no_table_of_sources() -> None:
    _, words = shown({"sources": {"web": WEB}, "samples": []})
    assert "Kinds by source" not in words and "Places" not in words and "all " not in words.partition("web")[0]


def test_nothing_found_says_so() -> None:
    clean = BOOKS | {"kinds": {}, "documents_touched": 0, "hidden_bytes": 0}
    _, words = shown({"sources": {"books": clean}, "samples": []})
    assert "books 1,000 0 (0%) 0 0 B (0%) 0" in words and "No personal values were found." in words
    assert "ids" not in words
    assert personal({}) == ""


@pytest.mark.parametrize("done", [True, False])
def test_the_section_stands_in_the_report_when_scrub_is_done(tmp_path: Path, done: bool) -> None:
    run = RunDir(tmp_path / "run")
    run.root.mkdir()
    run.config.write_text("")
    before = None
    for stage in ("ingest", "clean", "dedup"):
        seal(run, stage, Counts(1000, 1000, {}, 0, 4_000_000), before)
        before = stage
    if done:
        seal(
            run, "scrub", Counts(1000, 1000, {}, 0, 4_000_000), "dedup", scrub={"sources": {"web": WEB}, "samples": []}
        )
    write_report(run, STAGES[:-1])
    page = Page(run.report.read_text())
    assert ("Personal values" in page.words, "75 (7.5%)" in page.words) == (done, done)
