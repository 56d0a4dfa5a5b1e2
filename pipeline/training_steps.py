"""The steps that train: what the ranks are told, whether it can be done, and what they left."""

from __future__ import annotations

import sys
from dataclasses import replace
from typing import Any

from data_prep.files import UserError, canonical_json, digest_bytes, read_json, read_json_lines, read_record, write_json
from pipeline.freshness import changed_settings
from pipeline.receipt import Manifest, key_of
from pipeline.run_dir import RunDir
from pipeline.stage import Context, Result, ShardPlan
from pretrain.batches import TrainingData
from pretrain.checkpoint import CheckpointStore
from pretrain.checks import job_problems, resolve_precision
from pretrain.continuation import EXTENDABLE, continuation_problems
from pretrain.cost import flops_per_token, parameter_count
from pretrain.settings import TrainingJob
from pretrain.window_index import sentence_ends
from pretrain.windows import write_indexes

EXTENDED = tuple(f"train.{name}" for name in EXTENDABLE)


def cut_windows(context: Context, task: int) -> Result:
    """The index of windows that end at sentences or documents; other windows are arithmetic and need none."""
    from data_prep.encode import load_tokenizer

    check_training(context)
    job, ends = training_job(context), list[int]()
    if job.train.windows == "sentence":
        tokenizer = load_tokenizer(context.run.tokenizer)
        ends = sentence_ends(tokenizer.decode([token]) for token in range(tokenizer.get_vocab_size()))
    return Result(write_indexes(job, context.run.tokens / "train", context.run.windows, ends))


def training_job(context: Context) -> TrainingJob:
    """What the ranks are told. `"auto"` precision is decided once: a resume keeps what the first start chose."""
    config, facts = context.config, context.upstream("tokenizer").facts
    key, precision = training_key(context), resolve_precision(config.train.precision)
    if context.run.started.exists():
        started = read_record(context.run.started, TrainingJob.from_json)
        precision = started.train.precision if started.key == key else precision
    return TrainingJob(
        key=key,
        seed=config.seed,
        ranks=config.launch.ranks,
        vocab_size=facts["vocab_size"],
        end_of_text=facts["end_of_text"],
        sources={source.name: source.weight for source in config.source},
        dataset=dataset_fingerprint(context.run),
        model=config.model,
        train=replace(config.train, precision=precision),
        checkpoint=config.checkpoint,
        wandb=config.wandb,
        deepspeed=config.deepspeed,
    )


def training_key(context: Context) -> str:
    """What no resume may change: the stage's identity without the settings that say when it ends."""
    fixed = {name: value for name, value in context.settings().items() if not name.startswith(EXTENDED)}
    return key_of(context.stage.name, context.stage.version, fixed, context.inputs())


def dataset_fingerprint(run: RunDir) -> str:
    """A digest of the token files and the tokenizer that the run holds now; "" while they are not finished."""
    manifests = [Manifest.load(run.manifest(name)) for name in ("tokens", "tokenizer")]
    files = [[item["path"], item["digest"]] for manifest in manifests if manifest for item in manifest.outputs]
    return digest_bytes(canonical_json(sorted(files))) if all(manifests) else ""


def trained_job(run: RunDir) -> TrainingJob:
    """The job of the run's training. `UserError` when there is none, or when its data were made anew since: what the
    training saw can then no longer be told."""
    if not run.started.exists():
        raise UserError(f"{run.root} has not begun to train; run: text2lm run CONFIG --run {run.root}")
    job = read_record(run.started, TrainingJob.from_json)
    if job.dataset != dataset_fingerprint(run):
        raise UserError(
            f"the tokens or the tokenizer in {run.root} are not those of its training; bring the data settings back "
            "and run again, or train on the new ones with --restart"
        )
    return job


def check_training(context: Context) -> None:
    """`UserError` when the job cannot be done with the data there are."""
    job, tokens = training_job(context), context.upstream("tokens").facts["train"]
    problems = job_problems(job, {name: row["tokens"] for name, row in tokens.items()})
    if problems:
        raise UserError("; ".join(problems))


