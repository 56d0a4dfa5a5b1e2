"""AdamW in two groups: matrices and embeddings decay, biases and norms do not (Brown et al. 2020, appendix B)."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

from pretrain.settings import TrainSettings


def parameter_groups(model: nn.Module, weight_decay: float) -> list[dict[str, Any]]:
    """Parameters of two or more dimensions with decay, the others without."""
    parameters = list(model.parameters())
    return [
        {"params": [p for p in parameters if p.dim() >= 2], "weight_decay": weight_decay},
        {"params": [p for p in parameters if p.dim() < 2], "weight_decay": 0.0},
    ]


def build_optimizer(model: nn.Module, train: TrainSettings) -> torch.optim.AdamW:
    """torch's fused AdamW (Loshchilov & Hutter 2019). The learning rate is set anew at every step."""
    beta1, beta2 = train.betas
    groups = parameter_groups(model, train.weight_decay)
    return torch.optim.AdamW(groups, lr=train.lr, betas=(beta1, beta2), eps=train.eps, fused=True)
