"""Where one document went, and why; and which documents a step of training saw."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow.compute as pc
import pyarrow.parquet as pq

from data_prep.files import UserError
from data_prep.recognizer import KINDS
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
    steps: list[tuple[str, str]] = []  # (stage, what became of the document there)
    noted: dict[str, str] = {}  # by stage
    dropped: list[str] = []  # stages without parts, since the last place where the document was found
    for name, manifest in sealed_stages(run, STAGES).items():
        if not manifest.counts.documents_in:
            continue
        found = []
        for path, row in find_rows(run.root, [item["path"] for item in manifest.ledgers], document_id):
            detail = f" {one_line(row['detail'])}" if row["detail"] else ""
            found.append(
                (name, f'{Path(path).parent.name}: {row["reason"]}{detail}; it begins "{one_line(row["excerpt"])}"')
            )
        for path, _ in find_rows(run.root, parts_of(manifest), document_id):
            found.append((name, f"kept in {path}"))
            if wanted := NOTES.keys() & {name, *dropped}:
                meta = meta_of(run.root / path, document_id)
                noted |= {stage: NOTES[stage](meta) for stage in wanted}
        if found:
            steps += [(stage, "kept; the parts are dropped since") for stage in dropped] + found
        dropped = [*([] if found else dropped), name] if manifest.emptied else []
    if not steps:
        need_stage(run, "ingest")
        gone = f", as far as can be told without the parts of {', '.join(dropped)}" if dropped else ""
        raise UserError(f"no document '{document_id}' in {run.root}{gone}; ids look like {example_id(run)}")
    lines = [f"{stage:<10} {became}{noted.get(stage, '')}" for stage, became in steps]
    return [*lines, *token_lines(config, run, document_id)]


def one_line(excerpt: str) -> str:
    return " ".join(shown(excerpt).split())


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


def meta_of(part: Path, document_id: str) -> dict[str, Any]:
    """The meta of a document that the part holds. Of the others, which may hold much, none is read."""
    with pq.ParquetFile(part) as file:
        for group in range(file.num_row_groups):
            row = pc.index(file.read_row_group(group, columns=["id"])["id"], document_id).as_py()
            if row >= 0:
                meta: dict[str, Any] = json.loads(file.read_row_group(group, columns=["meta"])["meta"][row].as_py())
                return meta
    raise AssertionError(f"{part} does not hold {document_id}")


def notes_of_clean(meta: dict[str, Any]) -> str:
    """What clean wrote into the meta of a document that it kept.

    >>> notes_of_clean({"clean": {"language": "zh-Hans", "confidence": 0.98, "mixed": ["en"]}})
    '; language zh-Hans (confidence 0.98), and en'
    """
    mine = meta.get("clean")
    if not isinstance(mine, dict) or not isinstance(mine.get("confidence"), float | int):  # the source's own field
        return ""
    others = "".join(f", and {code}" for code in mine.get("mixed", []))
    return f"; language {one_line(str(mine.get('language')))} (confidence {mine['confidence']:.2f}){one_line(others)}"


def notes_of_dedup(meta: dict[str, Any]) -> str:
    """What dedup wrote into the meta of a document that it kept.

    >>> notes_of_dedup({"dedup": {"cluster": "web:7", "size": 5, "repeats_removed": 12}})
    '; stands for 5 documents (cluster web:7); 12 repeated lines or paragraphs removed'
    """
    mine, notes = meta.get("dedup"), [""]
    if not isinstance(mine, dict):  # nothing, or a field of the source's own rows
        return ""
    if "size" in mine:
        notes.append(f"stands for {mine['size']:,} documents (cluster {mine['cluster']})")
    if "contaminated" in mine:
        found = mine["contaminated"]
        notes.append(f"reported: shares '{one_line(found['ngram'])}' with {found['set']}")
    if "repeats_removed" in mine:
        notes.append(f"{mine['repeats_removed']:,} repeated lines or paragraphs removed")
    return "; ".join(notes)


def notes_of_scrub(meta: dict[str, Any]) -> str:
    """What scrub wrote into the meta of a document that had personal values.

    >>> notes_of_scrub({"scrub": {"email": 2, "ip": 1}})
    '; replaced: 2 email, 1 ip'
    """
    mine = meta.get("scrub")
    if not isinstance(mine, dict) or not mine or not mine.keys() <= KINDS.keys():  # a field of the source's own rows
        return ""
    return f"; replaced: {', '.join(f'{mine[kind]:,} {kind}' for kind in KINDS if kind in mine)}"


# of the stages that write some into meta
NOTES = {"clean": notes_of_clean, "dedup": notes_of_dedup, "scrub": notes_of_scrub}


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
