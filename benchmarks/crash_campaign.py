"""A campaign's directory: the project, the unbroken runs, and the record of the trials.

DIR/project/ tiny.toml corpus/        what every run reads
DIR/unbroken/                         the run that nobody disturbs
DIR/prepared/                         its data stages alone, from which every training starts
DIR/facts.json                        how long it took; written last
DIR/trials.jsonl                      a line a trial, and one at the end of each ordeal
DIR/training-000/ data-000/ ...       the run of the ordeal under way, and of those that failed
"""

from __future__ import annotations

import json
import shutil
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from crash_life import Life, end_all

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))

from tests.conftest import write_project  # noqa: E402

SAVE_EVERY, VALIDATE_EVERY, KEEP_LAST = 10, 15, 3  # steps, steps, checkpoints
BATCH_TOKENS = 512
SETTINGS = {
    "model.dropout": 0.1,  # randomness that a resume must repeat
    "train.global_batch_tokens": BATCH_TOKENS,
    "train.sample_tokens": 16,
    "train.validate_every_steps": VALIDATE_EVERY,
    "checkpoint.every_steps": SAVE_EVERY,
    "checkpoint.keep_last": KEEP_LAST,
    "wandb.mode": "disabled",
}
Entry = dict[str, Any]


@dataclass
class Campaign:
    """`settings`: what the user wants otherwise, as `a.b=c`."""

    directory: Path
    seed: int
    steps: int
    settings: list[str]
    entries: list[Entry] = field(default_factory=list)
    facts: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.directory.mkdir(parents=True, exist_ok=True)
        end_all(f"{self.directory}/")
        lines = self._trials.read_text().splitlines() if self._trials.exists() else []
        entries = [json.loads(line) for line in lines if line.endswith("}")]
        ended = {entry["ordeal"] for entry in entries if "end" in entry}
        # an ordeal that was interrupted is suffered again from its beginning
        self._keep([entry for entry in entries if entry["ordeal"] in ended])

    @property
    def project(self) -> Path:
        return self.directory / "project"

    @property
    def prepared(self) -> Path:
        return self.directory / "prepared"

    @property
    def unbroken(self) -> Path:
        return self.directory / "unbroken"

    @property
    def _trials(self) -> Path:
        return self.directory / "trials.jsonl"

    def life(self, run: Path, until: str) -> Life:
        settings = [f"{name}={json.dumps(value)}" for name, value in SETTINGS.items()]
        settings += [f"train.tokens={self.steps * BATCH_TOKENS}", *self.settings]
        return Life(self.project, run, ["--until", until, *(word for item in settings for word in ("--set", item))])

    def _keep(self, entries: list[Entry]) -> None:
        self.entries = entries
        self._trials.write_text("".join(json.dumps(entry) + "\n" for entry in entries))

    def forget(self, ordeal: str) -> None:
        """Take its trials out of the record, to suffer it again."""
        self._keep([entry for entry in self.entries if entry["ordeal"] != ordeal])

    def entry(self, ordeal: str, trial: int) -> Entry:
        """A new line of the record."""
        return {"ordeal": ordeal, "trial": trial, "seed": self.seed, "blow": None, "problems": []}

    def record(self, entry: Entry) -> None:
        self.entries.append(entry)
        with self._trials.open("a") as file:
            file.write(json.dumps(entry) + "\n")
        print(f"{time.strftime('%H:%M:%S')} {json.dumps(entry)}", flush=True)

    def fresh(self, ordeal: str, template: Path | None = None) -> Path:
        """An ordeal's run directory, not there yet or a copy of `template`."""
        run = self.directory / ordeal
        shutil.rmtree(run, ignore_errors=True)
        if template:
            shutil.copytree(template, run)  # times too: by them outputs are known to be fresh
        return run

    def end(self, ordeal: str, run: Path, problems: list[str]) -> None:
        """The last line of an ordeal; its run directory stays when something was wrong."""
        own = [entry for entry in self.entries if entry["ordeal"] == ordeal]
        self.record(self.entry(ordeal, len(own)) | {"end": True, "problems": problems})
        if not problems and not any(entry["problems"] for entry in own):
            shutil.rmtree(run)
            shutil.rmtree(run.with_name(f"{ordeal}.backup"), ignore_errors=True)
            for path in self.directory.glob(f"{ordeal}.*"):
                path.unlink()

    def prepare(self) -> None:
        """The unbroken runs, unless they are there."""
        path = self.directory / "facts.json"
        made_by = {"steps": self.steps, "settings": SETTINGS, "changes": self.settings}
        if path.exists():
            self.facts = json.loads(path.read_text())
            if self.facts["made_by"] != made_by:
                raise SystemExit(f"{self.directory} belongs to a campaign with other settings; name another directory")
            return
        for directory in (self.project, self.unbroken, self.prepared):
            shutil.rmtree(directory, ignore_errors=True)
        write_project(self.project)
        data = self.life(self.unbroken, "tokens")
        self._done(data)
        data_seconds = data.seconds
        shutil.copytree(self.unbroken, self.prepared)
        training = self.life(self.unbroken, "pretrain")
        while not (self.unbroken / "pretrain" / "metrics.jsonl").exists() and not training.ended:
            time.sleep(0.01)
        start_up_seconds = training.seconds
        self._done(training)
        self.facts = {
            "made_by": made_by,
            "data_seconds": data_seconds,
            "training_seconds": training.seconds,
            "start_up_seconds": start_up_seconds,
        }
        path.write_text(json.dumps(self.facts) + "\n")

    def _done(self, life: Life) -> None:
        if life.wait() != 0:
            raise SystemExit(f"the unbroken run failed:\n{life.out}{life.err}")
