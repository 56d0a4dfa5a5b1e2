"""`text2lm rules` and `text2lm try`: the cleaning rules as a list, and what they say of a document of your own."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from data_prep.document import Broken, Document
from data_prep.files import UserError
from data_prep.quality import RULES, Check, checks_of
from data_prep.settings import CleanSettings, SourceSettings, language_problems, rule_problems
from data_prep.shards import shown
from pipeline.charts import CONTROL
from pipeline.cleaning_steps import list_files, lists_of
from pipeline.config import RunConfig

if TYPE_CHECKING:
    from data_prep.cleaning import Looked

ROWS = 10  # of a file that are looked at
NOT_APPLY = "does not apply"


def settings_for(
    config: RunConfig | None, source: str, *, language: str = "", format: str = "", rules: str = ""
) -> tuple[CleanSettings, SourceSettings]:
    """What [clean] and the source say, with what was typed instead of it; without a config the defaults.

    The source is the one named, or the config's only one; else it has no settings of its own.
    """
    sources = config.source if config else []
    if source and not config:
        raise UserError(f"--source {source} names a source of a config: say which, with a CONFIG")
    named = [other for other in sources if other.name == source] if source else sources
    if source and not named:
        raise UserError(f"--source {source}: the config has {', '.join(other.name for other in sources)}")
    chosen = named[0] if len(named) == 1 else SourceSettings("document", ["document"])
    asked = [rule.strip() for rule in rules.split(",")] if rules else chosen.rules
    problems = rule_problems("--rules", asked or []) if rules else []
    problems += language_problems("--language", language) if language else []
    if problems:
        raise UserError("; ".join(problems))
    chosen = replace(chosen, rules=asked, language=language or chosen.language, format=format or chosen.format)
    return config.clean if config else CleanSettings(), chosen


# rules ----------------------------------------------------------------------------------------------------------------


def rules_lines(settings: CleanSettings, source: SourceSettings, *, all_asked: bool) -> list[str]:
    """Every rule and check with the thresholds that hold for the source, in its language if it says one.

    `all_asked`: there is no config that could leave some out.
    """
    from data_prep import cleaning
    from data_prep.thresholds import bound

    asked = settings.rules if source.rules is None else source.rules
    lines = []
    for rule, paper in RULES.items():
        left_out = "" if all_asked or rule in asked else " (not asked by this config)"
        lines.append(f"{rule}{left_out}: {paper}")
        if edits := cleaning.EDITED_BY_LINES.get(rule):
            lines.append(f"  changes lines first: {', '.join(edits)}")
        rows = []
        for check in checks_of(rule):
            limit = bound(check, settings, source, source.language or "en")
            default = "" if limit == check.default else f"(default: {number(check.default)})"
            rows.append((check.threshold, wanted(check, limit), default, check.reason, check.measures))
        lines += [*aligned(rows), ""]
    lines.append("besides, as [clean] says:")
    outside = (
        cleaning.EMPTY, cleaning.OTHER_LANGUAGE, cleaning.LOW_CONFIDENCE, cleaning.BLOCKED_URL, cleaning.BLOCKED_WORD,
        cleaning.field_check("NAME", "min", math.nan), cleaning.field_check("NAME", "max", math.nan),
    )  # fmt: skip
    lines += aligned([(check.threshold, check.reason, check.measures) for check in outside])
    return [*lines, "", f"repairs, before all of it: {', '.join(settings.repair) or 'none'}"]


def wanted(check: Check, limit: float) -> str:
    """What a check lets through.

    >>> wanted(checks_of("gopher-quality")[1], 100_000.0)
    '≤ 100,000'
    """
    if math.isnan(limit):
        return NOT_APPLY
    return f"{'≥' if check.bound == 'min' else '≤'} {number(limit)}"


def number(value: float) -> str:
    """
    >>> number(100_000.0), number(0.16234), number(1234.56), number(math.inf)
    ('100,000', '0.1623', '1,234.6', 'no limit')
    """
    if math.isinf(value):
        return "no limit"
    return f"{value:,.0f}" if value == round(value) else f"{value:,.1f}" if abs(value) >= 1000 else f"{value:.4g}"


def aligned(rows: Sequence[Sequence[str]]) -> list[str]:
    """Rows as lines in which columns stand below each other.

    >>> aligned([("a", "1"), ("bcd", "2")])
    ['  a    1', '  bcd  2']
    """
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    cells = ((cell.ljust(width) for cell, width in zip(row, widths, strict=True)) for row in rows)
    return [f"  {'  '.join(row)}".rstrip() for row in cells]


# try ------------------------------------------------------------------------------------------------------------------


def try_lines(path: Path, settings: CleanSettings, source: SourceSettings, *, with_text: bool) -> Iterator[str]:
    """What cleaning would do with the documents of a file, of which the first `ROWS` are looked at."""
    from data_prep.cleaning import Cleaner

    files = list_files(settings)
    lists = lists_of(files.get("clean.blocked_urls", ()), files.get("clean.blocked_words", ()))
    rows = list(itertools.islice(rows_of(path, source), ROWS + 1))
    documents = [row for row in rows[:ROWS] if isinstance(row, Document)]
    looked = Cleaner(settings, {source.name: source}, *lists).look(documents)
    place = 0
    for row in rows[:ROWS]:
        if isinstance(row, Broken):
            yield f"{plain(row.id.partition(':')[2])}: is no document: {row.reason}; {plain(shown(row.excerpt))}"
        else:
            yield from document_lines(row, looked, place)
            if with_text:
                yield from ("", looked.texts[place])
            place += 1
        yield ""
    asked = settings.rules if source.rules is None else source.rules
    if left_out := [rule for rule in RULES if rule not in asked]:
        yield f"not asked: {', '.join(left_out)}; to ask them: --rules {','.join(RULES)}"
    if len(rows) > ROWS:
        yield f"the first {ROWS} rows of {path}"


def rows_of(path: Path, source: SourceSettings) -> Iterator[Document | Broken]:
    """The rows of a file as the source's own. What is of no known kind is read as text."""
    from data_prep.finding import is_text, kind_of
    from data_prep.pages import text_rows
    from data_prep.rows import UnreadableError
    from data_prep.sources import read, to_document

    if not path.is_file():
        what = "is no file" if path.exists() else "does not exist"
        raise UserError(f"{plain(str(path))} {what}; name a text, a page or rows: story.txt, page.html, rows.jsonl")
    if not is_text(str(path)):
        raise UserError(f"the file name {str(path)!r} is not valid UTF-8; rename the file")
    source = replace(source, paths=[str(path)], hub=None)
    piece = {"source": source.name, "name": path.name, "path": str(path), "bytes": path.stat().st_size}
    texts = (to_document(source, f"{path.name}#{place}", row) for place, row in text_rows(path, source.encoding))
    empty = True
    try:
        for row in read(source, piece) if kind_of(path.name) else texts:
            empty = False
            yield row
    except UnreadableError as error:  # of a kind that no source reads
        empty = False
        yield to_document(source, f"{path.name}#0", error.bad)
    if empty:
        raise UserError(f"{path} holds no rows; name another file")


