"""Checkpoints as directories of verified files. File logic only: no torch, no processes.

    RUN/pretrain/checkpoints/step-00000500/
        rank-00000.safetensors ...    each rank's part, hashed and synced as it is written, then read back
        manifest.json                 published last: this is what makes the directory a checkpoint
    RUN/pretrain/checkpoints/latest   the newest one's name: for people, and a sign that there has been one

To save: every rank calls `write`; when all have written, rank 0 calls `publish`, or `abandon` where one has failed.
"""

from __future__ import annotations

import errno
import hashlib
import os
import re
import shutil
from collections.abc import Callable, Iterable
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple

import xxhash

from data_prep.files import UserError, atomic_write, canonical_json, digest_bytes, read_json, sync, write_json
from pretrain.continuation import differences
from pretrain.settings import TrainingJob

FORMAT = 2
MANIFEST = "manifest.json"
DIGEST = "xxh3-128"  # at the memory's speed: it has to find damage, not an adversary
STEP_DIR = re.compile(r"step-(\d{8,})$")
CHUNK_BYTES = 16 << 20

Entry = dict[str, Any]  # {"path", "bytes", "digest"}
Say = Callable[[str], None]


class Checkpoint(NamedTuple):
    """A directory whose manifest was published."""

    step: int
    path: Path
    manifest: dict[str, Any]

    @property
    def files(self) -> list[Path]:
        """Each rank's part."""
        return [self.path / entry["path"] for entry in self.manifest["files"]]


