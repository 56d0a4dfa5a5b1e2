"""The steps that train, score and export a model: they start the programs of `pretrain` and collect what they left.

torch is imported only inside the steps that need it, in a worker process.
"""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

from data_prep.files import UserError, canonical_json, digest_bytes, read_json, read_json_lines, read_record, write_json
from pipeline.freshness import changed_settings
from pipeline.receipt import Manifest
from pipeline.run_dir import RunDir
from pipeline.stage import Context, Result, ShardPlan
from pipeline.token_steps import compressed_bits_per_byte
from pretrain.presets import flops_per_token, parameter_count
from pretrain.settings import TrainingJob, job_problems, resolve_precision

SAMPLES = 3
END_OF_TEXT_ID = 0  # the tokenizer's first special token


def training_job(context: Context) -> TrainingJob:
    """What the ranks are told. `"auto"` precision is decided once: a resume keeps what the first start chose."""
    config, facts = context.config, context.upstream("tokenizer").facts
    key, precision = context.key(), resolve_precision(config.train.precision)
    if context.run.started.exists():
        started = read_record(context.run.started, TrainingJob.from_json)
        precision = started.train.precision if started.key == key else precision
    return TrainingJob(
        key=key,
        seed=config.seed,
        ranks=config.launch.ranks,
        vocab_size=facts["vocab_size"],
        end_of_text=END_OF_TEXT_ID,
        sources={source.name: source.weight for source in config.source},
        dataset=dataset_fingerprint(context.run),
        model=config.model,
        train=replace(config.train, precision=precision),
        checkpoint=config.checkpoint,
        wandb=config.wandb,
    )


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
    tokens = context.upstream("tokens").facts["train"]
    problems = job_problems(training_job(context), {name: row["tokens"] for name, row in tokens.items()})
    if problems:
        raise UserError("; ".join(problems))


def start_training(context: Context) -> tuple[str, ...]:
    """Write `started.json` and give the command of one rank."""
    write_json(context.run.started, training_job(context).to_json())
    return (sys.executable, "-P", "-m", "pretrain.worker", "--run", str(context.run.root.resolve()))


def collect_training(context: Context, task: int) -> Result:
    """The last checkpoint's files are what the stage made."""
    outcome = read_json(context.run.outcome)
    assert outcome["outcome"] == "done", outcome
    last = context.run.checkpoints / f"step-{outcome['step']:08d}"
    return Result(sorted(path for path in last.iterdir() if path.is_file()))


def training_facts(context: Context, tally: dict[str, int]) -> dict[str, Any]:
    job = read_record(context.run.started, TrainingJob.from_json)
    shape = job.model.shape()
    size = (shape.n_layers, shape.d_model, job.vocab_size, job.model.context_length)
    outcome = read_json(context.run.outcome)
    return {
        "steps": outcome["step"],
        "tokens": outcome["tokens"],
        "parameters": parameter_count(*size),
        "flops": flops_per_token(*size) * outcome["tokens"],
        "step_seconds": round(sum(row["step_seconds"] for row in read_json_lines(context.run.metrics)), 3),
    }


def training_begun(run: RunDir) -> bool:
    """Whether there is a training that a new one must not replace on the quiet."""
    saved = [*run.checkpoints.glob("step-*/manifest.json"), *run.checkpoints.glob("step-*.bad-*")]
    return run.plan("pretrain").exists() and bool(saved)


def training_changes(context: Context) -> list[str]:
    """In words, the settings that differ from those of the training that has begun."""
    if not training_begun(context.run):
        return []
    return changed_settings(ShardPlan.load(context.run.plan("pretrain")).settings, context.settings())


def refuse_other_settings(context: Context) -> None:
    """`UserError` when a training has begun under other settings. Known before any stage runs."""
    refuse(context, training_changes(context))


def refuse_other_data(context: Context) -> None:
    """`UserError` when a training has begun on other token files. Known once the data stages are sealed."""
    if training_begun(context.run) and ShardPlan.load(context.run.plan("pretrain")).key != context.key():
        refuse(context, ["what it was made from changed"])


def refuse(context: Context, changes: list[str]) -> None:
    if changes:
        raise UserError(
            f"{context.run.root} holds a training made otherwise: {'; '.join(changes)}; "
            "name another directory with --run NEW, or set the old training aside with --restart"
        )


def evaluate(context: Context, task: int) -> Result:
    """Score all of the validation text; beside it gzip and xz on the same text, and a few samples."""
    from data_prep.encode import load_tokenizer
    from pretrain.evaluate import evaluate as score
    from pretrain.sample import generate
    from pretrain.weights import load_model

    job = trained_job(context.run)
    model = load_model(job, newest_checkpoint(context))
    results = score(job, model, context.run.tokens / "val")
    packed = compressed_bits_per_byte(context)
    results |= packed[""]
    for name, row in results["sources"].items():
        row |= packed[name]
    tokenizer = load_tokenizer(context.run.tokenizer)
    options: dict[str, Any] = {"end_of_text": job.end_of_text, "max_tokens": 120, "temperature": 0.8, "top_k": 50}
    results["samples"] = [generate(model, tokenizer, "", seed=seed, **options) for seed in range(SAMPLES)]
    write_json(context.run.results, results)
    return Result([context.run.results])


def score_facts(context: Context, tally: dict[str, int]) -> dict[str, Any]:
    results = read_json(context.run.results)
    names = ("loss", "perplexity", "bits_per_byte", "tokens", "bytes", "gzip_bits_per_byte", "xz_bits_per_byte")
    return {name: results[name] for name in names}


def newest_checkpoint(context: Context) -> Path:
    """The checkpoint that training ended with."""
    path: str = context.upstream("pretrain").outputs[0]["path"]
    return (context.run.root / path).parent


def export(context: Context, task: int) -> Result:
    """A transformers-format GPT-2 directory."""
    from pretrain.export import export_gpt2
    from pretrain.fragments import read_full

    job = trained_job(context.run)
    export_gpt2(read_full(newest_checkpoint(context)), job, context.run.tokenizer, context.run.export)
    return Result(sorted(context.run.export.iterdir()))


def sample(run: RunDir | None, export: Path | None, prompt: str, *, top_k: int, **options: Any) -> str:
    """The continuation of a prompt by a run's newest checkpoint or by an exported model."""
    from data_prep.encode import load_tokenizer
    from pretrain.export import load_gpt2
    from pretrain.sample import generate
    from pretrain.weights import load_model
    from pretrain.weights import newest_checkpoint as newest

    if run:
        job = trained_job(run)
        model, tokenizer_path = load_model(job, newest(job, run.checkpoints)), run.tokenizer
    else:
        assert export
        model, tokenizer_path = load_gpt2(export)
    tokenizer = load_tokenizer(tokenizer_path)
    return generate(model, tokenizer, prompt, end_of_text=END_OF_TEXT_ID, top_k=top_k or None, **options)
