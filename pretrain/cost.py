"""What a model costs: parameters and floating-point operations, from its settings alone."""

from __future__ import annotations

from pretrain.architecture import ModelSettings


def parameter_count(model: ModelSettings, vocab_size: int) -> int:
    """Parameters, without the rows that pad the vocabulary; a tied head is counted once.

    The released GPT-2 small (its paper prints 117M):

    >>> shape = {"n_layers": 12, "n_heads": 12, "d_model": 768}
    >>> parameter_count(ModelSettings(**shape), 50_257)
    124439808
    """
    d, L = model.d_model, model.n_layers
    bias = int(model.biases)
    kv_width = model.kv_heads * model.head_width
    embeddings = vocab_size * d * (1 if model.tied_embeddings else 2)
    embeddings += model.context_length * d if model.position == "learned" else 0
    attention = 2 * d * d + 2 * d * kv_width + bias * (2 * d + 2 * kv_width)
    attention += 2 * model.head_width if model.qk_norm else 0
    inner = 2 if model.activation == "swiglu" else 1  # matrices that lead into the MLP
    mlp = (inner + 1) * d * model.ff_width + bias * (inner * model.ff_width + d)
    norm = d * (2 if model.norm == "layernorm" and model.biases else 1)
    norms = 2 * L + (1 if model.norm_placement == "pre" else 0)
    return embeddings + L * (attention + mlp) + norms * norm


def non_embedding_count(model: ModelSettings) -> int:
    """Parameters without tokens' embeddings, positions and output head: the N of Kaplan et al. 2020.

    >>> shape = {"n_layers": 12, "n_heads": 12, "d_model": 768}
    >>> non_embedding_count(ModelSettings(**shape))
    85056000
    """
    positions = model.context_length * model.d_model if model.position == "learned" else 0
    return parameter_count(model, 0) - positions


def flops_per_token(model: ModelSettings, vocab_size: int) -> int:
    """Training FLOPs a token by the count of PaLM (Chowdhery et al. 2022, appendix B): 6 N + 12 L d T.

    N is the weights that take part in matrix products: those of the layers and the output head; positions, norms and
    biases are out, as in nanoGPT's `transformer_sizing`. Attention counts the whole T x T square, whatever the mask.

    >>> shape = {"n_layers": 12, "n_heads": 12, "d_model": 768}
    >>> flops_per_token(ModelSettings(**shape), 50_257) * 1024
    874944921600
    """
    d, L = model.d_model, model.n_layers
    attention = 2 * d * d + 2 * d * model.kv_heads * model.head_width
    mlp = (3 if model.activation == "swiglu" else 2) * d * model.ff_width
    return 6 * (L * (attention + mlp) + vocab_size * d) + 12 * L * d * model.context_length
