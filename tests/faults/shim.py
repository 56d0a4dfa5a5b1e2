"""The other half of `shim.c`: building it, and arming it in the process that has it loaded."""

from __future__ import annotations

import ctypes
import json
import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from enum import IntEnum
from pathlib import Path

import pytest

SOURCE = Path(__file__).with_name("shim.c")


class Kind(IntEnum):
    """What a call does with space."""

    LOOKS = 0
    TAKES = 1
    FREES = 2


class Fault(IntEnum):
    """What happens to the call of the chosen number."""

    NONE = 0
    FAIL = 1  # it alone fails
    FULL = 2  # from it on, all that take space fail: a full disk, on which one may still delete
    GONE = 3  # from it on, all fail
    SHORT = 4  # half of it is done, and said so
    PART = 5  # half of it is done, and the call after it fails
    KILL_BEFORE = 6
    KILL_AFTER = 7
    KILL_PART = 8  # half of it is done


@dataclass(frozen=True)
class Call:
    """A line of the trace."""

    name: str
    kind: Kind
    path: str
    other: str  # where a rename goes
    flags: int
    offset: int  # where a write begins; the new size of a truncation
    result: int
    data: bytes  # what was written


def build(directory: Path) -> Path:
    """The shim, compiled. CI fails where there is no compiler; others skip."""
    compiler = shutil.which("g++")
    if compiler is None:
        (pytest.fail if "CI" in os.environ else pytest.skip)("injecting faults wants g++")
    library = directory / "shim.so"
    subprocess.run([compiler, "-x", "c", "-shared", "-fPIC", "-o", library, SOURCE, "-ldl"], check=True)
    return library


@contextmanager
def armed(
    directory: Path, at: int = 0, fault: Fault = Fault.NONE, error: int = 0, trace: Path | None = None
) -> Iterator[None]:
    """Calls on what is under `directory` are counted; number `at` suffers. `AssertionError` if it was not reached."""
    library = ctypes.CDLL(None)  # what LD_PRELOAD loaded
    library.shim_arm(os.fsencode(directory), at, fault.value, error, trace and os.fsencode(trace))
    try:
        yield
    finally:
        reached = library.shim_disarm()
    assert reached or fault is Fault.NONE, f"call {at} was not reached"


def read_trace(path: Path) -> list[Call]:
    rows = [json.loads(line) for line in path.read_text().splitlines()]
    return [Call(**row | {"kind": Kind(row["kind"]), "data": bytes.fromhex(row["data"])}) for row in rows]
