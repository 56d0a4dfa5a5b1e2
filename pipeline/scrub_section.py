"""The report's section on personal values: how many of which kind went, from which source, and places to judge by.

All of it comes from the counts that scrubbing left (`data_prep.scrub_counts`).
"""

from __future__ import annotations

from typing import Any

from data_prep.cleaning_statistics import merged
from data_prep.recognizer import KINDS
from pipeline.charts import Bar, bar_chart, short, size, small_bar, table, text

Facts = dict[str, Any]


def personal(facts: Facts) -> str:
    """The section, from the manifest's facts["scrub"]."""
    sources: dict[str, Facts] = facts.get("sources", {})
    if not sources:
        return ""
    total = merged(sources.values())
    several = len(sources) > 1
    return (
        by_source(sources | ({"all": total} if several else {}))
        + by_kind(total["kinds"])
        + (kinds_by_source(sources) if several and total["kinds"] else "")
        + samples(facts["samples"], total["kinds"])
    )


def share(part: float, whole: float) -> str:
    """
    >>> share(3, 40), share(1, 2000), share(0, 0)
    ('7.5%', '0.05%', '0%')
    """
    return f"{100 * part / (whole or 1):.2g}%" if part < whole else f"{part / (whole or 1):.0%}"


def by_source(sources: dict[str, Facts]) -> str:
    rows = [
        (
            name,
            f"{counts['documents_in']:,}",
            f"{counts['documents_touched']:,} ({share(counts['documents_touched'], counts['documents_in'])})",
            f"{counts['documents_dropped']:,}",
            f"{size(counts['hidden_bytes'])} ({share(counts['hidden_bytes'], counts['bytes_in'])})",
            f"{sum(of_kind['values'] for of_kind in counts['kinds'].values()):,}",
        )
        for name, counts in sources.items()
    ]
    columns = ("source", "documents", "with values", "dropped", "text replaced", "values")
    said = "Values in texts and in the fields of their rows. Dropped: more of the text was personal than max_density."
    named = list(sources.values())[-1]["documents_named"]  # of the one source, or of all
    warning = (
        f"<p>In the ids of {named:,} documents something looks like a personal value. Ids are written as they are: "
        "choose another id_field, or none.</p>"
    )
    return table(columns, rows) + f'<p class="note">{said}</p>' + (warning if named else "")


def by_kind(kinds: dict[str, dict[str, int]]) -> str:
    """A bar a kind: its values, and the documents that had some."""
    if not kinds:
        return "<p>No personal values were found.</p>"
    most = max(counts["values"] for counts in kinds.values())
    bars = [
        Bar(
            kind,
            f"{counts['values']:,} values · {counts['documents']:,} documents",
            (counts["values"] / most, counts["documents"] / most),
        )
        for kind, counts in sorted(kinds.items(), key=lambda item: (-item[1]["values"], item[0]))
    ]
    legend = '<span class="key first">values</span><span class="key pale">documents that had some</span>'
    chart = bar_chart("Personal values replaced, by kind", bars)
    return f"<figure><figcaption><b>Values by kind</b>{legend}</figcaption>{chart}</figure>"


def kinds_by_source(sources: dict[str, Facts]) -> str:
    found = [kind for kind in KINDS if any(kind in counts["kinds"] for counts in sources.values())]

    def cell(counts: Facts, kind: str) -> str:
        of_kind = counts["kinds"].get(kind)
        return f"{short(of_kind['values'])} ({short(of_kind['documents'])})" if of_kind else "–"

    rows = [(kind, *(cell(counts, kind) for counts in sources.values())) for kind in found]
    title = '<h3>Kinds by source <small class="note">values, and in how many documents</small></h3>'
    return title + table(("kind", *sources), rows)


def samples(found: list[Facts], kinds: dict[str, dict[str, int]]) -> str:
    """A line with a bar a kind; it opens to places that were drawn by a hash, every value in them masked."""
    items = ""
    for kind in dict.fromkeys(sample["kind"] for sample in found):
        rows = "".join(
            f"<li><code>{text(sample['id'])}</code><blockquote>{text(sample['context'])}</blockquote></li>"
            for sample in found
            if sample["kind"] == kind
        )
        values, most = kinds[kind]["values"], max(counts["values"] for counts in kinds.values())
        line = f"<span>{text(kind)}: {text(KINDS[kind])}</span><b>{values:,}</b>{small_bar(values / most)}"
        items += f'<details class="reason"><summary>{line}</summary><ol>{rows}</ol></details>'
    said = '<small class="note">drawn by chance; all values in them are masked</small>'
    return f"<h3>Places where values stood {said}</h3>{items}" if items else ""
