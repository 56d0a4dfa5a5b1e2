"""The report's section on duplicates: how many alike there were, whose text went, and examples to judge by."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import pyarrow.compute as pc
import pyarrow.parquet as pq

from data_prep.shards import shown
from pipeline.charts import Bar, bar_chart, size, small_bar, text
from pipeline.receipt import Manifest

Row = dict[str, Any]


def read_excerpts(root: Path, manifest: Manifest) -> dict[str, str]:
    """How the texts of the clusters' members begin, by id; still raw."""
    members = [member["id"] for cluster in manifest.facts.get("clusters", []) for member in cluster["members"]]
    found: dict[str, str] = {}
    for path in (root / item["path"] for item in manifest.ledgers if members):
        if path.exists():
            rows = pq.read_table(path, columns=["id", "excerpt"], filters=pc.field("id").isin(members))
            found |= zip(rows["id"].to_pylist(), rows["excerpt"].to_pylist(), strict=True)
    return found


def duplicates(facts: Row, excerpts: dict[str, str], bytes_before: int) -> str:
    """The section, from the facts that dedup left; `bytes_before`: of all text that came to it."""
    return (
        cluster_sizes(facts.get("cluster_sizes", {}))
        + removed_bytes(facts.get("removed_bytes", {}), bytes_before)
        + contaminated(facts.get("contaminated", {}))
        + repeated(facts.get("repeated", {}))
        + examples(facts.get("clusters", []), excerpts)
    )


def doublings(sizes: dict[str, int]) -> list[tuple[str, int, int]]:
    """(sizes, clusters, documents that they are less by), sizes in doubling ranges from 2 to the largest.

    >>> doublings({"2": 30, "3": 4, "4": 1, "9": 1})
    [('2', 30, 30), ('3-4', 5, 11), ('5-8', 0, 0), ('9-16', 1, 8)]
    """
    clusters: Counter[int] = Counter()
    gone: Counter[int] = Counter()
    for documents, count in ((int(documents), count) for documents, count in sizes.items()):
        doubling = (documents - 1).bit_length()
        clusters[doubling] += count
        gone[doubling] += count * (documents - 1)
    return [
        ("2" if doubling == 1 else f"{2 ** (doubling - 1) + 1}-{2**doubling}", clusters[doubling], gone[doubling])
        for doubling in range(1, max(clusters, default=0) + 1)
    ]


def cluster_sizes(sizes: dict[str, int]) -> str:
    rows = doublings(sizes)
    if not rows:
        return ""
    most, most_gone = max(clusters for _, clusters, _ in rows), max(gone for _, _, gone in rows)
    bars = [
        Bar(f"{documents} documents", f"{clusters:,} clusters · {gone:,} removed", (clusters / most, gone / most_gone))
        for documents, clusters, gone in rows
    ]
    legend = '<span class="key first">clusters</span><span class="key pale">documents removed</span>'
    said = f"<p>{sum(sizes.values()):,} clusters: of each one document stays, and stands for all.</p>"
    chart = bar_chart("Clusters by the number of their documents", bars)
    return f"{said}<figure><figcaption><b>Clusters by size</b>{legend}</figcaption>{chart}</figure>"


def removed_bytes(removed: dict[str, int], bytes_before: int) -> str:
    if not removed:
        return ""
    most = max(removed.values()) or 1
    bars = [
        Bar(source, f"{size(count)} · {count / bytes_before:.1%} of all text", (count / most,))
        for source, count in sorted(removed.items(), key=lambda item: (-item[1], item[0]))
    ]
    chart = bar_chart("Bytes removed by source", bars)
    return f"<figure><figcaption><b>Text removed, by source</b></figcaption>{chart}</figure>"


def contaminated(found: dict[str, int]) -> str:
    if not found:
        return ""
    most = max(found.values())
    ordered = sorted(found.items(), key=lambda item: (-item[1], item[0]))
    bars = [Bar(name, f"{documents:,} documents", (documents / most,)) for name, documents in ordered]
    chart = bar_chart("Documents that share text with an evaluation set", bars)
    return f"<figure><figcaption><b>Documents that share text with an evaluation set</b></figcaption>{chart}</figure>"


def repeated(removed: dict[str, int]) -> str:
    if not removed:
        return ""
    what = "paragraphs" if "paragraphs" in removed else "lines"
    count = f"{removed[what]:,} removed, {size(removed['bytes'])}"
    return f"<p>Of {what} that stand in several documents one stays: {count}.</p>"


def examples(clusters: list[Row], excerpts: dict[str, str]) -> str:
    items = "".join(cluster_item(cluster, excerpts, clusters[0]["size"]) for cluster in clusters)
    said = '<small class="note">the document that stays, and for how many it stands</small>'
    return f"<h3>The largest clusters {said}</h3>{items}" if items else ""


def cluster_item(cluster: Row, excerpts: dict[str, str], largest: int) -> str:
    """One line with a bar: the document that stays, and how many it stands for; it opens to some that went."""
    rows = ""
    for member in cluster["members"]:
        alike = f", similarity {member['similarity']:.2f}" if "similarity" in member else ""  # else nobody looked
        rows += f"<li><code>{text(member['id'])}</code> {text(member['reason'])}{alike}"
        rows += f"<blockquote>{text(shown(excerpts.get(member['id'], '')))}</blockquote></li>"
    line = f"<span>{text(cluster['survivor'])}</span><b>{cluster['size']:,}</b>{small_bar(cluster['size'] / largest)}"
    return f'<details class="reason"><summary>{line}</summary><ol>{rows}</ol></details>'
