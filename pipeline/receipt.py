"""Receipts and manifests: signed statements of what was made, from what, under which settings.

A task leaves a receipt, a stage a manifest; both are written last. With the manifest the receipts are packed, a file a
step: a stage may have thousands of tasks, and file systems count files. A key is a hash of the stage's name and
version, of the identity settings it reads and of the digests of its inputs: never of times or the number of workers.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from data_prep.counts import Counts
from data_prep.files import (
    atomic_write,
    canonical_json,
    digest_bytes,
    digest_file,
    read_json_lines,
    read_record,
    write_json,
)
from pipeline.run_dir import RunDir

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


def damage(root: Path, entries: Iterable[Entry], *, verify: bool | None) -> str | None:
    """The first recorded file that is not as recorded, in words; None when all are.

    Size always; content when the time differs (a copied run) or when `verify`; None: never.
    """
    for recorded in entries:
        path = root / recorded["path"]
        try:
            status = path.stat()
        except FileNotFoundError:
            return f"its output {recorded['path']} is missing"
        if status.st_size != recorded["bytes"]:
            return f"its output {recorded['path']} has {status.st_size} bytes instead of {recorded['bytes']}"
        doubtful = verify or (verify is False and status.st_mtime_ns != recorded["mtime_ns"])
        if doubtful and digest_file(path) != recorded["digest"]:
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
        write_json(path, asdict(self))

    @staticmethod
    def load(path: Path) -> Receipt | None:
        return read_record(path, Receipt.from_json) if path.exists() else None

    @staticmethod
    def from_json(raw: dict[str, Any]) -> Receipt:
        return Receipt(**raw | {"counts": Counts(**raw["counts"]) if raw["counts"] else None})


@dataclass
class Receipts:
    """The receipts of a stage: a file a task (`STEP-00012.json`); once it is sealed, a file a step (`STEP.jsonl`).

    The file of a task holds, where there is one, and not its line in the pack: it was done again since.
    """

    run: RunDir
    stage: str
    _packs: dict[str, dict[int, Receipt]] = field(default_factory=dict)  # by step; each is read once

    def load(self, step: str, task: int) -> Receipt | None:
        return Receipt.load(self.run.receipt(self.stage, step, task)) or self._packed(step).get(task)

    def save(self, step: str, task: int, receipt: Receipt) -> None:
        receipt.save(self.run.receipt(self.stage, step, task))

    def done_tasks(self, step: str) -> set[int]:
        """Those that have a receipt, whatever it says."""
        own = (path.stem.rpartition("-")[2] for path in self.run.receipts(self.stage).glob(f"{step}-*.json"))
        return {int(number) for number in own if number.isdecimal()} | self._packed(step).keys()

    def pack(self, step: str, receipts: Collection[Receipt]) -> None:
        """Publish the receipts of all tasks, in order. The tasks' own files stay: `clear` removes them."""
        self._publish(step, dict(enumerate(receipts)))

    def forget(self, step: str, tasks: Collection[int]) -> None:
        """These are to be done again."""
        for task in tasks:
            self.run.receipt(self.stage, step, task).unlink(missing_ok=True)
        packed = self._packed(step)
        if not packed.keys().isdisjoint(tasks):
            self._publish(step, {task: receipt for task, receipt in packed.items() if task not in tasks})

    def clear(self) -> None:
        """Remove the tasks' own files (receipts, notes of failures) where a pack holds the receipt."""
        for path in self.run.receipts(self.stage).glob("*-*.json"):
            step, _, task = path.name.partition(".")[0].rpartition("-")
            if int(task) in self._packed(step):
                path.unlink()

    def _publish(self, step: str, packed: dict[int, Receipt]) -> None:
        path = self.run.pack(self.stage, step)
        lines = [json.dumps({"task": task} | asdict(receipt), ensure_ascii=False) for task, receipt in packed.items()]
        if lines:
            atomic_write(path, "".join(f"{line}\n" for line in lines))
        else:
            path.unlink(missing_ok=True)
        self._packs[step] = packed

    def _packed(self, step: str) -> dict[int, Receipt]:
        if step not in self._packs:
            path = self.run.pack(self.stage, step)
            self._packs[step] = read_record(path, unpack, read_json_lines) if path.exists() else {}
        return self._packs[step]


def unpack(rows: list[dict[str, Any]]) -> dict[int, Receipt]:
    if not rows:
        raise ValueError("a pack without receipts is never written")
    return {row.pop("task"): Receipt.from_json(row) for row in rows}


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
    emptied: bool = False  # the outputs were removed: every stage that reads them was done

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
                "emptied": self.emptied,
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
