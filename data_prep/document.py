"""The noun of data preparation: a document, and the two ways one can leave."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Document:
    """One text. Never mutated: a step returns a new one."""

    id: str  # "source:<id field>" or "source:relative/path#row"
    text: str
    source: str
    meta: str = "{}"  # the row's other fields, as one JSON string


@dataclass(frozen=True, slots=True)
class Drop:
    """A document that a step takes out, with a short stable word that says why."""

    reason: str
    detail: str = ""  # what the reason does not say, for example which document it duplicates


@dataclass(frozen=True, slots=True)
class Broken:
    """A row of a source that is no document: it goes to quarantine with what could be read of it."""

    id: str
    source: str
    reason: str
    excerpt: str = ""


def utf8_bytes(text: str) -> int:
    """Bytes of a text; a lone surrogate has three."""
    return len(text) if text.isascii() else len(text.encode("utf-8", "surrogatepass"))
