"""The settings of data preparation: what a config file may say of sources, cleaning, dedup, scrub, split, tokenizer.

Plain data: importing this module loads nothing. Every field that is not marked *execution* is part of a stage's
identity (changing it redoes the stage). `problems()` returns sentences and changes nothing.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass, field

from data_prep.quality import RULES, thresholds_of

FORMATS = ("auto", "text", "html")
PII_KINDS = ("email", "ip", "credit-card")
SOURCE_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]*")
SMALLEST_VOCABULARY = 257  # every byte value, and end-of-text


@dataclass(frozen=True)
class SourceSettings:
    """One `[[source]]`: files by path or glob, or a dataset by name."""

    name: str
    paths: list[str] = field(default_factory=list)  # .jsonl .jsonl.gz .parquet .txt; globs; relative to the config file
    hub: str | None = None  # "owner/dataset" or a dataset folder, read through the datasets library
    format: str = "auto"  # auto | text | html
    text_field: str = "text"
    id_field: str | None = None
    weight: float = 1.0  # share of the training tokens, relative to the other sources
    # passes over its tokens at which a training that would make more is refused (Muennighoff et al. 2023: up to 4 help)
    max_epochs: float = field(default=math.inf, metadata={"execution": True})
    rules: list[str] | None = None  # this source's own cleaning rules instead of clean.rules

    def problems(self) -> list[str]:
        where = f"source '{self.name}'"
        found = []
        if not SOURCE_NAME.fullmatch(self.name):
            found.append(f"source.name must be letters, digits, - and _, got '{self.name}'")
        if bool(self.paths) == bool(self.hub):
            found.append(f"{where} must have either paths or hub, got {'both' if self.hub else 'neither'}")
        if self.format not in FORMATS:
            found.append(f"{where}: format must be one of {', '.join(FORMATS)}, got '{self.format}'")
        if self.id_field == self.text_field:
            found.append(f"{where}: id_field must be another field than text_field, got '{self.id_field}' for both")
        if not 0 < self.weight < math.inf:
            found.append(f"{where}: weight must be a number above 0, got {self.weight}")
        if not self.max_epochs > 0:
            found.append(f"{where}: max_epochs must be a number above 0, got {self.max_epochs}")
        return found + unknown_rules(f"{where}: rules", self.rules or [])


@dataclass(frozen=True)
class CleanSettings:
    rules: list[str] = field(default_factory=lambda: ["gopher-quality"])
    thresholds: dict[str, dict[str, float]] = field(default_factory=dict)  # {"gopher-quality": {"min_words": 20}}

    def problems(self) -> list[str]:
        found = unknown_rules("clean.rules", self.rules) + unknown_rules("clean.thresholds", list(self.thresholds))
        for rule, values in self.thresholds.items():
            known = thresholds_of(rule) if rule in RULES else values
            found += [
                f"clean.thresholds.{rule}.{name} is not a threshold of that rule, wanted one of {', '.join(known)}"
                for name in values
                if name not in known
            ]
            found += [
                f"clean.thresholds.{rule}.{name} must be a finite number, got {value}"
                for name, value in values.items()
                if not math.isfinite(value)
            ]
        return found


def unknown_rules(where: str, rules: list[str]) -> list[str]:
    return [
        f"{where} names the unknown rule '{rule}', wanted {', '.join(RULES)}" for rule in rules if rule not in RULES
    ]


@dataclass(frozen=True)
class DedupSettings:
    threshold: float = 0.8  # estimated Jaccard similarity of word 5-grams at which two documents are the same

    def problems(self) -> list[str]:
        return [] if 0.5 <= self.threshold <= 1 else [f"dedup.threshold must be 0.5 to 1, got {self.threshold}"]


@dataclass(frozen=True)
class ScrubSettings:
    kinds: list[str] = field(default_factory=lambda: list(PII_KINDS))

    def problems(self) -> list[str]:
        return [
            f"scrub.kinds names the unknown kind '{kind}', wanted {', '.join(PII_KINDS)}"
            for kind in self.kinds
            if kind not in PII_KINDS
        ]


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
