"""A source's rows as its tests look at them."""

from __future__ import annotations

from data_prep.document import Document
from data_prep.finding import find_inputs
from data_prep.settings import SourceSettings
from data_prep.sources import pieces, read


def source(*paths, **settings):
    found = SourceSettings(**{"name": "s", "paths": [str(path) for path in paths]} | settings)
    assert found.problems() == []
    return found


def rows(settings):
    return [row for piece in pieces(settings, find_inputs(settings)) for row in read(settings, piece)]


def short(found):
    """Texts of documents, reasons of broken rows, by id."""
    assert len({row.id for row in found}) == len(found)
    return {row.id: row.text if isinstance(row, Document) else f"! {row.reason}" for row in found}
