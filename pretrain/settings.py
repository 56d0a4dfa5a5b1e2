"""What a user may say about training, and the job that a worker process receives.

Standard library only: the pipeline loads settings long before anything needs torch. `problems()` returns sentences
and never changes a value. A field marked *execution* says how to run and may change between resumes; every other
field is part of the training's identity.
"""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass, field
from functools import cached_property
from typing import Any

from pretrain.architecture import ModelSettings
from pretrain.schedule import SCHEDULES, BatchSizes

EXECUTION = {"execution": True}
STOP_SIGNALS = ("SIGUSR1", "SIGUSR2")
CHOICES = {
    "schedule": SCHEDULES,
    "precision": ("fp32", "bf16", "fp16", "auto"),
    "objective": ("causal", "prefix"),
    "windows": ("contiguous", "overlapping", "sentence", "document"),
    "offload": ("none", "optimizer", "parameters"),
}


@dataclass(frozen=True)
class PhaseSettings:
    """A `[[train.phase]]` table: the mix of sources for so many tokens."""

    tokens: int
    weights: dict[str, float]  # source name -> weight; a source that is not named is not read


@dataclass(frozen=True)
class TrainSettings:
    """The `[train]` table. Defaults are GPT-3's for its 125M model (Brown et al. 2020, table 2.1 and appendix B)."""

    tokens: int = 10_000_000_000  # tokens to train on; a last partial batch is not trained on
    phase: list[PhaseSettings] = field(default_factory=list)  # none: one phase, mixed by source.weight
    global_batch_tokens: int = 524_288  # tokens an optimizer step, over all ranks
    batch_ramp_start: int = 0  # tokens of the first step's batch; it grows by as much until it is full. 0: no ramp
    batch_ramp_tokens: int = 0  # tokens until the batch is full
    micro_batch_size: int = field(default=8, metadata=EXECUTION)  # samples a rank holds at once
    skip_steps: list[int] = field(default_factory=list, metadata=EXECUTION)  # steps whose batch is left out, from 1

    objective: str = "causal"  # or "prefix": a random part of each sample is read both ways and not predicted
    windows: str = "contiguous"  # how documents become samples: pretrain/windows.py
    stride: int = 0  # tokens from one overlapping window to the next
    document_mask: bool = False  # documents in one sample do not see each other; positions begin anew in each
    label_smoothing: float = 0.0  # as torch's: epsilon / K on all K ids, the right one included
    z_loss: float = 0.0  # times log(Z)^2 of each token (Chowdhery et al. 2022, section 5), on top of the loss

    lr: float = 6e-4  # peak learning rate
    schedule: str = "cosine"  # pretrain/schedule.py
    warmup_steps: int = 700  # steps of linear growth to the peak
    decay_steps: int = 0  # last steps in which "wsd" decays
    min_lr_ratio: float = 0.1  # the last step's learning rate, as a part of the peak
    betas: list[float] = field(default_factory=lambda: [0.9, 0.95])
    eps: float = 1e-8
    weight_decay: float = 0.1  # of matrices and embeddings; never of biases and norms
    grad_clip: float = 1.0  # global norm

    init_from: str = ""  # a transformers-format directory to go on from, instead of random weights
    precision: str = "bf16"  # "fp32", "bf16", "fp16" (with loss scaling), or "auto": bf16 where it is fast
    zero_stage: int = field(default=1, metadata=EXECUTION)  # shards 1: optimizer states, 2: gradients, 3: weights too
    offload: str = field(default="none", metadata=EXECUTION)  # to the host's memory: "optimizer", or "parameters" too
    activation_checkpointing: bool = field(default=False, metadata=EXECUTION)  # less memory, a third more compute
    compile: bool = field(default=False, metadata=EXECUTION)  # torch.compile
    validate_every_steps: int = field(default=250, metadata=EXECUTION)
    sample_tokens: int = field(default=64, metadata=EXECUTION)  # of the text written at each validation; 0: none
    max_bad_steps: int = field(default=5, metadata=EXECUTION)  # skipped steps in a row after which the run pauses
    slow_step_factor: float = field(default=20.0, metadata=EXECUTION)  # medians after which every rank dumps its stack
    hang_minutes: float = field(default=30.0, metadata=EXECUTION)  # a step that takes longer ends the job

    @cached_property
    def batch_sizes(self) -> BatchSizes:
        return BatchSizes(
            full=self.global_batch_tokens, start=self.batch_ramp_start, ramp_tokens=self.batch_ramp_tokens
        )

    @property
    def steps(self) -> int:
        """Optimizer steps of the whole training."""
        return self.batch_sizes.steps(self.tokens)

    def tokens_after(self, steps: int) -> int:
        """Tokens trained on by the first `steps` steps."""
        return self.batch_sizes.tokens_before(steps)

    def problems(self) -> list[str]:
        """Sentences about what cannot work."""
        above = ("tokens", "global_batch_tokens", "micro_batch_size", "lr", "eps", "grad_clip", "hang_minutes")
        found = [
            f"train.{name} must be above 0, got {getattr(self, name)}"
            for name in above
            if not 0 < getattr(self, name) < math.inf
        ]
        at_least = {
            **dict.fromkeys(("warmup_steps", "decay_steps", "stride", "batch_ramp_start", "batch_ramp_tokens"), 0),
            **dict.fromkeys(("weight_decay", "z_loss", "sample_tokens"), 0),
            **dict.fromkeys(("validate_every_steps", "max_bad_steps"), 1),
            "slow_step_factor": 2,
        }
        found += [
            f"train.{name} must be at least {least}, got {getattr(self, name)}"
            for name, least in at_least.items()
            if not least <= getattr(self, name) < math.inf
        ]
        for name, choices in CHOICES.items():
            if getattr(self, name) not in choices:
                wanted = ", ".join(f'"{choice}"' for choice in choices)
                found.append(f'train.{name} must be one of {wanted}, got "{getattr(self, name)}"')
        if not 0 <= self.min_lr_ratio <= 1:
            found.append(f"train.min_lr_ratio must lie between 0 and 1, got {self.min_lr_ratio}")
        if not 0 <= self.label_smoothing < 1:
            found.append(f"train.label_smoothing must be at least 0 and below 1, got {self.label_smoothing}")
        if len(self.betas) != 2 or not all(0 <= beta < 1 for beta in self.betas):
            found.append(f"train.betas must be two numbers, each at least 0 and below 1, got {self.betas}")
        if self.zero_stage not in (0, 1, 2, 3):
            found.append(f"train.zero_stage must be 0, 1, 2 or 3, got {self.zero_stage}")
        if any(step < 1 for step in self.skip_steps):
            found.append(f"train.skip_steps are counted from 1, got {min(self.skip_steps)}")
        return found + self._mismatches()

    def _mismatches(self) -> list[str]:
        """Values that are right alone and wrong together."""
        found = []
        if (self.stride > 0) != (self.windows == "overlapping"):
            found.append(
                f'train.stride and train.windows = "overlapping" go together, got stride {self.stride} and '
                f'"{self.windows}"'
            )
        if (self.decay_steps > 0) != (self.schedule == "wsd"):
            found.append(
                f'train.decay_steps and train.schedule = "wsd" go together, got {self.decay_steps} and '
                f'"{self.schedule}"'
            )
        if (self.batch_ramp_start > 0) != (self.batch_ramp_tokens > 0):
            found.append(
                f"train.batch_ramp_start and train.batch_ramp_tokens go together, got {self.batch_ramp_start} and "
                f"{self.batch_ramp_tokens}"
            )
        if self.batch_ramp_start > 0 and self.global_batch_tokens % self.batch_ramp_start:
            found.append(
                f"train.global_batch_tokens ({self.global_batch_tokens}) must be a multiple of "
                f"train.batch_ramp_start, got {self.batch_ramp_start}"
            )
        total = sum(phase.tokens for phase in self.phase)
        if self.phase and total != self.tokens:
            found.append(f"the phases have {total} tokens together, train.tokens is {self.tokens}; make them equal")
        if self.phase and any(phase.tokens < 1 or not phase.weights for phase in self.phase):
            found.append("every [[train.phase]] wants tokens of at least 1 and weights of one source or more")
        found += [
            f"the weight of source '{name}' in a [[train.phase]] must be a number above 0, got {weight}"
            for phase in self.phase
            for name, weight in phase.weights.items()
            if not 0 < weight < math.inf
        ]
        if self.zero_stage == 0 and self.precision in ("bf16", "fp16"):
            found.append(
                f"train.zero_stage = 0 runs in fp32 only (DeepSpeed's {self.precision} takes a blind optimizer step "
                "when it starts); set train.zero_stage = 1 or train.precision = fp32"
            )
        if self.offload != "none" and self.zero_stage not in ((3,) if self.offload == "parameters" else (1, 2, 3)):
            wanted = "3" if self.offload == "parameters" else "1, 2 or 3"
            found.append(f'train.offload = "{self.offload}" wants train.zero_stage {wanted}, got {self.zero_stage}')
        if self.compile and self.zero_stage == 3:
            found.append(
                "train.compile does not hold with train.zero_stage = 3, whose hooks break the graph at every layer; "
                "set one of them otherwise"
            )
        return found


