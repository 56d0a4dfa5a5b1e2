"""Decoder-only transformers: GPT-1, GPT-2, GPT-3, LLaMA and what lies between. They know nothing of who trains them.

With the default settings this is GPT-2 (Radford et al. 2019): learned positions, LayerNorm before each branch and at
the end, biases, GELU in its tanh form, the output head tied to the embedding. B is samples, T tokens, C the width
(d_model), V the vocabulary.
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from pretrain.architecture import ModelSettings
from pretrain.attention import KeyValueCache, Mask, attend, make_mask, rotate, rotation
from pretrain.loss import Losses, linear_cross_entropy
from pretrain.settings import TrainingJob

INIT_STD = 0.02

Rotation = tuple[Tensor, Tensor]  # cosines and sines


def normalisation(model: ModelSettings, width: int) -> nn.Module:
    if model.norm == "rmsnorm":
        return nn.RMSNorm(width, eps=model.norm_eps)
    return nn.LayerNorm(width, eps=model.norm_eps, bias=model.biases)


def sinusoids(positions: Tensor, width: int) -> Tensor:
    """Vaswani et al. 2017, section 3.5: sine and cosine in turn, (..., T, width) in fp32, of positions (..., T)."""
    frequencies = 10_000 ** (torch.arange(0, width, 2, device=positions.device) / -width)
    angles = positions[..., None] * frequencies  # (..., T, width / 2)
    return torch.stack((angles.sin(), angles.cos()), dim=-1).flatten(-2)


class Attention(nn.Module):
    """Multi-head self-attention; with fewer key/value heads than heads, several queries share one."""

    def __init__(self, model: ModelSettings, layer: int) -> None:
        super().__init__()
        self.layer = layer
        self.heads = (model.n_heads, model.kv_heads, model.kv_heads)  # of q, k, v
        self.head_width = model.head_width
        self.dropout = model.dropout
        self.qkv = nn.Linear(model.d_model, sum(self.heads) * self.head_width, bias=model.biases)
        self.q_norm, self.k_norm = (
            nn.RMSNorm(self.head_width, eps=model.norm_eps) if model.qk_norm else nn.Identity() for _ in "qk"
        )
        self.out = nn.Linear(model.d_model, model.d_model, bias=model.biases)

    def forward(self, x: Tensor, mask: Mask, turn: Rotation | None, cache: KeyValueCache | None) -> Tensor:
        B, T, C = x.shape
        qkv = self.qkv(x).view(B, T, -1, self.head_width).transpose(1, 2)
        q, k, v = qkv.split(self.heads, dim=1)  # each (B, its heads, T, D)
        q, k = self.q_norm(q), self.k_norm(k)
        if turn is not None:
            q, k = rotate(q, *turn), rotate(k, *turn)
        if cache is not None:
            k, v = cache.append(self.layer, k, v)
        y = attend(q, k, v, mask, self.dropout if self.training else 0.0)
        y = self.out(y.transpose(1, 2).reshape(B, T, C))
        return F.dropout(y, self.dropout, self.training)


class MLP(nn.Module):
    """Two layers, wider in between; SwiGLU multiplies the inner one by a gate."""

    def __init__(self, model: ModelSettings) -> None:
        super().__init__()
        self.activation = model.activation
        self.dropout = model.dropout
        if model.activation == "swiglu":
            self.gate = nn.Linear(model.d_model, model.ff_width, bias=model.biases)
        self.up = nn.Linear(model.d_model, model.ff_width, bias=model.biases)
        self.out = nn.Linear(model.ff_width, model.d_model, bias=model.biases)

    def forward(self, x: Tensor) -> Tensor:
        if self.activation == "swiglu":
            inner = F.silu(self.gate(x)) * self.up(x)
        elif self.activation == "relu":
            inner = F.relu(self.up(x))
        else:
            inner = F.gelu(self.up(x), approximate="tanh")
        return F.dropout(self.out(inner), self.dropout, self.training)


class Block(nn.Module):
    """One layer: two residual branches."""

    def __init__(self, model: ModelSettings, layer: int) -> None:
        super().__init__()
        self.pre = model.norm_placement == "pre"
        self.attention_norm = normalisation(model, model.d_model)
        self.attention = Attention(model, layer)
        self.mlp_norm = normalisation(model, model.d_model)
        self.mlp = MLP(model)

    def forward(self, x: Tensor, mask: Mask, turn: Rotation | None, cache: KeyValueCache | None) -> Tensor:
        if self.pre:
            x = x + self.attention(self.attention_norm(x), mask, turn, cache)
            x = x + self.mlp(self.mlp_norm(x))
        else:
            x = self.attention_norm(x + self.attention(x, mask, turn, cache))
            x = self.mlp_norm(x + self.mlp(x))
        return x


class GPT(nn.Module):
    """A model of these settings, freshly initialised from torch's random state."""

    def __init__(self, model: ModelSettings, vocab_size: int) -> None:
        super().__init__()
        self.settings = model
        self.vocab_size = vocab_size
        self.checkpointing = False  # recompute each block in the backward pass instead of keeping its activations
        self._compiled = False
        rows = model.padded_vocab(vocab_size)
        self.embedding = nn.Embedding(rows, model.d_model)
        if model.position == "learned":
            self.positions = nn.Embedding(model.context_length, model.d_model)
        self.blocks = nn.ModuleList(Block(model, layer) for layer in range(model.n_layers))
        self.norm = normalisation(model, model.d_model) if model.norm_placement == "pre" else nn.Identity()
        if not model.tied_embeddings:
            self.head = nn.Linear(model.d_model, rows, bias=False)
        self._initialise()

    def _initialise(self) -> None:
        """GPT-2 also scales the 2 L layers that write into the residual stream, so that its variance does not grow."""
        residual_scale = 1 / math.sqrt(2 * self.settings.n_layers) if self.settings.scaled_residual_init else 1.0
        for name, parameter in self.named_parameters():
            if parameter.dim() == 2:
                scale = residual_scale if name.endswith("out.weight") else 1.0
                nn.init.normal_(parameter, std=INIT_STD * scale)
            elif name.endswith("bias"):
                nn.init.zeros_(parameter)

    def forward(
        self,
        tokens: Tensor,
        targets: Tensor | None = None,
        *,
        positions: Tensor | None = None,
        prefix: Tensor | None = None,
        cache: KeyValueCache | None = None,
        label_smoothing: float = 0.0,
        z_loss: float = 0.0,
    ) -> Tensor | Losses:
        """Logits (B, T, V) of tokens (B, T); with targets (B, T), their summed losses.

        `positions` (B, T), where given, begin at 0 in every document of a row and hide the documents from each other;
        the first `prefix` (B,) tokens of a row see each other both ways; a `cache` holds the tokens before these.
        """
        T = tokens.shape[1]
        dropout = self.training and self.settings.dropout > 0
        mask = make_mask(positions, prefix, T, dropout=dropout) if cache is None else cache.mask(T)
        if positions is None:
            past = 0 if cache is None else cache.length
            positions = torch.arange(past, past + T, device=tokens.device)
        x = self._embed(tokens, positions)  # (B, T, C)
        turn = self._rotation(positions)
        for block in self.blocks:
            if self.checkpointing and self.training:
                x = checkpoint(block, x, mask, turn, cache, use_reentrant=False)
            else:
                x = block(x, mask, turn, cache)
        x = self.norm(x)
        weight = self.embedding.weight if self.settings.tied_embeddings else self.head.weight
        if targets is None:
            return F.linear(x, weight)[..., : self.vocab_size]
        return linear_cross_entropy(
            x.flatten(0, 1),
            weight,
            targets.flatten(),
            vocab_size=self.vocab_size,
            label_smoothing=label_smoothing,
            z_loss=z_loss,
            compiled=self._compiled,
        )

    def compile_parts(self) -> None:
        """torch.compile each block and the loss, which take the time; hooks around them stay outside of the graphs."""
        for block in self.blocks:
            block.compile()
        self._compiled = True

    def _embed(self, tokens: Tensor, positions: Tensor) -> Tensor:
        x = self.embedding(tokens)
        if self.settings.embedding_scale:
            x = x * math.sqrt(self.settings.d_model)
        if self.settings.position == "learned":
            x = x + self.positions(positions)
        elif self.settings.position == "sinusoidal":
            x = x + sinusoids(positions, self.settings.d_model).to(x.dtype)
        return F.dropout(x, self.settings.dropout, self.training)

    def _rotation(self, positions: Tensor) -> Rotation | None:
        if self.settings.position != "rotary":
            return None
        cos, sin = rotation(positions, self.settings.head_width, self.settings.rope_theta)
        return cos.unsqueeze(-3), sin.unsqueeze(-3)  # (B or 1, 1, T, D): the same for all heads


def build_model(job: TrainingJob) -> GPT:
    """The job's model with its initial weights, a function of its seed alone."""
    torch.manual_seed(job.seed)
    return GPT(job.model, job.vocab_size)
