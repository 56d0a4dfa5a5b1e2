"""Ways to save a receipt that are wrong, each in its own way: the harness has to see every one."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path

from data_prep.files import atomic_write, sync
from tests.faults.receipts import RECEIPT, Signing


class Careless(Signing):
    """A receipt is saved over an older one by `save(path, text)`."""

    def __init__(self, save: Callable[[Path, str], None]) -> None:
        super().__init__(replace(RECEIPT, key="sha256:new"), RECEIPT)
        self.save = save

    def work(self, root: Path) -> None:
        self.save(self.path(root), json.dumps(asdict(self.new)))


def in_place(path: Path, text: str) -> None:
    path.write_text(text)


def removed_first(path: Path, text: str) -> None:
    path.unlink()
    atomic_write(path, text)


def never_synced(path: Path, text: str) -> None:
    temporary = path.with_suffix(".tmp")
    try:
        temporary.write_text(text)
        temporary.replace(path)
        sync(path.parent)
    finally:
        temporary.unlink(missing_ok=True)


def directory_never_synced(path: Path, text: str) -> None:
    temporary = path.with_suffix(".tmp")
    try:
        temporary.write_text(text)
        sync(temporary)
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def temporary_left(path: Path, text: str) -> None:
    temporary = path.with_suffix(".tmp")
    temporary.write_text(text)
    sync(temporary)
    temporary.replace(path)
    sync(path.parent)


def errors_hidden(path: Path, text: str) -> None:
    try:
        atomic_write(path, text)
    except OSError:
        path.write_text(text[:10])


SCENARIOS = {
    f"careless: {save.__name__}": Careless(save)
    for save in (in_place, removed_first, never_synced, directory_never_synced, temporary_left, errors_hidden)
}
