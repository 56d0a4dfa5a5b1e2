"""What a run would do, and what it has done, without touching anything."""

from __future__ import annotations

from typing import Any

from data_prep.files import UserError, last_json_line
from pipeline.config import RunConfig
from pipeline.freshness import NEVER_RUN, changed_settings, sealed_stages, why_stale
from pipeline.model_steps import training_begun, training_changes
from pipeline.receipt import Manifest
from pipeline.run_dir import RunDir
from pipeline.stage import Context
from pipeline.stages import STAGES
from pretrain.presets import flops_per_token, parameter_count


def plan(config: RunConfig, run: RunDir) -> dict[str, Any]:
    """`{"stages": {name: why stale, or None}, "parameters", "tokens", "steps", ...}`."""
    stages: dict[str, str | None] = {}
    for stage in STAGES:
        stages[stage.name] = why_to_do(Context(config, run, stage), [name for name in stage.needs if stages[name]])
    tokenizer = Manifest.load(run.manifest("tokenizer"))
    vocab_size = tokenizer.facts["vocab_size"] if tokenizer else config.tokenizer.vocab_size
    shape, train = config.model.shape(), config.train
    size = (shape.n_layers, shape.d_model, vocab_size, config.model.context_length)
    parameters, tokens = parameter_count(*size), train.steps * train.global_batch_tokens
    return {
        "run": str(run.root),
        "stages": stages,
        "parameters": parameters,
        "vocab_size": vocab_size,
        "steps": train.steps,
        "tokens": tokens,
        "tokens_per_parameter": round(tokens / parameters, 2),
        "flops": flops_per_token(*size) * tokens,
    }


def why_to_do(context: Context, waiting: list[str]) -> str | None:
    """Why a stage will be redone, or None; `waiting` are the stages it needs that will be redone before it."""
    manifest = Manifest.load(context.run.manifest(context.stage.name))
    begun = context.stage.keeps and training_begun(context.run)
    if begun:
        found = training_changes(context)
        if not (waiting or found) and context.plan().key != context.key():
            found = ["what it was made from changed"]
    else:
        found = changed_settings(manifest.settings, context.settings()) if manifest else []
    if waiting and (manifest or begun):
        found.append(f"{' and '.join(waiting)} will be redone")
    if begun and found:
        return "; ".join([*found, "needs --restart or --run NEW"])
    if waiting:
        return "; ".join(found) or NEVER_RUN
    return why_stale(context)


def plan_lines(facts: dict[str, Any]) -> list[str]:
    """The plan for people."""
    lines = [f"{name:<10} {'fresh' if why is None else f'to do: {why}'}" for name, why in facts["stages"].items()]
    lines.append(
        f"model      {facts['parameters']:,} parameters with a vocabulary of {facts['vocab_size']:,}; "
        f"{facts['steps']:,} steps, {facts['tokens']:,} tokens ({facts['tokens_per_parameter']} a parameter), "
        f"{facts['flops']:.2e} FLOPs"
    )
    return lines


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
        receipts = len(list((run.stage(stage.name) / "receipts").glob("*.json")))
        how_far = f"step {row['step']:,}, loss {row['loss']:.3f}" if row else f"{receipts} tasks finished"
        lines.append(f"{stage.name:<10} begun    {how_far}")
    return lines


def need_stage(run: RunDir, name: str) -> Manifest:
    """A finished stage's manifest, or a `UserError` that says how to get it."""
    manifest = Manifest.load(run.manifest(name))
    if manifest is None:
        raise UserError(f"{run.root} has no finished stage {name} yet; run: text2lm run CONFIG --run {run.root}")
    return manifest
