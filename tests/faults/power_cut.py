"""What a power cut may leave of a directory: a model that is fed the calls made on it.

A file keeps what it held at its last fsync; of what was written since, nothing, all, or its length in zeros is there.
A directory keeps its entries of its last fsync; each creation, renaming and removal since may have happened or not,
in any order. It is the weakest promise of POSIX; file systems keep more.
"""

from __future__ import annotations

import os
import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import PurePath

from tests.faults.shim import Call
from tests.faults.trees import Tree

SEEDS = range(6)  # so many worlds in which each thing is lost or kept by chance


@dataclass
class File:
    data: bytes
    safe: bytes = b""


@dataclass
class Directory:
    entries: dict[str, File | Directory] = field(default_factory=dict)
    safe: dict[str, File | Directory] = field(default_factory=dict)
    pending: list[Update] = field(default_factory=list)  # since `safe`

    def change(self, update: Update) -> None:
        self.pending.append(update)
        apply(update, self.entries)


Update = dict[str, File | Directory | None]  # what a call does to a directory, all at once; None: the name goes


def apply(update: Update, entries: dict[str, File | Directory]) -> None:
    for name, node in update.items():
        if node is None:
            entries.pop(name, None)
        else:
            entries[name] = node


class Disk:
    """The directory `root`, which held `tree`, all of it safe."""

    def __init__(self, root: str, tree: Tree) -> None:
        self.root = root
        self.top = Directory()
        for name, content in tree.items():
            parent, last = self._place(f"{root}/{name}")
            parent.entries[last] = Directory() if content is None else File(content, content)
            parent.safe[last] = parent.entries[last]

    def _find(self, path: str) -> File | Directory:
        node: File | Directory = self.top
        for name in PurePath(path).relative_to(self.root).parts:
            assert isinstance(node, Directory)
            node = node.entries[name]
        return node

    def _place(self, path: str) -> tuple[Directory, str]:
        parent = self._find(str(PurePath(path).parent))
        assert isinstance(parent, Directory)
        return parent, PurePath(path).name

    def take(self, call: Call) -> None:
        """A call that was made."""
        if call.result < 0:
            return
        if call.name.startswith("open") and call.flags & (os.O_CREAT | os.O_TRUNC):
            parent, name = self._place(call.path)
            if name not in parent.entries:
                parent.change({name: File(b"")})
            if call.flags & os.O_TRUNC:
                self._file(call.path).data = b""
        elif call.name in ("write", "pwrite64"):
            file = self._file(call.path)
            kept = file.data[: call.offset].ljust(call.offset, b"\0")
            file.data = kept + call.data + file.data[call.offset + len(call.data) :]
        elif call.name == "ftruncate64":
            file = self._file(call.path)
            file.data = file.data[: call.offset].ljust(call.offset, b"\0")
        elif call.name in ("fsync", "fdatasync"):
            node = self._find(call.path)
            if isinstance(node, File):
                node.safe = node.data
            else:
                node.safe, node.pending = dict(node.entries), []
        elif call.name == "mkdir":
            parent, name = self._place(call.path)
            parent.change({name: Directory()})
        elif call.name in ("unlink", "unlinkat", "rmdir"):
            parent, name = self._place(call.path)
            parent.change({name: None})
        elif call.name == "rename":
            (parent, name), (other, new) = self._place(call.path), self._place(call.other)
            assert parent is other, "a rename between directories is not modelled"
            parent.change({name: None, new: parent.entries[name]})

    def _file(self, path: str) -> File:
        file = self._find(path)
        assert isinstance(file, File)
        return file

    def now(self) -> Tree:
        """Without a power cut."""
        return self._tree(lambda update: True, lambda file: file.data)

    def survivors(self) -> Iterator[Tree]:
        """What may be there after a power cut: the extremes in every combination, all but one thing, and by chance."""
        happened: list[Callable[[Update], bool]] = [
            lambda update: False,
            lambda update: True,
            lambda update: any(update.values()),  # what appears is there, what goes is there still
            lambda update: not any(update.values()),
        ]
        left: list[Callable[[File], bytes]] = [lambda file: file.safe, zeros, lambda file: file.data]
        for entries in happened:
            for data in left:
                yield self._tree(entries, data)
        pending: list[Update] = []
        self._tree(lambda update: pending.append(update) or True, lambda file: file.data)
        for lost in pending:
            yield self._tree(lambda update: update is not lost, lambda file: file.data)  # noqa: B023
        for seed in SEEDS:
            chance = random.Random(seed)
            yield self._tree(lambda update: chance.random() < 0.5, lambda file: chance.choice(left)(file))  # noqa: B023

    def _tree(self, happened: Callable[[Update], bool], left: Callable[[File], bytes]) -> Tree:
        tree: Tree = {}

        def walk(directory: Directory, prefix: str) -> None:
            entries = dict(directory.safe)
            for update in directory.pending:
                if happened(update):
                    apply(update, entries)
            for name, node in sorted(entries.items()):
                if isinstance(node, File):
                    tree[prefix + name] = left(node)
                else:
                    tree[prefix + name] = None
                    walk(node, f"{prefix}{name}/")

        walk(self.top, "")
        return tree


def zeros(file: File) -> bytes:
    return file.data if file.data == file.safe else bytes(len(file.data))
