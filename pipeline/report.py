"""The run as one page: what came in, what left and why, what was learned. Works at any time, also half-way.

`collect` reads, `render` is pure, `write_report` joins them. The page is a function of the run's content: no clock.
"""

from __future__ import annotations

import statistics
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq

from data_prep.files import atomic_write, read_json, read_json_lines
from data_prep.shards import shown
from pipeline.charts import Bar, Curve, bar_chart, duration, line_chart, page, short, size, small_bar, table, text
from pipeline.cleaning_section import cleaning
from pipeline.duplicates_section import duplicates, read_excerpts
from pipeline.freshness import sealed_stages
from pipeline.receipt import Manifest
from pipeline.run_dir import RunDir
from pipeline.scrub_section import personal
from pipeline.stage import Stage

SAMPLE_ROWS = 5  # shown of each reason

Row = dict[str, Any]


@dataclass(frozen=True)
class Reason:
    """Why documents left, at one stage: how many, and the first rows of the ledger (excerpts still raw)."""

    stage: str
    ledger: str  # dropped or quarantine
    name: str
    documents: int
    rows: list[dict[str, str]]


@dataclass(frozen=True)
class ReportData:
    """All that the page shows."""

    name: str
    config: str
    stages: dict[str, Manifest]  # sealed, and made from what the stages before them hold now
    waiting: list[str]  # the stages still to come
    reasons: list[Reason]
    excerpts: dict[str, str]  # of documents that went for others, by id; still raw
    metrics: list[Row]
    results: Row | None


def write_report(run: RunDir, stages: Sequence[Stage]) -> None:
    """Publish RUN/report.html. `stages` are those it tells of: all but its own."""
    atomic_write(run.report, render(collect(run, stages)))


# reading --------------------------------------------------------------------------------------------------------------


def collect(run: RunDir, stages: Sequence[Stage]) -> ReportData:
    """Read the run."""
    sealed = sealed_stages(run, stages)
    return ReportData(
        name=run.root.resolve().name,
        config=run.config.read_text() if run.config.exists() else "",
        stages=sealed,
        waiting=[stage.name for stage in stages if stage.name not in sealed],
        reasons=[reason for name, manifest in sealed.items() for reason in read_reasons(run.root, name, manifest)],
        excerpts=read_excerpts(run.root, sealed["dedup"]) if "dedup" in sealed else {},
        metrics=read_json_lines(run.metrics),
        results=read_json(run.results) if "evaluate" in sealed else None,
    )


def read_reasons(root: Path, stage: str, manifest: Manifest) -> list[Reason]:
    """Drops by rule, then quarantine by reason, each with the most frequent first."""
    counts = Counter({("dropped", name): count for name, count in manifest.counts.dropped.items()})
    rows: dict[tuple[str, str], list[dict[str, str]]] = {}
    for path in sorted(root / item["path"] for item in manifest.ledgers):
        if not path.exists():
            continue
        ledger, found = path.parent.name, pq.read_table(path)
        for number, name in enumerate(found["reason"].to_pylist()):
            counts[ledger, name] += ledger == "quarantine"  # the manifest has only their sum
            if len(rows.setdefault((ledger, name), [])) < SAMPLE_ROWS:
                rows[ledger, name] += found.slice(number, 1).to_pylist()
    order = sorted(counts, key=lambda key: (key[0], -counts[key], key[1]))
    return [Reason(stage, *key, counts[key], rows.get(key, [])) for key in order]


# the page -------------------------------------------------------------------------------------------------------------


def render(data: ReportData) -> str:
    """The page. A section without numbers yet is left out."""
    state = f"Still to come: {', '.join(data.waiting)}." if data.waiting else "Every stage is done."
    generated = [f'<pre class="wrap">{text(sample)}</pre>' for sample in (data.results or {}).get("samples", [])]
    config = (
        f'<details><summary>config.toml, as resolved</summary><pre tabindex="0">{text(data.config)}</pre></details>'
    )
    sections = {
        "": key_numbers(data),
        "From source to training text": funnel(data),
        "What left, and why": what_left(data),
        "Cleaning": cleaning(data.stages["clean"].facts.get("cleaning", {})) if "clean" in data.stages else "",
        "Duplicates": alike(data),
        "Personal values": personal(data.stages["scrub"].facts.get("scrub", {})) if "scrub" in data.stages else "",
        "Tokens": tokens(data),
        "Training": training(data),
        "Evaluation": evaluation(data),
        "Generated samples": "".join(generated),
        "Time": times(data),
        "Configuration": config,
    }
    return page(data.name, state, sections)


