"""How the report looks: bars, curves and tables as plain HTML and inline SVG. Pure: numbers in, markup out.

Positions are percentages, or lie in a nested `viewBox` that may stretch, so a chart fits any width while its text keeps
the size of the page's text.
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

MAX_POINTS = 600  # of a curve: more than a screen shows, few enough for a small page
FEWEST_TO_SMOOTH = 40
FEW_ENOUGH_FOR_DOTS = 60
BOX = 1000  # side of the stretched coordinate system that curves are drawn in

CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]")

Point = tuple[float, float]


@dataclass(frozen=True)
class Bar:
    """A label, what stands at its right, and one or two lengths between 0 and 1."""

    label: str
    note: str
    lengths: tuple[float, ...]


@dataclass(frozen=True)
class Curve:
    """`look` is a class of the style sheet. A noisy curve is drawn faint, with its moving mean above it."""

    name: str
    points: Sequence[Point]
    look: str = "strong"
    noisy: bool = False


def short(value: float) -> str:
    """A number in a few characters.

    >>> short(1_638_400), short(81920), short(8192), short(0.0006), short(2.5)
    ('1.638M', '81.92k', '8,192', '0.0006', '2.5')
    """
    for unit, name in ((1e12, "T"), (1e9, "B"), (1e6, "M"), (1e4, "k")):
        if abs(value) >= unit:
            return f"{value / (1e3 if name == 'k' else unit):.4g}{name}"
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.4g}"


def size(count: float) -> str:
    """Bytes for people.

    >>> size(512), size(3_400_000)
    ('512 B', '3.4 MB')
    """
    for unit, name in ((1e12, "TB"), (1e9, "GB"), (1e6, "MB"), (1e3, "kB")):
        if count >= unit:
            return f"{count / unit:,.1f} {name}"
    return f"{count:,.0f} B"


def duration(seconds: float) -> str:
    """Seconds for people.

    >>> duration(0.42), duration(75), duration(7325)
    ('0.4 s', '1 min 15 s', '2 h 2 min')
    """
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes = round(seconds) // 60
    return f"{minutes} min {round(seconds) % 60} s" if minutes < 60 else f"{minutes // 60:,} h {minutes % 60} min"


def ticks(low: float, high: float, count: int) -> list[float]:
    """About `count` round numbers that cover low to high.

    >>> ticks(0, 1_638_400, 4)
    [0.0, 500000.0, 1000000.0, 1500000.0, 2000000.0]
    """
    rough = (high - low) / count or abs(high) or 1.0
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(step for step in (power, 2 * power, 2.5 * power, 5 * power, 10 * power) if step >= rough * 0.999)
    first, last = math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9)
    return [number * step for number in range(first, max(last, first + 1) + 1)]


def downsample(points: Sequence[Point], limit: int = MAX_POINTS) -> list[Point]:
    """At most `limit` points, each the mean of as many neighbours.

    >>> downsample([(0, 1), (1, 3), (2, 5), (3, 7)], limit=2)
    [(0.5, 2.0), (2.5, 6.0)]
    """
    group = math.ceil(len(points) / limit)
    chunks = (points[start : start + group] for start in range(0, len(points), max(group, 1)))
    return [tuple(math.fsum(axis) / len(chunk) for axis in zip(*chunk, strict=True)) for chunk in chunks]  # type: ignore[misc]


def smooth(points: Sequence[Point]) -> list[Point]:
    """The centred moving mean. At both ends the window shrinks evenly, so that a steep beginning stays steep."""
    half = max(1, len(points) // 60)
    values = [y for _, y in points]
    smoothed = []
    for index, (x, _) in enumerate(points):
        reach = min(half, index, len(points) - 1 - index)
        window = values[index - reach : index + reach + 1]
        smoothed.append((x, math.fsum(window) / len(window)))
    return smoothed


def bar_chart(label: str, bars: Sequence[Bar]) -> str:
    """Horizontal bars, one under the other, each under its text."""
    row_height = 28 + 10 * max((len(bar.lengths) for bar in bars), default=1)
    marks = []
    for number, bar in enumerate(bars):
        top = number * row_height
        marks.append(f'<text x="0" y="{top + 14}">{escape(bar.label)}</text>')
        marks.append(f'<text x="100%" y="{top + 14}" class="note end">{escape(bar.note)}</text>')
        for line, length in enumerate(bar.lengths):
            marks.append(rect(length, y=top + 21 + 9 * line, look="first" if line == 0 else "pale"))
    return f'<div class="bars">{svg(label, len(bars) * row_height, marks)}</div>'


def small_bar(length: float) -> str:
    """One bar, for a line of a list. It says nothing that the text beside it does not."""
    return f'<svg width="100%" height="7" aria-hidden="true">{rect(length, y=0, look="first")}</svg>'


def rect(length: float, *, y: int, look: str) -> str:
    """A bar on its faint full-width track; a tiny share stays visible."""
    shown = max(length, 0.004) if length > 0 else 0.0
    track = f'<rect class="track" width="100%" height="7" y="{y}" rx="2"/>'
    return f'{track}<rect class="{look}" width="{100 * min(shown, 1):.2f}%" height="7" y="{y}" rx="2"/>'


def line_chart(
    title: str, curves: Sequence[Curve], *, height: int = 240, from_zero: bool = True, note: str = ""
) -> str:
    """Curves over training tokens, with axes. Nothing to draw gives no chart."""
    drawn = [layer for curve in curves for layer in layers(curve)]
    if not drawn:
        return ""
    xs = [x for curve in drawn for x, _ in curve.points]
    ys = [y for curve in drawn for _, y in curve.points]
    x_ticks = ticks(0, max(xs), 4)
    y_ticks = ticks(0 if from_zero else min(ys), max(ys), 5 if height > 200 else 3)
    marks = []
    for value in y_ticks:
        y = height * (1 - fraction(value, y_ticks[0], y_ticks[-1]))
        marks.append(f'<line class="grid" x1="0" x2="100%" y1="{y:.1f}" y2="{y:.1f}"/>')
        marks.append(f'<text class="tick end" x="-8" y="{y + 4:.1f}">{short(value)}</text>')
    for value in (value for value in x_ticks if value <= max(xs)):
        x = 100 * value / max(xs)
        anchor = "end" if x > 95 else "start" if x < 5 else "middle"
        marks.append(f'<line class="grid" x1="{x:.2f}%" x2="{x:.2f}%" y1="{height}" y2="{height + 4}"/>')
        marks.append(f'<text class="tick {anchor}" x="{x:.2f}%" y="{height + 18}">{short(value)}</text>')
    marks.append(
        f'<svg class="box" width="100%" height="{height}" viewBox="0 0 {BOX} {BOX}" preserveAspectRatio="none">'
    )
    marks += [path(curve, max(xs), y_ticks[0], y_ticks[-1]) for curve in drawn]
    marks.append("</svg>")
    legend = "".join(f'<span class="key {curve.look}">{escape(curve.name)}</span>' for curve in drawn if curve.name)
    said = f'<span class="note">{escape(note)}</span>' if note else ""
    plot = f'<div class="plot">{svg(f"{title} over training tokens", height + 24, marks)}</div>'
    return f"<figure><figcaption><b>{escape(title)}</b>{legend}{said}</figcaption>{plot}</figure>"


def layers(curve: Curve) -> list[Curve]:
    """The lines that show a curve: none, one, or a faint and a smooth one."""
    points = downsample([(x, y) for x, y in curve.points if math.isfinite(y)])
    if not points:
        return []
    if not curve.noisy or len(points) < FEWEST_TO_SMOOTH:
        return [Curve(curve.name, points, curve.look)]
    return [Curve(curve.name, points, "raw"), Curve("smoothed", smooth(points), curve.look)]


def fraction(value: float, low: float, high: float) -> float:
    """Where a value lies between two others, from 0 to 1."""
    return (value - low) / (high - low)


def path(curve: Curve, x_max: float, y_low: float, y_high: float) -> str:
    """The line, and a dot for each point where there are few. A dot is a stroke of no length with round ends."""
    places = [
        f"{BOX * x / x_max:.0f},{BOX * (1 - fraction(y, y_low, y_high)):.0f}" for x, y in curve.points if x_max > 0
    ]
    dots = ""
    if len(places) == 1 or (curve.look == "second" and len(places) <= FEW_ENOUGH_FOR_DOTS):
        dots = f'<path class="{curve.look} dots" d="{"".join(f"M{place}h0" for place in places)}"/>'
    return f'<polyline class="{curve.look}" points="{" ".join(places)}"/>{dots}'


def svg(label: str, height: int, marks: Sequence[str]) -> str:
    return f'<svg width="100%" height="{height}" role="img" aria-label="{escape(label)}">{"".join(marks)}</svg>'


def table(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A table that scrolls inside its own box; the first column names the row."""
    head = "".join(f'<th scope="col">{escape(column)}</th>' for column in columns)
    body = "".join(
        f'<tr><th scope="row">{escape(row[0])}</th>{"".join(f"<td>{escape(cell)}</td>" for cell in row[1:])}</tr>'
        for row in rows
    )
    return f'<div class="scroll" tabindex="0"><table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></div>'


