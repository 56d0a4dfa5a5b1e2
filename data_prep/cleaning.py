"""Cleaning, for many documents at once: text out of pages, repairs, language, rules; and what each check found.

Every check looks at every document, also at one that an earlier check drops: so it can be said what each drops alone.
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt
import orjson
import pyarrow as pa

from data_prep.blocklists import UrlList, WordList
from data_prep.document import Document
from data_prep.extract import plain_text
from data_prep.language import Language, identify
from data_prep.line_rules import (
    BRACES,
    C4_EDITS,
    LOREM_IPSUM,
    REFINEDWEB_EDITS,
    REMOVED_WORDS,
    WORDS_BEFORE,
    c4_lines,
    refinedweb_lines,
)
from data_prep.measures import Statistics, count_text_words, measure
from data_prep.quality import Check, checks_of
from data_prep.repair import repair
from data_prep.settings import CleanSettings, SourceSettings
from data_prep.thresholds import bound, plain_language, stop_words

Counts = npt.NDArray[np.int64]
Values = npt.NDArray[np.float64]
PAGE = re.compile(r'"content_type":"(text/html|application/xhtml\+xml)"')  # as readers note it in a document's meta
EDITED_BY_LINES = {"c4": C4_EDITS, "refinedweb": REFINEDWEB_EDITS}


@dataclass(frozen=True)
class Outcome:
    """What one check found about n documents. nan says that it does not apply: by the text, or by the source."""

    check: Check
    values: Values  # (n,)
    bounds: Values  # (n,)
    fails: npt.NDArray[np.bool_]  # (n,)

    @property
    def name(self) -> str:
        return self.check.name


@dataclass
class Looked:
    """What became of n documents."""

    texts: list[str]
    reasons: list[str]  # of the first check that fails, in order; "" where the document stays
    details: list[str]
    languages: list[Language]
    detected: list[bool]  # whether the language was looked for, and not said by the source
    checks: list[Outcome]
    edits: dict[str, Counts]  # places changed (n,), by repair and by edit of lines
    words: Counts  # (n,) of the repaired text
    words_out: Counts  # (n,) of `texts`


@dataclass
class Cleaner:
    """Settings, and the lists that they name, read once."""

    settings: CleanSettings
    sources: dict[str, SourceSettings]
    blocked_urls: UrlList | None = None
    blocked_words: WordList | None = None
    _bounds: dict[tuple[str, str, str], float] = field(default_factory=dict)

    def look(self, documents: Sequence[Document]) -> Looked:
        """What becomes of the documents. Each is looked at by itself: their order and number change nothing."""
        sources = [self.sources[document.source] for document in documents]
        count = len(documents)
        edits: dict[str, Counts] = {}
        texts = []
        for row, (document, source) in enumerate(zip(documents, sources, strict=True)):
            format = "html" if source.format == "auto" and is_page(document.meta) else source.format
            text, places = repair(plain_text(document.text, format, source.extract), self.settings.repair)
            texts.append(text)
            for name, number in places.items():
                edits.setdefault(name, np.zeros(count, np.int64))[row] = number
        languages, detected = self.languages(texts, sources)
        looked = Looked(texts, [""] * count, [""] * count, languages, detected, [], edits,
                        np.zeros(count, np.int64), np.zeros(count, np.int64))  # fmt: skip
        outcomes: dict[str, Outcome] = {}
        for name in dict.fromkeys(document.source for document in documents):
            rows = np.array([row for row, document in enumerate(documents) if document.source == name])
            Batch(self, self.sources[name], [documents[row] for row in rows], rows, looked, outcomes).look()
        looked.checks = list(outcomes.values())
        return looked

    def languages(self, texts: Sequence[str], sources: Sequence[SourceSettings]) -> tuple[list[Language], list[bool]]:
        """Of each text its language, and whether that was looked for."""
        detected = [self.settings.detect_language and not source.language for source in sources]
        found = [Language(source.language or "und", 1.0) for source in sources]
        wanted = [row for row, look in enumerate(detected) if look]
        for row, language in zip(wanted, identify([texts[row] for row in wanted]) if wanted else [], strict=True):
            found[row] = language
        return found, detected

    def bound(self, check: Check, source: SourceSettings, language: str) -> float:
        """The check's threshold, or nan; looked up once."""
        key = (check.name, source.name, language)
        if key not in self._bounds:
            self._bounds[key] = bound(check, self.settings, source, language)
        return self._bounds[key]


