"""GPT-2 (Radford et al. 2019): a decoder-only transformer. It knows nothing of who trains it.

Exactly GPT-2's architecture, so that a trained model loads in transformers' `GPT2LMHeadModel`: learned positions,
LayerNorm before each branch and at the end, biases, GELU in its tanh form, the output head tied to the embedding.
B is samples, T tokens, C the width (d_model), V the vocabulary.
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from pretrain.loss import linear_cross_entropy
from pretrain.settings import TrainingJob

INIT_STD = 0.02


class Attention(nn.Module):
    """Causal multi-head self-attention."""

    def __init__(self, d_model: int, n_heads: int, dropout: float) -> None:
        super().__init__()
        self.n_heads = n_heads
        self.dropout = dropout
        self.qkv = nn.Linear(d_model, 3 * d_model)
        self.out = nn.Linear(d_model, d_model)

    def forward(self, x: Tensor) -> Tensor:
        B, T, C = x.shape
        qkv = self.qkv(x).view(B, T, 3, self.n_heads, C // self.n_heads)
        q, k, v = qkv.permute(2, 0, 3, 1, 4)  # each (B, heads, T, C / heads)
        dropout = self.dropout if self.training else 0.0
        y = F.scaled_dot_product_attention(q, k, v, is_causal=True, dropout_p=dropout)
        y = self.out(y.transpose(1, 2).reshape(B, T, C))
        return F.dropout(y, self.dropout, self.training)


class MLP(nn.Module):
    """Two layers, four times as wide in between."""

    def __init__(self, d_model: int, dropout: float) -> None:
        super().__init__()
        self.dropout = dropout
        self.up = nn.Linear(d_model, 4 * d_model)
        self.out = nn.Linear(4 * d_model, d_model)

    def forward(self, x: Tensor) -> Tensor:
        x = self.out(F.gelu(self.up(x), approximate="tanh"))
        return F.dropout(x, self.dropout, self.training)


class Block(nn.Module):
    """One layer: two residual branches."""

    def __init__(self, d_model: int, n_heads: int, dropout: float) -> None:
        super().__init__()
        self.attention_norm = nn.LayerNorm(d_model)
        self.attention = Attention(d_model, n_heads, dropout)
        self.mlp_norm = nn.LayerNorm(d_model)
        self.mlp = MLP(d_model, dropout)

    def forward(self, x: Tensor) -> Tensor:
        x = x + self.attention(self.attention_norm(x))
        x = x + self.mlp(self.mlp_norm(x))
        return x  # noqa: RET504  (two residual lines)


class GPT(nn.Module):
    """A GPT-2 of any size, freshly initialised from torch's random state."""

    def __init__(
        self, *, vocab_size: int, context_length: int, n_layers: int, n_heads: int, d_model: int, dropout: float = 0.0
    ) -> None:
        super().__init__()
        self.context_length = context_length
        self.dropout = dropout
        self.embedding = nn.Embedding(vocab_size, d_model)  # also the output head
        self.positions = nn.Embedding(context_length, d_model)
        self.blocks = nn.ModuleList(Block(d_model, n_heads, dropout) for _ in range(n_layers))
        self.norm = nn.LayerNorm(d_model)
        for name, parameter in self.named_parameters():
            if parameter.dim() == 2:
                # GPT-2 scales the 2 L layers that write into the residual stream, so that its variance does not grow
                scale = 1 / math.sqrt(2 * n_layers) if name.endswith("out.weight") else 1.0
                nn.init.normal_(parameter, std=INIT_STD * scale)
            elif name.endswith("bias"):
                nn.init.zeros_(parameter)

    def forward(self, tokens: Tensor, targets: Tensor | None = None) -> Tensor:
        """Logits (B, T, V) of tokens (B, T); with targets (B, T), their summed cross entropy: a scalar in fp32."""
        positions = torch.arange(tokens.shape[1], device=tokens.device)
        x = self.embedding(tokens) + self.positions(positions)  # (B, T, C)
        x = F.dropout(x, self.dropout, self.training)
        for block in self.blocks:
            x = block(x)
        x = self.norm(x)
        if targets is None:
            return F.linear(x, self.embedding.weight)
        return linear_cross_entropy(x.flatten(0, 1), self.embedding.weight, targets.flatten())


def build_model(job: TrainingJob) -> GPT:
    """The job's model with its initial weights, a function of its seed alone."""
    torch.manual_seed(job.seed)
    return GPT(
        vocab_size=job.vocab_size,
        context_length=job.model.context_length,
        dropout=job.model.dropout,
        **job.model.shape()._asdict(),
    )