class CheckpointStore:
    """The checkpoints of one training."""

    def __init__(self, directory: Path, job: TrainingJob) -> None:
        self.directory = directory
        self.job = job

    def step_dir(self, step: int) -> Path:
        return self.directory / f"step-{step:08d}"

    def rank_file(self, step: int, rank: int) -> Path:
        """Where `rank` writes its part of step `step`."""
        return self.step_dir(step) / f"rank-{rank:05d}.safetensors"

    # --- saving

    def write(self, step: int, rank: int, parts: Iterable[Any]) -> Entry:
        """Write a rank's part from buffers, one after the other; when this returns, the disk has it.

        Raises `OSError`, also when the disk gives back other bytes than it was given.
        """
        path = self.rank_file(step, rank)
        path.parent.mkdir(parents=True, exist_ok=True)
        entry = write_file(path, parts)
        if problem := file_damage(path.parent, entry):
            raise OSError(errno.EIO, f"written, and read back otherwise: {problem}")
        return entry

    def publish(self, step: int, facts: dict[str, Any], entries: list[Entry]) -> None:
        """Turn the directory, which has every rank's part, into a checkpoint; then remove those that are past keeping.

        `facts` go into the manifest as they are. Raises `OSError`, before anything older is removed.
        """
        manifest = {"format": FORMAT, "step": step, "key": self.job.key, "world_size": len(entries), **facts}
        manifest |= {"job": self.job.to_json(), "files": entries}
        write_json(self.step_dir(step) / MANIFEST, manifest | {"digest": _own_digest(manifest)})
        sync(self.directory)
        sync(self.directory.parent)
        with suppress(OSError):  # it is a checkpoint now; what cannot be removed is removed after the next save
            self._retire()
        with suppress(OSError):
            atomic_write(self.directory / "latest", f"{self.step_dir(step).name}\n")

    def abandon(self, step: int) -> None:
        """Remove a save that failed, and older unfinished ones: the disk may be full."""
        _remove(self.step_dir(step))
        with suppress(OSError):
            for path in self._unfinished():
                _remove(path)

    def _retire(self) -> None:
        keep, published = self.job.checkpoint, self._published()
        kept = published[: keep.keep_last]
        if keep.keep_every:
            kept += [path for path in published if _step_of(path) % keep.keep_every == 0]
        if keep.keep_best:
            losses = {path: self._validation_loss(path) for path in published}
            scored = [path for path, loss in losses.items() if loss is not None]
            kept += sorted(scored, key=lambda path: losses[path] or 0)[: keep.keep_best]
        # half-removed ones, too; but what is newer than the newest is a save under way
        past = [path for path in self._directories() if path not in kept and _step_of(path) < _step_of(published[0])]
        for path in [*past, *self._unfinished()[:-1]]:
            _remove(path)

    def _validation_loss(self, path: Path) -> float | None:
        problem, manifest = self._look(path)
        return None if problem else manifest.get("val_loss")

    # --- loading

    def newest(self, say: Say) -> Checkpoint | None:
        """The newest checkpoint that looks whole, for the training itself; None when there has never been one.

        Its files are there with their sizes; whoever reads one asks `damage` first. What is newer and not whole is
        set aside with a sentence to `say`. Raises `UserError` when there were checkpoints and none is whole, or when
        the one found belongs to another training.
        """
        for path in self._directories():
            problem, manifest = self._look(path)
            if problem is None:
                return self._ours(path, manifest)
            self.set_aside(path, problem, say)
        self._refuse_to_start_over([path.name for path in self._aside() if (path / MANIFEST).exists()])
        return None

    def newest_good(self, say: Say) -> Checkpoint | None:
        """The newest checkpoint that verifies, for those who only look: nothing is moved, and a save under way is not
        spoken of. Else as `newest`."""
        damaged = []
        for path in self._published():
            problem, manifest = self._look(path)
            if problem is None:
                checkpoint = self._ours(path, manifest)
                problem = self.damage(checkpoint)
            if problem is None:
                return checkpoint
            damaged.append(path.name)
            say(f"skipped checkpoint {path.name}: {problem}")
        self._refuse_to_start_over(damaged)
        return None

    def at(self, step: int) -> Checkpoint:
        """The checkpoint of a step, verified. `UserError` when it is not there, naming those that are."""
        path = self.step_dir(step)
        if path not in self._published():
            there = ", ".join(str(_step_of(path)) for path in reversed(self._published())) or "none"
            raise UserError(f"there is no checkpoint of step {step} in {self.directory}; there are: {there}")
        problem, manifest = self._look(path)
        if problem is None:
            checkpoint = self._ours(path, manifest)
            problem = self.damage(checkpoint)
        if problem:
            raise UserError(f"checkpoint {path}: {problem}; restore a copy of it, or choose another step")
        return checkpoint

    def open(self, step: int) -> Checkpoint:
        """The checkpoint of a step that rank 0 has chosen."""
        return Checkpoint(step, self.step_dir(step), read_json(self.step_dir(step) / MANIFEST))

    def damage(self, checkpoint: Checkpoint) -> str | None:
        """The first file that is not as it was written, in words; None when all are."""
        problems = (file_damage(checkpoint.path, entry) for entry in checkpoint.manifest["files"])
        return next(filter(None, problems), None)

    def set_aside(self, path: Path, problem: str, say: Say) -> None:
        """Give a directory that is no good checkpoint another name; nothing is deleted."""
        number = 1
        while (aside := path.with_name(f"{path.name}.bad-{number}")).exists():
            number += 1
        path.rename(aside)
        sync(self.directory)
        say(f"skipped checkpoint {path.name}: {problem}; set aside as {aside.name}")

    def newest_step(self) -> int:
        """Steps behind the newest published checkpoint, unverified; 0 when there is none."""
        return max((_step_of(path) for path in self._published()), default=0)

    def _look(self, path: Path) -> tuple[str | None, dict[str, Any]]:
        """(what is wrong or None, manifest), by all but the digests of the files."""
        if not (path / MANIFEST).exists():
            return f"it has no {MANIFEST}: its save was not finished", {}
        try:
            manifest: dict[str, Any] = read_json(path / MANIFEST)
            if manifest.pop("digest") != _own_digest(manifest):
                return f"its {MANIFEST} does not have its digest", {}
            if manifest["format"] != FORMAT:
                return None, manifest  # of another version, which may have had other keys
        except (UserError, KeyError, TypeError, AttributeError):
            return f"its {MANIFEST} is damaged", {}
        if path.name != self.step_dir(manifest["step"]).name:
            return f"its manifest says step {manifest['step']}", {}
        for entry in manifest["files"]:
            file = path / entry["path"]
            size = file.stat().st_size if file.exists() else None
            if size != entry["bytes"]:
                found = "is missing" if size is None else f"has {size} bytes, wanted {entry['bytes']}"
                return f"{entry['path']} {found}", {}
        return None, manifest

    def _ours(self, path: Path, manifest: dict[str, Any]) -> Checkpoint:
        """`UserError` when it is not."""
        if manifest["format"] != FORMAT:
            raise UserError(
                f"checkpoint {path} is of format {manifest['format']}, this version of text2lm reads format "
                f"{FORMAT}; go on with the version that wrote it, or set it aside with --restart"
            )
        if manifest["key"] != self.job.key:
            others = "; ".join(differences(manifest["job"], self.job.to_json()))
            raise UserError(
                f"checkpoint {path} belongs to another training: {others}; "
                "choose another directory with --run, or set the old one aside with --restart"
            )
        return Checkpoint(manifest["step"], path, manifest)

    def _refuse_to_start_over(self, damaged: list[str]) -> None:
        """A training that had a checkpoint never begins again from nothing by itself."""
        latest = self.directory / "latest"
        if damaged or latest.exists():
            what = f"{', '.join(damaged)} damaged" if damaged else f"{latest.read_text().strip()} is gone"
            raise UserError(
                f"no checkpoint in {self.directory} verifies: {what}; "
                "restore a copy of one, or begin again with --restart"
            )

    def _directories(self) -> list[Path]:
        """Those named as checkpoints are, newest first."""
        found = [path for path in self.directory.glob("step-*") if STEP_DIR.match(path.name)]
        return sorted(found, key=_step_of, reverse=True)

    def _published(self) -> list[Path]:
        return [path for path in self._directories() if (path / MANIFEST).exists()]

    def _aside(self) -> list[Path]:
        return sorted(self.directory.glob("step-*.bad-*"))

    def _unfinished(self) -> list[Path]:
        """Set aside, without ever having been a checkpoint; oldest first."""
        return [path for path in self._aside() if not (path / MANIFEST).exists()]


