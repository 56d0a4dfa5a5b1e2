"""Proves that no fault of a disk and no kill at any instant costs a receipt or a checkpoint.

Every file-system call of a save fails, in every way it can, and every one is the last before a kill or a power cut:
thousands of faults, injected below Python by `shim.c` into the real code, after each of which the real code looks.
"""

from __future__ import annotations

import functools
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.faults.shim import build

ROOT = Path(__file__).parents[2]
Report = dict[str, Any]  # what driver.py prints
Live = Callable[[str], Report]

# scenario -> faults and power cuts there are at least
AT_LEAST = {
    "a receipt over an older one": (65, 5),
    "a receipt where none is": (65, 5),
    "a manifest over an older one": (65, 5),
    "a manifest where none is": (65, 5),
    "a file that a library writes": (55, 5),
    "a stage redone under other settings": (1200, 100),
    "a stage that lost a part": (1000, 60),
    "parts that are dropped": (1800, 300),
    "the first checkpoint": (320, 15),
    "a checkpoint over two": (330, 25),
    "a checkpoint over some that stay": (430, 30),
    "a save given up": (35, 6),
    "a resume": (70, 3),
}
# a wrong way to save a receipt -> the faults that have to give it away
GIVEN_AWAY_BY = {
    "in_place": {"KILL_AFTER", "KILL_PART", "FULL ENOSPC", "power cut"},
    "removed_first": {"KILL_AFTER", "KILL_BEFORE", "FAIL EIO", "power cut"},
    "never_synced": {"power cut"},
    "directory_never_synced": {"power cut"},
    "temporary_left": {"FAIL EIO", "FULL ENOSPC", "PART ENOSPC"},
    "errors_hidden": {"FAIL EIO", "FAIL ENOSPC", "FAIL EDQUOT"},
}


@pytest.fixture(scope="module")
def live(tmp_path_factory: pytest.TempPathFactory) -> Live:
    """What a process of its own reports of a scenario."""
    library = build(tmp_path_factory.mktemp("shim"))

    @functools.cache
    def report(name: str) -> Report:
        with tempfile.TemporaryDirectory(dir="/dev/shm") as memory:  # no fsync reaches a disk, which would only be slow
            done = subprocess.run(
                [sys.executable, "-m", "tests.faults.driver", name, memory],
                cwd=ROOT,
                env=os.environ | {"LD_PRELOAD": str(library)},
                capture_output=True,
                text=True,
                timeout=900,  # against hanging
            )
        assert done.returncode == 0, done.stderr
        return dict(json.loads(done.stdout))

    return report


@pytest.mark.parametrize("name", AT_LEAST)
def test_nothing_is_lost_and_nothing_torn_whatever_fails(live: Live, name: str) -> None:
    report = live(name)
    assert not report["problems"], f"{len(report['problems'])} problems\n" + "\n".join(report["problems"][:5])
    assert report["all_seen"], "the files were changed by a call that the shim does not know"
    faults, power_cuts = AT_LEAST[name]
    assert report["faults"] >= faults and report["power_cuts"] >= power_cuts


@pytest.mark.parametrize("name", GIVEN_AWAY_BY)
def test_a_careless_way_to_save_is_seen(live: Live, name: str) -> None:
    """What the test above would say of code that is wrong."""
    problems = live(f"careless: {name}")["problems"]
    for fault in GIVEN_AWAY_BY[name]:
        assert any(fault in problem.partition("\n")[0] for problem in problems), f"{fault} does not show it"


def place(made: list[list[str]], call: str, path: str, after: int = -1) -> int:
    """Number of the first such call past `after`; `path` may be the end of one."""
    return next(n for n, (name, where) in enumerate(made) if n > after and name == call and where.endswith(path))


def test_a_receipt_is_written_synced_renamed_and_its_directory_synced(live: Live) -> None:
    made = live("a receipt over an older one")["made"]
    changes = [name for name, _ in made if name in ("write", "fsync", "rename", "unlink")]
    written = place(made, "write", ".tmp")
    synced = place(made, "fsync", ".tmp", written)
    renamed = place(made, "rename", "receipts/clean-00000.json", synced)
    assert place(made, "fsync", "receipts", renamed)
    assert (changes.count("write"), changes.count("rename"), changes.count("unlink")) == (1, 1, 0)


def test_nothing_older_goes_before_the_new_checkpoint_is_on_disk(live: Live) -> None:
    made = live("a checkpoint over two")["made"]
    published = place(made, "rename", "step-00000030/manifest.json")
    for rank in range(2):
        file = f"step-00000030/rank-0000{rank}.safetensors"
        written = max(n for n, (name, path) in enumerate(made) if name == "write" and path.endswith(file))
        synced = place(made, "fsync", file, written)
        assert place(made, "fsync", "step-00000030", synced) < published
    on_disk = place(made, "fsync", "checkpoints", place(made, "fsync", "step-00000030", published))
    gone = [n for n, (name, _) in enumerate(made[:on_disk]) if name in ("unlink", "unlinkat", "rmdir", "rename")]
    assert gone == [published], "before it is on disk, nothing goes, and only its manifest is renamed"
    assert place(made, "unlink", "step-00000010/manifest.json", on_disk)
