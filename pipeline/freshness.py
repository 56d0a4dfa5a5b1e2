"""Whether a stage must be done again, and why, in a sentence."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from pipeline.receipt import Manifest, damage
from pipeline.run_dir import RunDir
from pipeline.stage import Context, Stage

NEVER_RUN = "it has not run yet"


def why_stale(context: Context, stages: Sequence[Stage]) -> str | None:
    """A sentence on why the stage must be done again, or None when it is fresh. Its `needs` must be sealed.

    One whose parts were dropped is fresh as long as the stages (of `stages`) that read it are. Those are looked at for
    each such stage in a row; with `verify` the files at its end are hashed as often, in place of those that are gone.
    """
    stage, run = context.stage, context.run
    manifest = Manifest.load(run.manifest(stage.name))
    if manifest is None:
        return "it was started and not finished" if run.plan(stage.name).exists() else NEVER_RUN
    if manifest.key != context.key():
        return changed(manifest, context)
    if not manifest.emptied:
        return damage(run.root, [*manifest.outputs, *manifest.ledgers], verify=context.verify)
    for reader in stages:
        if stage.name in reader.needs and why_stale(context.at(reader), stages):
            return f"its parts were dropped and {reader.name}, which reads them, must be done again"
    return damage(run.root, manifest.ledgers, verify=context.verify)


def sealed_stages(run: RunDir, stages: Sequence[Stage]) -> dict[str, Manifest]:
    """The finished stages that were made from what the stages before them hold now, by name, in order.

    Numbers of different corpora never stand together: a stage whose input was redone since is left out.
    """
    sealed: dict[str, Manifest] = {}
    for stage in stages:
        manifest = Manifest.load(run.manifest(stage.name))
        if manifest and all(name in sealed and manifest.read(sealed[name]) for name in stage.needs):
            sealed[stage.name] = manifest
    return sealed


def changed(manifest: Manifest, context: Context) -> str:
    """In words, what differs between a manifest and the present request."""
    found = changed_settings(manifest.settings, context.settings())
    if manifest.version != context.stage.version:
        found.append(f"the stage itself changed from version {manifest.version} to {context.stage.version}")
    before = {(item.get("source"), item.get("name", item["path"])): item.get("digest") for item in manifest.inputs}
    after = {(item.get("source"), item.get("name", item.get("path"))): item.get("digest") for item in context.inputs()}
    differing = sorted(str(name[1]) for name in before.keys() | after.keys() if before.get(name) != after.get(name))
    if differing:
        more = f" and {len(differing) - 1} more" if len(differing) > 1 else ""
        found.append(f"its input changed ({differing[0]}{more})")
    return "; ".join(found) or "it was made by another version of text2lm"


def changed_settings(before: dict[str, Any], after: dict[str, Any]) -> list[str]:
    return [
        f"{name} changed from {before.get(name, 'nothing')} to {after.get(name, 'nothing')}"
        for name in sorted(before.keys() | after.keys())
        if before.get(name) != after.get(name)
    ]
