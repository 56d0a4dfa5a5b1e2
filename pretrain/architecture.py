"""What a model is made of: the `[model]` table. Standard library only, and nothing about who trains it."""

from __future__ import annotations

import math
from dataclasses import dataclass

from pretrain.presets import PRESETS

POSITIONS = ("learned", "sinusoidal", "rotary")
NORMS = ("layernorm", "rmsnorm")
ACTIVATIONS = ("gelu", "relu", "swiglu")
SIZES = ("context_length", "n_layers", "n_heads", "d_model")
LARGEST = 2**24  # of any size: beyond it the numbers of a plan mean nothing


@dataclass(frozen=True)
class ModelSettings:
    """A decoder-only transformer. The defaults are GPT-2's; a preset is as if its keys (presets.py) stood here."""

    preset: str = ""  # a published model; keys given beside it win
    context_length: int = 1024  # tokens a sample
    n_layers: int = 0
    n_heads: int = 0
    d_model: int = 0  # width of the residual stream
    n_kv_heads: int = 0  # key/value heads, shared by n_heads / n_kv_heads queries (Ainslie et al. 2023); 0: n_heads
    d_ff: int = 0  # inner width of the MLP; 0: 4 d_model
    position: str = "learned"  # "learned", "sinusoidal" (Vaswani et al. 2017, 3.5) or "rotary" (Su et al. 2021)
    rope_theta: float = 10_000.0  # base of rotary positions
    norm: str = "layernorm"  # or "rmsnorm" (Zhang & Sennrich 2019)
    norm_placement: str = "pre"  # "pre": x + f(norm(x)), and a last norm; "post": norm(x + f(x)), as in GPT-1
    norm_eps: float = 1e-5
    activation: str = "gelu"  # its tanh form; or "relu", or "swiglu" (Shazeer 2020), which adds a gate matrix
    biases: bool = True  # of linear layers and layernorms
    tied_embeddings: bool = True  # the output head is the embedding
    embedding_scale: bool = False  # embeddings times sqrt(d_model) (Vaswani et al. 2017, 3.4)
    qk_norm: bool = False  # queries and keys normalised per head (Henry et al. 2020; RMSNorm, as in Qwen 3)
    scaled_residual_init: bool = True  # GPT-2: layers that write into the residual stream start 1/sqrt(2 L) as large
    dropout: float = 0.0  # of embeddings, attention and both branches; GPT-1 and GPT-2 used 0.1
    pad_vocab_to: int = 128  # the embedding gets rows up to a multiple of this; they are masked and never exported

    @property
    def kv_heads(self) -> int:
        return self.n_kv_heads or self.n_heads

    @property
    def head_width(self) -> int:
        return self.d_model // self.n_heads

    @property
    def ff_width(self) -> int:
        return self.d_ff or 4 * self.d_model

    def padded_vocab(self, vocab_size: int) -> int:
        """Rows of the embedding.

        >>> ModelSettings().padded_vocab(50_257)
        50304
        """
        return -(-vocab_size // self.pad_vocab_to) * self.pad_vocab_to

    def problems(self) -> list[str]:
        """Sentences about what cannot work."""
        if self.preset and self.preset not in PRESETS:
            return [f'model.preset must be one of {", ".join(PRESETS)}, got "{self.preset}"']
        missing = [f"model.{name}" for name in SIZES if getattr(self, name) == 0]
        if missing:
            are, them = ("are", "them") if len(missing) > 1 else ("is", "it")
            names = " and ".join(missing)
            return [f"{names} {are} not set; set {them}, or set model.preset to one of {', '.join(PRESETS)}"]
        found = [
            f"model.{name} must be at least {least}, got {getattr(self, name)}"
            for name, least in (*((name, 1) for name in SIZES), ("n_kv_heads", 0), ("d_ff", 0), ("pad_vocab_to", 1))
            if getattr(self, name) < least
        ]
        found += [
            f"model.{name} must be at most {LARGEST}, got {getattr(self, name)}"
            for name in (*SIZES, "n_kv_heads", "d_ff", "pad_vocab_to")
            if getattr(self, name) > LARGEST
        ]
        for name, allowed in (
            ("position", POSITIONS),
            ("norm", NORMS),
            ("norm_placement", ("pre", "post")),
            ("activation", ACTIVATIONS),
        ):
            if getattr(self, name) not in allowed:
                wanted = ", ".join(f'"{item}"' for item in allowed)
                found.append(f'model.{name} must be one of {wanted}, got "{getattr(self, name)}"')
        found += [
            f"model.{name} must be above 0, got {getattr(self, name)}"
            for name in ("rope_theta", "norm_eps")
            if not 0 < getattr(self, name) < math.inf
        ]
        if not 0 <= self.dropout < 1:
            found.append(f"model.dropout must be at least 0 and below 1, got {self.dropout}")
        return found or self._mismatches()

    def _mismatches(self) -> list[str]:
        found = []
        if self.d_model % self.n_heads:
            found.append(f"model.d_model must be a multiple of model.n_heads ({self.n_heads}), got {self.d_model}")
        elif self.position == "rotary" and self.head_width % 2:
            found.append(
                f"rotary positions turn pairs of numbers: model.d_model / model.n_heads must be even, got "
                f"{self.head_width}"
            )
        if self.position == "sinusoidal" and self.d_model % 2:
            found.append(f"sinusoidal positions want an even model.d_model, got {self.d_model}")
        if self.n_heads % self.kv_heads:
            found.append(f"model.n_heads ({self.n_heads}) must be a multiple of model.n_kv_heads, got {self.kv_heads}")
        return found
