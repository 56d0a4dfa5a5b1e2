"""The end of a stage: the accounting checked, the manifest written; then what it has used up goes.

That is work files, receipts that are packed, parts that nothing will read again.
"""

from __future__ import annotations

import itertools
import shutil
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from data_prep.counts import Counts
from data_prep.files import UserError
from data_prep.shards import commonest_reason
from pipeline.freshness import why_stale
from pipeline.receipt import Entry, Manifest, Receipt
from pipeline.stage import Context, Stage, Step, is_done


def seal(context: Context) -> Manifest:
    """Check the accounting over all tasks, pack the receipts and write the manifest.

    Raises `UserError` when work is missing. What is not needed any more stays: `clear` removes it.
    """
    stage, run = context.stage, context.run
    done: dict[str, list[Receipt]] = {}
    total: Counts | None = None
    for step in stage.steps:
        need_done(context, step)
        loaded = (context.receipts.load(step.name, task) for task in range(context.tasks(step)))
        done[step.name] = [receipt for receipt in loaded if receipt]
        counts = [receipt.counts for receipt in done[step.name] if receipt.counts]
        if counts:
            of_step = sum(counts, Counts())
            total = total.then(of_step) if total else of_step
    total = total or Counts()
    total.check()
    check_flow(context, total)
    receipts = list(itertools.chain.from_iterable(done.values()))
    tally: Counter[str] = Counter()
    for receipt in receipts:
        tally.update(receipt.tally)
    work = f"{stage.name}/work/"
    files = [item for receipt in receipts for item in receipt.outputs if not item["path"].startswith(work)]
    manifest = Manifest(
        stage=stage.name,
        version=stage.version,
        key=context.plan().key,
        settings=context.settings(),
        inputs=context.inputs(),
        outputs=[item for item in files if not in_ledger(item)],
        ledgers=[item for item in files if in_ledger(item)],
        counts=total,
        seconds=sum(receipt.seconds for receipt in receipts),
        facts=stage.facts(context, dict(sorted(tally.items()))),
    )
    for name, of_tasks in done.items():
        context.receipts.pack(name, of_tasks)
    for leftover in context.directory.rglob(".*.tmp"):  # of a killed task that was done again
        leftover.unlink()
    manifest.save(run.manifest(stage.name))
    return manifest


def in_ledger(item: Entry) -> bool:
    """Whether the file says what left, and is nothing that later stages read."""
    return Path(item["path"]).parent.name in ("dropped", "quarantine")


def need_done(context: Context, step: Step) -> None:
    """`UserError` when a task of the step is missing."""
    missing = [task for task in range(context.tasks(step)) if not is_done(context, step, task)]
    if missing:
        name = f"{context.stage.name}/{step.name}"
        raise UserError(
            f"{name} is not finished: task {missing[0]} of {context.tasks(step)} is missing; "
            f"run: text2lm stage {name} --run {context.run.root} --task {missing[0]}-{missing[-1]}"
        )


def need_parts(context: Context) -> None:
    """`UserError` when what the stage reads was dropped."""
    for name in context.stage.needs:
        context.parts(name)


def check_flow(context: Context, total: Counts) -> None:
    """A stage that lets nothing out is an error here and not ten stages later."""
    if not context.stage.needs and not total.documents_in:
        raise UserError(f"{context.stage.name} found no documents in the sources; check source.paths in the config")
    if total.documents_in and not total.documents_out:
        reasons = sorted(total.dropped.items(), key=lambda item: -item[1])
        if reasons:
            most = f"most by {reasons[0][0]} ({reasons[0][1]:,})"
        else:
            most = f"{total.quarantined:,} are broken, most by {commonest_reason(context.directory / 'quarantine')}"
        raise UserError(
            f"{context.stage.name} let none of {total.documents_in:,} documents through: {most}; "
            f"see {context.directory}/{'dropped' if reasons else 'quarantine'} and change the config"
        )


def clear(context: Context, stages: Sequence[Stage]) -> None:
    """Remove what `context`'s stage, which is fresh, leaves over. What a kill leaves of it the next call removes."""
    for name in ("work", "claims"):
        shutil.rmtree(context.directory / name, ignore_errors=True)
    context.receipts.clear()
    for leftover in context.directory.glob(".*.tmp"):
        leftover.unlink()
    for stage in stages:
        if stage.intermediate and stage.name in context.stage.needs:
            drop_parts(context.at(stage), stages)


def drop_parts(context: Context, stages: Sequence[Stage]) -> None:
    """Empty a stage once every stage that reads it is fresh, unless the config keeps intermediates.

    Its manifest says so before the first file goes: the stage is never taken for damaged.
    """
    path = context.run.manifest(context.stage.name)
    manifest = Manifest.load(path)
    if manifest is None:
        return
    if not manifest.emptied:
        readers = [context.at(stage) for stage in stages if context.stage.name in stage.needs]
        if context.config.launch.keep_intermediates or any(why_stale(reader, stages) for reader in readers):
            return
        replace(manifest, emptied=True).save(path)
    for item in manifest.outputs:
        (context.run.root / item["path"]).unlink(missing_ok=True)
