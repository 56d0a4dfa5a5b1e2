"""Whether a training can be done at all: checked in one line each, before anything starts."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from pretrain.architecture import ModelSettings
from pretrain.settings import CheckpointSettings, TrainingJob, TrainSettings

CPUINFO = Path("/proc/cpuinfo")
GPU_DEVICE = Path("/dev/nvidia0")
BF16_CAPABILITY = (8, 0)  # Ampere

# Keys of DeepSpeed's configuration that settings of ours decide, each with what to write instead
DEEPSPEED_OWNED = {
    "train_batch_size": "train.global_batch_tokens",
    "train_micro_batch_size_per_gpu": "train.micro_batch_size",
    "gradient_accumulation_steps": "train.global_batch_tokens and train.micro_batch_size",
    "managed_gradient_accumulation": "train.global_batch_tokens and train.micro_batch_size",
    "gradient_clipping": "train.grad_clip",
    "optimizer": "train.betas, train.eps and train.weight_decay",
    "scheduler": "train.schedule",
    "fp16": 'train.precision = "fp16"',
    "bf16": 'train.precision = "bf16"',
    "bfloat16": 'train.precision = "bf16"',
    "amp": "train.precision",
    "torch_autocast": "train.precision",
    "data_types": "train.precision",
    "activation_checkpointing": "train.activation_checkpointing",
    "zero_optimization.stage": "train.zero_stage",
    "zero_optimization.offload_optimizer": 'train.offload = "optimizer"',
    "zero_optimization.offload_param": 'train.offload = "parameters"',
    "zero_optimization.cpu_offload": 'train.offload = "optimizer"',
    "zero_optimization.cpu_offload_param": 'train.offload = "parameters"',
}
DEEPSPEED_REFUSED = {
    "zero_optimization.round_robin_gradients": "training drifts when it goes on with another number of ranks",
    "zero_optimization.compute_grad_norm": "clipping and the skipping of bad steps need the gradient's norm",
}


def sample_problems(model: ModelSettings, train: TrainSettings, sources: list[str]) -> list[str]:
    """Whether samples can be cut from these sources as `[train]` asks."""
    T, found = model.context_length, []
    if train.stride > T:
        found.append(
            f"train.stride must be at most model.context_length ({T}), got {train.stride}: the tokens between two "
            "windows would be lost"
        )
    if train.objective == "prefix" and T < 2:
        found.append(f'train.objective = "prefix" wants a model.context_length of at least 2, got {T}')
    named = dict.fromkeys(name for phase in train.phase for name in phase.weights)
    return found + [
        f"a phase names the source '{name}', which is not there: {', '.join(sources)}"
        for name in named
        if name not in sources
    ]


def keep_best_problems(train: TrainSettings, checkpoint: CheckpointSettings) -> list[str]:
    """Whether there are checkpoints with a validation loss, where the best of them are to stay."""
    every, validate = checkpoint.every_steps, train.validate_every_steps
    if not checkpoint.keep_best or min(every, validate) < 1 or every % validate == 0 or validate % every == 0:
        return []
    return [
        "checkpoint.keep_best wants validations where checkpoints are saved: make one of checkpoint.every_steps and "
        f"train.validate_every_steps a multiple of the other, got {every} and {validate}"
    ]


def batch_problems(model: ModelSettings, train: TrainSettings, ranks: int) -> list[str]:
    """Whether every step's batch can be cut into samples, and these be shared among ranks and micro-batches."""
    T, batch = model.context_length, train.global_batch_tokens
    if train.steps < 1:
        return [f"train.tokens must be at least train.global_batch_tokens ({batch}), got {train.tokens}"]
    name, batch = (
        ("batch_ramp_start", train.batch_ramp_start) if train.batch_ramp_start else ("global_batch_tokens", batch)
    )
    if batch % T:
        return [
            f"train.{name} must be a multiple of model.context_length ({T}), got {batch}; "
            f"set it to {max(1, round(batch / T)) * T}"
        ]
    samples = batch // T
    if samples % ranks:
        return [
            f"train.{name} = {batch} gives {samples} samples of {T} tokens a "
            f"step, which {ranks} ranks cannot share evenly; set launch.ranks to {_largest_divisor(samples, ranks)}"
        ]
    share = samples // ranks
    if share % train.micro_batch_size:
        return [
            f"train.micro_batch_size must divide the {share} samples that each of {ranks} ranks trains on per "
            f"step, got {train.micro_batch_size}; set it to {_largest_divisor(share, train.micro_batch_size)}"
        ]
    return []


