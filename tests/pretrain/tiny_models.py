"""Models small enough to compare in milliseconds, one of every kind."""

from __future__ import annotations

import os
import shutil
from typing import Any

import pytest
import torch
from torch import Tensor

from pretrain.architecture import ModelSettings
from pretrain.loss import Losses
from pretrain.model import GPT

# CI installs a compiler, and fails where it has none
needs_compiler = pytest.mark.skipif(
    shutil.which("g++") is None and "CI" not in os.environ, reason="torch.compile on a CPU wants g++"
)
VOCAB, CONTEXT = 300, 64
TINY = {"context_length": CONTEXT, "n_layers": 2, "n_heads": 4, "d_model": 32}
LLAMA = {
    "position": "rotary",
    "norm": "rmsnorm",
    "activation": "swiglu",
    "biases": False,
    "norm_eps": 1e-6,
    "n_kv_heads": 2,
    "d_ff": 48,
    "tied_embeddings": False,
}
GPT1 = {"norm_placement": "post"}
# One of each kind of position and placement, and what changes keys and values
FAMILY: dict[str, dict[str, Any]] = {
    "gpt2": {},
    "gpt1": GPT1,
    "llama": LLAMA,
    "qwen": LLAMA | {"qk_norm": True},
    "rotary-post": {"position": "rotary", "norm_placement": "post", "embedding_scale": True},
    "sinusoidal": {"position": "sinusoidal", "embedding_scale": True, "activation": "relu"},
    "sinusoidal-post": {"position": "sinusoidal", "norm_placement": "post", "biases": False},
}


def random_model(**settings: Any) -> GPT:
    """Weights far from the initial ones, so that every bias and norm counts."""
    torch.manual_seed(0)
    model = GPT(ModelSettings(**(TINY | settings)), VOCAB)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(torch.randn_like(parameter) * 0.1)
    return model.eval()


def random_tokens(rows: int = 3, length: int = 32) -> tuple[Tensor, Tensor]:
    tokens = torch.randint(0, VOCAB, (rows, length + 1), generator=torch.Generator().manual_seed(1))
    return tokens[:, :-1], tokens[:, 1:]


def gradients(model: GPT, **kwargs: Any) -> tuple[Losses, dict[str, Tensor]]:
    losses = model(**kwargs)
    named = dict(model.named_parameters())
    return losses, dict(zip(named, torch.autograd.grad(losses.objective, list(named.values())), strict=True))


def assert_same(ours: dict[str, Tensor], theirs: dict[str, Tensor]) -> None:
    assert ours.keys() == theirs.keys()
    for name, tensor in ours.items():
        torch.testing.assert_close(tensor, theirs[name], atol=1e-5, rtol=1e-5, msg=lambda text, name=name: name + text)
