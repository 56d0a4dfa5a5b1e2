"""Where one document went, and why; and which documents a step of training saw."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow.compute as pc
import pyarrow.parquet as pq

from data_prep.files import UserError
from data_prep.shards import shown
from data_prep.tokens import TokenFile, token_files
from pipeline.config import RunConfig
from pipeline.freshness import sealed_stages
from pipeline.plan import need_stage
from pipeline.receipt import Manifest
from pipeline.run_dir import RunDir
from pipeline.stages import STAGES
from pipeline.training_steps import trained_job


def trace(config: RunConfig, run: RunDir, document_id: str) -> list[str]:
    """One line a stage. Raises `UserError` for an unknown id.

    Where a stage's parts were dropped, a document that a later stage knows was kept.
    """
    lines: list[str] = []
    dropped: list[str] = []  # stages without parts, since the last place where the document was found
    for name, manifest in sealed_stages(run, STAGES).items():
        if not manifest.counts.documents_in:
            continue
        found = []
        for path, row in find_rows(run.root, [item["path"] for item in manifest.ledgers], document_id):
            detail = f" {row['detail']}" if row["detail"] else ""
            excerpt = " ".join(shown(row["excerpt"]).split())
            found.append(f'{name:<10} {Path(path).parent.name}: {row["reason"]}{detail}; it begins "{excerpt}"')
        for path, _ in find_rows(run.root, parts_of(manifest), document_id):
            found.append(f"{name:<10} kept in {path}")
        if found:
            lines += [f"{stage:<10} kept; the parts are dropped since" for stage in dropped] + found
        dropped = [*([] if found else dropped), name] if manifest.emptied else []
    if not lines:
        need_stage(run, "ingest")
        gone = f", as far as can be told without the parts of {', '.join(dropped)}" if dropped else ""
        raise UserError(f"no document '{document_id}' in {run.root}{gone}; ids look like {example_id(run)}")
    lines += token_lines(config, run, document_id)
    return lines


def parts_of(manifest: Manifest) -> list[str]:
    """Those that are there: none of a stage whose parts were dropped."""
    outputs = [] if manifest.emptied else manifest.outputs
    return [item["path"] for item in outputs if item["path"].endswith(".parquet")]


def find_rows(root: Path, paths: list[str], document_id: str) -> Iterator[tuple[str, dict[str, Any]]]:
    """(file, row without its text) of every row with the id."""
    for path in paths:
        names = [name for name in pq.read_schema(root / path).names if name not in ("text", "meta")]
        table = pq.read_table(root / path, columns=names)
        for row in table.filter(pc.equal(table["id"], document_id)).to_pylist():
            yield path, row


def token_lines(config: RunConfig, run: RunDir, document_id: str) -> Iterator[str]:
    """The token file and the range in it that hold the document."""
    if "tokens" not in sealed_stages(run, STAGES):
        return
    source = document_id.partition(":")[0]
    for side in ("train", "val"):
        for file in map(TokenFile, token_files(run.tokens / side, source)):
            for number, row in enumerate(file.rows):
                if row.id == document_id:
                    end = int(file.ends[number])
                    begin = end - int(file.lengths[number])
                    yield f"tokens     tokens {begin:,} to {end:,} of {side}/{file.prefix.name}"


def example_id(run: RunDir) -> str:
    for manifest in sealed_stages(run, STAGES).values():
        for path in parts_of(manifest):
            ids = pq.read_table(run.root / path, columns=["id"])["id"]
            if len(ids):
                return f"'{ids[0]}'"
    return "'source:file#row'"


def documents_of_step(run: RunDir, step: int) -> list[str]:
    """Ids of the documents that a step (counted from 1, as in metrics.jsonl) trained on, in order."""
    from pretrain.batches import documents_of_step as documents

    job = trained_job(run)
    if not 1 <= step <= job.train.steps:
        raise UserError(f"--step {step}: this training has steps 1 to {job.train.steps}")
    return documents(job, run.tokens / "train", step, run.windows)
