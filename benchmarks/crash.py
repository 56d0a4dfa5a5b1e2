"""Ends trainings and data stages at random instants, damages checkpoints, fills disks, and compares what comes out.

python benchmarks/crash.py --directory DIR [--kills-training 40] [--corruptions 22] [--kills-data 100]
    [--full-disks 5] [--steps 300] [--seed 1] [--set checkpoint.async=false] [--repeat training-003]

An *ordeal* is one run that is struck, run again, struck again ... until it is done; then all that it made is compared
with a run that nobody disturbed, bit for bit. A *trial* is one blow, or one damage, in it; DIR/trials.jsonl has a line
for each. What an ordeal does follows from the seed and its number: `--repeat` suffers one again. A campaign that was
stopped goes on where it stood, but for the ordeal under way. Linux; full disks need the right to mount. A table in
Markdown comes last; exit code 1 if anything was wrong. Needs the tests' requirements (`pip install -e .[dev]`).
"""

from __future__ import annotations

import argparse
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from crash_campaign import Campaign, Entry
from crash_data import DataOrdeal
from crash_disk import LAST_STEPS, DiskOrdeal
from crash_training import TrainingOrdeal

ORDEALS: dict[str, type[TrainingOrdeal] | type[DataOrdeal] | type[DiskOrdeal]] = {
    "training": TrainingOrdeal,
    "data": DataOrdeal,
    "disk": DiskOrdeal,
}
LEAST_STEPS = LAST_STEPS + 20


def main() -> int:
    options = parsed()
    campaign = Campaign(options.directory.resolve(), options.seed, options.steps, options.set)
    campaign.prepare()
    if options.repeat:
        kind, _, number = options.repeat.partition("-")
        campaign.forget(options.repeat)
        ORDEALS[kind](campaign, int(number)).suffer(lambda: True)
    else:
        wanted = {
            "training": lambda: (
                kills(campaign, "training") < options.kills_training or damages(campaign) < options.corruptions
            ),
            "data": lambda: kills(campaign, "data") < options.kills_data,
            "disk": lambda: ended(campaign, "disk") < options.full_disks,
        }
        for kind, ordeal in ORDEALS.items():
            while wanted[kind]():
                ordeal(campaign, ended(campaign, kind)).suffer(wanted[kind])
    lines = list(summary(campaign))
    print("\n" + "\n".join(lines))
    return int(any(entry["problems"] for entry in campaign.entries))


def parsed() -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    parser.add_argument("--directory", type=Path, required=True)
    parser.add_argument(
        "--kills-training", type=int, default=40, help="blows that end in SIGKILL; SIGTERM comes on top"
    )
    parser.add_argument("--corruptions", type=int, default=22)
    parser.add_argument("--kills-data", type=int, default=100)
    parser.add_argument("--full-disks", type=int, default=5)
    parser.add_argument("--steps", type=int, default=300, help="of the training")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--set", action="append", default=[], metavar="a.b=c", help="as of text2lm run")
    parser.add_argument("--repeat", metavar="ORDEAL", help="suffer this one again, and no other")
    options = parser.parse_args()
    if options.steps < LEAST_STEPS:
        parser.error(f"--steps must be at least {LEAST_STEPS}, got {options.steps}")
    return options


def of_kind(campaign: Campaign, kind: str) -> list[Entry]:
    return [entry for entry in campaign.entries if entry["ordeal"].startswith(f"{kind}-")]


def kills(campaign: Campaign, kind: str) -> int:
    """Blows that ended in a SIGKILL."""
    return sum((entry.get("blow") or "term") != "term" for entry in of_kind(campaign, kind))


def damages(campaign: Campaign) -> int:
    return sum(entry.get("damage") is not None for entry in of_kind(campaign, "training"))


def ended(campaign: Campaign, kind: str) -> int:
    """Ordeals that are over."""
    return sum("end" in entry for entry in of_kind(campaign, kind))


def summary(campaign: Campaign) -> Iterator[str]:
    """Markdown: what was dealt, in which phase, and what came of it."""
    for kind, title in (("training", "A training of two ranks"), ("data", "Data stages, ingest to tokens")):
        entries = of_kind(campaign, kind)
        blows = [entry for entry in entries if entry.get("blow")]
        if not blows:
            continue
        phases = Counter(phase_column(entry) for entry in blows)
        columns = [phase for phase, _ in phases.most_common()]
        yield f"| {title}: blow | {' | '.join(columns)} | all |"
        yield f"|---|{'--:|' * (len(columns) + 1)}"
        for blow in sorted({name(entry) for entry in blows}):
            of_blow = [phase_column(entry) for entry in blows if name(entry) == blow]
            yield f"| {blow} | {' | '.join(str(of_blow.count(phase)) for phase in columns)} | {len(of_blow)} |"
        yield f"| all | {' | '.join(str(phases[phase]) for phase in columns)} | {len(blows)} |"
        yield ""
        lost = max((entry.get("lost_steps", 0) for entry in blows), default=0)
        slowest = max(entry["gone_after_seconds"] for entry in blows)
        yield (
            f"{ended(campaign, kind)} runs, {len(blows)} blows, {kills(campaign, kind)} of them SIGKILL; all processes "
            f"gone after at most {slowest:.1f} s"
            + (f"; at most {lost} steps trained again" if kind == "training" else "")
        )
        yield ""
    for kind, column, title in (("training", "damage", "Damaged checkpoints"), ("disk", "full", "Full disk")):
        found = Counter(entry[column] for entry in of_kind(campaign, kind) if entry.get(column))
        if found:
            yield f"{title}: {'; '.join(f'{what}: {count}' for what, count in sorted(found.items()))}"
            yield ""
    wrong = [entry for entry in campaign.entries if entry["problems"]]
    for entry in wrong:
        yield f"WRONG {entry['ordeal']}, trial {entry.get('trial', 'end')}: {'; '.join(entry['problems'])}"
    yield f"{len(wrong)} trials went wrong" if wrong else "nothing went wrong"


def name(entry: Entry) -> str:
    return f"{entry['blow']} ({entry['victim']})" if entry["blow"] in ("kill-child", "stop-kill") else entry["blow"]


def phase_column(entry: Entry) -> str:
    """Of the data stages, the stage."""
    return str(entry["phase"]).partition("/")[0]


if __name__ == "__main__":
    sys.exit(main())
