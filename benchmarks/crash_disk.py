"""A training whose disk fills up at a random moment, and is freed later. Needs the right to mount (root)."""

from __future__ import annotations

import errno
import random
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

from crash_campaign import SAVE_EVERY, Campaign, Entry
from crash_life import Life, end_all
from crash_training import resume_problems, wait_until
from crash_watch import Watch, differences, digests, published, unfinished

DISK_BYTES = 16 << 20  # room for a run's data, the checkpoints that are kept, and one more
# what lies on the small disk, and what comes while it is full
VARIANTS: tuple[tuple[str, str | None], ...] = (
    ("checkpoints", None),
    ("run", "term"),
    ("run", None),
    ("checkpoints", "term"),
    ("run", "kill-all"),
)
MOST_FAILURES = 3  # saves
LAST_STEPS = SAVE_EVERY * (MOST_FAILURES + 2)  # of the training, in which no disk fills up: it must be freed in time
EXIT = {None: 0, "term": 1, "kill-all": -9}


class DiskOrdeal:
    """Ordeal `number` of a campaign; everything that chance decides follows from the campaign's seed and its number."""

    def __init__(self, campaign: Campaign, number: int) -> None:
        self.campaign = campaign
        self.name = f"disk-{number:03d}"
        self.small, self.blow = VARIANTS[number % len(VARIANTS)]
        self.rng = random.Random(f"{campaign.seed} {self.name}")

    def suffer(self, wanted: Callable[[], bool]) -> None:
        """Fill the disk under one training, free it, let it finish, and compare."""
        run = self.campaign.fresh(self.name)
        small = run if self.small == "run" else run / "pretrain" / "checkpoints"
        if self.small == "run":
            mount(small)
        shutil.copytree(self.campaign.prepared, run, dirs_exist_ok=True)
        entry = self.campaign.entry(self.name, 0) | {"full": f"under {self.small}, {self.blow or 'no blow'}"}
        watch, life = Watch(run, self.campaign.steps), self.campaign.life(run, "pretrain")
        try:
            if self.small != "run":
                wait_until(life, (run / "pretrain" / "started.json").exists)  # before that the directory is emptied
                mount(small)
            self._fill(life, watch, entry)
            if self.blow and not entry["problems"]:
                self._again(run, entry)
            problems = differences(run, self.campaign.unbroken) if not entry["problems"] else []
            if entry["problems"] or problems:
                shutil.copytree(run, run.with_name(f"{self.name}.wrong"), dirs_exist_ok=True)
        finally:
            end_all(f"{run}/")
            life.launcher.wait()
            if small.is_mount():
                subprocess.run(["umount", "-l", str(small)], check=True)
        self.campaign.record(entry)
        self.campaign.end(self.name, run, problems)

    def _fill(self, life: Life, watch: Watch, entry: Entry) -> None:
        """Take all the space from a random step on, for a few saves; deal the blow; give it back."""
        step = self.rng.randint(SAVE_EVERY, self.campaign.steps - LAST_STEPS)
        wait_until(life, lambda: watch.last_step() >= step and bool(watch.published()))
        before, ballast = watch.published(), watch.checkpoints / "ballast"
        files = {step: digests(watch.checkpoints / f"step-{step:08d}") for step in before}
        begun = watch.saves() + self.rng.randint(1, MOST_FAILURES) + 1
        wait_until(life, lambda: fill(ballast) and watch.saves() >= begun)
        after = watch.published()
        entry |= {"step": watch.last_step(), "published_before": before, "published_full": after}
        if after[:1] < before[:1]:
            entry["problems"].append(f"checkpoints {before} before the disk was full, {after} after it")
        for step in set(before) & set(after):
            if digests(watch.checkpoints / f"step-{step:08d}") != files[step]:
                entry["problems"].append(f"step {step} is no longer as it was")
        if self.blow:
            life.strike(self.blow, self.rng)
            wait_until(life, lambda: fill(ballast) and False)
        ballast.unlink()
        entry |= {"exit": life.wait(), "published_after": watch.published(), "said": life.err.strip()[-500:]}
        if entry["exit"] != EXIT[self.blow]:
            entry["problems"].append(f"exit code {entry['exit']}, wanted {EXIT[self.blow]}: {entry['said']}")
        told = "checkpoint not saved: step-" in life.out
        if self.small == "checkpoints" and not told:  # else the log may be on the full disk
            entry["problems"].append("the user was not told of the saves that failed")

    def _again(self, run: Path, entry: Entry) -> None:
        """The disk is free again: run again."""
        checkpoints = run / "pretrain" / "checkpoints"
        expected, torn = published(checkpoints)[0], unfinished(checkpoints)
        watch, life = Watch(run, self.campaign.steps), self.campaign.life(run, "pretrain")
        code = life.wait()
        entry |= {"expected": expected, "resumed": watch.resumed}
        if code != 0:
            entry["problems"].append(f"run again, exit code {code}: {life.err.strip()[-500:]}")
        entry["problems"] += resume_problems(watch, expected, torn)


def mount(directory: Path) -> None:
    """A small file system in memory, at `directory`."""
    directory.mkdir(parents=True, exist_ok=True)
    command = ["mount", "-t", "tmpfs", "-o", f"size={DISK_BYTES}", "tmpfs", str(directory)]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        raise SystemExit(f"no small file system here: {done.stderr.strip()}; leave full disks out with --full-disks 0")


def fill(ballast: Path) -> bool:
    """Take all the space there is. True."""
    with ballast.open("ab", buffering=0) as file:
        try:
            while True:
                file.write(bytes(65536))
        except OSError as error:
            if error.errno != errno.ENOSPC:
                raise
    return True
