"""What a run would do and cost, and what it has done, without touching anything."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

from data_prep.files import UserError, last_json_line, read_record
from pipeline.config import RunConfig
from pipeline.disk import disk, free_bytes, most_at_once
from pipeline.freshness import NEVER_RUN, changed_settings, sealed_stages, why_stale
from pipeline.receipt import Manifest, Receipts
from pipeline.run_dir import RunDir
from pipeline.stage import Context
from pipeline.stages import STAGES
from pipeline.training_steps import training_begun, training_changes, training_key
from pretrain.checks import resolve_precision
from pretrain.cost import flops_per_token, non_embedding_count, parameter_count
from pretrain.memory import buffer_bytes, snapshot_bytes, state_bytes
from pretrain.scaling import CHINCHILLA_TOKENS_PER_PARAMETER, chinchilla_loss, chinchilla_tokens, kaplan_loss
from pretrain.settings import TrainingJob
from pretrain.transformers_config import settings_of

FITTED_TOKENS = 1e9  # about the smallest trainings of Hoffmann et al. 2022
FAR_BELOW = ", and no guide for so little text"
MEMORY_PARTS = ("weights", "gradients", "optimizer", "buffers", "activations", "loss_head")


def plan(config: RunConfig, run: RunDir, *, mfu: float = 0.4, peak_tflops: float | None = None) -> dict[str, Any]:
    """What `text2lm plan --json` prints. Bytes are bytes, memory is a rank's, hours are of all ranks at work on GPUs.

    `mfu` is the share of a GPU's `peak_tflops` (None: of the one here, else an H100's) that the training will use.
    """
    stages: dict[str, str | None] = {}
    for stage in STAGES:
        stages[stage.name] = why_to_do(Context(config, run, stage), [name for name in stage.needs if stages[name]])
    model, train, ranks = config.model, config.train, config.launch.ranks
    vocab_size = vocabulary_size(config, run)
    parameters, tokens = parameter_count(model, vocab_size), train.tokens_after(train.steps)
    non_embedding = non_embedding_count(model)
    flops = flops_per_token(model, vocab_size) * tokens
    precision = resolve_precision(train.precision)
    stored = parameter_count(model, model.padded_vocab(vocab_size))
    sizes = disk(config, run, stages, vocab_size)
    most_bytes, most_files = most_at_once(sizes, STAGES, keep_intermediates=config.launch.keep_intermediates)
    peak, whose = (peak_tflops, "as given") if peak_tflops else peak_here(precision)
    return {
        "run": str(run.root),
        "stages": stages,
        "parameters": parameters,
        "non_embedding_parameters": non_embedding,
        "vocab_size": vocab_size,
        "precision": precision,
        "steps": train.steps,
        "tokens": tokens,
        "tokens_per_parameter": round(tokens / parameters, 2),
        "chinchilla_tokens": chinchilla_tokens(parameters),
        "kaplan_loss": round(kaplan_loss(non_embedding, tokens), 3),
        "chinchilla_loss": round(chinchilla_loss(parameters, tokens), 3),
        "flops": flops,
        "hours": flops / (mfu * peak * 1e12 * ranks) / 3600,
        "mfu": mfu,
        "peak_tflops": peak,
        "peak_of": whose,
        "ranks": ranks,
        "micro_batch_size": train.micro_batch_size,
        "zero_stage": train.zero_stage,
        "memory": memory(config, vocab_size, precision),
        "snapshot_bytes": snapshot_bytes(stored, ranks=ranks) if config.checkpoint.async_ else 0,
        "disk": sizes,
        "disk_bytes": most_bytes,
        "disk_files": most_files,
        "free_bytes": free_bytes(run.root),
    }


def vocabulary_size(config: RunConfig, run: RunDir) -> int:
    """Of the tokenizer, once it is there; else of the model to go on from, or as wished for."""
    tokenizer = Manifest.load(run.manifest("tokenizer"))
    if tokenizer:
        return int(tokenizer.facts["vocab_size"])
    if config.train.init_from:
        return settings_of(Path(config.train.init_from))[1]
    return config.tokenizer.vocab_size


def peak_here(precision: str) -> tuple[float, str]:
    """What a GPU multiplies at best, in TFLOP/s, and which: this machine's, or an H100 where none is known."""
    from pretrain.peak import gpu_here, gpu_peak

    name, peak = gpu_here(precision) or ("an H100 or H200", gpu_peak("H100", precision))
    assert peak
    return peak / 1e12, f"{name} in {precision}"


