"""The one place that knows DeepSpeed: a training step, saving and loading, and what ranks tell each other.

Loss is normalised by the tokens of the whole step: DeepSpeed averages over micro-batches and ranks, which is
compensated exactly, so any number of ranks and any micro-batch minimise the same function.
"""

from __future__ import annotations

import contextlib
import datetime
import io
import logging
import math
import warnings
from collections.abc import Iterable
from pathlib import Path
from typing import Any, NamedTuple

import deepspeed
import torch
import torch.distributed as dist
from deepspeed.runtime.bf16_optimizer import BF16_Optimizer
from deepspeed.runtime.zero.stage_1_and_2 import DeepSpeedZeroOptimizer
from deepspeed.utils import logger as deepspeed_logger
from torch import Tensor
from torch._C._distributed_c10d import HashStore

from data_prep.files import UserError
from pretrain.fragments import WEIGHT, Piece, read_into, write_fragments
from pretrain.model import GPT
from pretrain.optim import build_optimizer
from pretrain.settings import TrainingJob

COLLECTIVE_TIMEOUT = datetime.timedelta(minutes=10)  # a rank whose peer died gives up after this
MOMENTS = ("exp_avg", "exp_avg_sq")  # AdamW's names for its first and second moment


class StepResult(NamedTuple):
    """What one optimizer step tells: equal on all ranks."""

    loss: float  # mean over the step's tokens, nats
    grad_norm: float  # before clipping
    stop: bool  # some rank asked to stop


def deepspeed_config(job: TrainingJob, ranks: int) -> dict[str, Any]:
    """DeepSpeed's configuration for a job: a pure function, compared with a record in the tests."""
    train = job.train
    config: dict[str, Any] = {
        "train_micro_batch_size_per_gpu": train.micro_batch_size,
        "gradient_accumulation_steps": job.samples_per_step // ranks // train.micro_batch_size,
        "gradient_clipping": train.grad_clip,
        "zero_optimization": {"stage": train.zero_stage},
        "zero_allow_untested_optimizer": True,  # torch's own AdamW: DeepSpeed's would be compiled at first use
        "steps_per_print": 2**62,
    }
    if train.precision == "bf16":
        config["bf16"] = {"enabled": True}
        config["data_types"] = {"grad_accum_dtype": "fp32"}
    return config


def connect(*, rank: int, local_rank: int, world_size: int) -> torch.device:
    """Join the process group (address in MASTER_ADDR and MASTER_PORT) and return this rank's device."""
    deepspeed_logger.setLevel(logging.WARNING)
    warnings.filterwarnings("ignore", category=FutureWarning, module=r"(torch|deepspeed)\.")
    device = torch.device("cpu")
    if torch.cuda.is_available():
        if local_rank >= torch.cuda.device_count():
            raise UserError(
                f"{local_rank + 1} or more ranks on a machine with {torch.cuda.device_count()} GPUs; "
                f"set launch.ranks to {torch.cuda.device_count()}"
            )
        device = torch.device("cuda", local_rank)
        torch.cuda.set_device(device)
    else:
        _without_shm_comm()
        # Peaked softmaxes have denormal gradients, which a CPU multiplies 50 times slower
        torch.set_flush_denormal(True)
    dist.init_process_group(
        "nccl" if device.type == "cuda" else "gloo",
        rank=rank,
        world_size=world_size,
        timeout=COLLECTIVE_TIMEOUT,
        store=HashStore() if world_size == 1 else None,
    )
    deepspeed.init_distributed(auto_mpi_discovery=False, verbose=False)
    return device


def disconnect() -> None:
    """Leave the process group, all ranks together: one that leaves early can abort those that still listen."""
    dist.barrier()
    dist.destroy_process_group()


