"""What a user may say about training, and the job that a worker process receives.

Standard library only: the pipeline loads settings long before anything needs torch. `problems()` returns sentences
and never changes a value. A field marked *execution* says how to run and may change between resumes; every other
field is part of the training's identity.
"""

from __future__ import annotations

import math
import re
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from pretrain.presets import PRESETS, ModelShape

EXECUTION = {"execution": True}
CPUINFO = Path("/proc/cpuinfo")
GPU_DEVICE = Path("/dev/nvidia0")


@dataclass(frozen=True)
class ModelSettings:
    """The `[model]` table: a GPT-2 of some shape."""

    preset: str | None = None  # a published shape (presets.py); the three keys below override its values
    context_length: int = 1024  # tokens a sample
    n_layers: int | None = None
    n_heads: int | None = None
    d_model: int | None = None  # width of the residual stream
    dropout: float = 0.0  # GPT-2 used 0.1; one pass over the data wants none

    def shape(self) -> ModelShape:
        """The preset's depth, heads and width, overridden key by key. Call `problems` first."""
        preset = PRESETS[self.preset]._asdict() if self.preset is not None else {}
        explicit = {name: getattr(self, name) for name in ModelShape._fields if getattr(self, name) is not None}
        return ModelShape(**(preset | explicit))

    def problems(self) -> list[str]:
        if self.preset is not None and self.preset not in PRESETS:
            return [f"model.preset must be one of {', '.join(PRESETS)}, got {self.preset}"]
        missing = [name for name in ModelShape._fields if self.preset is None and getattr(self, name) is None]
        if missing:
            return [
                f"model.{name} is not set; set it, or set model.preset to one of {', '.join(PRESETS)}"
                for name in missing
            ]
        shape = self.shape()
        found = [
            f"model.{name} must be at least 1, got {value}"
            for name, value in (*shape._asdict().items(), ("context_length", self.context_length))
            if value < 1
        ]
        if not found and shape.d_model % shape.n_heads:
            found.append(f"model.d_model must be a multiple of model.n_heads ({shape.n_heads}), got {shape.d_model}")
        if not 0 <= self.dropout < 1:
            found.append(f"model.dropout must be at least 0 and below 1, got {self.dropout}")
        return found


@dataclass(frozen=True)
class TrainSettings:
    """The `[train]` table. Defaults are GPT-3's for its 125M model (Brown et al. 2020, table 2.1 and appendix B)."""

    tokens: int = 10_000_000_000  # tokens to train on; a last partial batch is not trained on
    global_batch_tokens: int = 524_288  # tokens an optimizer step, over all ranks
    micro_batch_size: int = field(default=8, metadata=EXECUTION)  # samples a rank holds at once
    lr: float = 6e-4  # peak learning rate
    min_lr_ratio: float = 0.1  # the last step's learning rate, as a part of the peak
    betas: list[float] = field(default_factory=lambda: [0.9, 0.95])
    eps: float = 1e-8
    weight_decay: float = 0.1  # of matrices and embeddings; never of biases and norms
    grad_clip: float = 1.0  # global norm
    schedule: str = "cosine"
    warmup_steps: int = 700  # steps of linear growth to the peak
    precision: str = "bf16"  # "fp32", "bf16", or "auto": bf16 where the hardware multiplies it fast
    zero_stage: int = field(default=1, metadata=EXECUTION)  # 1 shards optimizer states over ranks, 2 gradients too
    validate_every_steps: int = field(default=250, metadata=EXECUTION)

    @property
    def steps(self) -> int:
        """Optimizer steps of the whole training."""
        return self.tokens // self.global_batch_tokens

    def problems(self) -> list[str]:
        positive = ("tokens", "global_batch_tokens", "micro_batch_size", "lr", "eps", "grad_clip")
        found = [
            f"train.{name} must be above 0, got {getattr(self, name)}"
            for name in positive
            if not 0 < getattr(self, name) < math.inf
        ]
        if not 0 <= self.min_lr_ratio <= 1:
            found.append(f"train.min_lr_ratio must lie between 0 and 1, got {self.min_lr_ratio}")
        if len(self.betas) != 2 or not all(0 <= beta < 1 for beta in self.betas):
            found.append(f"train.betas must be two numbers, each at least 0 and below 1, got {self.betas}")
        if not 0 <= self.weight_decay < math.inf:
            found.append(f"train.weight_decay must be at least 0, got {self.weight_decay}")
        if self.schedule != "cosine":
            found.append(f'train.schedule must be "cosine", got "{self.schedule}"')
        if self.warmup_steps < 0:
            found.append(f"train.warmup_steps must be at least 0, got {self.warmup_steps}")
        if self.precision not in ("fp32", "bf16", "auto"):
            found.append(f'train.precision must be "fp32", "bf16" or "auto", got "{self.precision}"')
        if self.zero_stage in (0, 3):
            found.append(f"train.zero_stage must be 1 or 2, got {self.zero_stage}, which is not built yet")
        elif self.zero_stage not in (1, 2):
            found.append(f"train.zero_stage must be 1 or 2, got {self.zero_stage}")
        if self.validate_every_steps < 1:
            found.append(f"train.validate_every_steps must be at least 1, got {self.validate_every_steps}")
        return found


