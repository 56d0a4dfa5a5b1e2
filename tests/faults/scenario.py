"""What faults are injected into: work on files, with the state before it and what must hold whatever happens."""

from __future__ import annotations

from enum import Enum
from pathlib import Path
from typing import Protocol


class Ending(Enum):
    """How the work ended."""

    DONE = "done"
    FAILED = "failed"  # by an `OSError`
    STUCK = "stuck"  # the same, where nothing could be cleaned up, since every later call failed, too
    CUT = "cut"  # a kill or a power cut at some instant


class Scenario(Protocol):
    def prepare(self, root: Path) -> None:
        """The state before, in the empty directory `root`."""

    def work(self, root: Path) -> None:
        """Raises `OSError` when it could not be done."""

    def check(self, root: Path, ending: Ending) -> None:
        """Look with the real code, without changing anything; `AssertionError` when something is lost or torn."""

    def again(self, root: Path, ending: Ending) -> None:
        """Go on from there, now that nothing fails, and check that all is well."""
