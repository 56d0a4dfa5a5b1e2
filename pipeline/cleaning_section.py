"""The report's section on cleaning: what each source was before and after, languages, edits, and what checks measured.

All of it comes from the counts that cleaning left (`data_prep.cleaning_statistics`).
"""

from __future__ import annotations

import math
from typing import Any

from data_prep.cleaning_statistics import merged
from data_prep.quality import CHECKS
from pipeline.charts import Bar, bar_chart, short, size, table, text
from pipeline.histogram import histogram

LANGUAGES = 12  # that have a bar of their own
MIXTURES = 8  # of languages that are named
BOUNDS = 4  # of a check that are marked in its histogram

Facts = dict[str, Any]


def cleaning(facts: Facts) -> str:
    """The section, from the manifest's facts["cleaning"]."""
    sources: dict[str, Facts] = facts.get("sources", {})
    if not sources:
        return ""
    total = merged(sources.values())
    several = len(sources) > 1
    return (
        before_and_after(sources | ({"all": total} if several else {}))
        + languages(total.get("languages", {}), total.get("mixed", {}))
        + edits(total.get("edits", {}))
        + "".join(
            checks(counts["checks"], name if several else "", opened=number == 0)
            for number, (name, counts) in enumerate(sources.items())
        )
    )


def before_and_after(sources: dict[str, Facts]) -> str:
    def change(counts: Facts, what: str) -> str:
        before, after = counts[f"{what}_in"], counts[f"{what}_out"]
        shown = size if what == "bytes" else short
        return f"{shown(before)} → {shown(after)}" + (f" ({after / before:.0%})" if before else "")

    rows = [
        (name, *(change(counts, what) for what in ("documents", "bytes", "words"))) for name, counts in sources.items()
    ]
    said = '<p class="note">Before: as the sources hold it. After: what stays of it, repaired and edited.</p>'
    return table(("source", "documents", "text", "words"), rows) + said


def languages(found: dict[str, dict[str, int]], mixed: dict[str, int]) -> str:
    ordered = sorted(found.items(), key=lambda item: (-item[1]["in"], item[0]))
    shown = dict(ordered[:LANGUAGES])
    if rest := dict(ordered[LANGUAGES:]):
        shown[f"{len(rest)} others"] = merged(rest.values())
    most = max((counts["in"] for counts in shown.values()), default=0) or 1
    bars = [
        Bar(
            "not known" if code == "und" else code,
            f"{counts['in']:,} documents · {counts['out']:,} stay",
            (counts["in"] / most, counts["out"] / most),
        )
        for code, counts in shown.items()
    ]
    legend = '<span class="key first">came in</span><span class="key pale">stay</span>'
    chart = bar_chart("Documents by language, before and after cleaning", bars)
    figure = f"<figure><figcaption><b>Languages</b>{legend}</figcaption>{chart}</figure>" if bars else ""
    named = sorted(mixed.items(), key=lambda item: (-item[1], item[0]))[:MIXTURES]
    several = ", ".join(f"{text(' and '.join(pair.split('+')))} {count:,}" for pair, count in named)
    said = f"<p>In several languages at once: {sum(mixed.values()):,} documents ({several}"
    return figure + (f"{said}{', and more' if len(mixed) > MIXTURES else ''}).</p>" if mixed else "")


def edits(found: dict[str, dict[str, int]]) -> str:
    ordered = sorted(found.items(), key=lambda item: (-item[1]["documents"], item[0]))
    rows = [(name, f"{counts['documents']:,}", f"{counts['places']:,}") for name, counts in ordered]
    title = "<h3>Repairs and line edits</h3>"
    return title + table(("what was changed", "documents", "places"), rows) if rows else ""


def checks(found: dict[str, Facts], source: str, *, opened: bool) -> str:
    """A table of the checks that some document fails, and what they measured; the others by name."""
    fired = sorted(
        ((name, counts) for name, counts in found.items() if counts["alone"]),
        key=lambda item: (-item[1]["alone"], item[0]),
    )
    quiet = [f"<code>{text(name)}</code>" for name, counts in found.items() if not counts["alone"]]
    body = ""
    if fired:
        rows = [
            (name, f"{counts['alone']:,}", f"{counts['only']:,}", f"{counts['values'].get('', 0):,}")
            for name, counts in fired
        ]
        said = (
            '<p class="note">Alone: documents that fail this check, whatever the others say. Only it: those that no '
            "other check takes out. Below: how many documents had which value, and what lies beyond the threshold.</p>"
        )
        body = f'<div class="checks">{table(("check", "alone", "only it", "does not apply"), rows)}</div>{said}'
        body += f'<div class="small">{"".join(measured(*check) for check in fired if threshold(check[0]))}</div>'
    if quiet:
        summary = f"<summary>{len(quiet)} checks that no document fails</summary>"
        body += f"<details>{summary}<p>{', '.join(quiet)}</p></details>"
    body = body.replace("_", "_<wbr>")  # long names may break there
    if not body or not source:
        return f"<h3>Checks</h3>{body}" if body else ""
    summary = f"<summary><b>Checks of {text(source)}</b></summary>"
    return f'<details class="checks"{" open" if opened else ""}>{summary}{body}</details>'


def threshold(name: str) -> str:
    """min or max, as a threshold's name begins; "" of a check that only says yes or no.

    >>> threshold("gopher-quality.min_words"), threshold("clean.fields.karma.max"), threshold("clean.languages")
    ('min', 'max', '')
    """
    kind = name.rpartition(".")[2][:3]
    return kind if kind in ("min", "max") else ""


def bounds_of(counts: Facts) -> list[float]:
    """The thresholds that held for documents, the one of most documents first. inf is no limit."""
    return [float(bound) for bound in sorted(counts["bounds"], key=lambda bound: -counts["bounds"][bound])]


def bounds_text(name: str, counts: Facts) -> str:
    r"""What a check lets through.

    >>> bounds_text("gopher-quality.min_words", {"bounds": {"20": 3, "50": 97}})
    '≥\xa050, 20'
    """
    shown = ", ".join("no limit" if math.isinf(bound) else f"{bound:,.12g}" for bound in bounds_of(counts)[:BOUNDS])
    return f"{'≥' if threshold(name) == 'min' else '≤'}\u00a0{shown}{', …' if len(counts['bounds']) > BOUNDS else ''}"


def measured(name: str, counts: Facts) -> str:
    """The histogram of what a check measured, with its threshold."""
    measures = {check.name: check.measures for check in CHECKS}
    values = {float(border): count for border, count in counts["values"].items() if border}
    note = f"{name if name in measures else ''} {bounds_text(name, counts)}"
    bounds = [bound for bound in bounds_of(counts) if math.isfinite(bound)][:BOUNDS]
    return histogram(measures.get(name, name), note, values, bounds, at_least=threshold(name) == "min")
