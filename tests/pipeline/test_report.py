"""Proves that the report is one well-formed, self-contained page, at any time, in which foreign text stays text."""

from __future__ import annotations

import json
from html.parser import HTMLParser
from pathlib import Path

import pytest

from data_prep.counts import Counts
from data_prep.document import Document, Drop
from data_prep.shards import Ledger
from pipeline.charts import duration, short, size, ticks
from pipeline.receipt import Manifest, entry
from pipeline.report import write_report
from pipeline.run_dir import RunDir
from pipeline.stages import STAGES

VOID = {"meta", "br", "wbr", "line", "rect", "polyline", "path", "link"}
TOLD = STAGES[:-1]


class Page(HTMLParser):
    """Checks that tags close in order; keeps the tags, their attributes and the text."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: list[str] = []
        self.attributes: list[tuple[str, str | None]] = []
        self.words = ""
        self.feed(html)
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += attrs
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += attrs

    def handle_endtag(self, tag: str) -> None:
        if tag not in VOID:
            assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.words += data


def seal(run: RunDir, stage: str, counts: Counts, needs: str | None = None, **facts: object) -> None:
    """A manifest with one output, made from what the stage before it holds."""
    output = run.stage(stage) / "part-00000.parquet"
    output.parent.mkdir(parents=True, exist_ok=True)
    output.write_text(stage)
    ledgers = [entry(run.root, path) for path in sorted(run.stage(stage).glob("*/part-*.parquet"))]
    before = Manifest.load(run.manifest(needs)) if needs else None
    inputs = before.outputs if before else []
    Manifest(stage, 1, "k", {}, inputs, [entry(run.root, output)], ledgers, counts, 2.5, facts).save(
        run.manifest(stage)
    )


@pytest.fixture
def half_way(tmp_path: Path) -> RunDir:
    """A run that is cleaned and deduplicated; one of the dropped texts is hostile and personal."""
    run = RunDir(tmp_path / "<b>run")
    hostile = "<script>alert('x')</script> & write to jo@example.org"
    with Ledger(run.stage("clean") / "dropped" / "part-00000.parquet") as ledger:
        ledger.write(Document("docs:<i>1</i>", hostile, "docs"), Drop("gopher-few-words"))
    run.config.write_text("seed = 1\n# <script>\n")
    seal(run, "ingest", Counts(1000, 990, {}, 10, 5_000_000))
    seal(run, "clean", Counts(990, 900, {"gopher-few-words": 90}, 0, 4_000_000), "ingest")
    return run


def test_a_half_way_run_renders_and_foreign_text_stays_text(half_way: RunDir) -> None:
    write_report(half_way, TOLD)
    html = half_way.report.read_text()
    page = Page(html)
    assert "<script>alert('x')</script> & write to <EMAIL>" in page.words
    assert "jo@example.org" not in html and "docs:<i>1</i>" in page.words
    assert not {"script", "iframe", "img", "link", "brun"} & set(page.tags)
    assert not [value for name, value in page.attributes if name in ("src", "href") or name.startswith("on")]
    for number in ("1,000", "990 documents", "5.0 MB", "900 documents", "4.0 MB", "90"):
        assert number in page.words
    assert "Still to come: dedup, scrub" in page.words


def test_duplicates_show_sizes_sources_and_examples(half_way: RunDir) -> None:
    """The facts are those of dedup's manifest; nine in ten of the clusters are pairs, as usual."""
    members = [
        {"id": "docs:<script>2", "similarity": 0.93, "reason": "near-duplicate"},
        {"id": "docs:3", "reason": "url-duplicate"},
    ]
    with Ledger(half_way.stage("dedup") / "dropped" / "part-00000.parquet") as ledger:
        hostile = "<img src=x onerror=alert(1)> call jo@example.org"
        ledger.write(Document("docs:<script>2", hostile, "docs"), Drop("near-duplicate", "of docs:1"))
        ledger.write(
            Document("docs:9", "not of a cluster that is shown", "docs"), Drop("no-sample-of-this", "of docs:8")
        )
    seal(
        half_way,
        "dedup",
        Counts(900, 840, {"near-duplicate": 60}, 0, 3_000_000),
        "clean",
        cluster_sizes={"2": 36, "3": 2, "4": 1, "18": 1},
        removed_bytes={"<i>web</i>": 900_000, "books": 100_000},
        clusters=[{"survivor": "docs:<script>1", "size": 18, "members": members}],
        contaminated={"eval/<b>quiz.jsonl": 7},
        repeated={"lines": 1234, "bytes": 56_000},
    )
    write_report(half_way, TOLD)
    html = half_way.report.read_text()
    page = Page(html)
    said = """
        40 clusters: of each one
        2 documents
        36 clusters · 36 removed
        3-4 documents
        3 clusters · 7 removed
        5-8 documents
        0 clusters · 0 removed
        17-32 documents
        1 clusters · 17 removed
        <i>web</i>
        900.0 kB · 22.5% of all text
        100.0 kB · 2.5% of all text
        eval/<b>quiz.jsonl
        7 documents
        Of lines that stand in several documents one stays: 1,234 removed, 56.0 kB.
        docs:<script>1
        docs:<script>2 near-duplicate, similarity 0.93
        <img src=x onerror=alert(1)> call <EMAIL>
        docs:3 url-duplicate
    """
    section = page.words.partition("Duplicates")[2]
    places = [section.find(line.strip()) for line in said.strip().splitlines()]
    assert -1 not in places and places == sorted(places)
    assert "jo@example.org" not in html and not {"script", "img", "i"} & set(page.tags)
    widths = {value for name, value in page.attributes if name == "width"}
    assert {"2.78%", "47.22%", "11.11%"} <= widths  # 1 of 36 clusters, 17 of 36 documents, 1 of 9 parts of the bytes