def check_epochs(context: Context, data: TrainingData) -> None:
    """`UserError` when a source would be read more often than its `max_epochs`."""
    limits = {source.name: source.max_epochs for source in context.config.source}
    over = [(name, count) for name, count in data.epochs().items() if count > limits[name]]
    if over:
        name, count = over[0]
        raise UserError(
            f"source '{name}' would be read {count:.2f} times, its max_epochs is {limits[name]:g}; lower its weight or "
            "train.tokens, add text, or raise max_epochs"
        )


def start_training(context: Context) -> tuple[str, ...]:
    """Write `started.json` and give the command of one rank."""
    job = training_job(context)
    check_epochs(context, TrainingData(job, context.run.tokens / "train", context.run.windows))
    write_json(context.run.started, job.to_json())
    return (sys.executable, "-P", "-m", "pretrain.worker", "--run", str(context.run.root.resolve()))


def collect_training(context: Context, task: int) -> Result:
    """The last checkpoint's files are what the stage made."""
    outcome = read_json(context.run.outcome)
    assert outcome["outcome"] == "done", outcome
    last = context.run.checkpoints / f"step-{outcome['step']:08d}"
    return Result(sorted(path for path in last.iterdir() if path.is_file()))


def training_facts(context: Context, tally: dict[str, int]) -> dict[str, Any]:
    job = read_record(context.run.started, TrainingJob.from_json)
    outcome, rows = read_json(context.run.outcome), read_json_lines(context.run.metrics)
    data = TrainingData(job, context.run.tokens / "train", context.run.windows)
    return {
        "steps": outcome["step"],
        "tokens": outcome["tokens"],
        "parameters": parameter_count(job.model, job.vocab_size),
        "flops": flops_per_token(job.model, job.vocab_size) * outcome["tokens"],
        "step_seconds": round(sum(row["step_seconds"] for row in rows), 3),
        "skipped_steps": [row["step"] for row in rows if row["skipped"]],
        "epochs": data.epochs(),
        "accounting": data.accounting(),
    }


def training_begun(run: RunDir) -> bool:
    """Whether there is a training that a new one must not replace on the quiet."""
    published = any(run.checkpoints.glob("step-*/manifest.json")) or (run.checkpoints / "latest").exists()
    return run.plan("pretrain").exists() and published


def training_changes(context: Context) -> list[str]:
    """In words, what differs from the training that has begun and would make it another one."""
    if not training_begun(context.run):
        return []
    before, after = ShardPlan.load(context.run.plan("pretrain")).settings, context.settings()
    changes = changed_settings(before, after)
    fixed = [change for change in changes if not change.startswith(EXTENDED)]
    if fixed or not changes:
        return fixed
    old = read_record(context.run.started, TrainingJob.from_json)
    config = context.config
    new = replace(
        old,
        train=replace(config.train, precision=old.train.precision),
        sources={source.name: source.weight for source in config.source},
    )
    steps_taken = CheckpointStore(context.run.checkpoints, old).newest_step()
    problems = continuation_problems(old, new, steps_taken)
    return [*changes, *problems] if problems else []


def refuse_other_settings(context: Context) -> None:
    """`UserError` when a training has begun under other settings. Known before any stage runs."""
    refuse(context, training_changes(context))


def refuse_other_data(context: Context) -> None:
    """`UserError` when a training has begun on other token files. Known once the data stages are sealed."""
    if training_begun(context.run):
        started = read_record(context.run.started, TrainingJob.from_json)
        if started.key != training_key(context):
            refuse(context, training_changes(context) or ["what it was made from changed"])


def refuse(context: Context, changes: list[str]) -> None:
    if changes:
        raise UserError(
            f"{context.run.root} holds a training made otherwise: {'; '.join(changes)}; "
            "name another directory with --run NEW, or set the old training aside with --restart"
        )
