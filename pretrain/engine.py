"""The one place that knows DeepSpeed: a training step, saving and loading, and what ranks tell each other.

The loss is normalised by the targets of the whole step, over all ranks and micro-batches, so any number of ranks and
any micro-batch minimise the same function.
"""

from __future__ import annotations

import contextlib
import datetime
import io
import logging
import math
import re
import warnings
from collections.abc import Iterable
from pathlib import Path
from typing import Any, NamedTuple

import deepspeed
import torch
import torch.distributed as dist
from deepspeed.utils import logger as deepspeed_logger
from torch import Tensor
from torch._C._distributed_c10d import HashStore

from data_prep.files import UserError
from pretrain.cost import parameter_count
from pretrain.fragments import WEIGHT, Piece, read_into
from pretrain.layout import Layout
from pretrain.memory import reduce_bucket
from pretrain.model import GPT
from pretrain.optim import build_optimizer
from pretrain.settings import TrainingJob

COUNTERS = ("global_steps", "global_samples", "micro_steps", "skipped_steps")  # of DeepSpeed's engine
LOSS_SCALE_STATE = ("cur_scale", "cur_iter", "last_overflow_iter", "cur_hysteresis")  # of DeepSpeed's DynamicLossScaler

MicroBatch = tuple[Tensor, Tensor, Tensor | None, Tensor | None]  # batches.Batch, as tensors on the engine's device


class StepResult(NamedTuple):
    """What one optimizer step tells: equal on all ranks."""

    loss: float  # mean over the step's targets, nats; without label smoothing and z-loss
    grad_norm: float  # before clipping
    skipped: bool  # the loss or the gradient was not finite on some rank: nothing changed on any
    loss_scale: float | None  # fp16: the factor on the next step's loss


def deepspeed_config(job: TrainingJob, ranks: int) -> dict[str, Any]:
    """DeepSpeed's configuration for a job: a pure function, compared with records in the tests."""
    train = job.train
    parameters = parameter_count(job.model, job.model.padded_vocab(job.vocab_size))
    zero: dict[str, Any] = {"stage": train.zero_stage, "reduce_bucket_size": reduce_bucket(parameters)}
    if train.offload != "none":
        zero["offload_optimizer"] = {"device": "cpu", "pin_memory": True}
    if train.offload == "parameters":
        zero["offload_param"] = {"device": "cpu", "pin_memory": True}
    config: dict[str, Any] = {
        "train_batch_size": train.micro_batch_size * ranks,
        "train_micro_batch_size_per_gpu": train.micro_batch_size,
        "gradient_clipping": train.grad_clip,
        "zero_optimization": zero,
        "zero_allow_untested_optimizer": True,  # torch's own AdamW: DeepSpeed's would be compiled at first use
        "zero_force_ds_cpu_optimizer": False,
        "timers": {"throughput": {"enabled": False}},  # it waits for the device twice a step
        "steps_per_print": 2**62,
    }
    if train.precision in ("bf16", "fp16"):
        config[train.precision] = {"enabled": True}
        config["data_types"] = {"grad_accum_dtype": "fp32"}
    return _merged(config, job.deepspeed)


def _merged(config: dict[str, Any], extra: dict[str, Any]) -> dict[str, Any]:
    """`config` with the keys of `extra`, tables in tables merged alike."""
    tables = [key for key, value in extra.items() if isinstance(value, dict) and isinstance(config.get(key), dict)]
    return config | extra | {key: _merged(config[key], extra[key]) for key in tables}


