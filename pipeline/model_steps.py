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
    from pretrain.weights import find_checkpoint, load_model

    job = trained_job(context.run)
    model = load_model(job, find_checkpoint(job, context.run.checkpoints, last_step(context)))
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


def last_step(context: Context) -> int:
    """That training ended with."""
    return int(context.upstream("pretrain").facts["steps"])


def export(context: Context, task: int) -> Result:
    """A directory that transformers loads, where it has a class that is this model."""
    if why_not(trained_job(context.run).model):
        return Result([])
    export_step(context.run, last_step(context), context.run.export)
    return Result(sorted(context.run.export.iterdir()))


def export_step(run: RunDir, step: int, out_dir: Path) -> None:
    """Write the model as it was after `step` steps, in transformers' format; `UserError` without such a checkpoint."""
    from pretrain.export import export as export_model
    from pretrain.fragments import read_full
    from pretrain.weights import find_checkpoint

    job = trained_job(run)
    export_model(read_full(find_checkpoint(job, run.checkpoints, step).files), job, run.tokenizer, out_dir)


def export_facts(context: Context, tally: dict[str, int]) -> dict[str, Any]:
    """Where the export is, or why there is none."""
    reason = why_not(trained_job(context.run).model)
    return {"what": f"none: {reason}" if reason else "export/hf"}


def sample(
    run: RunDir | None, export: Path | None, prompt: str, *, step: int | None = None, top_k: int, **options: Any
) -> str:
    """The continuation of a prompt by a run's checkpoint (None: the newest) or by an exported model."""
    from data_prep.encode import load_tokenizer
    from pretrain.export import load_export
    from pretrain.sample import generate
    from pretrain.weights import find_checkpoint, load_model

    if run:
        job = trained_job(run)
        model = load_model(job, find_checkpoint(job, run.checkpoints, step))
        tokenizer_path, end = run.tokenizer, job.end_of_text
    else:
        assert export
        model, tokenizer_path = load_export(export)
        end = end_of_text_of(export)
    tokenizer = load_tokenizer(tokenizer_path)
    return generate(model, tokenizer, prompt, end_of_text=end, top_k=top_k or None, **options)
