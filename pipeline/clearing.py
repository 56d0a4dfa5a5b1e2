"""What a sealed stage has used up: work files, receipts that are packed, parts that nothing will read again."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from dataclasses import replace

from pipeline.freshness import why_stale
from pipeline.receipt import Manifest
from pipeline.stage import Context, Stage


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