@dataclass
class Batch:
    """The documents of one source, on their way through its checks."""

    cleaner: Cleaner
    source: SourceSettings
    documents: list[Document]
    rows: npt.NDArray[np.int64]  # where they stand in `looked`
    looked: Looked  # to fill
    outcomes: dict[str, Outcome]  # to fill

    def look(self) -> None:
        looked, rows = self.looked, self.rows
        texts = pa.array([looked.texts[row] for row in rows], pa.string())
        languages = [looked.languages[row].code for row in rows]
        self.before_rules(texts, languages)
        statistics: Statistics | None = None
        given, first = texts, None
        different = sorted(set(languages))
        which = np.array([different.index(language) for language in languages])
        rules = self.cleaner.settings.rules if self.source.rules is None else self.source.rules
        for rule in rules:
            edited: dict[str, Values] = {}
            if rule in EDITED_BY_LINES:
                texts, edited = self.edit_lines(rule, texts)
                statistics = None
            if statistics is None:
                statistics = measure(texts, [stop_words(language) for language in languages])
                first = statistics if texts is given else first
            of_rule = statistics._replace(**edited)
            for check in checks_of(rule):
                bounds = np.array([self.cleaner.bound(check, self.source, language) for language in different])
                self.decide(check, check.values(of_rule), bounds[which])
        looked.words[rows] = first.words if first else count_text_words(given)
        looked.words_out[rows] = statistics.words if statistics else looked.words[rows]
        for row, text in zip(rows, texts.to_pylist() if texts is not given else (), strict=False):
            looked.texts[row] = text.strip()
            looked.reasons[row] = looked.reasons[row] or ("" if looked.texts[row] else "empty")

    def decide(self, check: Check, values: Values, bounds: Values, details: Sequence[str] | None = None) -> None:
        """Add a check's outcome, and its reason where no earlier check gave one."""
        fails = check.fails(values, bounds)
        if check.name not in self.outcomes:
            nothing = np.full(len(self.looked.texts), math.nan)
            self.outcomes[check.name] = Outcome(check, nothing, nothing.copy(), np.zeros(len(nothing), bool))
        outcome = self.outcomes[check.name]
        outcome.values[self.rows], outcome.bounds[self.rows], outcome.fails[self.rows] = values, bounds, fails
        for place in map(int, np.flatnonzero(fails)):
            row = self.rows[place]
            if not self.looked.reasons[row]:
                self.looked.reasons[row] = check.reason
                said = say(check, values[place], bounds[place]) if details is None else details[place]
                self.looked.details[row] = said

    def before_rules(self, texts: pa.Array, languages: list[str]) -> None:
        """What does not depend on how a text is written."""
        settings, count = self.cleaner.settings, len(self.documents)
        self.decide(
            EMPTY, np.array([float(bool(self.looked.texts[row])) for row in self.rows]), np.ones(count), [""] * count
        )
        if settings.languages:
            kept = {*settings.languages}
            known = np.array([float(bool({code, plain_language(code)} & kept)) for code in languages])
            self.decide(OTHER_LANGUAGE, known, np.ones(count), [f"language {code}" for code in languages])
            sure = np.array([self.looked.languages[row].confidence for row in self.rows])
            self.decide(LOW_CONFIDENCE, sure, np.full(count, settings.min_language_confidence))
        if self.cleaner.blocked_urls or settings.fields:
            metas = [orjson.loads(document.meta) for document in self.documents]
            if urls := self.cleaner.blocked_urls:
                addresses = [meta.get(settings.url_field) for meta in metas]
                self.decide_listed(BLOCKED_URL, [urls.blocks(url) if isinstance(url, str) else "" for url in addresses])
            for name, limits in settings.fields.items():
                values = np.array([number(meta.get(name)) for meta in metas])
                for kind, limit in limits.items():
                    self.decide(field_check(name, kind, limit), values, np.full(count, limit))
        if self.cleaner.blocked_words:
            self.decide_listed(BLOCKED_WORD, self.cleaner.blocked_words.find(texts))

    def decide_listed(self, check: Check, entries: list[str]) -> None:
        """A check that fails where an entry of a list was found."""
        found = np.array([float(bool(entry)) for entry in entries])
        self.decide(check, found, np.zeros(len(entries)), [f"'{entry}' is on a list" for entry in entries])

    def edit_lines(self, rule: str, texts: pa.Array) -> tuple[pa.Array, dict[str, Values]]:
        """(the texts with their lines changed by the rule, the statistics that come of it)."""
        edit = c4_lines if rule == "c4" else refinedweb_lines
        texts, counts = edit(texts)
        for column, name in enumerate(EDITED_BY_LINES[rule]):
            if counts[:, column].any():
                self.looked.edits.setdefault(name, np.zeros(len(self.looked.texts), np.int64))
                self.looked.edits[name][self.rows] = counts[:, column]
        columns = {"lorem_ipsum": LOREM_IPSUM, "braces": BRACES} if rule == "c4" else {
            "removed_words": REMOVED_WORDS, "words_before": WORDS_BEFORE
        }  # fmt: skip
        return texts, {name: counts[:, column].astype(np.float64) for name, column in columns.items()}