def test_without_duplicates_there_is_no_section(half_way: RunDir) -> None:
    seal(half_way, "dedup", Counts(900, 900, {}, 0, 4_000_000), "clean")
    write_report(half_way, TOLD)
    assert "Duplicates" not in half_way.report.read_text()


def test_a_value_cut_off_by_the_end_of_an_excerpt_is_not_shown(half_way: RunDir) -> None:
    address = "somebody.with.a.name@example.org"
    with Ledger(half_way.stage("clean") / "dropped" / "part-00000.parquet") as ledger:
        ledger.write(Document("docs:1", "x " * 87 + address, "docs"), Drop("gopher-few-words"))  # cut after "example"
    write_report(half_way, TOLD)
    assert "somebody" not in half_way.report.read_text()


def test_a_stage_made_from_what_is_gone_is_still_to_come(half_way: RunDir) -> None:
    (half_way.stage("ingest") / "part-00000.parquet").write_text("another corpus")
    made = [entry(half_way.root, half_way.stage("ingest") / "part-00000.parquet")]
    Manifest("ingest", 1, "k", {}, [], made, [], Counts(7, 7), 1.0, {}).save(half_way.manifest("ingest"))
    write_report(half_way, TOLD)
    page = Page(half_way.report.read_text())
    assert "Still to come: clean, dedup" in page.words and "900 documents" not in page.words


def test_a_whole_run_shows_curves_scores_and_samples(half_way: RunDir) -> None:
    run = half_way
    for needs, stage in (("clean", "dedup"), ("dedup", "scrub"), ("scrub", "split")):
        seal(run, stage, Counts(900, 900, {}, 0, 4_000_000), needs)
    seal(run, "tokenizer", Counts(), "split", vocab_size=512)
    row = {"documents": 890, "bytes": 3_900_000, "tokens": 1_000_000}
    manifest = Manifest.load(run.manifest("split"))
    assert manifest
    for name, facts in (
        ("tokens", {"train": {"docs": row}}),
        ("pretrain", {"steps": 90, "tokens": 90_000, "parameters": 136_960, "flops": 1e12}),
        ("evaluate", {}),
        ("export", {}),
    ):
        inputs = [
            item for stage in STAGES for item in (getattr(Manifest.load(run.manifest(stage.name)), "outputs", []))
        ]
        output = run.stage(name) / "made"
        output.parent.mkdir()
        output.write_text(name)
        made = [entry(run.root, output)]
        Manifest(name, 1, "k", {}, inputs, made, [], Counts(), 1.0, facts).save(run.manifest(name))
    scores = {"loss": 2.0, "perplexity": 7.39, "bits_per_byte": 1.25, "tokens": 500, "bytes": 2000}
    packed = {"gzip_bits_per_byte": 2.5, "xz_bits_per_byte": 2.0}
    results = {**scores, **packed, "sources": {"docs": scores | packed}, "samples": ["Once <upon> a time"]}
    run.results.write_text(json.dumps(results))
    rows = [
        {"step": n, "loss": 6 - n / 30, "lr": 1e-3, "grad_norm": 1.0, "tokens": 1000 * n, "tokens_per_second": 50.0}
        | {"mfu": None, "step_seconds": 0.5, "data_seconds": 0.0}
        | ({"val_loss": 6.1 - n / 30, "val_bits_per_byte": 1.5} if n % 30 == 0 else {})
        for n in range(1, 91)
    ]
    run.metrics.write_text("".join(json.dumps(row) + "\n" for row in rows) + '{"step": 91, "lo')
    write_report(run, TOLD)
    html = run.report.read_text()
    page = Page(html)
    assert "Every stage is done." in page.words and "Once <upon> a time" in page.words
    assert "38% less than the better of two compressors" in page.words  # 1 - 1.25 / 2.0
    assert page.tags.count("polyline") == 6  # loss faint and smooth, validation; rate, norm, speed
    assert "46.0 s" in page.words  # 90 steps of half a second, and one of the task itself
    write_report(run, TOLD)
    assert run.report.read_text() == html
    assert len(html) < 500_000


def test_numbers_for_people() -> None:
    assert [short(value) for value in (0, 12, 1234, 1_500_000, 2.5e9)] == ["0", "12", "1,234", "1.5M", "2.5B"]
    assert [size(value) for value in (0, 999, 1_000, 2_500_000)] == ["0 B", "999 B", "1.0 kB", "2.5 MB"]
    assert [duration(value) for value in (59.94, 60, 3_599, 3_600)] == [
        "59.9 s",
        "1 min 0 s",
        "59 min 59 s",
        "1 h 0 min",
    ]
    assert ticks(0, 10, 5) == [0, 2, 4, 6, 8, 10]