def _largest_divisor(number: int, below: int) -> int:
    return max(divisor for divisor in range(1, min(below, number + 1)) if number % divisor == 0)


def job_problems(job: TrainingJob, tokens_by_source: dict[str, int]) -> list[str]:
    """The checks that need the data: `tokens_by_source` counts each source's training tokens."""
    found = sample_problems(job.model, job.train, list(job.sources)) + batch_problems(job.model, job.train, job.ranks)
    T, batch = job.model.context_length, job.train.global_batch_tokens
    for source in dict.fromkeys(name for phase in job.phases for name in phase.weights if name in job.sources):
        tokens = tokens_by_source.get(source, 0)
        if tokens < T + 1:
            found.append(
                f"source '{source}' is too small for one sample: it has {tokens} training tokens, "
                f"model.context_length = {T} wants {T + 1}; add text to it or lower "
                "model.context_length"
            )
    if sum(tokens_by_source.values()) < batch:
        found.append(
            f"the corpus is too small for one batch: it has {sum(tokens_by_source.values())} training tokens, "
            f"train.global_batch_tokens = {batch}; add text or lower train.global_batch_tokens"
        )
    if not 0 <= job.end_of_text < job.vocab_size:
        found.append(f"the end-of-text id must lie in 0..{job.vocab_size - 1}, the vocabulary, got {job.end_of_text}")
    return found


def precision_problems(precision: str, capability: tuple[int, int] | None) -> list[str]:
    """Whether a device has the precision: a GPU of this compute capability, or a CPU (None), which has all three."""
    if precision == "bf16" and capability is not None and capability < BF16_CAPABILITY:
        return [
            f"train.precision = bf16 wants a GPU of compute capability {'.'.join(map(str, BF16_CAPABILITY))} or later, "
            f"this one has {'.'.join(map(str, capability))}; set train.precision to fp16 or fp32"
        ]
    return []


def resolve_precision(precision: str) -> str:
    """`"auto"` as "bf16" where this machine multiplies it fast, else "fp32"; any other value is itself.

    Fast means a CUDA device of compute capability 8 (Ampere) or later, or a CPU with AMX or AVX-512 bf16.
    """
    if precision != "auto":
        return precision
    if GPU_DEVICE.exists():
        import torch  # slow to import: only where a GPU may be

        if torch.cuda.is_available():
            return "bf16" if torch.cuda.get_device_capability() >= BF16_CAPABILITY else "fp32"
    flags = CPUINFO.read_text() if CPUINFO.exists() else ""
    return "bf16" if re.search(r"\b(amx_bf16|avx512_bf16)\b", flags) else "fp32"


def deepspeed_problems(extra: dict[str, Any]) -> list[str]:
    """Whether the `[deepspeed]` table, which is handed through, keeps off what other settings decide."""
    zero = extra.get("zero_optimization", {})
    if not isinstance(zero, dict):
        return [f"deepspeed.zero_optimization must be a table, got {zero!r}"]
    keys = [*extra, *(f"zero_optimization.{key}" for key in zero)]
    found = [
        f"deepspeed.{key} is set by {DEEPSPEED_OWNED[key]}; set that instead" for key in keys if key in DEEPSPEED_OWNED
    ]
    found += [
        f"deepspeed.{key} cannot be set: {why}; take it out" for key, why in DEEPSPEED_REFUSED.items() if key in keys
    ]
    return found
