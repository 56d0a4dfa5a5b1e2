"""Checkpoints as directories of verified files. File logic only: no torch, no processes.

    RUN/pretrain/checkpoints/step-00000500/
        rank-00000.safetensors  rank-00000.json      each writer's file, and its size and digest once it is on disk
        manifest.json                                published last: this is what makes the directory a checkpoint
    RUN/pretrain/checkpoints/latest                  a hint for people; never read

To save: rank 0 calls `begin`, all ranks write and `record`, and after all have, rank 0 calls `publish`.
"""

from __future__ import annotations

import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

from data_prep.files import UserError, atomic_write, digest_file, read_json, sync, write_json

MANIFEST = "manifest.json"
STEP_DIR = re.compile(r"step-(\d{8,})$")


class Checkpoint(NamedTuple):
    """A directory whose manifest was published."""

    step: int
    path: Path
    manifest: dict[str, Any]


class CheckpointStore:
    """The checkpoints of one training, whose identity is `key`."""

    def __init__(self, directory: Path, *, key: str, keep_last: int) -> None:
        self.directory = directory
        self.key = key
        self.keep_last = keep_last

    def step_dir(self, step: int) -> Path:
        return self.directory / f"step-{step:08d}"

    def rank_file(self, step: int, rank: int) -> Path:
        """Where `rank` writes its part of step `step`."""
        return self.step_dir(step) / f"rank-{rank:05d}.safetensors"

    def manifest(self, step: int) -> dict[str, Any]:
        """The manifest of a checkpoint that was published."""
        manifest: dict[str, Any] = read_json(self.step_dir(step) / MANIFEST)
        return manifest

    # --- saving

    def begin(self, step: int) -> None:
        """Make an empty directory for a step; what an earlier, torn save of it left is removed."""
        self._remove(self.step_dir(step))
        self.step_dir(step).mkdir(parents=True)

    def record(self, path: Path) -> None:
        """A writer's word that its file is complete and on disk: size and digest, beside it."""
        sync(path)
        entry = {"path": path.name, "bytes": path.stat().st_size, "digest": digest_file(path)}
        write_json(path.with_suffix(".json"), entry)

    def publish(self, step: int, facts: dict[str, Any], world_size: int) -> None:
        """Turn the directory into a checkpoint, then drop those beyond the newest `keep_last`.

        `facts` go into the manifest as they are. Call when every rank has recorded its file.
        """
        files = [read_json(self.rank_file(step, rank).with_suffix(".json")) for rank in range(world_size)]
        manifest = {"step": step, "key": self.key, "world_size": world_size, **facts, "files": files}
        write_json(self.step_dir(step) / MANIFEST, manifest)
        sync(self.directory)
        atomic_write(self.directory / "latest", f"{self.step_dir(step).name}\n")
        for old in self._published()[self.keep_last :]:
            self._remove(old)
        for torn in self.directory.iterdir():  # saves that were killed: nothing but space
            if STEP_DIR.match(torn.name) and not (torn / MANIFEST).exists():
                self._remove(torn)

    # --- loading

    def newest_good(self, say: Callable[[str], None], *, set_aside: bool = False) -> Checkpoint | None:
        """The newest checkpoint that verifies; None when there has never been one.

        One that does not verify is skipped with a sentence to `say`, and with `set_aside` (for the training itself:
        others only look) renamed. When there are checkpoints and none verifies, or the good one belongs to another
        training: `UserError`.
        """
        damaged = sorted(path.name for path in self.directory.glob("step-*.bad-*"))
        for path in self._published():
            problem, manifest = self._verify(path)
            if problem is None:
                if manifest["key"] != self.key:
                    raise UserError(
                        f"checkpoint {path} belongs to another training: its key is {manifest['key']}, this run's is "
                        f"{self.key}; choose another directory with --run, or set the old one aside with --restart"
                    )
                return Checkpoint(manifest["step"], path, manifest)
            aside = self._set_aside(path) if set_aside else path
            damaged.append(aside.name)
            say(f"skipped checkpoint {path.name}: {problem}" + (f"; set aside as {aside.name}" if set_aside else ""))
        if damaged:
            raise UserError(
                f"no checkpoint in {self.directory} verifies: {', '.join(damaged)} damaged; "
                "restore a copy of one, or begin again with --restart"
            )
        return None

    def _verify(self, path: Path) -> tuple[str | None, dict[str, Any]]:
        """(what is wrong or None, manifest)."""
        try:
            manifest: dict[str, Any] = read_json(path / MANIFEST)
            if path.name != self.step_dir(manifest["step"]).name:
                return f"its manifest says step {manifest['step']}", manifest
            for entry in manifest["files"]:
                file = path / entry["path"]
                if not file.exists():
                    return f"{entry['path']} is missing", manifest
                if file.stat().st_size != entry["bytes"]:
                    return f"{entry['path']} has {file.stat().st_size} bytes, wanted {entry['bytes']}", manifest
                if digest_file(file) != entry["digest"]:
                    return f"{entry['path']} does not have its digest", manifest
            manifest["key"]
        except (UserError, KeyError, TypeError):
            return f"its {MANIFEST} is damaged", {}
        return None, manifest

    def _published(self) -> list[Path]:
        """Directories that have a manifest, newest first."""
        if not self.directory.exists():
            return []
        steps = {path: STEP_DIR.match(path.name) for path in self.directory.iterdir()}
        found = [(int(match[1]), path) for path, match in steps.items() if match and (path / MANIFEST).exists()]
        return [path for _, path in sorted(found, reverse=True)]

    def _set_aside(self, path: Path) -> Path:
        number = 1
        while (aside := path.with_name(f"{path.name}.bad-{number}")).exists():
            number += 1
        return path.rename(aside)

    def _remove(self, path: Path) -> None:
        (path / MANIFEST).unlink(missing_ok=True)  # first: a half-deleted directory is not a checkpoint
        shutil.rmtree(path, ignore_errors=True)