def write_file(path: Path, parts: Iterable[Any]) -> Entry:
    """Write buffers one after the other, hashed on the way; when this returns, the disk has them."""
    hasher, size = xxhash.xxh3_128(), 0
    with path.open("wb", buffering=0) as file:
        for part in parts:
            view = memoryview(part).cast("B")
            for start in range(0, len(view), CHUNK_BYTES):
                chunk = view[start : start + CHUNK_BYTES]
                hasher.update(chunk)
                while chunk:
                    chunk = chunk[file.write(chunk) :]
            size += len(view)
        os.fsync(file.fileno())
    sync(path.parent)
    return {"path": path.name, "bytes": size, "digest": f"{DIGEST}:{hasher.hexdigest()}"}


def file_damage(directory: Path, entry: Entry) -> str | None:
    """How a file differs from what was written, in words; None when it does not."""
    name = entry["path"]
    try:
        with (directory / name).open("rb", buffering=0) as file:
            os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)  # ask the disk, not the page cache
            size = os.fstat(file.fileno()).st_size
            digest = f"{DIGEST}:{hashlib.file_digest(file, xxhash.xxh3_128).hexdigest()}"
    except FileNotFoundError:
        return f"{name} is missing"
    except OSError as error:
        return f"{name} cannot be read ({error.strerror})"
    if size != entry["bytes"]:
        return f"{name} has {size} bytes, wanted {entry['bytes']}"
    return None if digest == entry["digest"] else f"{name} does not have its digest"


def _own_digest(manifest: dict[str, Any]) -> str:
    return digest_bytes(canonical_json(manifest))


def _step_of(path: Path) -> int:
    return int(path.name.removeprefix("step-"))


def _remove(path: Path) -> None:
    with suppress(OSError):
        (path / MANIFEST).unlink()  # first, and on disk: a half-deleted directory is not a checkpoint
        sync(path)
    shutil.rmtree(path, ignore_errors=True)
