"""Proves the main job: one config, one command, raw text in, a trained GPT out; and that training survives a signal."""

from __future__ import annotations

import json
import math
import shutil
import signal
import time
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
import torch
import transformers

from tests.conftest import start_text2lm, text2lm

DOCUMENT_STAGES = ("ingest", "clean", "dedup", "scrub", "split")
STAGES = (*DOCUMENT_STAGES, "tokenizer", "tokens", "pretrain", "evaluate", "export", "report")


@pytest.fixture(scope="module")
def road(finished_data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project whose tiny config has been run to the end, in `run/`; a copy of its data half is in `data/`."""
    project = tmp_path_factory.mktemp("road")
    shutil.copytree(finished_data, project, dirs_exist_ok=True)
    shutil.copytree(project / "run", project / "data")
    done = text2lm(project, "run", "tiny.toml", "--run", "run")
    assert "4 stages done, 7 were fresh" in done.stdout
    assert "validation bits per byte:" in done.stdout and "(xz -9)" in done.stdout
    return project


def manifest(run: Path, stage: str) -> dict[str, Any]:
    return dict(json.loads((run / stage / "manifest.json").read_text()))


def metrics(run: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (run / "pretrain" / "metrics.jsonl").read_text().splitlines()]


def numbers(run: Path) -> list[tuple[float, ...]]:
    """What must be equal bit for bit between two trainings."""
    return [(row["step"], row["loss"], row["grad_norm"], row["lr"], row["tokens"]) for row in metrics(run)]


def test_every_stage_leaves_a_manifest_that_adds_up(road: Path) -> None:
    before = None
    for stage in STAGES:
        facts = manifest(road / "run", stage)
        out = facts["documents_out"] + sum(facts["dropped"].values()) + facts["quarantined"]
        assert facts["documents_in"] == out, stage
        if stage in DOCUMENT_STAGES:
            assert before is None or facts["documents_in"] == before
            before = facts["documents_out"]
    assert manifest(road / "run", "ingest")["quarantined"] == 6  # five broken rows and a repeated id
    assert manifest(road / "run", "dedup")["dropped"]["exact-duplicate"] >= 1
    found = manifest(road / "run", "scrub")["facts"]["scrub"]["sources"]["guide"]["kinds"].items()
    assert {kind: row["values"] for kind, row in found} == {"credit-card": 1, "email": 1, "ip": 1}


def test_ledgers_hold_a_row_for_all_that_disappeared(road: Path) -> None:
    for stage in DOCUMENT_STAGES:
        facts = manifest(road / "run", stage)
        rows = [row for item in facts["ledgers"] for row in pq.read_table(road / "run" / item["path"]).to_pylist()]
        assert len(rows) == sum(facts["dropped"].values()) + facts["quarantined"], stage
    reasons = {
        row["reason"]
        for item in manifest(road / "run", "ingest")["ledgers"]
        for row in pq.read_table(road / "run" / item["path"]).to_pylist()
    }
    assert reasons == {
        "invalid-json",
        "invalid-utf8",
        "no-text-field",
        "not-an-object",
        "text-not-a-string",
        "duplicate-id",
    }


def test_running_again_does_nothing_and_says_so(road: Path) -> None:
    times = {path: path.stat().st_mtime_ns for path in (road / "run").rglob("*") if path.is_file()}
    done = text2lm(road, "run", "tiny.toml", "--run", "run", "--set", "launch.workers=1", "--set", "launch.ranks=1")
    assert "nothing to do: all 11 stages are fresh" in done.stdout
    changed = {path for path, when in times.items() if path.stat().st_mtime_ns != when}
    assert {path.name for path in changed} <= {"config.toml"}


def test_metrics_have_every_step_and_the_loss_goes_down(road: Path) -> None:
    rows = metrics(road / "run")
    assert [row["step"] for row in rows] == list(range(1, 21))
    assert [row["tokens"] for row in rows] == [1024 * step for step in range(1, 21)]
    assert rows[0]["loss"] == pytest.approx(math.log(512), abs=0.15)  # an untrained model knows nothing
    assert rows[-1]["loss"] < rows[0]["loss"] - 0.5
    assert [row["step"] for row in rows if "val_loss" in row] == [10, 20]
    assert list((road / "run" / "pretrain" / "wandb").glob("**/*.wandb"))


def test_transformers_loads_the_export_and_measures_the_same_bits_per_byte(road: Path) -> None:
    """The whole of evaluation again, by other code: transformers' model and tokenizer on the validation documents."""
    run = road / "run"
    model = transformers.GPT2LMHeadModel.from_pretrained(run / "export" / "hf")
    tokenizer = transformers.AutoTokenizer.from_pretrained(run / "export" / "hf")
    texts = {}
    for path in sorted((run / "split" / "val").glob("*.parquet")):
        texts |= {row["id"]: row["text"] for row in pq.read_table(path).to_pylist()}
    nats, size_bytes, end = 0.0, 0, tokenizer.eos_token_id
    for source in ("guide", "notes"):
        lines = (run / "tokens" / "val" / f"{source}-00000.docs.jsonl").read_text().splitlines()
        documents = [texts.pop(json.loads(line)["id"]) for line in lines]
        stream = [token for text in documents for token in [*tokenizer(text)["input_ids"], end]]
        size_bytes += sum(len(text.encode()) for text in documents)
        inputs = [end, *stream[:-1]]
        for start in range(0, len(stream), 64):
            with torch.no_grad():
                logits = model(torch.tensor([inputs[start : start + 64]])).logits[0]
            targets = torch.tensor(stream[start : start + 64])
            nats += torch.nn.functional.cross_entropy(logits, targets, reduction="sum").item()
    assert not texts  # every validation document was in a token file
    results = json.loads((run / "evaluate" / "results.json").read_text())
    assert results["bits_per_byte"] == pytest.approx(nats / math.log(2) / size_bytes, rel=1e-4)


def test_trace_says_where_documents_went(road: Path) -> None:
    def trace(document_id: str) -> str:
        return text2lm(road, "trace", document_id, "--run", "run").stdout

    assert "dropped: gopher-few-words" in trace("guide:short")
    assert "exact-duplicate of guide:t5" in trace("guide:copy") or "exact-duplicate of guide:copy" in trace("guide:t5")
    assert "quarantine: invalid-json" in trace("notes:notes.jsonl#1")
    scrubbed = trace("guide:t3")
    assert "split" in scrubbed and "tokens" in scrubbed
    assert "no document 'guide:nobody'" in text2lm(road, "trace", "guide:nobody", "--run", "run", code=2).stderr


def test_batch_names_the_documents_of_a_step(road: Path) -> None:
    ids = text2lm(road, "batch", "--run", "run", "--step", "1").stdout.split()
    sidecars = (road / "run" / "tokens" / "train").glob("*.docs.jsonl")
    known = {json.loads(line)["id"] for path in sidecars for line in path.read_text().splitlines()}
    assert ids and set(ids) <= known
    assert {name.partition(":")[0] for name in ids} == {"guide", "notes"}
    assert "steps 1 to 20" in text2lm(road, "batch", "--run", "run", "--step", "21", code=2).stderr


def test_sample_report_status_and_export_verbs(road: Path) -> None:
    greedy = ("--prompt", "The", "--temperature", "0", "--max-tokens", "12")
    from_run = text2lm(road, "sample", "--run", "run", *greedy).stdout
    assert from_run == text2lm(road, "sample", "--export", "run/export/hf", *greedy).stdout
    assert from_run.startswith("The")
    assert "run/report.html" in text2lm(road, "report", "--run", "run").stdout
    assert text2lm(road, "status", "--run", "run").stdout.count(" done  ") == len(STAGES)
    assert "run/export/hf" in text2lm(road, "export", "--run", "run").stdout


def test_a_signal_saves_and_the_resumed_training_is_bit_identical(road: Path) -> None:
    """Killed softly at some step, resumed in new processes: the same numbers as the training that ran through."""
    shutil.copytree(road / "data", road / "paused")
    process = start_text2lm(road, "run", "tiny.toml", "--run", "paused", "--until", "pretrain")
    path = road / "paused" / "pretrain" / "metrics.jsonl"
    while process.poll() is None and not (path.exists() and path.read_text().count("\n") >= 3):
        time.sleep(0.02)
    process.send_signal(signal.SIGTERM)
    output, _ = process.communicate(timeout=120)
    assert process.returncode == 3, output
    outcome = json.loads((road / "paused" / "pretrain" / "outcome.json").read_text())
    assert outcome["outcome"] == "paused" and 3 <= outcome["step"] < 20
    assert f"paused at step {outcome['step']}" in output
    text2lm(road, "stage", "pretrain", "--run", "paused", "--task", "0")  # the same as run, by hand
    text2lm(road, "stage", "pretrain", "--run", "paused", "--seal")
    assert "nothing to do" in text2lm(road, "run", "tiny.toml", "--run", "paused", "--until", "pretrain").stdout
    assert numbers(road / "paused") == numbers(road / "run")


def test_kill_9_of_the_command_leaves_the_last_checkpoint_and_no_process(road: Path) -> None:
    shutil.copytree(road / "data", road / "killed")
    process = start_text2lm(road, "run", "tiny.toml", "--run", "killed", "--until", "pretrain")
    checkpoint = road / "killed" / "pretrain" / "checkpoints" / "step-00000008" / "manifest.json"
    while process.poll() is None and not checkpoint.exists():
        time.sleep(0.02)
    process.kill()
    process.communicate()
    deadline = time.monotonic() + 10
    while any(is_worker_of(process, road / "killed") for process in Path("/proc").glob("[0-9]*")):
        assert time.monotonic() < deadline
    done = text2lm(road, "run", "tiny.toml", "--run", "killed", "--until", "pretrain")
    assert "pretrain: it was started and not finished" in done.stdout
    assert numbers(road / "killed") == numbers(road / "run")


def is_worker_of(process: Path, run: Path) -> bool:
    try:
        return str(run).encode() in (process / "cmdline").read_bytes()
    except OSError:
        return False


def test_a_changed_learning_rate_is_refused_until_restart_sets_the_old_training_aside(road: Path) -> None:
    shutil.copytree(road / "run", road / "changed")
    changed = ("run", "tiny.toml", "--run", "changed", "--set", "train.lr=1e-3")
    refused = text2lm(road, *changed, code=2)
    assert "train.lr changed from 0.003 to 0.001" in refused.stderr
    assert "--run NEW" in refused.stderr and "--restart" in refused.stderr
    plan = json.loads(text2lm(road, "plan", *changed[1:], "--json").stdout)["stages"]
    assert plan["pretrain"] == "train.lr changed from 0.003 to 0.001; needs --restart or --run NEW"
    assert [name for name, why in plan.items() if why] == ["pretrain", "evaluate", "export", "report"]
    text2lm(
        road,
        *changed,
        "--restart",
        "--set",
        "train.global_batch_tokens=1048576",
        "--set",
        "train.tokens=2097152",
        code=2,
    )
    assert not (road / "changed" / "pretrain.old-1").exists()  # an impossible job sets nothing aside
    done = text2lm(road, *changed, "--restart")
    assert "4 stages done, 7 were fresh" in done.stdout
    assert (road / "changed" / "pretrain.old-1" / "checkpoints" / "step-00000020" / "manifest.json").exists()
    assert numbers(road / "changed")[-1] != numbers(road / "run")[-1]


def test_data_made_anew_are_not_taken_for_those_of_the_training(road: Path) -> None:
    """Another vocabulary after training: the data stages follow, the training is refused, nobody mixes the two; and
    with the old setting everything is as it was."""
    shutil.copytree(road / "run", road / "anew")
    vocabulary = ("--set", "tokenizer.vocab_size=400")
    refused = text2lm(road, "run", "tiny.toml", "--run", "anew", *vocabulary, code=2)
    assert "what it was made from changed" in refused.stderr and "--restart" in refused.stderr
    for verb in (("sample", "--prompt", "The"), ("batch", "--step", "1")):
        assert "are not those of its training" in text2lm(road, *verb, "--run", "anew", code=2).stderr
    done = text2lm(road, "run", "tiny.toml", "--run", "anew")
    assert "pretrain" not in done.stdout.replace("the training that is there", "")
    assert numbers(road / "anew") == numbers(road / "run")
    assert (
        text2lm(road, "batch", "--run", "anew", "--step", "1").stdout
        == text2lm(road, "batch", "--run", "run", "--step", "1").stdout
    )