def memory(config: RunConfig, vocab_size: int, wanted: str) -> dict[str, dict[str, Any]]:
    """By ZeRO stage, the bytes on a rank's device; all parts together are a bound, for they peak at different times.

    A stage that cannot do what the config says is counted as near to it as it can: stage 0 in fp32, without offload.
    """
    from pretrain.activations import activation_bytes  # torch takes a second

    model, train, ranks = config.model, config.train, config.launch.ranks
    parameters = parameter_count(model, model.padded_vocab(vocab_size))
    bucket = config.deepspeed.get("zero_optimization", {}).get("reduce_bucket_size")
    activations = {
        precision: activation_bytes(
            model,
            vocab_size,
            micro_batch_size=train.micro_batch_size,
            precision=precision,
            checkpointing=train.activation_checkpointing,
        )
        for precision in {"fp32", wanted}
    }
    found: dict[str, dict[str, Any]] = {}
    for stage in range(4):
        precision = wanted if stage else "fp32"
        offload = "none" if stage == 0 else "optimizer" if train.offload != "none" and stage < 3 else train.offload
        setting: dict[str, Any] = {"precision": precision, "zero_stage": stage, "offload": offload}
        row = state_bytes(parameters, ranks=ranks, **setting)
        row["buffers"] = buffer_bytes(parameters, bucket=bucket, **setting)
        row["activations"], row["loss_head"] = activations[precision]["layers"], activations[precision]["head"]
        total = sum(row[name] for name in MEMORY_PARTS)
        found[str(stage)] = {"precision": precision, "offload": offload, **row, "total": total}
    return found


def why_to_do(context: Context, waiting: list[str]) -> str | None:
    """Why a stage will be redone, or None; `waiting` are the stages it needs that will be redone before it."""
    manifest = Manifest.load(context.run.manifest(context.stage.name))
    begun = context.stage.keeps and training_begun(context.run)
    if begun:
        found = training_changes(context)
        if not (waiting or found):
            started = read_record(context.run.started, TrainingJob.from_json)
            found = [] if started.key == training_key(context) else ["what it was made from changed"]
    else:
        found = changed_settings(manifest.settings, context.settings()) if manifest else []
    if waiting and (manifest or begun):
        found.append(f"{' and '.join(waiting)} will be redone")
    if begun and found:
        return "; ".join([*found, "needs --restart or --run NEW"])
    if waiting:
        return "; ".join(found) or NEVER_RUN
    return why_stale(context, STAGES)


