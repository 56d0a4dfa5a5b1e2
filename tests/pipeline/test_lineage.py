"""Proves that `trace` tells of a document what dedup noted, whatever parts are left, and shows nothing personal."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from data_prep.counts import Counts
from data_prep.document import Document, Drop
from data_prep.settings import SourceSettings
from data_prep.shards import ROW_GROUP_DOCUMENTS, Ledger, PartWriter
from pipeline.config import RunConfig
from pipeline.lineage import meta_of, trace
from pipeline.receipt import Manifest, entry
from pipeline.run_dir import RunDir

CONFIG = RunConfig([SourceSettings("web", ["web.jsonl"])])
NGRAM = "please write to jo@example.org for the answer to question 7"
META = {
    "web:1": {
        "clean": {"language": "zh-Hans", "confidence": 0.981, "mixed": ["en"]},
        "dedup": {"cluster": "web:0", "size": 1234, "repeats_removed": 12},
    },
    "web:2": {"dedup": {"contaminated": {"set": "eval.jsonl", "ngram": NGRAM}}, "url": "https://example.org"},
    "web:3": {"dedup": "a field of the source's own", "clean": {"language": "a field"}},
}


@pytest.fixture
def run(tmp_path: Path) -> RunDir:
    """Three documents go through to split; a fourth goes for another one, a fifth for an evaluation text."""
    run, before = RunDir(tmp_path), None
    for stage in ("ingest", "clean", "dedup", "scrub", "split"):
        part = run.stage(stage) / ("train" if stage == "split" else "") / "part-00000.parquet"
        with PartWriter(part) as writer:
            for id, meta in META.items():
                writer.write(Document(id, f"text of {id}", "web", json.dumps(meta)))
        ledgers = []
        if stage == "dedup":
            with Ledger(run.stage(stage) / "dropped" / "part-00000.parquet") as ledger:
                ledger.write(Document("web:4", "text", "web"), Drop("near-duplicate", "of web:1 (similarity 0.93)"))
                ledger.write(
                    Document("web:5", "text", "web"), Drop("contaminated", f"shares '{NGRAM}' with eval.jsonl")
                )
            ledgers = [entry(run.root, path) for path in ledger.files]
        outputs = [entry(run.root, part)]
        inputs = before.outputs if before else []
        before = Manifest(stage, 1, "k", {}, inputs, outputs, ledgers, Counts(3, 3), 1.0, {})
        before.save(run.manifest(stage))
    return run


def at_dedup(run: RunDir, document_id: str) -> str:
    lines = [line for line in trace(CONFIG, run, document_id) if line.startswith("dedup")]
    assert len(lines) == 1
    return lines[0].removeprefix("dedup").strip()


def test_what_a_document_stands_for_and_what_it_lost_is_told(run: RunDir) -> None:
    notes = "; stands for 1,234 documents (cluster web:0); 12 repeated lines or paragraphs removed"
    assert at_dedup(run, "web:1") == f"kept in dedup/part-00000.parquet{notes}"
    assert at_dedup(run, "web:3") == "kept in dedup/part-00000.parquet"
    assert trace(CONFIG, run, "web:1")[0] == "ingest     kept in ingest/part-00000.parquet"
    assert at_dedup(run, "web:4") == 'dropped: near-duplicate of web:1 (similarity 0.93); it begins "text"'


def test_a_reported_document_is_told_without_personal_values(run: RunDir) -> None:
    shares = "shares 'please write to <EMAIL> for the answer to question 7' with eval.jsonl"
    assert at_dedup(run, "web:2") == f"kept in dedup/part-00000.parquet; reported: {shares}"
    assert at_dedup(run, "web:5") == f'dropped: contaminated {shares}; it begins "text"'


def test_what_dedup_wrote_is_found_in_a_later_part_when_its_own_are_dropped(run: RunDir) -> None:
    for stage in ("ingest", "clean", "dedup", "scrub"):
        manifest = Manifest.load(run.manifest(stage))
        assert manifest
        manifest = Manifest(**{**vars(manifest), "emptied": True})
        manifest.save(run.manifest(stage))
        (run.stage(stage) / "part-00000.parquet").unlink()
    notes = "; stands for 1,234 documents (cluster web:0); 12 repeated lines or paragraphs removed"
    assert at_dedup(run, "web:1") == f"kept; the parts are dropped since{notes}"
    assert [line for line in trace(CONFIG, run, "web:1") if "stands for" in line] == [
        f"dedup      kept; the parts are dropped since{notes}"
    ]


def test_the_language_is_told_where_it_was_looked_for(run: RunDir) -> None:
    assert trace(CONFIG, run, "web:1")[1] == (
        "clean      kept in clean/part-00000.parquet; language zh-Hans (confidence 0.98), and en"
    )
    assert trace(CONFIG, run, "web:3")[1] == "clean      kept in clean/part-00000.parquet"


def test_the_meta_is_that_of_the_row_in_whichever_row_group(tmp_path: Path) -> None:
    with PartWriter(tmp_path / "part.parquet") as writer:
        for number in range(2 * ROW_GROUP_DOCUMENTS + 5):
            writer.write(Document(f"web:{number}", "", "web", f'{{"number": {number}}}'))
    for number in (0, 7, ROW_GROUP_DOCUMENTS, 2 * ROW_GROUP_DOCUMENTS + 4):
        assert meta_of(tmp_path / "part.parquet", f"web:{number}") == {"number": number}
