"""Receipts and manifests: signed statements of what was made, from what, under which settings.

A task leaves a receipt, a stage a manifest; both are written last. A key is a hash of the stage's name and version, of
the identity settings it reads and of the digests of its inputs: never of times, never of the number of workers.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from data_prep.counts import Counts
from data_prep.files import canonical_json, digest_bytes, digest_file, read_record, write_json

Entry = dict[str, Any]  # {"path" (relative to RUN), "bytes", "mtime_ns", "digest"}


def entry(root: Path, path: Path) -> Entry:
    """What is recorded of a file. The time is a hint that saves hashing it again, and no part of any key."""
    status = path.stat()
    return {
        "path": str(path.relative_to(root)),
        "bytes": status.st_size,
        "mtime_ns": status.st_mtime_ns,
        "digest": digest_file(path),
    }


def damage(root: Path, entries: Iterable[Entry], *, verify: bool) -> str | None:
    """The first recorded file that is not as recorded, in words; None when all are.

    Size always; content when the time differs (a copied run) or when `verify`.
    """
    for recorded in entries:
        path = root / recorded["path"]
        try:
            status = path.stat()
        except FileNotFoundError:
            return f"its output {recorded['path']} is missing"
        if status.st_size != recorded["bytes"]:
            return f"its output {recorded['path']} has {status.st_size} bytes instead of {recorded['bytes']}"
        if (verify or status.st_mtime_ns != recorded["mtime_ns"]) and digest_file(path) != recorded["digest"]:
            return f"the content of its output {recorded['path']} has changed"
    return None


def key_of(stage: str, version: int, settings: dict[str, Any], inputs: Iterable[Entry]) -> str:
    """The identity of a stage's result."""
    facts = sorted(
        [item.get("source", ""), item.get("name", item.get("path")), item.get("bytes", 0), item.get("digest", "")]
        for item in inputs
    )
    return digest_bytes(canonical_json({"stage": stage, "version": version, "settings": settings, "inputs": facts}))


@dataclass(frozen=True)
class Receipt:
    """One task's result. `counts` is None for a task that does not route documents."""

    key: str
    outputs: list[Entry]
    counts: Counts | None
    tally: dict[str, int]
    seconds: float

    def save(self, path: Path) -> None:
        counts = self.counts.to_json() if self.counts else None
        write_json(path, asdict(self) | {"counts": counts})

    @staticmethod
    def load(path: Path) -> Receipt | None:
        return read_record(path, Receipt.from_json) if path.exists() else None

    @staticmethod
    def from_json(raw: dict[str, Any]) -> Receipt:
        return Receipt(**raw | {"counts": Counts(**raw["counts"]) if raw["counts"] else None})


@dataclass(frozen=True)
class Manifest:
    """One stage's result: enough to say whether it is fresh, and where every document went."""

    stage: str
    version: int
    key: str
    settings: dict[str, Any]
    inputs: list[Entry]
    outputs: list[Entry]  # what later stages read
    ledgers: list[Entry]  # dropped/ and quarantine/
    counts: Counts
    seconds: float  # of work, summed over tasks
    facts: dict[str, Any]  # what else the stage found out, for people and the report

    def read(self, upstream: Manifest) -> bool:
        """Whether this was made from what `upstream` holds."""
        digests = {item.get("path"): item.get("digest") for item in self.inputs}
        return all(digests.get(item["path"]) == item["digest"] for item in upstream.outputs)

    def save(self, path: Path) -> None:
        write_json(
            path,
            {
                "stage": self.stage,
                "version": self.version,
                "key": self.key,
                **self.counts.to_json(),
                "seconds": round(self.seconds, 3),
                "facts": self.facts,
                "settings": self.settings,
                "inputs": self.inputs,
                "outputs": self.outputs,
                "ledgers": self.ledgers,
            },
        )

    @staticmethod
    def load(path: Path) -> Manifest | None:
        return read_record(path, Manifest.from_json) if path.exists() else None

    @staticmethod
    def from_json(raw: dict[str, Any]) -> Manifest:
        names = ("documents_in", "documents_out", "dropped", "quarantined", "bytes")
        counts = Counts(**{name: raw.pop(name) for name in names})
        return Manifest(counts=counts, **raw)
