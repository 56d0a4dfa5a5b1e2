"""What a stage is, and how its work is planned, done, skipped and sealed. `stages.py` says which stages there are."""

from __future__ import annotations

import contextlib
import glob
import os
import shutil
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from data_prep.counts import Counts
from data_prep.files import UserError, digest_file, read_record, write_json
from data_prep.shards import Shard
from pipeline.config import RunConfig
from pipeline.receipt import Entry, Manifest, Receipt, Receipts, damage, entry, key_of
from pipeline.run_dir import RunDir


@dataclass(frozen=True)
class Result:
    """What one task made: files (the last step's outputs, or intermediate ones), and where its documents went."""

    outputs: Sequence[Path]
    counts: Counts | None = None
    tally: dict[str, int] = field(default_factory=dict)  # other things counted, summed over tasks into the manifest


@dataclass(frozen=True)
class Step:
    """One barrier's worth of work: one task, or as many as `tasks` says, which processes or jobs share.

    `tasks` looks at the stage's plan and the settings in its key, and at nothing else. `program` makes it a parallel
    program instead (the ranks of training): it checks and prepares, and gives the command of one rank; `run` then
    collects what the program left.
    """

    name: str
    run: Callable[[Context, int], Result]
    tasks: Callable[[Context], int] | None = None
    program: Callable[[Context], tuple[str, ...]] | None = None


@dataclass(frozen=True)
class Stage:
    """One row of the table."""

    name: str
    steps: tuple[Step, ...]
    needs: tuple[str, ...] = ()
    reads: tuple[str, ...] = ()  # dotted paths of the settings that are part of its identity
    version: int = 1  # raise it when the code changes what comes out
    plan: Callable[[Context], list[Shard]] = lambda context: []
    inputs: Callable[[Context], list[Entry]] | None = None  # None: the outputs of `needs`
    keeps: bool = False  # its directory is never emptied: training resumes inside
    intermediate: bool = False  # what it makes may go once every stage that needs it is done
    facts: Callable[[Context, dict[str, int]], dict[str, Any]] = lambda context, tally: dict(tally)  # for the manifest
    say: Callable[[Manifest], str] = lambda manifest: ""  # the line for people when it is done

    def step(self, name: str | None) -> Step:
        main = [step for step in self.steps if step.program] or self.steps
        if name is None and len(main) == 1:
            return main[0]
        for step in self.steps:
            if step.name == name:
                return step
        names = ", ".join(f"{self.name}/{step.name}" for step in self.steps)
        raise UserError(f"stage {self.name} has no step '{name or ''}', wanted one of {names}")


@dataclass(frozen=True)
class ShardPlan:
    """What a stage is about to do, written before its first task."""

    key: str
    settings: dict[str, Any]
    inputs: list[Entry]
    shards: list[Shard]

    @staticmethod
    def load(path: Path) -> ShardPlan:
        return read_record(path, lambda raw: ShardPlan(**raw))


@dataclass
class Context:
    """A stage of a run, with everything its tasks may look at."""

    config: RunConfig
    run: RunDir
    stage: Stage
    verify: bool | None = False  # read all that is recorded, or what looks changed; None: nothing, on a login node
    _manifests: dict[str, Manifest] = field(default_factory=dict)
    _inputs: list[Entry] | None = None
    _plan: ShardPlan | None = None
    _receipts: Receipts | None = None

    @property
    def directory(self) -> Path:
        return self.run.stage(self.stage.name)

    def at(self, stage: Stage) -> Context:
        """The same of another stage."""
        return Context(self.config, self.run, stage, self.verify)

    def upstream(self, name: str) -> Manifest:
        """The manifest of a stage that this one needs."""
        if name not in self._manifests:
            manifest = Manifest.load(self.run.manifest(name))
            if manifest is None:
                raise UserError(
                    f"stage {self.stage.name} needs {name}, which is not finished; "
                    f"run: text2lm run CONFIG --run {self.run.root} --until {name}"
                )
            self._manifests[name] = manifest
        return self._manifests[name]

    @property
    def receipts(self) -> Receipts:
        if self._receipts is None:
            self._receipts = Receipts(self.run, self.stage.name)
        return self._receipts

    def parts(self, name: str) -> list[str]:
        """The parts that an upstream stage made, sorted. `UserError` when they were dropped."""
        manifest = self.upstream(name)
        if manifest.emptied:
            raise UserError(
                f"the parts of {name}, which {self.stage.name} reads, were dropped; make them again: "
                f"text2lm run CONFIG --run {self.run.root} --until {self.stage.name}"
            )
        return sorted(item["path"] for item in manifest.outputs if item["path"].endswith(".parquet"))

    def settings(self) -> dict[str, Any]:
        return self.config.identity(*self.stage.reads)

    def inputs(self) -> list[Entry]:
        """What the stage reads, looked at once: hashing a corpus takes time."""
        if self._inputs is None:
            if self.stage.inputs:
                self._inputs = self.stage.inputs(self)
            else:
                outputs = [item for name in self.stage.needs for item in self.upstream(name).outputs]
                self._inputs = sorted(outputs, key=lambda item: str(item["path"]))
        return self._inputs

    def key(self) -> str:
        return key_of(self.stage.name, self.stage.version, self.settings(), self.inputs())

    def plan(self) -> ShardPlan:
        """The shard plan on disk; `begin` wrote it."""
        if self._plan is None:
            self._plan = ShardPlan.load(self.run.plan(self.stage.name))
        return self._plan

    def shard(self, task: int) -> Shard:
        return self.plan().shards[task]

    def tasks(self, step: Step) -> int:
        return step.tasks(self) if step.tasks else 1

    def outputs_of(self, step: str) -> list[Path]:
        """What an earlier step of this stage made, in task order."""
        found = []
        for task in range(self.tasks(self.stage.step(step))):
            receipt = self.receipts.load(step, task)
            assert receipt is not None, f"{self.stage.name}/{step} task {task} has no receipt"
            found += [self.run.root / item["path"] for item in receipt.outputs]
        return found


