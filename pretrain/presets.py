"""Published models: what each sets in the `[model]` and `[train]` tables. A key given in the config wins."""

from __future__ import annotations

from typing import Any

Preset = dict[str, dict[str, Any]]  # table -> key -> value


def _shape(context_length: int, n_layers: int, n_heads: int, d_model: int) -> dict[str, Any]:
    return {"context_length": context_length, "n_layers": n_layers, "n_heads": n_heads, "d_model": d_model}


def _gpt2(n_layers: int, n_heads: int, d_model: int) -> Preset:
    """Radford et al. 2019, table 2, which lists no heads: the released weights have heads of width 64. Its learning
    rates were never published."""
    return {"model": _shape(1024, n_layers, n_heads, d_model), "train": {"global_batch_tokens": 524_288}}


def _gpt3(n_layers: int, n_heads: int, d_model: int, batch: int, lr: float) -> Preset:
    """Brown et al. 2020, table 2.1 and appendix B. `batch` in samples of 2,048 tokens: the paper rounds to 0.5M, 1M ...

    The warmup is the paper's 375 million tokens. Its attention is sparse in every other layer; here all are dense.
    """
    tokens = batch * 2048
    train = {"global_batch_tokens": tokens, "warmup_steps": round(375e6 / tokens), "lr": lr, "min_lr_ratio": 0.1}
    return {"model": _shape(2048, n_layers, n_heads, d_model), "train": train | {"betas": [0.9, 0.95], "eps": 1e-8}}


LLAMA = {
    "position": "rotary",
    "norm": "rmsnorm",
    "activation": "swiglu",
    "biases": False,
    "scaled_residual_init": False,
}

PRESETS: dict[str, Preset] = {
    # Vaswani et al. 2017, table 3 "base" and section 5, as a decoder alone (Liu et al. 2018): the batch of about
    # 25,000 tokens; it clips no gradient, here the default of 1 stays
    "transformer-base": {
        "model": _shape(512, 6, 8, 512)
        | {"norm_placement": "post", "position": "sinusoidal", "activation": "relu", "embedding_scale": True}
        | {"dropout": 0.1, "scaled_residual_init": False},
        "train": {
            "global_batch_tokens": 49 * 512,
            "schedule": "noam",
            "lr": 1.0,
            "warmup_steps": 4000,
            "label_smoothing": 0.1,
            "betas": [0.9, 0.98],
            "eps": 1e-9,
            "weight_decay": 0.0,
        },
    },
    # Radford et al. 2018, section 4.1; the released model of 116,534,784 parameters has 40,478 ids
    "gpt1": {
        "model": _shape(512, 12, 12, 768) | {"norm_placement": "post", "dropout": 0.1, "scaled_residual_init": False},
        "train": {
            "global_batch_tokens": 64 * 512,
            "lr": 2.5e-4,
            "warmup_steps": 2000,
            "min_lr_ratio": 0.0,
            "betas": [0.9, 0.999],
            "eps": 1e-8,
            "weight_decay": 0.01,
        },
    },
    "gpt2-small": _gpt2(12, 12, 768),
    "gpt2-medium": _gpt2(24, 16, 1024),
    "gpt2-large": _gpt2(36, 20, 1280),
    "gpt2-xl": _gpt2(48, 25, 1600),
    "gpt3-125m": _gpt3(12, 12, 768, 256, 6.0e-4),
    "gpt3-350m": _gpt3(24, 16, 1024, 256, 3.0e-4),
    "gpt3-760m": _gpt3(24, 16, 1536, 256, 2.5e-4),
    "gpt3-1.3b": _gpt3(24, 16, 2048, 512, 2.0e-4),  # the paper lists 24 heads of 128: 3,072, not 2,048
    "gpt3-2.7b": _gpt3(32, 32, 2560, 512, 1.6e-4),
    "gpt3-6.7b": _gpt3(32, 32, 4096, 1024, 1.2e-4),
    "gpt3-13b": _gpt3(40, 40, 5120, 1024, 1.0e-4),  # the paper lists a width of 5,140; 40 heads of 128 are 5,120
    "gpt3-175b": _gpt3(96, 96, 12288, 1536, 0.6e-4),
    # Touvron et al. 2023, table 2 and section 2.3: 6,738,415,616 parameters with its 32,000 ids
    "llama-7b": {
        "model": LLAMA | _shape(2048, 32, 32, 4096) | {"d_ff": 11_008, "norm_eps": 1e-6, "tied_embeddings": False},
        "train": {"global_batch_tokens": 4_194_304, "lr": 3e-4, "warmup_steps": 2000, "betas": [0.9, 0.95]},
    },
    # Llama 3.2 (released configuration): grouped queries, 1,235,814,400 parameters with its 128,256 ids. Its stretched
    # positions for contexts beyond 8,192 are left out
    "llama-3.2-1b": {
        "model": LLAMA | _shape(8192, 16, 32, 2048) | {"n_kv_heads": 8, "d_ff": 8192, "rope_theta": 500_000.0},
        "train": {},
    },
}