def document_stages(data: ReportData) -> dict[str, Manifest]:
    return {name: manifest for name, manifest in data.stages.items() if manifest.counts.documents_in}


def key_numbers(data: ReportData) -> str:
    cards: list[tuple[str, str, str]] = []
    documents = list(document_stages(data).values())
    if documents:
        before, kept = documents[0].counts.documents_in, documents[-1].counts.documents_out
        cards += [("documents in", f"{before:,}", ""), ("documents kept", f"{kept:,}", f"{kept / before:.1%}")]
    facts = data.stages["pretrain"].facts if "pretrain" in data.stages else {}
    if facts:
        cards.append(("training tokens", short(facts["tokens"]), f"{facts['steps']:,} steps"))
        cards.append(("parameters", short(facts["parameters"]), f"{facts['flops']:.2g} FLOPs in all"))
    elif data.metrics:
        last = data.metrics[-1]
        cards.append(("training tokens so far", short(last["tokens"]), f"{last['step']:,} steps"))
    validated = [row for row in data.metrics if "val_bits_per_byte" in row]
    if data.results:
        cards.append(("bits per byte", f"{data.results['bits_per_byte']:.3f}", "on all validation text"))
    elif validated:
        bits = f"{validated[-1]['val_bits_per_byte']:.3f}"
        cards.append(("bits per byte so far", bits, f"on a part of validation, step {validated[-1]['step']:,}"))
    shown = "".join(
        f'<div><dt>{name}</dt><dd>{value}<small class="note">{note}</small></dd></div>' for name, value, note in cards
    )
    return (f"<dl>{shown}</dl>" if cards else "") + compared(data.results)


def compared(results: Row | None) -> str:
    """The model beside two compressors on the same text."""
    if not results or "xz_bits_per_byte" not in results:
        return ""
    values = {"model": "bits_per_byte", "gzip -9": "gzip_bits_per_byte", "xz -9": "xz_bits_per_byte"}
    bits = {name: results[key] for name, key in values.items()}
    worst, best = max(bits.values()), min(bits["gzip -9"], bits["xz -9"])
    verdict = (
        f"{1 - bits['model'] / best:.0%} less than the better of two compressors that start from nothing"
        if bits["model"] < best
        else "more than a compressor that starts from nothing, so it has not learned enough yet"
    )
    bars = [Bar(name, f"{value:.3f} bits per byte", (value / worst,)) for name, value in bits.items()]
    said = f"The model needs {bits['model']:.3f} bits for a byte of text it never saw: {verdict}. Lower is better."
    return f"<p>{said}</p>" + bar_chart("Bits per byte of the validation text", bars)


def funnel(data: ReportData) -> str:
    stages = document_stages(data)
    if not stages:
        return ""
    before = next(iter(stages.values())).counts.documents_in
    largest = max(manifest.counts.bytes for manifest in stages.values()) or 1
    bars = [Bar("sources", f"{before:,} documents", (1.0,))]
    for name, manifest in stages.items():
        counts = manifest.counts
        lengths = (counts.documents_out / before, counts.bytes / largest)
        bars.append(Bar(name, f"{counts.documents_out:,} documents · {size(counts.bytes)}", lengths))
    legend = '<span class="key first">documents</span><span class="key pale">bytes of text</span>'
    chart = bar_chart("Documents and bytes after each stage", bars)
    return f"<figure><figcaption>{legend}</figcaption>{chart}</figure>"


def what_left(data: ReportData) -> str:
    most = max((reason.documents for reason in data.reasons), default=0)
    groups = []
    for ledger, title in (("dropped", "Dropped, by rule"), ("quarantine", "Quarantined, by reason")):
        items = "".join(reason_item(reason, most) for reason in data.reasons if reason.ledger == ledger)
        groups.append(f"<h3>{title}</h3>{items}" if items else "")
    return "".join(groups)


