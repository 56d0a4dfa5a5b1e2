"""Scenarios: what `pipeline` signs. A receipt, a manifest, and stages of some tasks from their plan to their seal."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

from data_prep.counts import Counts
from data_prep.files import atomic_path, atomic_write
from data_prep.settings import SourceSettings
from launch.settings import LaunchSettings
from pipeline.config import RunConfig
from pipeline.freshness import why_stale
from pipeline.receipt import Manifest, Receipt
from pipeline.run_dir import RunDir
from pipeline.sealing import clear, seal
from pipeline.stage import Context, Result, Stage, Step, begin, each_shard, is_done, run_task
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


def answer(context: Context, task: int) -> Result:
    heard = (context.run.stage("loud") / "part-00000.txt").read_text()
    path = context.directory / "part-00000.txt"
    atomic_write(path, f"{heard}?")
    return Result([path], Counts(1, 1, bytes=path.stat().st_size))


LOUD = Stage(
    "loud",
    steps=(Step("shout", shout, tasks=each_shard), Step("join", join)),
    reads=("seed",),
    plan=lambda context: [[{"text": text}] for text in ("hear", "ye")],
    intermediate=True,
)
QUIET = Stage("quiet", steps=(Step("answer", answer),), needs=("loud",))


class Stages:
    """Stages are planned, done and sealed.

    At any instant a manifest that says it is fresh has every output with its content, and doing it again gives them.
    """

    stages: tuple[Stage, ...] = (LOUD,)

    def context(self, root: Path, stage: Stage, seed: int = 2) -> Context:
        launch = LaunchSettings(keep_intermediates=len(self.stages) == 1)
        config = RunConfig([SourceSettings("a", ["a.jsonl"])], seed=seed, launch=launch)
        return Context(config, RunDir(root / "run"), stage)

    def work(self, root: Path) -> None:
        self.bring_up_to_date(root)

    def bring_up_to_date(self, root: Path, seed: int = 2) -> None:
        """As `text2lm run` does, in one process."""
        for stage in self.stages:
            context = self.context(root, stage, seed)
            if why_stale(context, self.stages):
                begin(context)
                context.run.manifest(stage.name).unlink(missing_ok=True)
                for step in stage.steps:
                    pending = [task for task in range(context.tasks(step)) if not is_done(context, step, task)]
                    context.receipts.forget(step.name, pending)
                    for task in pending:
                        run_task(context, step, task)
                seal(context)
            clear(context, self.stages)

    def fresh(self, root: Path, seed: int = 2) -> list[str]:
        """The stages, from the first on, that are and look it byte by byte."""
        names = []
        for stage in self.stages:
            context = self.context(root, stage, seed)
            context.verify = True
            if why_stale(context, self.stages):
                break
            names.append(stage.name)
        return names

    def check(self, root: Path, ending: Ending) -> None:
        for seed in (1, 2):
            loud = self.context(root, LOUD, seed)
            if "loud" in self.fresh(root, seed):
                assert (loud.directory / "part-00000.txt").read_text() == f"YE{seed}"
                assert (loud.directory / "dropped" / "part-00000.txt").read_text() == f"HEAR{seed}"
        if ending is Ending.DONE:
            assert self.fresh(root) == ["loud"]

    def again(self, root: Path, ending: Ending) -> None:
        self.work(root)
        self.check(root, Ending.DONE)
        signed = {"receipts/shout.jsonl", "receipts/join.jsonl", "plan.json", "manifest.json"}
        assert files(root / "run/loud") == signed | {"part-00000.txt", "dropped/part-00000.txt"}
        manifest = json.loads((root / "run/loud/manifest.json").read_text())
        assert (manifest["documents_in"], manifest["documents_out"], manifest["dropped"]) == (2, 1, {"first": 1})


class OtherSettings(Stages):
    """A stage is redone where it was done under other settings.

    At any instant what was finished is finished: who has a receipt of the last step has all those before.
    """

    def prepare(self, root: Path) -> None:
        (root / "run").mkdir()
        self.bring_up_to_date(root, seed=1)

    def check(self, root: Path, ending: Ending) -> None:
        super().check(root, ending)
        context = self.context(root, LOUD)
        if context.run.plan("loud").exists() and context.plan().key == context.key():
            assert not context.receipts.done_tasks("join") or context.receipts.done_tasks("shout") == {0, 1}


class LostOutput(Stages):
    """A sealed stage has lost its part, and no setting has changed."""

    def prepare(self, root: Path) -> None:
        (root / "run").mkdir()
        self.bring_up_to_date(root)
        (root / "run/loud/part-00000.txt").unlink()


class DroppedParts(Stages):
    """Two stages are redone under other settings, and what the first made goes once the second is sealed.

    At any instant the first is fresh only if what it made is there, or what the second made of it is; once both are
    sealed they are fresh, and nothing is done again.
    """

    stages = (LOUD, QUIET)

    def prepare(self, root: Path) -> None:
        (root / "run").mkdir()
        self.bring_up_to_date(root, seed=1)

    def check(self, root: Path, ending: Ending) -> None:
        for seed in (1, 2):
            names = self.fresh(root, seed)
            loud, quiet = (root / "run" / name / "part-00000.txt" for name in ("loud", "quiet"))
            if "quiet" in names:
                assert quiet.read_text() == f"YE{seed}?"
            elif "loud" in names:
                assert loud.read_text() == f"YE{seed}"
        signed, reader = (Manifest.load(root / "run" / name / "manifest.json") for name in ("loud", "quiet"))
        if signed and reader and signed.key == self.context(root, LOUD).key() and reader.read(signed):
            assert self.fresh(root) == ["loud", "quiet"], "both are sealed, and one is taken for damaged"
        if ending is Ending.DONE:
            assert self.fresh(root) == ["loud", "quiet"]

    def again(self, root: Path, ending: Ending) -> None:
        self.work(root)
        self.check(root, Ending.DONE)
        signed = {"receipts/shout.jsonl", "receipts/join.jsonl", "plan.json", "manifest.json"}
        assert files(root / "run/loud") == signed | {"dropped/part-00000.txt"}
        signed = {"receipts/answer.jsonl", "plan.json", "manifest.json"}
        assert files(root / "run/quiet") == signed | {"part-00000.txt"}


def files(directory: Path) -> set[str]:
    return {str(path.relative_to(directory)) for path in directory.rglob("*") if path.is_file()}


NEWER: Any = [replace(old, key="sha256:new") for old in (RECEIPT, MANIFEST)]
SCENARIOS = {
    "a receipt over an older one": Signing(NEWER[0], RECEIPT),
    "a receipt where none is": Signing(NEWER[0], None),
    "a manifest over an older one": Signing(NEWER[1], MANIFEST),
    "a manifest where none is": Signing(NEWER[1], None),
    "a file that a library writes": Publishing(NEWER[0], RECEIPT),
    "a stage redone under other settings": OtherSettings(),
    "a stage that lost a part": LostOutput(),
    "parts that are dropped": DroppedParts(),
}