def connect(*, rank: int, local_rank: int, world_size: int, timeout_minutes: float) -> torch.device:
    """Join the process group (address in MASTER_ADDR and MASTER_PORT) and return this rank's device.

    A rank gives up on the others after the timeout: when joining, and in every collective.
    """
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
        timeout=datetime.timedelta(minutes=timeout_minutes),
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
        self._train = job.train
        initial = {name: parameter.detach() for name, parameter in model.named_parameters()}
        self.shapes = {name: list(tensor.shape) for name, tensor in initial.items()}
        model.checkpointing = job.train.activation_checkpointing
        if job.train.compile:
            model.compile_parts()
        model = model.to(device)
        self._adamw = build_optimizer(model, job.train)
        config = deepspeed_config(job, self.ranks)
        try:
            with contextlib.redirect_stdout(io.StringIO()):  # memory use at every turn
                self._engine, *_ = deepspeed.initialize(model=model, optimizer=self._adamw, config=config)
        except ValueError as error:  # of a value in the table: pydantic's error is one
            if not job.deepspeed:
                raise
            raise UserError(f"[deepspeed]: {error}; change that table") from None
        self._layout = Layout(self._engine.optimizer, self._adamw)
        self._loss_scaler = self._engine.optimizer.loss_scaler if job.train.precision == "fp16" else None
        if self._loss_scaler is not None:
            self._loss_scaler.raise_error_at_min_scale = False  # a step that overflows is skipped at any scale
        self._parameters = dict(model.named_parameters())
        self.model = model  # its weights are the current ones; for looking, not for training
        for name, piece in self.pieces().items():  # DeepSpeed makes its fp32 weights of the rounded bf16 or fp16 ones
            piece.kinds[WEIGHT].copy_(initial[name].flatten()[piece.start : piece.start + piece.numel])

    def train_step(self, micro_batches: Iterable[MicroBatch], *, lr: float, targets: float) -> StepResult:
        """One optimizer step on this rank's micro-batches: at least one, and as many as the other ranks have.

        `targets` counts those of all ranks. Where the loss or the gradient is not finite on any rank, no rank's
        weights or moments change.
        """
        micro_batches = list(micro_batches)
        for group in self._adamw.param_groups:
            group["lr"] = lr
        # DeepSpeed divides by the ranks when it adds up their gradients; without targets the loss is not finite
        scale = self.ranks / targets if targets else math.inf
        nll = torch.zeros((), dtype=torch.float64, device=self.device)
        for number, (tokens, wanted, positions, prefix) in enumerate(micro_batches, start=1):
            self._engine.set_gradient_accumulation_boundary(number == len(micro_batches))
            losses = self._engine(
                tokens,
                wanted,
                positions=positions,
                prefix=prefix,
                label_smoothing=self._train.label_smoothing,
                z_loss=self._train.z_loss,
            )
            nll += losses.nll.detach()
            # 0 times a loss that is not finite is nan, which reaches every rank with this one's gradient
            self._engine.backward(losses.objective * (scale + 0 * losses.objective.detach()), scale_wrt_gas=False)
        dist.all_reduce(nll)
        grad_norm = self._update()
        total, norm = torch.stack([nll, grad_norm]).tolist()  # the only line here that waits for the device
        return StepResult(
            loss=total / targets if targets else math.nan,
            grad_norm=norm,
            skipped=not math.isfinite(norm),
            loss_scale=self._loss_scaler.cur_scale if self._loss_scaler else None,
        )

    def _update(self) -> Tensor:
        """Clip and step; returns the gradient's norm, which, when it is not finite, changed nothing."""
        if self._layout.replicated:  # at stage 0 DeepSpeed adds up the gradients and no more
            norm = torch.nn.utils.clip_grad_norm_(self._parameters.values(), self._train.grad_clip)
            if norm.isfinite():
                self._adamw.step()
            self._engine.zero_grad()
        else:
            self._engine.step()
            norm = self._engine.get_global_grad_norm()  # inf, a plain float, when the step was skipped
            if self._engine.optimizer.overflow and self._train.offload != "none":
                # DeepSpeed 0.19 keeps the gradients it offloaded in bf16 and fp16, and would add all later ones to them
                self._engine.optimizer.averaged_gradients.clear()
        return torch.as_tensor(norm, dtype=torch.float64, device=self.device)

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

    def gather(self, numbers: list[int]) -> list[list[int]]:
        """Every rank's whole numbers (64 bits, equally many), on every rank."""
        mine = torch.tensor(numbers, dtype=torch.int64, device=self.device)
        boxes = [torch.empty_like(mine) for _ in range(self.ranks)]
        dist.all_gather(boxes, mine)
        return [box.tolist() for box in boxes]

    def barrier(self) -> None:
        """Wait for all ranks."""
        dist.barrier()

    def memory_bytes(self) -> int:
        """The most memory in use at once: on a GPU since the last call, on a CPU since the process began."""
        if self.device.type == "cpu":
            # not getrusage's, which begins with that of the process that started this one
            match = re.search(r"VmHWM:\s+(\d+) kB", Path("/proc/self/status").read_text())
            return int(match[1]) * 1024 if match else 0
        peak = torch.cuda.max_memory_allocated(self.device)
        torch.cuda.reset_peak_memory_stats(self.device)
        return peak

    def state(self) -> dict[str, Any]:
        """What counts and adapts in the optimizer, as plain values: the same on every rank."""
        state: dict[str, Any] = {"optimizer_steps": self._layout.steps()}
        state["counters"] = {name: getattr(self._engine, name) for name in COUNTERS}
        if self._loss_scaler:
            state["loss_scale"] = {name: getattr(self._loss_scaler, name) for name in LOSS_SCALE_STATE}
        return state

    def load(self, files: list[Path], state: dict[str, Any]) -> None:
        """Go on from a checkpoint's files, saved by any number of ranks at any ZeRO stage, and its `state()`."""
        read_into(files, self.pieces())
        self._layout.set_steps(state["optimizer_steps"])
        self._layout.refresh()
        for name, value in state.get("loss_scale", {}).items():
            setattr(self._loss_scaler, name, value)
        for name, value in state["counters"].items():  # looked at by features that `[deepspeed]` may turn on
            setattr(self._engine, name, value)

    def share(self) -> dict[str, Piece]:
        """What this rank writes into a checkpoint: live views of its pieces, or, of what all own, an equal share."""
        pieces = self.pieces()
        if not self._layout.replicated:
            return pieces
        shares = {name: piece.share(self.rank, self.ranks) for name, piece in pieces.items()}
        return {name: share for name, share in shares.items() if share.numel}

    def pieces(self) -> dict[str, Piece]:
        """Live views of what this rank owns of the weights and moments, by parameter name."""
        pieces = {name: self._layout.piece(parameter) for name, parameter in self._parameters.items()}
        return {name: piece for name, piece in pieces.items() if piece is not None}


def _without_shm_comm() -> None:
    """Keep DeepSpeed from compiling its shared-memory collectives (100-200 s at first use, for inference only)."""
    compatible = getattr(deepspeed.ops, "__compatible_ops__", {})
    if "deepspeed_shm_comm" in compatible:
        compatible["deepspeed_shm_comm"] = False