def reason_item(reason: Reason, most: int) -> str:
    """One line with a bar; it opens to the sample rows."""
    rows = ""
    for row in reason.rows:
        rows += f"<li><code>{text(row['id'])}</code> {text(shown(row['detail']))}"
        rows += f"<blockquote>{text(shown(row['excerpt']))}</blockquote></li>"
    name = f'<span>{text(reason.name)} <small class="note">{reason.stage}</small></span>'
    line = f"{name}<b>{reason.documents:,}</b>{small_bar(reason.documents / most)}"
    return f'<details class="reason"><summary>{line}</summary><ol>{rows}</ol></details>'


def alike(data: ReportData) -> str:
    if "dedup" not in data.stages:
        return ""
    return duplicates(data.stages["dedup"].facts, data.excerpts, data.stages["clean"].counts.bytes)


def tokens(data: ReportData) -> str:
    if "tokens" not in data.stages:
        return ""
    facts = data.stages["tokens"].facts
    rows = [
        (source, side, f"{row['documents']:,}", size(row["bytes"]), f"{row['tokens']:,}", f"{ratio:.2f}")
        for side in ("train", "val")
        for source, row in facts.get(side, {}).items()
        for ratio in [row["bytes"] / row["tokens"]]
    ]
    said = f"Byte-level BPE, {data.stages['tokenizer'].facts['vocab_size']:,} tokens in the vocabulary."
    if search := facts.get("search"):
        said += f" Decoded and searched again: {search['found']:,} personal values in {search['searched']:,} documents."
    return f"<p>{said}</p>" + table(("source", "side", "documents", "text", "tokens", "bytes per token"), rows)


def training(data: ReportData) -> str:
    def points(name: str) -> list[tuple[float, float]]:
        return [(row["tokens"], row[name]) for row in data.metrics if row.get(name) is not None]

    if not data.metrics:
        return ""
    losses = [Curve("training", points("loss"), noisy=True), Curve("validation", points("val_loss"), "second")]
    speeds = [speed for _, speed in points("tokens_per_second")]
    used = [mfu for _, mfu in points("mfu")]
    note = f"median {short(statistics.median(speeds))}" if speeds else ""
    note += f", {statistics.median(used):.0%} of peak FLOPs" if used else ""
    small = (
        line_chart("Learning rate", [Curve("", points("lr"))], height=110),
        line_chart("Gradient norm", [Curve("", points("grad_norm"))], height=110),
        line_chart("Tokens per second", [Curve("", points("tokens_per_second"))], height=110, note=note),
    )
    large = line_chart("Loss", losses, from_zero=False, note="nats per token, over training tokens")
    return f'{large}<div class="small">{"".join(small)}</div>'


def evaluation(data: ReportData) -> str:
    if not data.results:
        return ""
    scored = dict(data.results["sources"])
    if len(scored) > 1:
        scored["all"] = data.results
    keys = ("loss", "perplexity", "bits_per_byte", "gzip_bits_per_byte", "xz_bits_per_byte")
    rows = [
        (name, f"{row['tokens']:,}", *(f"{row[key]:,.3f}" if key in row else "–" for key in keys))
        for name, row in scored.items()
    ]
    said = '<p class="note">Loss in nats per token; model, gzip and xz in bits per byte of the same text.</p>'
    return table(("source", "tokens", "loss", "perplexity", "bits per byte", "gzip -9", "xz -9"), rows) + said


def times(data: ReportData) -> str:
    seconds = {name: manifest.seconds for name, manifest in data.stages.items()}
    if data.metrics:  # the ranks do the work of training, and the stage's own task only collects it
        seconds["pretrain"] = seconds.get("pretrain", 0.0) + sum(row["step_seconds"] for row in data.metrics)
    longest = max(seconds.values(), default=0.0) or 1.0
    bars = [Bar(name, duration(spent), (spent / longest,)) for name, spent in seconds.items()]
    said = '<p class="note">Work summed over tasks; for pretrain, the time of its steps.</p>'
    return bar_chart("Time spent per stage", bars) + said if bars else ""