@dataclass(frozen=True)
class CheckpointSettings:
    """The `[checkpoint]` table."""

    every_steps: int = field(default=500, metadata=EXECUTION)
    keep_last: int = field(default=2, metadata=EXECUTION)  # at least 2: the newest may be the one that is damaged
    keep_every: int = field(default=0, metadata=EXECUTION)  # steps; those at its multiples stay for good; 0: none
    keep_best: int = field(default=0, metadata=EXECUTION)  # so many of the lowest validation loss stay too
    async_: bool = field(default=True, metadata=EXECUTION)  # written behind the training, from a copy in host memory
    # besides SIGTERM and SIGINT: signals that mean save and stop
    stop_signals: list[str] = field(default_factory=lambda: list(STOP_SIGNALS), metadata=EXECUTION)

    def problems(self) -> list[str]:
        at_least = {"every_steps": 1, "keep_last": 2, "keep_every": 0, "keep_best": 0}
        found = [
            f"checkpoint.{name} must be at least {least}, got {getattr(self, name)}"
            for name, least in at_least.items()
            if getattr(self, name) < least
        ]
        if min(self.every_steps, self.keep_every) > 0 and self.keep_every % self.every_steps:
            found.append(
                f"checkpoint.keep_every must be a multiple of checkpoint.every_steps ({self.every_steps}), "
                f"got {self.keep_every}"
            )
        return found + [
            f"checkpoint.stop_signals may name {' and '.join(STOP_SIGNALS)}, got '{name}'"
            for name in self.stop_signals
            if name not in STOP_SIGNALS
        ]


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
    """All that a worker needs to train: written before step 1 and at every start, as RUN/pretrain/started.json."""

    key: str  # hash of what no resume may change; a checkpoint of another key is refused
    seed: int
    ranks: int
    vocab_size: int
    end_of_text: int  # id of the token that closes every document
    sources: dict[str, float]  # name -> weight in the mix
    dataset: str  # fingerprint of the token files
    model: ModelSettings
    train: TrainSettings  # its precision is resolved
    checkpoint: CheckpointSettings
    wandb: WandbSettings
    deepspeed: dict[str, Any]  # the `[deepspeed]` table: keys handed through

    @property
    def phases(self) -> list[PhaseSettings]:
        """The mixes, in order; the last goes on for ever."""
        return self.train.phase or [PhaseSettings(self.train.tokens, self.sources)]

    def samples_before(self, step: int) -> int:
        """Samples that all steps before `step` (from 0) train on."""
        return self.train.tokens_after(step) // self.model.context_length

    def to_json(self) -> dict[str, Any]:
        """Plain values; `from_json` reads them back."""
        return asdict(self)

    @classmethod
    def from_json(cls, value: dict[str, Any]) -> TrainingJob:
        phases = [PhaseSettings(**phase) for phase in value["train"]["phase"]]
        tables = {
            "model": ModelSettings(**value["model"]),
            "train": TrainSettings(**(value["train"] | {"phase": phases})),
            "checkpoint": CheckpointSettings(**value["checkpoint"]),
            "wandb": WandbSettings(**value["wandb"]),
        }
        return cls(**(value | tables))
