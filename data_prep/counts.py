"""Accounting: documents in = documents out + dropped by reason + quarantined, for every task, step and stage."""

from __future__ import annotations

from collections import Counter
from dataclasses import asdict, dataclass, field
from typing import Any


@dataclass
class Counts:
    """What went in and where it went. `bytes` are UTF-8 bytes of text out."""

    documents_in: int = 0
    documents_out: int = 0
    dropped: dict[str, int] = field(default_factory=dict)
    quarantined: int = 0
    bytes: int = 0

    def drop(self, reason: str) -> None:
        self.dropped[reason] = self.dropped.get(reason, 0) + 1

    def __add__(self, other: Counts) -> Counts:
        return Counts(
            self.documents_in + other.documents_in,
            self.documents_out + other.documents_out,
            dict(sorted((Counter(self.dropped) + Counter(other.dropped)).items())),
            self.quarantined + other.quarantined,
            self.bytes + other.bytes,
        )

    def then(self, following: Counts) -> Counts:
        """The counts of two steps in a row: the second takes in what the first let out."""
        assert following.documents_in == self.documents_out, (
            f"a step let out {self.documents_out} documents and the next took in {following.documents_in}"
        )
        both = self + following
        return Counts(self.documents_in, following.documents_out, both.dropped, both.quarantined, following.bytes)

    def check(self) -> None:
        """Nothing disappears: an imbalance is our own mistake."""
        out = self.documents_out + sum(self.dropped.values()) + self.quarantined
        assert self.documents_in == out, f"{self.documents_in} documents went in and {out} are accounted for: {self}"

    def to_json(self) -> dict[str, Any]:
        return asdict(self)
