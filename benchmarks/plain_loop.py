"""An optimizer step in plain torch, without DeepSpeed: what the engine's cost is measured against."""

from __future__ import annotations

from collections.abc import Iterable

import torch

from pretrain.engine import MicroBatch
from pretrain.model import build_model
from pretrain.optim import build_optimizer
from pretrain.settings import TrainingJob


class PlainLoop:
    """The engine's model, loss and optimizer by hand; in bf16 with fp32 masters and summed gradients.

    Every target counts, as in contiguous windows: no rank and no micro-batch has to be asked how many it has.
    """

    def __init__(self, job: TrainingJob, device: torch.device) -> None:
        self.model = build_model(job).to(device)
        self.train = job.train
        self.low = job.train.precision == "bf16"
        weights = list(self.model.parameters())
        self.masters = {weight: weight.detach().clone() if self.low else weight for weight in weights}
        self.optimizer = build_optimizer(self.model, job.train)
        for group in self.optimizer.param_groups:
            group["params"] = [self.masters[weight] for weight in group["params"]]
        if self.low:
            self.model.bfloat16()

    def train_step(self, micro_batches: Iterable[MicroBatch], *, lr: float, targets: int) -> float:
        """One step; the mean loss of its `targets`."""
        for group in self.optimizer.param_groups:
            group["lr"] = lr
        nll = 0
        for tokens, wanted, positions, prefix in micro_batches:
            losses = self.model(tokens, wanted, positions=positions, prefix=prefix)
            (losses.objective / targets).backward()
            nll = nll + losses.nll
            if self.low:
                for weight, master in self.masters.items():
                    master.grad = weight.grad.float() if master.grad is None else master.grad.add_(weight.grad)
                    weight.grad = None
        torch.nn.utils.clip_grad_norm_(self.masters.values(), self.train.grad_clip)
        self.optimizer.step()
        self.optimizer.zero_grad()
        if self.low:
            with torch.no_grad():
                torch._foreach_copy_(list(self.masters), list(self.masters.values()))
        return float(nll) / targets
