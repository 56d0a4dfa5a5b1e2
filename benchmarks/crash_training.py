"""A training that is struck again and again, and whose checkpoints are damaged in between, until it is done."""

from __future__ import annotations

import random
import shutil
import time
from collections.abc import Callable
from pathlib import Path

from crash_campaign import KEEP_LAST, Campaign, Entry
from crash_damage import DAMAGES, Damage, damage, set_aside_problems
from crash_life import BLOWS, Life, exit_problem, listens
from crash_watch import Watch, differences, digests, published, unfinished

AIMS = {"any": 0.45, "save": 0.3, "validation": 0.1, "start-up": 0.15}  # which instants are struck, and how often
SAVES_WAITED = 6  # at most, by the aim at a save
CLOSE_SECONDS = 0.05  # at most, from the beginning of what is aimed at to the blow
LIVES = 100  # an ordeal that takes more is stuck


class TrainingOrdeal:
    """Ordeal `number` of a campaign; everything that chance decides follows from the campaign's seed and its number."""

    def __init__(self, campaign: Campaign, number: int) -> None:
        self.campaign = campaign
        self.name = f"training-{number:03d}"
        self.rng = random.Random(f"{campaign.seed} {self.name}")
        kinds = random.Random(campaign.seed).sample(DAMAGES, len(DAMAGES))
        self.damages = [kinds[(2 * number + place) % len(kinds)] for place in range(len(kinds))]
        self.blows: list[str] = []
        self.trial = 0

    def suffer(self, wanted: Callable[[], bool]) -> None:
        """Strike while more is `wanted`, then let it finish, and compare."""
        run = self.campaign.fresh(self.name, self.campaign.prepared)
        for self.trial in range(LIVES):
            entry = self._life(run, wanted())
            self.campaign.record(entry)
            if entry["exit"] == 0 or entry["problems"]:
                break
        problems = [] if entry["problems"] or entry["exit"] == 0 else ["it never ends"]
        if not entry["problems"] and not problems:
            problems += differences(run, self.campaign.unbroken)
            if entry["resumed"] != self.campaign.steps:
                problems += left_behind(run / "pretrain" / "checkpoints")
        self.campaign.end(self.name, run, problems)

    def _life(self, run: Path, strike: bool) -> Entry:
        """Damage what there is in every second life, let it live, strike, and look at what is left."""
        checkpoints = run / "pretrain" / "checkpoints"
        entry = self.campaign.entry(self.name, self.trial) | {"damage": None}
        hurt = None
        if strike and self.trial % 2 and self.damages and len(published(checkpoints)) > 1:
            backup = run.with_name(f"{self.name}.backup")
            shutil.rmtree(backup, ignore_errors=True)
            shutil.copytree(checkpoints, backup)
            hurt = damage(self.damages.pop(0), checkpoints, self.rng)
            entry["damage"] = hurt.what
            if hurt.expected is None:
                return entry | self._refused(run, hurt, backup)
        expected = (hurt and hurt.expected) or next(iter(published(checkpoints)), 0)
        torn = unfinished(checkpoints)
        watch, life = Watch(run, self.campaign.steps), self.campaign.life(run, "pretrain")
        if hurt:
            wait_until(life, lambda: watch.training)
            entry["problems"] += set_aside_problems(checkpoints, hurt.hurt, watch.skipped())
        if strike and self._aim(life, watch, entry):
            self._strike(life, watch, entry)
        else:
            entry |= {"exit": life.wait(), "seconds": round(life.seconds, 2)}
            if entry["exit"] != 0:
                entry["problems"].append(f"it failed by itself: {life.err.strip()[-500:]}")
        entry |= {"expected": expected, "resumed": watch.resumed, "torn": torn}
        if watch.training:
            entry["problems"] += resume_problems(watch, expected, torn)
        return entry

    def _aim(self, life: Life, watch: Watch, entry: Entry) -> bool:
        """Wait for an instant that chance picks. False: the life ended before."""
        facts, steps = self.campaign.facts, self.campaign.steps
        start_up, whole = facts["start_up_seconds"], facts["training_seconds"]
        aim = entry["aim"] = self.rng.choices([*AIMS], [*AIMS.values()])[0]
        saves, close = self.rng.randint(1, SAVES_WAITED), self.rng.uniform(0, CLOSE_SECONDS)
        instant = self.rng.uniform(start_up if aim == "validation" else 0, start_up if aim == "start-up" else whole)
        if aim == "save":
            wait_until(life, lambda: watch.saves() >= saves)
        elif instant < start_up:
            wait_until(life, lambda: life.seconds >= instant)
        else:  # by steps, not by seconds: lives are of different lengths, and the machine may be busy
            wait_until(life, lambda: watch.training)
            first = watch.resumed or 0
            step = first + int((steps - first) * (instant - start_up) / (whole - start_up))
            wait_until(life, lambda: watch.last_step() >= step)
        if aim == "validation":
            wait_until(life, lambda: watch.phase() == "validation")
        time.sleep(close)
        return not life.ended

    def _strike(self, life: Life, watch: Watch, entry: Entry) -> None:
        self.blows = self.blows or self.rng.sample(BLOWS, len(BLOWS))
        blow, at_seconds = self.blows.pop(), round(life.seconds, 2)
        before, phase, step = watch.published(), watch.phase(), watch.last_step()
        listened, training = listens(life.launcher.pid, 15), watch.training
        struck = time.monotonic()
        victim = life.strike(blow, self.rng)
        remained = life.until_gone()
        after, last = watch.published(), watch.last_step()
        done = last == self.campaign.steps and last in after
        entry |= {
            "blow": blow,
            "victim": victim,
            "phase": phase,
            "at_seconds": at_seconds,
            "step": step,
            "published_before": before,
            "published_after": after,
            "lost_steps": last - next(iter(after), 0) if training else 0,
            "exit": life.launcher.returncode,
            "gone_after_seconds": round(time.monotonic() - struck, 2),
        }
        problems = entry["problems"]
        problems += [f"a process was still there: {line}" for line in remained]
        problems += [problem] if (problem := exit_problem(life, blow, victim, listened, done)) else []
        if next(iter(before), 0) > next(iter(after), 0) or len(after) < min(len(before), KEEP_LAST):
            problems.append(f"checkpoints {before} before the blow, {after} after it")
        if entry["exit"] == 3 and training and last != next(iter(after), 0):
            problems.append(f"stopped by a signal after step {last}, and saved {after}")

    def _refused(self, run: Path, hurt: Damage, backup: Path) -> Entry:
        """No checkpoint is good: it must say so and touch nothing. Then the user brings copies back."""
        checkpoints, metrics = run / "pretrain" / "checkpoints", run / "pretrain" / "metrics.jsonl"
        rows = metrics.read_bytes()
        life = self.campaign.life(run, "pretrain")
        code, problems = life.wait(), []
        kept = [digests(path) for path in checkpoints.iterdir() if path.is_dir()]
        if code != 2 or len(life.err.splitlines()) != 1:
            problems.append(f"exit code {code} without a good checkpoint, wanted 2 and one line: {life.err[-500:]}")
        problems += [f"{name} is damaged and was not named" for name in hurt.hurt if name not in life.err]
        if any(files not in kept for files in hurt.hurt.values()):
            problems.append("a damaged checkpoint was deleted")
        if metrics.read_bytes() != rows:
            problems.append("metrics.jsonl was touched")
        shutil.rmtree(checkpoints)
        shutil.copytree(backup, checkpoints)
        return {"exit": code, "said": life.err.strip(), "problems": problems}


def wait_until(life: Life, condition: Callable[[], bool]) -> None:
    """Look every 2 ms, until the condition holds or the life ends."""
    while not life.ended and not condition():
        time.sleep(0.002)


def resume_problems(watch: Watch, expected: int, torn: list[str]) -> list[str]:
    """Whether training went on from the newest checkpoint that was good, and named what it passed over."""
    found = []
    if (watch.resumed or 0) != expected:
        found.append(f"resumed from {watch.resumed}, wanted {expected}")
    newer = [name for name in torn if name > f"step-{expected:08d}"]  # an older one was being removed
    return found + [f"{name} was never finished and was not named" for name in newer if name not in watch.skipped()]


def left_behind(checkpoints: Path) -> list[str]:
    """What retention should have removed, after a life that saved something."""
    kept = [f"step-{step:08d}" for step in published(checkpoints)[:KEEP_LAST]]
    found = [path.name for path in checkpoints.glob("step-*") if path.name not in kept]
    whole = [name for name in found if ".bad-" not in name]
    torn = [name for name in found if ".bad-" in name and not (checkpoints / name / "manifest.json").exists()]
    return [f"{name} was left behind" for name in whole + torn[1:]]