def plan_lines(facts: dict[str, Any]) -> list[str]:
    """The plan for people."""
    lines = [f"{name:<10} {'fresh' if why is None else f'to do: {why}'}" for name, why in facts["stages"].items()]
    ranks = facts["ranks"]
    lines += [
        "",
        f"model      {facts['parameters']:,} parameters with a vocabulary of {facts['vocab_size']:,}; "
        f"{facts['non_embedding_parameters']:,} without embeddings",
        f"training   {facts['steps']:,} steps, {facts['tokens']:,} tokens, {facts['tokens_per_parameter']:g} a "
        f"parameter; {CHINCHILLA_TOKENS_PER_PARAMETER} make the best of the compute (Chinchilla, approach 1)",
        f"loss       about {facts['kaplan_loss']:.2f} by Kaplan's law, {facts['chinchilla_loss']:.2f} by Chinchilla's: "
        f"nats a token of their texts and tokenizers{'' if facts['tokens'] > FITTED_TOKENS else FAR_BELOW}",
        f"time       {duration(facts['hours'])} on {ranks} GPU{'s' if ranks > 1 else ''}: {facts['flops']:.2e} FLOPs "
        f"at {facts['mfu']:.0%} (--mfu) of {facts['peak_tflops']:g} TFLOP/s ({facts['peak_of']}; --peak-tflops)",
        "",
        f"GiB on each GPU, with {facts['micro_batch_size']} samples at once; * is train.zero_stage",
        "".join(f"{name:>12}" for name in ("ZeRO stage", *MEMORY_PARTS, "at most", "host")),
    ]
    for stage, row in facts["memory"].items():
        name = f"{'* ' if int(stage) == facts['zero_stage'] else ''}{stage} {row['precision']}"
        cells = (row[part] / 2**30 for part in (*MEMORY_PARTS, "total", "host"))
        lines.append(f"{name:>12}" + "".join(f"{cell:12.2f}" for cell in cells))
    if facts["snapshot_bytes"]:
        lines.append(
            f"and {facts['snapshot_bytes'] / 2**30:.2f} GiB of host memory each for checkpoint.async: the copy that is "
            "written while training goes on"
        )
    most, free = readable(facts["disk_bytes"]), readable(facts["free_bytes"])
    lines += ["", f"disk       at most about {most} in {facts['disk_files']:,} files at once; {free} are free"]
    for name, size in facts["disk"].items():
        seen = "is there" if size["exact"] else "to come, about"
        lines.append(f"  {name:<10}{readable(size['bytes']):>10}{size['files']:>10,} files  {seen}")
    return lines


def duration(hours: float) -> str:
    """
    >>> duration(0.001), duration(0.5), duration(30.2), duration(2400)
    ('under a minute', '30 minutes', '30.2 hours', '100.0 days')
    """
    if hours < 1:
        return f"{hours * 60:.0f} minutes" if hours * 60 >= 1 else "under a minute"
    return f"{hours:,.1f} hours" if hours < 72 else f"{hours / 24:,.1f} days"


def readable(size_bytes: float) -> str:
    """
    >>> readable(999), readable(12_355_354)
    ('999 B', '12.4 MB')
    """
    for unit in ("B", "kB", "MB", "GB"):
        if size_bytes < 1000:
            return f"{size_bytes:.1f} {unit}" if unit != "B" else f"{size_bytes:.0f} B"
        size_bytes /= 1000
    return f"{size_bytes:,.1f} TB"


def status_lines(run: RunDir) -> list[str]:
    """Every stage of a run: sealed, under way, or waiting; and how far training is."""
    lines = []
    sealed = sealed_stages(run, STAGES)
    for stage in STAGES:
        if stage.name in sealed:
            lines.append(f"{stage.name:<10} done     {stage.say(sealed[stage.name])}".rstrip())
            continue
        if run.manifest(stage.name).exists():
            lines.append(f"{stage.name:<10} stale    what it was made from has changed")
            continue
        plan_path = run.plan(stage.name)
        if not plan_path.exists():
            lines.append(f"{stage.name:<10} waiting")
            continue
        row = last_json_line(run.metrics) if stage.name == "pretrain" else None
        receipts = sum(len(Receipts(run, stage.name).done_tasks(step.name)) for step in stage.steps)
        how_far = f"step {row['step']:,}, loss {row['loss'] or math.nan:.3f}" if row else f"{receipts} tasks finished"
        lines.append(f"{stage.name:<10} begun    {how_far}")
    return lines


def need_stage(run: RunDir, name: str) -> Manifest:
    """A finished stage's manifest, or a `UserError` that says how to get it."""
    manifest = Manifest.load(run.manifest(name))
    if manifest is None:
        raise UserError(f"{run.root} has no finished stage {name} yet; run: text2lm run CONFIG --run {run.root}")
    return manifest