@dataclass(frozen=True)
class CheckpointSettings:
    """The `[checkpoint]` table."""

    every_steps: int = field(default=500, metadata=EXECUTION)
    keep_last: int = field(default=2, metadata=EXECUTION)  # at least 2: the newest may be the one that is damaged

    def problems(self) -> list[str]:
        found = []
        if self.every_steps < 1:
            found.append(f"checkpoint.every_steps must be at least 1, got {self.every_steps}")
        if self.keep_last < 2:
            found.append(f"checkpoint.keep_last must be at least 2, got {self.keep_last}")
        return found


@dataclass(frozen=True)
class WandbSettings:
    """The `[wandb]` table."""

    mode: str = field(default="offline", metadata=EXECUTION)  # "offline", "online" or "disabled"
    project: str = field(default="text2lm", metadata=EXECUTION)

    def problems(self) -> list[str]:
        if self.mode not in ("offline", "online", "disabled"):
            return [f'wandb.mode must be "offline", "online" or "disabled", got "{self.mode}"']
        return []


@dataclass(frozen=True)
class TrainingJob:
    """All that a worker needs to train: written once, before step 1, as RUN/pretrain/started.json."""

    key: str  # hash of the training's identity; a checkpoint of another key is refused
    seed: int
    ranks: int
    vocab_size: int
    end_of_text: int  # id of the token that closes every document
    sources: dict[str, float]  # name -> weight in the mix
    dataset: str  # fingerprint of the token files
    model: ModelSettings
    train: TrainSettings  # its precision is resolved: "fp32" or "bf16"
    checkpoint: CheckpointSettings
    wandb: WandbSettings

    @property
    def samples_per_step(self) -> int:
        return self.train.global_batch_tokens // self.model.context_length

    def to_json(self) -> dict[str, Any]:
        """Plain values; `from_json` reads them back."""
        return asdict(self)

    @classmethod
    def from_json(cls, value: dict[str, Any]) -> TrainingJob:
        tables = {
            "model": ModelSettings(**value["model"]),
            "train": TrainSettings(**value["train"]),
            "checkpoint": CheckpointSettings(**value["checkpoint"]),
            "wandb": WandbSettings(**value["wandb"]),
        }
        return cls(**(value | tables))


def batch_problems(model: ModelSettings, train: TrainSettings, ranks: int) -> list[str]:
    """Whether a step's batch can be cut into samples, and these be shared among ranks and micro-batches."""
    context_length, batch = model.context_length, train.global_batch_tokens
    if train.tokens < batch:
        return [f"train.tokens must be at least train.global_batch_tokens ({batch}), got {train.tokens}"]
    if batch % context_length:
        return [
            f"train.global_batch_tokens must be a multiple of model.context_length ({context_length}), got {batch}; "
            f"set it to {max(1, round(batch / context_length)) * context_length}"
        ]
    samples = batch // context_length
    if samples % ranks:
        return [
            f"train.global_batch_tokens = {batch} gives {samples} samples of {context_length} tokens a "
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
    return max(divisor for divisor in range(1, below) if number % divisor == 0)


def job_problems(job: TrainingJob, tokens_by_source: dict[str, int]) -> list[str]:
    """The checks that need the data: `tokens_by_source` counts each source's training tokens."""
    found = batch_problems(job.model, job.train, job.ranks)
    context_length, batch = job.model.context_length, job.train.global_batch_tokens
    for source, weight in job.sources.items():
        if not weight > 0:
            found.append(f"the weight of source '{source}' must be above 0, got {weight}")
        tokens = tokens_by_source.get(source, 0)
        if tokens < context_length + 1:
            found.append(
                f"source '{source}' is too small for one sample: it has {tokens} training tokens, "
                f"model.context_length = {context_length} wants {context_length + 1}; add text to it or lower "
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


def resolve_precision(precision: str) -> str:
    """`"auto"` as "bf16" where this machine multiplies it fast, else "fp32"; any other value is itself.

    Fast means a CUDA device of compute capability 8 (Ampere) or later, or a CPU with AMX or AVX-512 bf16.
    """
    if precision != "auto":
        return precision
    if GPU_DEVICE.exists():
        import torch  # slow to import: only where a GPU may be

        if torch.cuda.is_available():
            return "bf16" if torch.cuda.get_device_capability()[0] >= 8 else "fp32"
    flags = CPUINFO.read_text() if CPUINFO.exists() else ""
    return "bf16" if re.search(r"\b(amx_bf16|avx512_bf16)\b", flags) else "fp32"