class Engine:
    """A model under training on this rank, sharded over all ranks."""

    def __init__(self, model: GPT, job: TrainingJob, device: torch.device) -> None:
        self.rank = dist.get_rank()
        self.ranks = dist.get_world_size()
        self.device = device
        self._shapes = {name: list(parameter.shape) for name, parameter in model.named_parameters()}
        model = model.to(device)
        self._adamw = build_optimizer(model, job.train)
        config = deepspeed_config(job, self.ranks)
        self._accumulation_steps: int = config["gradient_accumulation_steps"]
        with contextlib.redirect_stdout(io.StringIO()):  # memory use at every turn
            self._engine, *_ = deepspeed.initialize(model=model, optimizer=self._adamw, config=config)
        self._names = {parameter: name for name, parameter in model.named_parameters()}
        self.model = model  # its weights are the current ones; for looking, not for training

    def train_step(
        self, micro_batches: Iterable[tuple[Tensor, Tensor]], *, lr: float, target_tokens: int, stop: bool = False
    ) -> StepResult:
        """One optimizer step on this rank's micro-batches of (tokens, targets).

        `target_tokens` counts the targets of all ranks. A loss or gradient that is not finite raises
        FloatingPointError on every rank; a bad loss does so before any weight changes.
        """
        for group in self._adamw.param_groups:
            group["lr"] = lr
        # DeepSpeed divides by the accumulation steps in backward and by the ranks in its all-reduce
        scale = self._accumulation_steps * self.ranks / target_tokens
        loss_sum = torch.zeros((), dtype=torch.float64, device=self.device)
        for number, (tokens, targets) in enumerate(micro_batches, start=1):
            loss = self._engine(tokens, targets)
            loss_sum += loss.detach()
            self._engine.backward(loss * scale)
            if number < self._accumulation_steps:
                self._engine.step()  # only counts the micro-batch
        total, stops = self.sum_over_ranks([loss_sum.item(), float(stop)])
        if not math.isfinite(total):
            raise FloatingPointError(f"the loss is {total}; no step was taken and the last checkpoint is untouched")
        self._engine.step()
        grad_norm = float(self._engine.get_global_grad_norm())
        if not math.isfinite(grad_norm):
            raise FloatingPointError(f"the gradient's norm is {grad_norm}; the last checkpoint is untouched")
        return StepResult(total / target_tokens, grad_norm, stops > 0)

    def sum_over_ranks(self, values: list[float]) -> list[float]:
        """Element-wise sums, the same on every rank."""
        sums = torch.tensor(values, dtype=torch.float64, device=self.device)
        dist.all_reduce(sums)
        return [float(value) for value in sums.tolist()]

    def from_rank_0(self, value: int) -> int:
        """Rank 0's value, on every rank."""
        box = torch.tensor([value], dtype=torch.int64, device=self.device)
        dist.broadcast(box, src=0)
        return int(box.item())

    def barrier(self) -> None:
        """Wait for all ranks."""
        dist.barrier()

    def save(self, path: Path) -> None:
        """Write this rank's pieces of the weights and moments. At least one step must have been taken."""
        write_fragments(path, self._pieces(), self._shapes)

    def load(self, step_dir: Path, completed_steps: int) -> None:
        """Take weights and moments from a checkpoint of any number of ranks and either ZeRO stage."""
        for flat in self._masters():
            self._adamw.state[flat] = {
                "step": torch.tensor(float(completed_steps), device=flat.device),  # one each: AdamW counts in place
                **{moment: torch.zeros_like(flat) for moment in MOMENTS},
            }
        with torch.no_grad():
            read_into(step_dir, self._pieces())
        self._engine.optimizer.update_lp_params()

    def _masters(self) -> list[Tensor]:
        """This rank's flat fp32 weights, one tensor a parameter group. DeepSpeed has no public name for them."""
        optimizer = self._engine.optimizer
        if isinstance(optimizer, BF16_Optimizer):  # what stage 1 with bf16 weights becomes
            return list(optimizer.fp32_groups_flat_partition)
        if isinstance(optimizer, DeepSpeedZeroOptimizer):
            return list(optimizer.single_partition_of_fp32_groups)
        raise TypeError(f"DeepSpeed made a {type(optimizer).__name__}, whose layout this version does not know")

    def _pieces(self) -> dict[str, Piece]:
        """Views of what this rank owns, by parameter name."""
        masters, pieces = self._masters(), {}
        for parameter, name in self._names.items():
            mapping = parameter._hp_mapping  # type: ignore[attr-defined]  # None: another rank's
            if mapping is None:
                continue
            flat = masters[mapping.param_group_index]
            address = mapping.hp_fragment_address
            kinds = {WEIGHT: flat, **{moment: self._adamw.state[flat][moment] for moment in MOMENTS}}
            views = {kind: tensor.narrow(0, address.start, address.numel) for kind, tensor in kinds.items()}
            pieces[name] = Piece(mapping.lp_fragment_address.start, views)
        return pieces


def _without_shm_comm() -> None:
    """Keep DeepSpeed from compiling its shared-memory collectives (100-200 s at first use, for inference only)."""
    compatible = getattr(deepspeed.ops, "__compatible_ops__", {})
    if "deepspeed_shm_comm" in compatible:
        compatible["deepspeed_shm_comm"] = False
