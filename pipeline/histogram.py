"""How many documents had which value, and where the threshold lies: a small chart for the report. Pure.

A bin is named by its lower border; the bins are those of `data_prep.cleaning_statistics`, all drawn equally wide.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Collection, Mapping, Sequence
from html import escape

from data_prep.cleaning_statistics import BORDERS
from pipeline.charts import short, svg

HEIGHT = 64  # of the bars, in pixels
GAP = 0.06  # of a bin, at each side of its bar
LEAST = 3  # percent of the height that a bin with any document has: rare values are what thresholds are about
ROOM = 14  # percent of the width that a number at an end takes


def histogram(title: str, note: str, values: Mapping[float, int], bounds: Sequence[float], *, at_least: bool) -> str:
    """Bars of documents by value. What lies below (`at_least`) or above the first of the bounds, which goes, is shaded.

    `values`: documents by lower border. The other bounds are marked, too.
    """
    steps = ladder(values, bounds)
    most = max(values.values(), default=1)
    bars = "".join(
        f"M{number + GAP:g} 100V{100 - max(100 * values[step] / most, LEAST):.0f}H{number + 1 - GAP:g}V100z"
        for number, step in enumerate(steps)
        if values.get(step)
    )
    places = [100 * mark(bound, steps, at_least=at_least) / len(steps) for bound in bounds]
    start, end = (0.0, places[0]) if at_least else (places[0], 100.0)
    marks = [
        f'<rect class="gone" x="{start:.2f}%" width="{end - start:.2f}%" height="{HEIGHT}"/>',
        f'<svg class="box" width="100%" height="{HEIGHT}" viewBox="0 0 {len(steps)} 100" preserveAspectRatio="none">'
        f'<path class="bars" d="{bars}"/></svg>',
        f'<line class="grid" x1="0" x2="100%" y1="{HEIGHT}" y2="{HEIGHT}"/>',
    ]
    for number, at in enumerate(places):
        look = "mark" if number == 0 else "mark other"
        marks.append(f'<line class="{look}" x1="{at:.2f}%" x2="{at:.2f}%" y1="-4" y2="{HEIGHT}"/>')
    whole_shares = steps[-1] == 1 and any(step % 1 for step in steps)  # the last bin is of shares of exactly 1
    ends = ((0.0, "start", steps[0]), (100.0, "end", 1.0 if whole_shares else upper_border(steps, len(steps) - 1)))
    inside = [(places[0], "middle", bounds[0])] if ROOM < places[0] < 100 - ROOM else []
    for at, anchor, value in (*ends, *inside):
        marks.append(f'<text class="tick {anchor}" x="{at:.2f}%" y="{HEIGHT + 16}">{short(value)}</text>')
    said = f'<figcaption><b>{escape(title)}</b><span class="note">{escape(note)}</span></figcaption>'
    return f'<figure class="histogram">{said}{svg(f"Documents by {title}", HEIGHT + 20, marks)}</figure>'


def ladder(values: Collection[float], bounds: Collection[float]) -> list[float]:
    """The lower borders of the bins from the first to the last that has a document or a bound, without a gap.

    Shares are shown from 0 to 1, whole numbers without the parts of 1.

    >>> ladder([2, 5], [3]), ladder([0.5, 16], [1])[-4:]
    ([2.0, 3.0, 4.0, 5.0], [13.0, 14.0, 15.0, 16.0])
    """
    shown = sorted({*values, *(border_below(bound) for bound in bounds)})
    if any(0 < value < 1 for value in (*values, *bounds)):
        first, last = min(shown[0], 0.0), max(shown[-1], 0.95)
        return [float(border) for border in BORDERS if first <= border <= last]
    return [float(border) for border in BORDERS if shown[0] <= border <= shown[-1] and border % 1 == 0]


def border_below(value: float) -> float:
    return float(BORDERS[max(bisect_right(BORDERS, value) - 1, 0)])


def mark(bound: float, steps: Sequence[float], *, at_least: bool) -> float:
    """Where to draw a bound, in bins from the left end. What is equal to it stays.

    >>> mark(0.4, [0.0, 0.25, 0.5, 0.75], at_least=True), mark(24, [15.0, 16.0, 32.0], at_least=True)
    (1.6, 1.5)
    >>> mark(3, [2.0, 3.0, 4.0], at_least=True), mark(3, [2.0, 3.0, 4.0], at_least=False)
    (1.0, 2.0)
    """
    number = max(bisect_right(steps, bound) - 1, 0)
    low, high = steps[number], upper_border(steps, number)
    if bound == low and high - low == 1 and not at_least:
        return number + 1.0
    return number + min(max((bound - low) / (high - low), 0.0), 1.0)


def upper_border(steps: Sequence[float], number: int) -> float:
    """Where a bin ends: where the next begins, also behind the last one."""
    if number + 1 < len(steps):
        return steps[number + 1]
    behind = bisect_right(BORDERS, steps[number])
    return float(BORDERS[behind]) if behind < len(BORDERS) else 2 * steps[number]
