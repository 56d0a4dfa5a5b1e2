"""The settings of data preparation: what a config file may say of sources, cleaning, dedup, scrub, split, tokenizer.

Plain data: importing this module loads nothing. Every field that is not marked *execution* is part of a stage's
identity (changing it redoes the stage). `problems()` returns sentences and changes nothing.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass, field, replace
from typing import Any

from data_prep.banding import DEDUP_PRESETS, MOST_PERMUTATIONS
from data_prep.quality import RULES, thresholds_of
from data_prep.recognizer import KINDS
from data_prep.repair import REPAIRS

FORMATS = ("auto", "text", "html")
EXTRACTS = ("full", "main")
COUNTRY = re.compile(r"[A-Z]{2}")
PHONE_COUNTRIES = ("US", "GB", "CN", "IN", "BR", "FR", "DE")
LANGUAGE = re.compile(r"[a-z]{2,3}(-[A-Z][a-z]{3})?")
SOURCE_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]*")
SMALLEST_VOCABULARY = 257  # every byte value, and end-of-text


@dataclass(frozen=True)
class SourceSettings:
    """One `[[source]]`: files by path or glob, or a dataset by name."""

    name: str
    # files, directories, globs, relative to the config file; data_prep/finding.py says of which kinds
    paths: list[str] = field(default_factory=list)
    hub: str | None = None  # "owner/dataset" or a dataset folder, read through the datasets library
    format: str = "auto"  # auto | text | html
    text_field: str = "text"
    id_field: str | None = None
    weight: float = 1.0  # share of the training tokens, relative to the other sources
    # passes over its tokens at which a training that would make more is refused (Muennighoff et al. 2023: up to 4 help)
    max_epochs: float = field(default=math.inf, metadata={"execution": True})
    extract: str = "full"  # of HTML: full, all of its text; main, without menus and margins
    encoding: str = "auto"  # of its text files and pages; auto looks at the bytes, else a name that Python knows
    language: str = ""  # of its documents, for example "zh"; "" looks at each
    license: str = ""  # for the manifest and the report: "CC-BY-4.0"
    rules: list[str] | None = None  # this source's own cleaning rules instead of clean.rules
    thresholds: dict[str, dict[str, float]] = field(default_factory=dict)  # and its own thresholds, as clean.thresholds
    scrub: dict[str, Any] = field(default_factory=dict)  # keys of [scrub] that are otherwise for this source

    def problems(self) -> list[str]:
        where = f"source '{self.name}'"
        found = []
        if not SOURCE_NAME.fullmatch(self.name):
            found.append(f"source.name must be letters, digits, - and _, got '{self.name}'")
        if bool(self.paths) == bool(self.hub):
            found.append(f"{where} must have either paths or hub, got {'both' if self.hub else 'neither'}")
        if self.format not in FORMATS:
            found.append(f"{where}: format must be one of {', '.join(FORMATS)}, got '{self.format}'")
        if self.extract not in EXTRACTS:
            found.append(f"{where}: extract must be one of {', '.join(EXTRACTS)}, got '{self.extract}'")
        if self.encoding != "auto" and not is_encoding(self.encoding):
            wanted = "auto or a text encoding that Python knows, for example gb18030"
            found.append(f"{where}: encoding must be {wanted}, got '{self.encoding}'")
        if self.id_field == self.text_field:
            found.append(f"{where}: id_field must be another field than text_field, got '{self.id_field}' for both")
        if not 0 < self.weight < math.inf:
            found.append(f"{where}: weight must be a number above 0, got {self.weight}")
        if not self.max_epochs > 0:
            found.append(f"{where}: max_epochs must be a number above 0, got {self.max_epochs}")
        found += language_problems(f"{where}: language", self.language) if self.language else []
        found += threshold_problems(f"{where}: thresholds", self.thresholds)
        return found + rule_problems(f"{where}: rules", self.rules or [])


def is_encoding(name: str) -> bool:
    """Whether Python decodes text by this name; it has others that only look so: rot13, base64."""
    try:
        b"a".decode(name, "replace")
    except (LookupError, ValueError):
        return False
    return True


@dataclass(frozen=True)
class CleanSettings:
    repair: list[str] = field(default_factory=lambda: list(REPAIRS))  # what is mended in texts, in this order or none
    detect_language: bool = True  # of documents whose source says none
    languages: list[str] = field(default_factory=list)  # that stay: "en", "zh-Hans"; "zh" is both; [] keeps all
    min_language_confidence: float = 0.65  # of the detection, below which a document is of no language asked for
    rules: list[str] = field(default_factory=lambda: ["gopher-quality", "gopher-repetition"])
    thresholds: dict[str, dict[str, float]] = field(default_factory=dict)  # {"gopher-quality": {"min_words": 20}}
    by_language: dict[str, dict[str, dict[str, float]]] = field(default_factory=dict)  # {"zh": {... as thresholds}}
    fields: dict[str, dict[str, float]] = field(default_factory=dict)  # {"karma": {"min": 3}}: a number in the rows
    url_field: str = ""  # field of the rows that holds a document's address, for blocked_urls
    # lists of your own, a line an entry; relative to the config file. Their content is what identifies them
    blocked_urls: list[str] = field(default_factory=list, metadata={"execution": True})
    blocked_words: list[str] = field(default_factory=list, metadata={"execution": True})

    def problems(self) -> list[str]:
        found = [f"clean.repair names the unknown '{name}', wanted {', '.join(REPAIRS)}"
                 for name in self.repair if name not in REPAIRS]  # fmt: skip
        found += rule_problems("clean.rules", self.rules) + threshold_problems("clean.thresholds", self.thresholds)
        for language, thresholds in self.by_language.items():
            found += language_problems("clean.by_language", language)
            found += threshold_problems(f"clean.by_language.{language}", thresholds)
        for language in self.languages:
            found += language_problems("clean.languages", language)
        if not 0 <= self.min_language_confidence <= 1:
            found.append(f"clean.min_language_confidence must be 0 to 1, got {self.min_language_confidence}")
        for name, limits in self.fields.items():
            if not limits or not limits.keys() <= {"min", "max"} or any(map(math.isnan, limits.values())):
                found.append(f"clean.fields.{name} must be min, max or both, such as {{min = 3}}, got {limits}")
        if self.blocked_urls and not self.url_field:
            found.append("clean.blocked_urls needs clean.url_field, the field that holds a document's address")
        return found


def rule_problems(where: str, rules: list[str]) -> list[str]:
    unknown = [f"{where} names the unknown rule '{rule}', wanted {', '.join(RULES)}"
               for rule in rules if rule not in RULES]  # fmt: skip
    return unknown + [f"{where} names {rule} twice" for rule in dict.fromkeys(rules) if rules.count(rule) > 1]


def threshold_problems(where: str, thresholds: dict[str, dict[str, float]]) -> list[str]:
    """Infinity is a threshold: nothing is above it. What is no number is none."""
    found = rule_problems(where, list(thresholds))
    for rule, values in thresholds.items():
        known = thresholds_of(rule) if rule in RULES else values
        found += [
            f"{where}.{rule}.{name} is not a threshold of that rule, wanted one of {', '.join(known)}"
            for name in values
            if name not in known
        ]
        found += [
            f"{where}.{rule}.{name} must be a number, got {value}"
            for name, value in values.items()
            if math.isnan(value)
        ]
    return found


def language_problems(where: str, language: str) -> list[str]:
    if LANGUAGE.fullmatch(language):
        return []
    return [f"{where} must name languages by codes such as en, zh or zh-Hant, got '{language}'"]


@dataclass(frozen=True)
class DedupSettings:
    preset: str = "exact"  # exact | fineweb | datasketch | "": keys below as if they were typed
    threshold: float = 0.8  # Jaccard similarity of the shingles (five words) at which two documents are the same
    bands: int = 32  # of a signature; documents that share one are compared
    rows: int = 8  # values in a band
    verify: bool = True  # compare the shingles themselves; false: whoever shares a band is the same
    priority: list[str] = field(default_factory=list)  # sources whose documents stay, the first named before all others
    url_field: str = ""  # field of the rows that holds a document's address: of several with one address one stays
    repeats: str = "keep"  # or lines or paragraphs: one that stands in several documents stays in one
    # evaluation texts, paths or globs, relative to the config file. Their content is what identifies them
    decontaminate: list[str] = field(default_factory=list, metadata={"execution": True})
    contaminated: str = "drop"  # or report: what shares 13 words with an evaluation text
    memory_gb: float = field(default=4.0, metadata={"execution": True})  # of one process that matches

    def problems(self) -> list[str]:
        found = []
        if self.preset not in ("", *DEDUP_PRESETS):
            known = ", ".join(DEDUP_PRESETS)
            found.append(f"dedup.preset must be one of {known}, or \"\", got '{self.preset}'")
        if not 0.5 <= self.threshold <= 1:
            found.append(f"dedup.threshold must be 0.5 to 1, got {self.threshold}")
        if self.bands < 1 or self.rows < 1 or self.bands * self.rows > MOST_PERMUTATIONS:
            wanted = f"at least 1 each, and their product at most {MOST_PERMUTATIONS:,}"
            found.append(f"dedup.bands and dedup.rows must be {wanted}, got {self.bands} and {self.rows}")
        if self.repeats not in ("keep", "lines", "paragraphs"):
            found.append(f"dedup.repeats must be keep, lines or paragraphs, got '{self.repeats}'")
        if self.contaminated not in ("drop", "report"):
            found.append(f"dedup.contaminated must be drop or report, got '{self.contaminated}'")
        if not 0 < self.memory_gb < math.inf:
            found.append(f"dedup.memory_gb must be a number above 0, got {self.memory_gb}")
        return found


@dataclass(frozen=True)
class ScrubSettings:
    kinds: list[str] = field(default_factory=lambda: [kind for kind in KINDS if kind != "person"])
    phone_countries: list[str] = field(
        default_factory=lambda: list(PHONE_COUNTRIES)
    )  # whose own formats are looked for;
    # numbers that begin with + and a country's code always are
    phone_matching: str = "strict"  # or lenient: numbers that are possible, if not in use
    obfuscated: bool = True  # e-mail addresses such as jo [at] example [dot] org, too
    replacement: str = "placeholder"  # <EMAIL>; or pseudonym: <EMAIL-abcdefghijkl>, the same for the same value
    # a file with a secret of at least 16 bytes, for pseudonyms. A keyed hash tells keys apart; none is written anywhere
    key_file: str = field(default="", metadata={"execution": True})
    max_density: float = 1.0  # share of a document's bytes that is personal, above which it is dropped
    person_model: str = ""  # spaCy model by which presidio finds names of people: the kind person

    def problems(self) -> list[str]:
        found = [
            f"scrub.kinds names the unknown kind '{kind}', wanted {', '.join(KINDS)}"
            for kind in self.kinds
            if kind not in KINDS
        ]
        found += [
            f"scrub.phone_countries must name countries by two capital letters such as US, got '{country}'"
            for country in self.phone_countries
            if not COUNTRY.fullmatch(country)
        ]
        if set(self.phone_countries) - set(PHONE_COUNTRIES) and not found:
            from data_prep.phones import unknown_countries  # the registry of countries takes a while to load

            found += [
                f"scrub.phone_countries names the unknown country {country}, wanted ISO 3166 codes such as GB"
                for country in unknown_countries(self.phone_countries)
            ]
        if self.phone_matching not in ("strict", "lenient"):
            found.append(f"scrub.phone_matching must be strict or lenient, got '{self.phone_matching}'")
        if self.replacement not in ("placeholder", "pseudonym"):
            found.append(f"scrub.replacement must be placeholder or pseudonym, got '{self.replacement}'")
        if self.replacement == "pseudonym" and not self.key_file:
            found.append(
                'scrub.replacement = "pseudonym" needs scrub.key_file, a file with a secret of 16 bytes or more'
            )
        if not 0 < self.max_density <= 1:
            found.append(f"scrub.max_density must be above 0 and at most 1, got {self.max_density}")
        if ("person" in self.kinds) != bool(self.person_model):
            found.append('the kind person and scrub.person_model, such as "en_core_web_lg", need each other')
        return found


def scrub_settings(scrub: ScrubSettings, source: SourceSettings) -> ScrubSettings:
    """What holds for a source."""
    return replace(scrub, **source.scrub)


@dataclass(frozen=True)
class SplitSettings:
    val_fraction: float = 0.01  # share of documents held out, decided by a hash of the document id

    def problems(self) -> list[str]:
        return (
            []
            if 0 < self.val_fraction < 1
            else [f"split.val_fraction must be above 0 and below 1, got {self.val_fraction}"]
        )


@dataclass(frozen=True)
class TokenizerSettings:
    vocab_size: int = 32_768

    def problems(self) -> list[str]:
        if self.vocab_size >= SMALLEST_VOCABULARY:
            return []
        wanted = f"at least {SMALLEST_VOCABULARY} (every byte and end-of-text)"
        return [f"tokenizer.vocab_size must be {wanted}, got {self.vocab_size}"]
