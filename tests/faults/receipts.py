"""Scenarios: what `pipeline` signs. A receipt, a manifest, and a stage of three tasks from its plan to its seal."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

from data_prep.counts import Counts
from data_prep.files import atomic_path, atomic_write
from data_prep.settings import SourceSettings
from pipeline.config import RunConfig
from pipeline.freshness import why_stale
from pipeline.receipt import Manifest, Receipt
from pipeline.run_dir import RunDir
from pipeline.stage import Context, Result, Stage, Step, begin, is_done, run_task, seal
from tests.faults.scenario import Ending

ENTRY = {"path": "clean/part-00000.parquet", "bytes": 5, "mtime_ns": 7, "digest": "sha256:00"}
RECEIPT = Receipt("sha256:old", [ENTRY], Counts(3, 2, {"short": 1}), {"words": 9}, 0.5)
MANIFEST = Manifest("clean", 1, "sha256:old", {}, [ENTRY], [ENTRY], [], Counts(3, 2, {"short": 1}), 0.5, {})


class Signing:
    """A receipt or a manifest is saved, over an older one or where none is.

    Whoever reads it sees the old one whole or the new one whole.
    """

    def __init__(self, new: Receipt | Manifest, old: Receipt | Manifest | None) -> None:
        self.new, self.old = new, old
        self.bytes = b""  # of the new one

    def path(self, root: Path) -> Path:
        return root / "receipts" / "clean-00000.json"

    def prepare(self, root: Path) -> None:
        (root / "receipts").mkdir()
        self.new.save(self.path(root))
        self.bytes = self.path(root).read_bytes()
        self.path(root).unlink()
        if self.old:
            self.old.save(self.path(root))

    def work(self, root: Path) -> None:
        self.new.save(self.path(root))

    def check(self, root: Path, ending: Ending) -> None:
        found = type(self.new).load(self.path(root))
        assert found == self.new or (found == self.old and ending is not Ending.DONE), f"found {found}"
        if ending in (Ending.DONE, Ending.FAILED):
            assert {path.name for path in (root / "receipts").iterdir()} <= {self.path(root).name}

    def again(self, root: Path, ending: Ending) -> None:
        self.work(root)
        self.check(root, ending)
        assert self.path(root).read_bytes() == self.bytes


class Publishing(Signing):
    """A library writes a file by its path, as Parquet files are written."""

    def work(self, root: Path) -> None:
        with atomic_path(self.path(root)) as temporary:
            temporary.write_bytes(self.bytes)


def shout(context: Context, task: int) -> Result:
    piece = context.shard(task)[0]
    path = context.run.work("loud", "shout") / f"{task}.txt"
    atomic_write(path, f"{piece['text']}{context.config.seed}".upper())
    return Result([path], Counts(1, 1, bytes=path.stat().st_size))


def join(context: Context, task: int) -> Result:
    texts = [path.read_text() for path in context.outputs_of("shout")]
    kept, dropped = context.directory / "part-00000.txt", context.directory / "dropped" / "part-00000.txt"
    atomic_write(kept, " ".join(texts[1:]))
    atomic_write(dropped, texts[0])
    return Result([kept, dropped], Counts(len(texts), len(texts) - 1, {"first": 1}, bytes=kept.stat().st_size))


LOUD = Stage(
    "loud",
    steps=(Step("shout", shout, each_shard=True), Step("join", join)),
    reads=("seed",),
    plan=lambda context: [[{"text": text}] for text in ("hear", "ye")],
)


class WholeStage:
    """A stage is planned, done and sealed where it was done under other settings.

    At any instant a manifest that says it is fresh has every output with its content, and doing it again gives them.
    """

    def context(self, root: Path, seed: int = 2) -> Context:
        config = RunConfig([SourceSettings("a", ["a.jsonl"])], seed=seed)
        return Context(config, RunDir(root / "run"), LOUD)

    def prepare(self, root: Path) -> None:
        (root / "run").mkdir()
        bring_up_to_date(self.context(root, seed=1))

    def work(self, root: Path) -> None:
        bring_up_to_date(self.context(root))

    def check(self, root: Path, ending: Ending) -> None:
        for seed in (1, 2):
            context = self.context(root, seed)
            context.verify = True
            if why_stale(context) is None:
                assert (context.directory / "part-00000.txt").read_text() == f"YE{seed}"
                assert (context.directory / "dropped" / "part-00000.txt").read_text() == f"HEAR{seed}"
        if ending is Ending.DONE:
            assert why_stale(self.context(root)) is None

    def again(self, root: Path, ending: Ending) -> None:
        self.work(root)
        self.check(root, Ending.DONE)
        found = {str(path.relative_to(root / "run/loud")) for path in (root / "run/loud").rglob("*") if path.is_file()}
        receipts = {f"receipts/shout-0000{task}.json" for task in range(2)} | {"receipts/join-00000.json"}
        assert found == receipts | {"plan.json", "manifest.json", "part-00000.txt", "dropped/part-00000.txt"}
        manifest = json.loads((root / "run/loud/manifest.json").read_text())
        assert (manifest["documents_in"], manifest["documents_out"], manifest["dropped"]) == (2, 1, {"first": 1})


def bring_up_to_date(context: Context) -> None:
    """As `text2lm run` does a stage, in one process."""
    if why_stale(context) is None:
        shutil.rmtree(context.directory / "work", ignore_errors=True)
        return
    begin(context)
    context.run.manifest("loud").unlink(missing_ok=True)
    for step in LOUD.steps:
        for task in range(context.tasks(step)):
            if not is_done(context, step, task):
                run_task(context, step, task)
    seal(context)


NEWER: Any = [replace(old, key="sha256:new") for old in (RECEIPT, MANIFEST)]
SCENARIOS = {
    "a receipt over an older one": Signing(NEWER[0], RECEIPT),
    "a receipt where none is": Signing(NEWER[0], None),
    "a manifest over an older one": Signing(NEWER[1], MANIFEST),
    "a manifest where none is": Signing(NEWER[1], None),
    "a file that a library writes": Publishing(NEWER[0], RECEIPT),
    "a stage redone under other settings": WholeStage(),
}
