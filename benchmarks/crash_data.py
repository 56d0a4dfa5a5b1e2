"""The data stages, struck again and again until they are done: every file must be that of the unbroken run."""

from __future__ import annotations

import contextlib
import json
import random
import re
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from crash_campaign import Campaign, Entry
from crash_life import BLOWS, Life, command_line, exit_problem, listens

from tests.conftest import contents

STAGES = ("ingest", "clean", "dedup", "scrub", "split", "tokenizer", "tokens")
SHARE = 0.4  # of the unbroken run's time, at most, until a blow: more would let the last stages be struck seldom
AIMS = {"any": 0.6, "record": 0.4}  # which instants are struck, and how often; a record: a receipt or a manifest
CLOSE_SECONDS = 0.05  # at most, from a record to the blow
POLL_SECONDS = 0.005
LIVES = 100  # an ordeal that takes more is stuck


class DataOrdeal:
    """Ordeal `number` of a campaign; everything that chance decides follows from the campaign's seed and its number."""

    def __init__(self, campaign: Campaign, number: int) -> None:
        self.campaign = campaign
        self.name = f"data-{number:03d}"
        self.rng = random.Random(f"{campaign.seed} {self.name}")
        self.blows: list[str] = []

    def suffer(self, wanted: Callable[[], bool]) -> None:
        """Strike while more is `wanted`, then let it finish, and compare."""
        run = self.campaign.fresh(self.name)
        finished: dict[str, Any] = {}  # what must not be done again
        for trial in range(LIVES):
            entry = self._life(run, self.campaign.entry(self.name, trial), wanted())
            now = records(run)
            again = [name for name, written in finished.items() if now.get(name) != written]
            entry["problems"] += [f"{name} was finished and was written again" for name in again]
            finished = now
            self.campaign.record(entry)
            if entry["exit"] == 0 or entry["problems"]:
                break
        problems = []
        if not entry["problems"]:
            problems = differences(run, self.campaign.unbroken) if entry["exit"] == 0 else ["it never ends"]
        self.campaign.end(self.name, run, problems)

    def _life(self, run: Path, entry: Entry, strike: bool) -> Entry:
        life = self.campaign.life(run, "tokens")
        if strike:
            instant = self.rng.uniform(0, SHARE * self.campaign.facts["data_seconds"])
            aim = entry["aim"] = self.rng.choices([*AIMS], [*AIMS.values()])[0]
            while not life.ended and life.seconds < instant:
                time.sleep(POLL_SECONDS)
            if aim == "record":
                before = records(run)
                while not life.ended and records(run) == before:
                    time.sleep(POLL_SECONDS)
                time.sleep(self.rng.uniform(0, CLOSE_SECONDS))
            if not life.ended:
                return entry | self._strike(life)
        entry |= {"exit": life.wait(), "seconds": round(life.seconds, 2)}
        if entry["exit"] != 0:
            entry["problems"].append(f"it failed by itself: {life.err.strip()[-500:]}")
        return entry

    def _strike(self, life: Life) -> Entry:
        self.blows = self.blows or self.rng.sample(BLOWS, len(BLOWS))
        blow, at_seconds, at = self.blows.pop(), round(life.seconds, 2), phase(life)
        listened = listens(life.launcher.pid, 15)
        struck = time.monotonic()
        victim = life.strike(blow, self.rng)
        remained = life.until_gone()
        done = (life.run / "tokens" / "manifest.json").exists()
        problem = exit_problem(life, blow, victim, listened, done)
        return {
            "blow": blow,
            "victim": victim,
            "phase": at,
            "at_seconds": at_seconds,
            "exit": life.launcher.returncode,
            "gone_after_seconds": round(time.monotonic() - struck, 2),
            "problems": [f"a process was still there: {line}" for line in remained] + ([problem] if problem else []),
        }


def phase(life: Life) -> str:
    """The step whose workers run, or what the launcher does alone."""
    for pid in life.children():
        if found := re.search(r" stage (\w+/\w+) ", command_line(pid)):
            return found[1]
    try:
        holder = json.loads((life.run / "lock.json").read_text())["pid"]  # an earlier life may have left its own
    except (OSError, ValueError):
        return "start-up"
    return "between steps" if holder == life.launcher.pid else "start-up"


def records(run: Path) -> dict[str, Any]:
    """What every receipt and manifest says, times included, so that one that was written again is another one.

    A receipt lies in a file of its own until its stage is sealed, then in a line of its step's pack.
    """
    found = {}
    for stage in STAGES:
        receipts = run / stage / "receipts"
        for path in receipts.glob("*.jsonl"):
            for row in map(json.loads, path.read_text().splitlines()):
                found[f"{stage}/{path.stem} {row.pop('task')}"] = row
        for path in [*receipts.glob("*.json"), *(run / stage).glob("manifest.json")]:
            step, _, task = path.stem.rpartition("-")
            with contextlib.suppress(FileNotFoundError):  # packed meanwhile
                found[f"{stage}/{step} {int(task)}" if step else f"{stage}/manifest"] = json.loads(path.read_text())
    return found


def timeless(value: Any) -> Any:
    """A record without the times in it."""
    if isinstance(value, dict):
        return {key: timeless(item) for key, item in value.items() if key not in ("seconds", "mtime_ns")}
    return [timeless(item) for item in value] if isinstance(value, list) else value


def differences(run: Path, unbroken: Path) -> list[str]:
    """In sentences, what the data stages left otherwise than the unbroken run."""
    ours, theirs = contents(run, *STAGES), contents(unbroken, *STAGES)
    found = [f"{name} differs" for name in sorted(ours.keys() | theirs.keys()) if ours.get(name) != theirs.get(name)]
    mine, wanted = (timeless(records(at)) for at in (run, unbroken))
    found += [
        f"the record {name} differs" for name in sorted(mine.keys() | wanted) if mine.get(name) != wanted.get(name)
    ]
    left = [path for path in run.rglob("*") if path.name.endswith(".tmp") or path.parent.name == "work"]
    left += run.glob("*/receipts/*.json")  # of a task: its stage is sealed
    return found + [f"{path.relative_to(run)} was left behind" for path in left]
