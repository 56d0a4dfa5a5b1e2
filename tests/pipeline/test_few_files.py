"""Proves that a stage of many tasks leaves few files once it is sealed, and loses nothing by it."""

from __future__ import annotations

import tracemalloc
from collections import Counter
from dataclasses import replace
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from data_prep.counts import Counts
from data_prep.document import Document, Drop
from data_prep.files import UserError
from data_prep.settings import SourceSettings
from data_prep.shards import PartWriter, row_groups
from data_prep.signed import bands_of, load
from data_prep.signing import sign_batch  # here, too, since what importing and compiling take is not measured below
from pipeline.config import RunConfig
from pipeline.dedup_steps import sign
from pipeline.document_steps import map_documents, part_name
from pipeline.freshness import why_stale
from pipeline.receipt import Manifest, Receipt, Receipts
from pipeline.run_dir import RunDir
from pipeline.sealing import clear, seal
from pipeline.stage import Context, Result, Stage, Step, begin, each_shard, is_done, run_task

TASKS, LOSING = 300, 7  # tasks, and those of them that drop a document


def pick(context: Context, task: int) -> Result:
    return map_documents(context, task, lambda document: Drop("bad") if document.text == "bad" else document)


PICK = Stage(
    "pick",
    steps=(Step("pick", pick, tasks=each_shard),),
    inputs=lambda context: [],
    plan=lambda context: [row_groups(context.run.root, [f"read/{part_name(task)}"]) for task in range(TASKS)],
)


@pytest.fixture
def context(tmp_path: Path) -> Context:
    """A stage that picks among two documents a task, all of its tasks done."""
    for task in range(TASKS):
        with PartWriter(tmp_path / "read" / part_name(task)) as writer:
            writer.write(Document(f"s:{task}", "good", "s"))
            writer.write(Document(f"s:{task}b", "bad" if task < LOSING else "good", "s"))
    context = again(tmp_path)
    begin(context)
    for task in range(TASKS):
        run_task(context, PICK.steps[0], task)
    return context


def again(root: Path) -> Context:
    """As a new process sees it."""
    return Context(RunConfig([SourceSettings("s", ["s.jsonl"])]), RunDir(root), PICK)


def files(context: Context) -> Counter[str]:
    """How many there are in each directory of the stage, counted on disk."""
    found = (path for path in context.directory.rglob("*") if path.is_file())
    return Counter(str(path.parent.relative_to(context.directory)) for path in found)


def test_300_tasks_leave_302_files_a_receipt_for_all_and_ledgers_where_something_was_lost(context: Context) -> None:
    claims = context.directory / "claims"
    claims.mkdir()
    (claims / "pick-00000").write_text("element")
    failed = context.run.receipt("pick", "pick", 3).with_suffix(".failed.json")
    failed.write_text("{}")
    assert files(context) == {".": TASKS + 1, "dropped": LOSING, "receipts": TASKS + 1, "claims": 1}
    seal(context)
    clear(context, (PICK,))
    assert files(context) == {".": TASKS + 2, "dropped": LOSING, "receipts": 1}
    assert not claims.exists()
    lines = context.run.pack("pick", "pick").read_text().splitlines()
    assert len(lines) == TASKS and lines[12].startswith('{"task": 12, ')
    manifest = Manifest.load(context.run.manifest("pick"))
    assert manifest and len(manifest.ledgers) == LOSING
    assert manifest.counts == Counts(2 * TASKS, 2 * TASKS - LOSING, {"bad": LOSING}, bytes=4 * (2 * TASKS - LOSING))
    tables = [pq.read_table(context.run.root / item["path"]) for item in manifest.ledgers]
    assert [id for table in tables for id in table["id"].to_pylist()] == [f"s:{task}b" for task in range(LOSING)]
    assert why_stale(again(context.run.root), (PICK,)) is None


def test_what_a_killed_seal_leaves_is_sealed_and_cleared_by_the_next(context: Context) -> None:
    """Killed with the receipts packed and no manifest, and with the manifest and half of the tasks' own files gone."""
    receipts = {path: path.read_bytes() for path in context.run.receipts("pick").iterdir()}
    first = seal(context)
    context.run.manifest("pick").unlink()
    second = seal(again(context.run.root))
    assert second == first
    for path in list(receipts)[::2]:
        path.unlink()
    clear(again(context.run.root), (PICK,))
    assert [path.name for path in context.run.receipts("pick").iterdir()] == ["pick.jsonl"]
    context.run.manifest("pick").unlink()
    assert seal(again(context.run.root)) == first


