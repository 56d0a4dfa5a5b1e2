"""The product, as a table: every stage from raw text to a model, in order.

Adding a stage is one function in a `*_steps` module, one row here, and one test.
"""

from __future__ import annotations

from data_prep.files import UserError
from pipeline import (
    cleaning_steps,
    dedup_steps,
    document_steps,
    ingest_steps,
    model_steps,
    scrub_steps,
    token_steps,
    training_steps,
)
from pipeline.receipt import Manifest
from pipeline.report import write_report
from pipeline.stage import Context, Result, Stage, Step, each_shard


def say_documents(manifest: Manifest) -> str:
    counts = manifest.counts
    gone = [f"{count:,} {reason}" for reason, count in sorted(counts.dropped.items(), key=lambda item: -item[1])]
    gone += [f"{counts.quarantined:,} quarantined"] if counts.quarantined else []
    gone += [f"{count:,} {what}" for what, count in manifest.facts.items() if isinstance(count, int)]
    line = f"{counts.documents_in:,} documents in, {counts.documents_out:,} out, {counts.bytes / 1e6:.1f} MB"
    return f"{line} ({', '.join(gone)})" if gone else line


def say_scrubbed(manifest: Manifest) -> str:
    """The accounting, and what was replaced: `replaced: 1,200 email, 3 ip`."""
    found = scrub_steps.values_by_kind(manifest.facts).most_common()
    replaced = ", ".join(f"{count:,} {kind}" for kind, count in found)
    return f"{say_documents(manifest)}; replaced: {replaced or 'nothing'}"


def say_tokens(manifest: Manifest) -> str:
    facts = manifest.facts
    rows = [(side, sum(row["tokens"] for row in facts[side].values())) for side in ("train", "val") if side in facts]
    return ", ".join(f"{count:,} {side} tokens" for side, count in rows)


def say_training(manifest: Manifest) -> str:
    facts = manifest.facts
    return f"{facts['steps']:,} steps, {facts['tokens']:,} tokens, {facts['parameters']:,} parameters"


def say_scores(manifest: Manifest) -> str:
    facts = manifest.facts
    packed = f"{facts['gzip_bits_per_byte']:.3f} with gzip -9, {facts['xz_bits_per_byte']:.3f} with xz -9"
    return f"{facts['bits_per_byte']:.3f} bits per byte; {packed}"


def write_page(context: Context, task: int) -> Result:
    """The report: the run as one page."""
    write_report(context.run, STAGES[:-1])
    return Result([context.run.report])


STAGES: tuple[Stage, ...] = (
    Stage(
        "ingest",
        steps=(
            Step("read", ingest_steps.read, tasks=each_shard),
            Step("ids", ingest_steps.ids),
            Step("write", ingest_steps.write, tasks=each_shard),
        ),
        reads=("source.text_field", "source.id_field", "source.encoding", "source.license"),
        inputs=ingest_steps.inputs,
        plan=ingest_steps.plan,
        intermediate=True,
        facts=ingest_steps.facts,
        say=say_documents,
    ),
    Stage(
        "clean",
        steps=(Step("clean", cleaning_steps.clean, tasks=each_shard),),
        needs=("ingest",),
        reads=(
            "clean",
            "source.format",
            "source.extract",
            "source.language",
            "source.rules",
            "source.thresholds",
        ),
        version=2,
        inputs=cleaning_steps.inputs,
        facts=cleaning_steps.facts,
        plan=document_steps.shards_of("ingest"),
        intermediate=True,
        say=say_documents,
    ),
    Stage(
        "dedup",
        steps=(
            Step("sign", dedup_steps.sign, tasks=each_shard),
            Step("match", dedup_steps.match, tasks=dedup_steps.match_tasks),
            Step("collect", dedup_steps.collect, tasks=each_shard),
            Step("cluster", dedup_steps.cluster),
            Step("filter", dedup_steps.filter, tasks=each_shard),
        ),
        needs=("clean",),
        reads=("dedup",),
        version=2,
        inputs=dedup_steps.inputs,
        facts=dedup_steps.facts,
        plan=document_steps.shards_of("clean"),
        intermediate=True,
        say=say_documents,
    ),
    Stage(
        "scrub",
        steps=(Step("scrub", scrub_steps.scrub, tasks=each_shard),),
        needs=("dedup",),
        reads=("scrub", "source.scrub"),
        version=2,
        inputs=scrub_steps.inputs,
        facts=scrub_steps.facts,
        plan=document_steps.shards_of("dedup"),
        intermediate=True,
        say=say_scrubbed,
    ),
    Stage(
        "split",
        steps=(Step("split", document_steps.split, tasks=each_shard),),
        needs=("scrub",),
        reads=("seed", "split"),
        plan=document_steps.shards_of("scrub"),
        facts=document_steps.split_facts,
        say=say_documents,
    ),
    Stage(
        "tokenizer",
        steps=(Step("train", token_steps.make_tokenizer),),
        needs=("split",),
        reads=("tokenizer",),
        version=2,
        inputs=token_steps.tokenizer_inputs,
        say=lambda manifest: f"{manifest.facts['vocab_size']:,} tokens in the vocabulary",
    ),
    Stage(
        "tokens",
        steps=(
            Step("encode", token_steps.tokens_encode, tasks=each_shard),
            Step("write", token_steps.tokens_write),
        ),
        needs=("split", "tokenizer"),
        reads=("seed",),
        version=2,
        plan=document_steps.shards_of("split"),
        facts=token_steps.tokens_facts,
        say=say_tokens,
    ),
    Stage(
        "pretrain",
        steps=(
            Step("windows", training_steps.cut_windows),
            Step("train", training_steps.collect_training, program=training_steps.start_training),
        ),
        needs=("tokens", "tokenizer"),
        reads=("seed", "model", "train", "source.weight"),
        version=2,
        keeps=True,
        facts=training_steps.training_facts,
        say=say_training,
    ),
    Stage(
        "evaluate",
        steps=(Step("score", model_steps.evaluate),),
        needs=("split", "tokens", "tokenizer", "pretrain"),
        facts=model_steps.score_facts,
        say=say_scores,
    ),
    Stage(
        "export",
        steps=(Step("transformers", model_steps.export),),
        needs=("tokenizer", "pretrain"),
        facts=model_steps.export_facts,
        say=lambda manifest: str(manifest.facts["what"]),
    ),
    Stage(
        "report",
        steps=(Step("page", write_page),),
        needs=("evaluate",),
        say=lambda manifest: "report.html",
    ),
)


def stage_named(name: str) -> Stage:
    for stage in STAGES:
        if stage.name == name:
            return stage
    raise UserError(f"there is no stage '{name}', wanted one of {', '.join(stage.name for stage in STAGES)}")