def each_shard(context: Context) -> int:
    """The number of tasks of a step that has one for each shard of the plan."""
    return len(context.plan().shards)


def begin(context: Context) -> None:
    """Write the shard plan, unless it is there already for the same key; what an earlier key left is removed first."""
    plan_path, key = context.run.plan(context.stage.name), context.key()
    if plan_path.exists() and ShardPlan.load(plan_path).key == key:
        return
    shards = context.stage.plan(context)  # may refuse: before anything is removed
    context.run.manifest(context.stage.name).unlink(missing_ok=True)
    plan_path.unlink(missing_ok=True)
    if not context.stage.keeps and context.directory.exists():
        shutil.rmtree(context.directory)
    write_json(plan_path, asdict(ShardPlan(key, context.settings(), context.inputs(), shards)))
    context._plan = context._receipts = None


def begin_beside_others(context: Context) -> None:
    """`begin` for a stage without a plan, where other jobs may do the same now: the first plan wins, nothing goes."""
    plan = ShardPlan(context.key(), context.settings(), context.inputs(), context.stage.plan(context))
    path = context.run.plan(context.stage.name)
    draft = path.with_name(f".plan.{os.getpid()}.tmp")
    write_json(draft, asdict(plan))
    with contextlib.suppress(FileExistsError):
        os.link(draft, path)
    draft.unlink()


def is_done(context: Context, step: Step, task: int) -> bool:
    """Whether the task has a receipt for the present key and its outputs are as recorded."""
    receipt = context.receipts.load(step.name, task)
    return (
        receipt is not None
        and receipt.key == context.plan().key
        and damage(context.run.root, receipt.outputs, verify=context.verify) is None
    )


def run_task(context: Context, step: Step, task: int) -> None:
    """Do one task and leave its receipt, last."""
    started = time.monotonic()
    result = step.run(context, task)
    if result.counts:
        result.counts.check()
    outputs = [entry(context.run.root, path) for path in result.outputs]
    receipt = Receipt(context.plan().key, outputs, result.counts, result.tally, time.monotonic() - started)
    context.receipts.save(step.name, task, receipt)


def named_files(setting: str, patterns: Sequence[str]) -> tuple[Path, ...]:
    """The files that a setting names by paths or globs. `UserError` for a pattern that matches none."""
    found: list[Path] = []
    for pattern in patterns:
        paths = sorted(path for path in map(Path, glob.glob(pattern, recursive=True)) if path.is_file())  # noqa: PTH207
        if not paths:
            raise UserError(f"{setting}: no file matches {pattern}; check the path in the config")
        found += paths
    return tuple(dict.fromkeys(found))


def with_named_files(context: Context, named: dict[str, tuple[Path, ...]]) -> list[Entry]:
    """What the stages before left, and the files that settings name, by setting."""
    parts = [item for name in context.stage.needs for item in context.upstream(name).outputs]
    texts = [
        {"source": setting, "name": path.name, "path": str(path), "bytes": path.stat().st_size}
        for setting, paths in named.items()
        for path in paths
    ]
    return sorted(parts, key=lambda item: str(item["path"])) + input_files(context, texts)


def input_files(context: Context, found: Iterable[Entry]) -> list[Entry]:
    """Files outside the run as inputs: digests come from the last plan where path, size and time are as they were.

    Others are read, unless `context.verify` is None: then they have none, and the stage's key is no key that it had.
    """
    plan_path = context.run.plan(context.stage.name)
    recorded = ShardPlan.load(plan_path).inputs if plan_path.exists() else []
    known = {(item["source"], item["name"]): item for item in recorded if "source" in item and "digest" in item}
    entries = []
    for item in found:
        if "path" in item:
            old = known.get((item["source"], item["name"]))
            mtime_ns = Path(item["path"]).stat().st_mtime_ns
            now = (item["path"], item["bytes"], mtime_ns)
            same = old and not context.verify and (old["path"], old["bytes"], old["mtime_ns"]) == now
            if old and same:
                digest = old["digest"]
            else:
                digest = digest_file(Path(item["path"])) if context.verify is not None else ""
            item = item | {"mtime_ns": mtime_ns, "digest": digest}
        entries.append(item)
    return entries