def say(check: Check, value: float, limit: float) -> str:
    """What the ledger says beside the reason.

    >>> say(checks_of("gopher-quality")[0], 12.0, 50.0)
    'words: 12, at least 50 wanted'
    """
    wanted = "at least" if check.bound == "min" else "at most"
    return f"{check.measures}: {value:,.6g}, {wanted} {limit:,.6g} wanted"


def is_page(meta: str) -> bool:
    """Whether a reader of pages left this meta: a row of its own fields may have one of this name, too."""
    return bool(PAGE.search(meta)) and set(orjson.loads(meta)) <= {"content_type", "date", "encoding", "url"}


def number(value: object) -> float:
    """A field's value, or nan for what is no number: no bound applies to it. A CSV's numbers are strings."""
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        return math.nan
    try:
        found = float(value)
    except (ValueError, OverflowError):
        return math.nan
    return found if math.isfinite(found) else math.nan


def nothing(statistics: Statistics) -> Values:
    raise AssertionError("a check that is decided without statistics")


def outside_rules(name: str, reason: str, measures: str, bound: str, default: float = 1) -> Check:
    """A check of a setting of [clean] that belongs to no rule."""
    return Check("clean", name, default, reason, measures, nothing, bound)


EMPTY = outside_rules("text", "empty", "1 for a text with anything in it", "min")
OTHER_LANGUAGE = outside_rules("languages", "other-language", "1 for a language that stays", "min")
LOW_CONFIDENCE = outside_rules("min_language_confidence", "unsure-language", "confidence of the language", "min", 0.65)
BLOCKED_URL = outside_rules("blocked_urls", "blocked-url", "1 for an address on a list", "max", 0)
BLOCKED_WORD = outside_rules("blocked_words", "blocked-word", "1 for a text with a word on a list", "max", 0)


def field_check(name: str, kind: str, limit: float) -> Check:
    """The bound on a number in the rows."""
    return outside_rules(f"fields.{name}.{kind}", f"field-{name}", f"the field {name}", kind, limit)