def document_lines(document: Document, looked: Looked, place: int) -> Iterator[str]:
    """Of one document: what becomes of it, its language, what was changed, and every check."""
    reason, detail = looked.reasons[place], looked.details[place]
    verdict = f"goes: {reason}{f' ({detail})' if detail else ''}" if reason else "stays"
    yield f"{plain(document.id.partition(':')[2])}: {plain(verdict)}"
    language = looked.languages[place]
    seen = f"{language.code}, confidence {language.confidence:.2f}" if looked.detected[place] else language.code
    others = f"; also {', '.join(language.mixed)}" if language.mixed else ""
    bytes_in, bytes_out = len(document.text.encode(errors="replace")), len(looked.texts[place].encode())
    edits = {name: int(places[place]) for name, places in looked.edits.items() if places[place]}
    yield f"  language  {seen}{others}"
    yield f"  text      {bytes_in:,} bytes came; {bytes_out:,} bytes, {looked.words_out[place]:,} words are left"
    yield f"  changed   {', '.join(f'{name} {count:,}' for name, count in edits.items()) or 'nothing'}"
    yield ""
    rows, decided = [], False
    for outcome in looked.checks:
        value, limit, fails = outcome.values[place], outcome.bounds[place], bool(outcome.fails[place])
        says = "" if not fails else f"fails: {outcome.check.reason}" if decided else f"decides: {outcome.check.reason}"
        decided = decided or fails
        shown_value = NOT_APPLY if math.isnan(value + limit) else number(float(value))
        rows.append((outcome.name, shown_value, wanted(outcome.check, float(limit)), says))
    yield from aligned(rows)


def plain(text: str) -> str:
    """Foreign text in one line, which does nothing to a terminal."""
    return " ".join(CONTROL.sub("\ufffd", text).split())