def test_a_lost_part_is_one_task_and_its_own_receipt_holds_until_the_next_seal(context: Context) -> None:
    first = seal(context)
    clear(context, (PICK,))
    part = context.directory / part_name(5)
    part.unlink()
    redone, step = again(context.run.root), PICK.steps[0]
    assert "part-00005.parquet is missing" in str(why_stale(redone, (PICK,)))
    assert [task for task in range(TASKS) if not is_done(redone, step, task)] == [5]
    redone.receipts.forget("pick", [5])
    assert again(context.run.root).receipts.load("pick", 5) is None
    run_task(redone, step, 5)
    assert files(redone)["receipts"] == 2
    worker = again(context.run.root)
    assert worker.receipts.done_tasks("pick") == set(range(TASKS))
    assert all(is_done(worker, step, task) for task in range(TASKS))
    sealed = seal(redone)
    clear(redone, (PICK,))
    assert files(redone)["receipts"] == 1
    same = ("path", "digest", "bytes")
    assert [[item[name] for name in same] for item in sealed.outputs] == [
        [item[name] for name in same] for item in first.outputs
    ]
    assert sealed.counts == first.counts


def receipt(key: str) -> Receipt:
    return Receipt(key, [], None, {"words": 1}, 0.5)


def test_a_pack_is_read_once_and_a_tasks_own_file_wins(tmp_path: Path) -> None:
    run = RunDir(tmp_path)
    written = [receipt(f"key {task}") for task in range(4096)]
    Receipts(run, "clean").pack("clean", written)
    receipts = Receipts(run, "clean")
    receipts.save("clean", 7, receipt("newer"))
    assert receipts.load("clean", 4095) == written[4095]
    run.pack("clean", "clean").write_text("torn")  # nobody looks again
    assert receipts.load("clean", 7) == receipt("newer")
    assert [receipts.load("clean", task) for task in range(8, 4096)] == written[8:]
    assert receipts.load("clean", 4096) is None
    with pytest.raises(UserError, match=r"clean.jsonl is damaged.*remove it and run again"):
        Receipts(run, "clean").load("clean", 0)


def test_what_no_pack_holds_is_not_cleared(tmp_path: Path) -> None:
    """As in a run that was sealed before there were packs."""
    receipts = Receipts(RunDir(tmp_path), "clean")
    receipts.save("clean", 3, receipt("key"))
    receipts.clear()
    assert Receipts(RunDir(tmp_path), "clean").load("clean", 3) == receipt("key")


def test_signing_holds_one_row_group_and_not_the_shard(tmp_path: Path) -> None:
    """40 documents of a megabyte, each a row group of its own, for each of which about a kilobyte stays."""
    with PartWriter(tmp_path / "clean" / part_name(0)) as writer:
        for number in range(40):
            writer.write(Document(f"s:{number}", chr(ord("a") + number % 26) * (1 << 20), "s"))
    stage = replace(
        PICK,
        name="dedup",
        steps=(Step("sign", sign, tasks=each_shard),),
        plan=lambda context: [row_groups(context.run.root, [f"clean/{part_name(0)}"])],
    )
    context = again(tmp_path).at(stage)
    begin(context)
    names = ("id", "text", "source", "meta")
    sign_batch(pa.record_batch([["a b"]] * 4, names=names), context.config.dedup, None)
    pool = pa.system_memory_pool()
    before = pa.default_memory_pool()
    pa.set_memory_pool(pool)
    tracemalloc.start()
    try:
        run_task(context, stage.steps[0], 0)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
        pa.set_memory_pool(before)
    table = load(context.outputs_of("sign")[0])
    assert table["id"].to_pylist() == [f"s:{number}" for number in range(40)]
    assert len(set(table["digest"].to_pylist())) == 26
    assert table["characters"].to_pylist() == [1 << 20] * 40
    assert [band.shape for band in bands_of(context.outputs_of("sign")[0])] == [(40, 8)] * 32
    assert peak < 16 << 20 and pool.max_memory() < 16 << 20
