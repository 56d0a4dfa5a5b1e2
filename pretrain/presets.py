"""Published model shapes, and what a shape costs: parameters and floating-point operations."""

from __future__ import annotations

from typing import NamedTuple


class ModelShape(NamedTuple):
    """What a preset gives: depth, heads and width."""

    n_layers: int
    n_heads: int
    d_model: int


# Radford et al. 2019, "Language Models are Unsupervised Multitask Learners", table 2. The table lists no heads; the
# released weights have heads of width 64.
PRESETS = {
    "gpt2-small": ModelShape(12, 12, 768),
    "gpt2-medium": ModelShape(24, 16, 1024),
    "gpt2-large": ModelShape(36, 20, 1280),
    "gpt2-xl": ModelShape(48, 25, 1600),
}


def parameter_count(n_layers: int, d_model: int, vocab_size: int, context_length: int) -> int:
    """Parameters of a GPT-2: biases on, the output head tied to the embedding (so counted once).

    The released GPT-2 small (its paper prints 117M):

    >>> parameter_count(12, 768, 50_257, 1024)
    124439808
    """
    embeddings = (vocab_size + context_length) * d_model
    attention = 4 * d_model * d_model + 4 * d_model  # query, key, value and output, with biases
    mlp = 8 * d_model * d_model + 5 * d_model  # d -> 4d -> d, with biases
    norms = 2 * 2 * d_model  # two a layer, each a weight and a bias
    return embeddings + n_layers * (attention + mlp + norms) + 2 * d_model  # and the last norm


def flops_per_token(n_layers: int, d_model: int, vocab_size: int, context_length: int) -> int:
    """Training FLOPs a token by the count of PaLM (Chowdhery et al. 2022, appendix B): 6 N + 12 L d T.

    N is the weights that take part in matrix products, 12 L d^2 + V d: the (tied) output head is in; positions,
    norms and biases are out, as in nanoGPT's `transformer_sizing`. Attention counts the whole T x T square.

    >>> flops_per_token(12, 768, 50_257, 1024) * 1024
    874944921600
    """
    matrix_weights = 12 * n_layers * d_model * d_model + vocab_size * d_model
    return 6 * matrix_weights + 12 * n_layers * d_model * context_length
