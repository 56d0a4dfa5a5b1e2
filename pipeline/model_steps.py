"""The steps that score, export and look at a trained model. torch is imported only inside them, in a worker process."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from data_prep.files import read_json, write_json
from pipeline.run_dir import RunDir
from pipeline.stage import Context, Result
from pipeline.token_steps import compressed_bits_per_byte
from pipeline.training_steps import trained_job
from pretrain.transformers_config import end_of_text_of
from pretrain.transformers_layout import why_not

SAMPLES = 3


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
    facts = context.upstream("pretrain").facts
    return context.run.checkpoints / f"step-{facts['steps']:08d}"


def export(context: Context, task: int) -> Result:
    """A directory that transformers loads, where it has a class that is this model."""
    from pretrain.export import export as export_model
    from pretrain.fragments import read_full

    job = trained_job(context.run)
    if why_not(job.model):
        return Result([])
    export_model(read_full(newest_checkpoint(context)), job, context.run.tokenizer, context.run.export)
    return Result(sorted(context.run.export.iterdir()))


def export_facts(context: Context, tally: dict[str, int]) -> dict[str, Any]:
    """Where the export is, or why there is none."""
    reason = why_not(trained_job(context.run).model)
    return {"what": f"none: {reason}" if reason else "export/hf"}


def sample(run: RunDir | None, export: Path | None, prompt: str, *, top_k: int, **options: Any) -> str:
    """The continuation of a prompt by a run's newest checkpoint or by an exported model."""
    from data_prep.encode import load_tokenizer
    from pretrain.export import load_export
    from pretrain.sample import generate
    from pretrain.weights import load_model
    from pretrain.weights import newest_checkpoint as newest

    if run:
        job = trained_job(run)
        model, tokenizer_path, end = load_model(job, newest(job, run.checkpoints)), run.tokenizer, job.end_of_text
    else:
        assert export
        model, tokenizer_path = load_export(export)
        end = end_of_text_of(export)
    tokenizer = load_tokenizer(tokenizer_path)
    return generate(model, tokenizer, prompt, end_of_text=end, top_k=top_k or None, **options)