def text(raw: str) -> str:
    """Foreign text as text: markup and control characters do nothing."""
    return escape(CONTROL.sub("\ufffd", raw))


def page(title: str, state: str, sections: dict[str, str]) -> str:
    """The whole document; sections without content are left out. Its policy forbids scripts and every request."""
    body = "\n".join(
        f"<section>{f'<h2>{heading}</h2>' if heading else ''}{content}</section>"
        for heading, content in sections.items()
        if content
    )
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        "<meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src 'unsafe-inline'\">"
        f"<title>{text(title)} · text2lm</title><style>{STYLE}</style></head>\n"
        f'<body><main><header><p class="note">text2lm run</p><h1>{text(title)}</h1><p>{text(state)}</p></header>\n'
        f"{body}\n</main></body></html>\n"
    )


STYLE = """
:root { color-scheme: light dark; --paper: #fcfcfa; --ink: #22252a; --soft: #666c75; --line: #dfe1e0; --box: #f2f3f1;
  --first: #2e6e8e; --pale: #9fc0cf; --second: #b4572a; }
@media screen and (prefers-color-scheme: dark) { :root { --paper: #16181b; --ink: #dfe1e4; --soft: #979da6;
  --line: #33373c; --box: #1f2226; --first: #6fb1d0; --pale: #3d6275; --second: #e2935f; } }
* { box-sizing: border-box; }
body { margin: 0; background: var(--paper); color: var(--ink); font: 16px/1.55 system-ui, sans-serif;
  -webkit-text-size-adjust: 100%; }
main { max-width: 52rem; margin: 0 auto; padding: 2.5rem 1.25rem 4rem; }
h1 { margin: 0; font-size: 2rem; line-height: 1.2; overflow-wrap: anywhere; }
h2 { margin: 0 0 1rem; padding-top: 1.25rem; border-top: 1px solid var(--line); font-size: 1.25rem; }
h3 { margin: 1.25rem 0 .25rem; font-size: 1rem; }
header p, p { margin: .5rem 0; }
section { margin-top: 2.25rem; }
.note { color: var(--soft); font-size: .85rem; font-weight: 400; }
dl { display: grid; grid-template-columns: repeat(auto-fit, minmax(8.5rem, 1fr)); gap: 1.25rem 1rem;
  margin: 0 0 1.5rem; }
dt { color: var(--soft); font-size: .85rem; line-height: 1.3; }
dd { margin: 0; font-size: 1.6rem; font-weight: 600; line-height: 1.4; font-variant-numeric: tabular-nums; }
dd small { display: block; }
figure { margin: 0 0 1.5rem; min-width: 0; }
figcaption { display: flex; flex-wrap: wrap; gap: .1rem 1rem; align-items: baseline; margin-bottom: .6rem;
  font-size: .9rem; }
.key::before { content: ""; display: inline-block; width: .8em; height: .8em; margin-right: .4em; border-radius: 2px;
  background: currentColor; vertical-align: -.05em; }
.key.first::before, .key.strong::before { background: var(--first); }
.key.pale::before, .key.raw::before { background: var(--pale); }
.key.second::before { background: var(--second); }
svg { display: block; overflow: visible; }
svg text { fill: currentColor; font-size: 14px; font-variant-numeric: tabular-nums; }
svg text.note { fill: var(--soft); font-size: 13px; } svg text.tick { opacity: .72; font-size: 13px; }
.end { text-anchor: end; } .middle { text-anchor: middle; }
.track { fill: currentColor; opacity: .07; } rect.first { fill: var(--first); } rect.pale { fill: var(--pale); }
.grid { stroke: currentColor; opacity: .15; } .mark { stroke: var(--second); stroke-width: 1.5; }
.mark.other { stroke-dasharray: 2 3; } rect.gone { fill: var(--second); opacity: .12; }
path.bars { fill: var(--first); } .histogram figcaption { display: block; margin-bottom: .5rem; }
.histogram .note { display: block; overflow-wrap: anywhere; } details.checks { margin-top: 1.25rem; }
.checks tbody th { font-weight: 400; white-space: normal; } .checks thead th { white-space: normal; }
.plot { padding: .5rem .25rem 0 3.25rem; }
.small { display: grid; grid-template-columns: repeat(auto-fit, minmax(14rem, 1fr)); gap: 0 1.5rem;
  align-items: end; }
polyline, .dots { fill: none; stroke: var(--first); stroke-width: 2; stroke-linejoin: round; stroke-linecap: round;
  vector-effect: non-scaling-stroke; }
polyline.raw { stroke: var(--pale); stroke-width: 1; } .second { stroke: var(--second); } .dots { stroke-width: 6; }
.scroll { overflow-x: auto; }
table { width: 100%; border-collapse: collapse; font-size: .9rem; font-variant-numeric: tabular-nums; }
th, td { padding: .4rem 0 .4rem 1.25rem; border-bottom: 1px solid var(--line); text-align: right; white-space: nowrap; }
th { font-weight: 600; } th:first-child { padding-left: 0; text-align: left; }
thead th { color: var(--soft); font-weight: 400; font-size: .85rem; }
summary { cursor: pointer; }
.reason summary { display: grid; grid-template-columns: 1fr auto; gap: .1rem 1rem; padding: .4rem 0;
  overflow-wrap: anywhere; }
.reason summary svg { grid-column: 1 / -1; }
.reason b { font-variant-numeric: tabular-nums; } .reason summary span::before { content: "▸ "; color: var(--soft); }
.reason[open] summary span::before { content: "▾ "; }
ol { margin: .5rem 0 1rem; padding-left: 1.5rem; font-size: .9rem; overflow-wrap: anywhere; }
blockquote { margin: .25rem 0 .75rem; color: var(--soft); unicode-bidi: isolate; }
code, pre { font: .85rem/1.5 ui-monospace, monospace; }
pre { margin: .75rem 0; padding: .75rem 1rem; background: var(--box); border-radius: 4px; overflow-x: auto; }
pre.wrap { white-space: pre-wrap; overflow-wrap: anywhere; }
@media print {
  body { font-size: 11pt; } main { max-width: none; padding: 0; }
  figure, table, pre.wrap, .reason { break-inside: avoid; } h2, h3 { break-after: avoid; }
  pre { white-space: pre-wrap; } .scroll { overflow: visible; } }
"""
