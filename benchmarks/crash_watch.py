"""A training as it looks from outside: its log, its metrics, its checkpoints on disk."""

from __future__ import annotations

import hashlib
import json
import os
import re
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from crash_campaign import VALIDATE_EVERY
from safetensors import safe_open

from data_prep.files import last_json_line

STEP_DIR = re.compile(r"step-(\d{8,})")
COMPARED = ("step", "loss", "lr", "grad_norm", "tokens", "skipped", "val_loss", "val")  # in metrics.jsonl, bit for bit


class Watch:
    """A run directory, and the part of rank 0's log that was written since now."""

    def __init__(self, run: Path, steps: int) -> None:
        self.run = run
        self.steps = steps
        self.checkpoints = run / "pretrain" / "checkpoints"
        self._log = run / "logs" / "pretrain-0.log"
        self._log_start = self._log.stat().st_size if self._log.exists() else 0
        self._before = self._directories()
        self._begun: set[tuple[str, int]] = set()

    def log(self) -> str:
        if not self._log.exists():
            return ""
        return self._log.read_bytes()[self._log_start :].decode(errors="replace")

    @property
    def resumed(self) -> int | None:
        """The step that training says it goes on from."""
        found = re.search(r"^resumed from step-(\d+)$", self.log(), re.MULTILINE)
        return int(found[1]) if found else None

    @property
    def training(self) -> bool:
        """Whether it has got past its resume."""
        return re.search(r"^[\d,]+ parameters, ", self.log(), re.MULTILINE) is not None

    def skipped(self) -> list[str]:
        """Directories that the log says were passed over."""
        return re.findall(r"^skipped checkpoint (step-\d+):", self.log(), re.MULTILINE)

    def published(self) -> list[int]:
        """Steps that have a checkpoint, newest first."""
        return published(self.checkpoints)

    def saves(self) -> int:
        """Saves begun since now, as many as were seen: ask often, old ones are removed."""
        self._begun |= self._directories() - self._before
        return len(self._begun)

    def last_step(self) -> int:
        """Of metrics.jsonl."""
        row = last_json_line(self.run / "pretrain" / "metrics.jsonl")
        return int(row["step"]) if row else 0

    def phase(self) -> str:
        """What the training is doing, as well as can be told."""
        if not self.training:
            return "start-up"
        names = {name for name, _ in self._directories() - self._before}
        for name in names - {f"step-{step:08d}" for step in self.published()}:
            files = [path for path in (self.checkpoints / name).glob("*.safetensors") if not path.name.startswith(".")]
            whole = {path.name: path.stat().st_size for path in files} == self._rank_bytes()
            return "publishing" if whole else "saving"
        step = self.last_step()
        if step == self.steps:
            return "finishing"
        return "validation" if (step + 1) % VALIDATE_EVERY == 0 else "step"

    def _rank_bytes(self) -> dict[str, int]:
        """Sizes of the rank files of the newest checkpoint: each of them has the same."""
        newest = next(iter(self.published()), 0)
        files = (self.checkpoints / f"step-{newest:08d}").glob("*.safetensors")
        return {path.name: path.stat().st_size for path in files}

    def _directories(self) -> set[tuple[str, int]]:
        """(name, inode) of every checkpoint, finished or not: a name may be used anew."""
        if not self.checkpoints.exists():
            return set()
        with os.scandir(self.checkpoints) as entries:
            return {(entry.name, entry.inode()) for entry in entries if STEP_DIR.fullmatch(entry.name)}


def published(checkpoints: Path) -> list[int]:
    """Steps whose directory has a manifest, newest first."""
    found = [STEP_DIR.fullmatch(path.parent.name) for path in checkpoints.glob("step-*/manifest.json")]
    return sorted((int(match[1]) for match in found if match), reverse=True)


def unfinished(checkpoints: Path) -> list[str]:
    """Names of directories that a save began and did not publish."""
    directories = [path for path in checkpoints.glob("step-*") if STEP_DIR.fullmatch(path.name)]
    return sorted(path.name for path in directories if not (path / "manifest.json").exists())


def rows(path: Path) -> list[dict[str, Any]]:
    """Whole lines of a JSON-lines file."""
    if not path.exists():
        return []
    lines = path.read_bytes().split(b"\n")
    return [json.loads(line) for line in lines[:-1]]


def digests(directory: Path) -> dict[str, str]:
    """SHA-256 of every file below a directory, by relative path."""
    files = sorted(path for path in directory.rglob("*") if path.is_file())
    return {str(path.relative_to(directory)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def state(checkpoint: Path) -> dict[str, npt.NDArray[np.float32]]:
    """All that a checkpoint holds, whole, as `kind/parameter`, flat; read with safetensors' own library."""
    whole: dict[str, npt.NDArray[np.float32]] = {}
    for path in sorted(checkpoint.glob("*.safetensors")):
        with safe_open(path, framework="numpy") as file:
            pieces, shapes = (json.loads(file.metadata()[name]) for name in ("pieces", "shapes"))
            for key in file.keys():  # noqa: SIM118 (no dict)
                name = key.partition("/")[2]
                start, numel = pieces[name]
                flat = whole.setdefault(key, np.full(int(np.prod(shapes[name])), np.nan, np.float32))
                flat[start : start + numel] = file.get_tensor(key)
    return whole


def differences(run: Path, unbroken: Path) -> list[str]:
    """In sentences, what a training has otherwise than the unbroken one."""
    found = []
    ours, theirs = rows(run / "pretrain" / "metrics.jsonl"), rows(unbroken / "pretrain" / "metrics.jsonl")
    if [row["step"] for row in ours] != [row["step"] for row in theirs]:
        found.append(f"metrics.jsonl has the steps {[row['step'] for row in ours]}")
    for mine, wanted in zip(ours, theirs, strict=False):
        other = [name for name in COMPARED if repr(mine.get(name)) != repr(wanted.get(name))]
        if other:
            found.append(f"step {mine['step']} differs in {', '.join(other)}")
    samples, wanted_samples = (rows(at / "pretrain" / "samples.jsonl") for at in (run, unbroken))
    if samples != wanted_samples:
        found.append(f"samples.jsonl differs, it has the steps {[row['step'] for row in samples]}")
    last = f"step-{theirs[-1]['step']:08d}"
    mine, wanted = (state(at / "pretrain" / "checkpoints" / last) for at in (run, unbroken))
    assert len({key.partition("/")[0] for key in wanted}) == 3, "weights and two moments"
    assert not any(np.isnan(value).any() for value in wanted.values())
    if mine.keys() != wanted.keys():
        found.append(f"{last} holds {sorted(mine.keys() ^ wanted.keys())} too much or not")
    else:
        found += [f"{key} of {last} differs" for key in wanted if mine[key].tobytes() != wanted[key].tobytes()]
    return found
