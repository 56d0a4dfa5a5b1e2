"""Proves that the report's section on cleaning shows the counts that cleaning left, and foreign names as text."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from data_prep.counts import Counts
from pipeline.cleaning_section import cleaning
from pipeline.histogram import histogram, ladder
from pipeline.report import write_report
from pipeline.run_dir import RunDir
from pipeline.stages import STAGES
from tests.pipeline.test_report import Page, seal

WEB: dict[str, Any] = {
    "documents_in": 1000,
    "documents_out": 250,
    "bytes_in": 4_000_000,
    "bytes_out": 1_000_000,
    "words_in": 600_000,
    "words_out": 150_000,
    "languages": {"en": {"in": 800, "out": 200}, "zh-Hans": {"in": 200, "out": 50}},
    "mixed": {"zh-Hans+en": 7},
    "dropped": {"gopher-few-words": {"en": 600, "zh-Hans": 150}},
    "edits": {"line-ends": {"documents": 40, "places": 1234}},
    "checks": {
        "gopher-quality.min_words": {
            "alone": 750,
            "only": 321,
            "values": {"32": 250, "64": 400, "128": 350},
            "bounds": {"50": 800, "96": 200},
        },
        "gopher-quality.max_words": {"alone": 0, "only": 0, "values": {"128": 1000}, "bounds": {"100000": 1000}},
        "fineweb.max_short_lines": {
            "alone": 10,
            "only": 0,
            "values": {"": 100, "0": 100, "0.5": 100, "0.95": 10},
            "bounds": {"0.67": 800, "inf": 200},
        },
        "fields.<b>karma.min": {"alone": 5, "only": 5, "values": {"-4": 5, "3": 10}, "bounds": {"3": 15}},
    },
}
BOOKS: dict[str, Any] = {
    "documents_in": 10,
    "documents_out": 10,
    "bytes_in": 1000,
    "bytes_out": 900,
    "words_in": 0,
    "words_out": 0,
    "languages": {"en": {"in": 10, "out": 10}},
    "checks": {},
}


def shown(facts: dict[str, Any]) -> tuple[Page, str]:
    """The section as a page, and its text with white space as one."""
    page = Page(cleaning(facts))
    return page, " ".join(page.words.split())


def test_one_source_is_shown_before_and_after() -> None:
    page, words = shown({"sources": {"web": WEB}})
    for said in (
        "1,000 → 250 (25%)",
        "4.0 MB → 1.0 MB (25%)",
        "600k → 150k (25%)",
        "en800 documents · 200 stay",
        "zh-Hans200 documents · 50 stay",
        "In several languages at once: 7 documents (zh-Hans and en 7).",
        "line-ends401,234",
        "gopher-quality.min_words7503210",
        "fineweb.max_short_lines100100",
        "1 checks that no document fails",
    ):
        assert said in words, said
    assert "Checks of" not in words and "all1,000" not in words
    assert {"25.00%", "6.25%"} <= {value for name, value in page.attributes if name == "width"}  # 200 and 50 of 800
    assert "fields.<b>karma.min551" not in words and "fields.<b>karma.min550" in words


def test_several_sources_have_a_sum_and_checks_of_their_own() -> None:
    _, words = shown({"sources": {"web": WEB, "<i>books": BOOKS}})
    assert "1,010 → 260 (26%)" in words and "en810 documents · 210 stay" in words
    assert "<i>books10 → 10 (100%)1.0 kB → 900 B (90%)0 → 0" in words
    assert "Checks of web" in words and "Checks of <i>books" not in words


def test_many_languages_are_gathered() -> None:
    languages = {f"l{number:02}": {"in": 100 - number, "out": 1} for number in range(20)}
    _, words = shown({"sources": {"web": WEB | {"languages": languages, "mixed": {f"a+{n}": 2 for n in range(9)}}}})
    rest = sum(100 - number for number in range(12, 20))
    assert "l1189 documents" in words and "l12" not in words and f"8 others{rest} documents · 8 stay" in words
    assert "at once: 18 documents" in words and ", and more)." in words


def test_nothing_to_show_is_no_section() -> None:
    assert cleaning({}) == cleaning({"sources": {}}) == ""


def test_the_report_has_the_section_of_a_cleaned_run(tmp_path: Path) -> None:
    run = RunDir(tmp_path / "run")
    run.root.mkdir()
    seal(run, "ingest", Counts(1000, 1000, {}, 0, 4_000_000))
    seal(
        run,
        "clean",
        Counts(1000, 250, {"gopher-few-words": 750}, 0, 1_000_000),
        "ingest",
        cleaning={"sources": {"web": WEB}},
    )
    write_report(run, STAGES[:-1])
    html = run.report.read_text()
    assert cleaning({"sources": {"web": WEB}}) in html and "<h2>Cleaning</h2>" in html
    assert "Cleaning" in Page(html).words.partition("What left, and why")[2]


def places(svg: str, kind: str, name: str) -> list[float]:
    """The numbers of an attribute of all elements of a class, in percent."""
    return [float(found) for found in re.findall(rf'<\w+ class="{kind}"[^>]*? {name}="([\d.]+)%"', svg)]


@pytest.mark.parametrize(
    ("values", "bounds", "at_least", "shaded", "marks"),
    [
        # bins 32, 64, 128; the bound lies 18 / 32 into the first of three
        ({32.0: 1, 128.0: 1}, [50.0, 96.0], True, (0, 100 * 18 / 32 / 3), [100 * 18 / 32 / 3, 50]),
        ({0.0: 5, 0.95: 1}, [0.67], False, (67, 33), [67]),  # shares from 0 to 1
        ({0.95: 5}, [0.12], True, (0, 12), [12]),
        ({0.0: 5, 1.0: 2}, [0.0], False, (50, 50), [50]),  # none is allowed: what has one goes
        ({2.0: 5, 9.0: 2}, [5.0], True, (0, 100 * 3 / 8), [37.5]),
        ({1.0: 5}, [16.0], True, (0, 100 * 15 / 16), [93.75]),  # beyond all values
    ],
)
def test_where_the_threshold_is_drawn(
    values: dict[float, int], bounds: list[float], at_least: bool, shaded: tuple[float, float], marks: list[float]
) -> None:
    svg = histogram("words", "", values, bounds, at_least=at_least)
    Page(svg)
    assert places(svg, "gone", "x") + places(svg, "gone", "width") == pytest.approx(shaded, abs=0.01)
    assert places(svg, "mark(?: other)?", "x1") == pytest.approx(marks, abs=0.01)


def test_bars_are_as_high_as_their_documents() -> None:
    svg = histogram("words", "", {2.0: 50, 4.0: 100, 5.0: 1}, [3.0], at_least=True)
    (bars,) = re.findall(r'<path class="bars" d="([^"]+)"', svg)
    tops = {float(x): float(y) for x, y in re.findall(r"M([\d.]+) 100V([\d.]+)", bars)}
    assert tops == {0.06: 50, 2.06: 0, 3.06: 97}  # no bar at 3; the rarest is still seen


@pytest.mark.parametrize(
    ("values", "ends"),
    [
        ({0.0: 1, 0.5: 1}, ["0", "1"]),
        ({0.0: 1, 1.0: 1}, ["0", "1"]),
        ({0.5: 1, 2.0: 1}, ["0", "3"]),
        ({2.0: 1, 64.0: 1}, ["2", "128"]),
        ({-3.0: 1, 3.0: 1}, ["-3", "4"]),
    ],
)
def test_the_ends_of_the_axis(values: dict[float, int], ends: list[str]) -> None:
    bound = 0.01 if any(value % 1 for value in values) or 1.0 in values else 3.0
    svg = histogram("words", "", values, [bound], at_least=True)
    assert re.findall(r'tick (?:start|end)"[^>]*>([^<]+)<', svg) == ends


def test_a_ladder_has_no_gap() -> None:
    assert ladder([1.0, 64.0], [20.0]) == [*range(1, 16), 16, 32, 64]
    assert len(ladder([0.0], [0.3])) == 20
    assert ladder([-32.0, -14.0], []) == [-32, -16, -15, -14]
