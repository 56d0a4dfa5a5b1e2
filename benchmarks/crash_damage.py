"""Ways in which checkpoints are damaged between two lives of a training."""

from __future__ import annotations

import json
import random
import shutil
from pathlib import Path
from typing import NamedTuple

from crash_campaign import SAVE_EVERY
from crash_watch import digests, published

DAMAGES = (
    "truncate",
    "flip a byte",
    "flip a byte of the manifest",
    "delete a file",
    "delete the manifest",
    "delete the directory",
    "swap two ranks' files",
    "an older file under a new name",
    "an older directory under a new name",
    "no latest, or a wrong one",
    "damage all",
)


class Damage(NamedTuple):
    what: str
    hurt: dict[str, dict[str, str]]  # directory -> digests of its files: to be named, and set aside as they are
    expected: int | None  # the step to go on from; None: there is no good one left


def damage(what: str, checkpoints: Path, rng: random.Random) -> Damage:
    """Damage what a training left; it has published two checkpoints or more."""
    newest, older = published(checkpoints)[:2]
    new, old = (checkpoints / f"step-{step:08d}" for step in (newest, older))
    files = sorted(new.glob("*.safetensors"))
    file = rng.choice(files)
    hurt, expected = [new], older
    match what:
        case "truncate":
            file = rng.choice([*files, new / "manifest.json"])
            file.write_bytes(file.read_bytes()[: rng.randrange(file.stat().st_size)])
        case "flip a byte":
            flip(file, rng)
        case "flip a byte of the manifest":
            flip(new / "manifest.json", rng)
        case "delete a file":
            file.unlink()
        case "delete the manifest":
            (new / "manifest.json").unlink()
        case "delete the directory":
            shutil.rmtree(new)
            hurt = []
        case "swap two ranks' files":
            one, other = (path.read_bytes() for path in files[:2])
            files[0].write_bytes(other)
            files[1].write_bytes(one)
        case "an older file under a new name":
            shutil.copy2(old / file.name, file)
        case "an older directory under a new name":
            copy = checkpoints / f"step-{newest + SAVE_EVERY:08d}"
            shutil.rmtree(copy, ignore_errors=True)  # a save that was killed
            shutil.copytree(old, copy)
            hurt, expected = [copy], newest
        case "no latest, or a wrong one":
            latest = checkpoints / "latest"
            latest.unlink()
            if rng.random() < 0.5:
                latest.write_text(f"{old.name}\n")
            hurt, expected = [], newest
        case "damage all":
            hurt = [checkpoints / f"step-{step:08d}" for step in published(checkpoints)]
            for directory in hurt:
                flip(rng.choice(sorted(directory.glob("*.safetensors"))), rng)
            return Damage(what, {path.name: digests(path) for path in hurt}, None)
        case _:
            raise ValueError(what)
    return Damage(what, {path.name: digests(path) for path in hurt}, expected)


def flip(path: Path, rng: random.Random) -> None:
    """Turn one bit around; in a manifest one that changes what it says (1e-05 and 1E-05 are the same number)."""
    before = path.read_bytes()
    while True:
        data = bytearray(before)
        data[rng.randrange(len(data))] ^= 1 << rng.randrange(8)
        if path.suffix != ".json" or meaning(bytes(data)) != meaning(before):
            path.write_bytes(data)
            return


def meaning(data: bytes) -> object:
    try:
        return json.loads(data)
    except ValueError:
        return data


def set_aside_problems(checkpoints: Path, hurt: dict[str, dict[str, str]], said: list[str]) -> list[str]:
    """Whether every damaged directory was named, and is still there under another name with the same files."""
    found = []
    for name, files in hurt.items():
        if name not in said:
            found.append(f"{name} is damaged and was not named")
        if not any(digests(path) == files for path in checkpoints.glob(f"{name}.bad-*")):
            found.append(f"{name} is damaged and was not set aside as it was")
    return found
