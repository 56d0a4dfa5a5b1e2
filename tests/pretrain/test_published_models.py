"""Proves that our models are the published ones: logits and gradients equal transformers', with weights copied."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
import torch.nn.functional as F
import transformers
from tiny_models import CONTEXT, GPT1, LLAMA, TINY, VOCAB, assert_same, gradients, random_tokens
from torch import Tensor

from pretrain.architecture import ModelSettings
from pretrain.model import GPT

# Theirs -> ours, in this order. A linear layer of GPT-1 and GPT-2 is stored transposed
GPT_NAMES = {
    "transformer.h.": "blocks.",
    "transformer.": "",
    "wte": "embedding",
    "tokens_embed": "embedding",
    "wpe": "positions",
    "positions_embed": "positions",
    "ln_f": "norm",
    "ln_1": "attention_norm",
    "ln_2": "mlp_norm",
    "attn.c_attn": "attention.qkv",
    "attn.": "attention.",
    "c_fc": "up",
    "c_proj": "out",
}
LLAMA_NAMES = {
    "model.layers.": "blocks.",
    "model.": "",
    "embed_tokens": "embedding",
    "lm_head": "head",
    "down": "out",
    "input_layernorm": "attention_norm",
    "post_attention_layernorm": "mlp_norm",
    "self_attn.o_": "attention.out_",
    "self_attn": "attention",
    "_proj": "",
}


def as_ours(theirs: dict[str, Tensor], fill: float) -> dict[str, Tensor]:
    """Weights, or gradients, under our names; `fill` stands in the rows that pad the vocabulary."""
    ours = {}
    for their_name, tensor in theirs.items():
        name = their_name
        for old, new in (GPT_NAMES if name.startswith("transformer") else LLAMA_NAMES).items():
            name = name.replace(old, new)
        if ".c_" in their_name and tensor.dim() == 2:
            tensor = tensor.T
        if name in ("embedding.weight", "head.weight"):
            tensor = F.pad(tensor, (0, 0, 0, 384 - VOCAB), value=fill)
        ours[name] = tensor
    for layer in range(TINY["n_layers"]):
        parts = [f"blocks.{layer}.attention.{part}.weight" for part in "qkv"]
        if parts[0] in ours:
            ours[f"blocks.{layer}.attention.qkv.weight"] = torch.cat([ours.pop(part) for part in parts])
    return ours


GPT_CONFIG = {
    "vocab_size": VOCAB,
    "n_positions": CONTEXT,
    "n_embd": 32,
    "n_layer": 2,
    "n_head": 4,
    "attn_pdrop": 0.0,
    "embd_pdrop": 0.0,
    "resid_pdrop": 0.0,
}
LLAMA_CONFIG = {
    "vocab_size": VOCAB,
    "hidden_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "rms_norm_eps": 1e-6,
    "num_key_value_heads": 2,
    "intermediate_size": 48,
    "head_dim": 8,
    "max_position_embeddings": CONTEXT,
}


@pytest.mark.parametrize(
    ("settings", "theirs"),
    [
        ({}, lambda: transformers.GPT2LMHeadModel(transformers.GPT2Config(**GPT_CONFIG))),
        (
            {"activation": "relu"},
            lambda: transformers.GPT2LMHeadModel(transformers.GPT2Config(**GPT_CONFIG, activation_function="relu")),
        ),
        (GPT1, lambda: transformers.OpenAIGPTLMHeadModel(transformers.OpenAIGPTConfig(**GPT_CONFIG))),
        (LLAMA, lambda: transformers.LlamaForCausalLM(transformers.LlamaConfig(**LLAMA_CONFIG))),
        (
            LLAMA | {"rope_theta": 500_000.0, "tied_embeddings": True},
            lambda: transformers.LlamaForCausalLM(
                transformers.LlamaConfig(**LLAMA_CONFIG, rope_theta=500_000.0, tie_word_embeddings=True)
            ),
        ),
        (
            LLAMA | {"qk_norm": True},
            lambda: transformers.Qwen3ForCausalLM(transformers.Qwen3Config(**LLAMA_CONFIG)),
        ),
    ],
    ids=["gpt2", "gpt2-relu", "gpt1", "llama", "llama-tied", "qwen3"],
)
def test_logits_and_gradients_equal_transformers(settings: dict[str, Any], theirs: Callable[[], Any]) -> None:
    torch.manual_seed(0)
    their_model = theirs().eval()
    with torch.no_grad():
        for parameter in their_model.parameters():
            parameter.add_(torch.randn_like(parameter) * 0.1)
    our_model = GPT(ModelSettings(**(TINY | settings)), VOCAB)
    our_model.load_state_dict(as_ours({name: p.data for name, p in their_model.named_parameters()}, fill=9.0))

    tokens, targets = random_tokens()
    logits = their_model(tokens).logits
    torch.testing.assert_close(our_model(tokens), logits, atol=1e-5, rtol=1e-5)
    loss = F.cross_entropy(logits.flatten(0, 1), targets.flatten(), reduction="sum")
    loss.backward()
    losses, ours = gradients(our_model, tokens=tokens, targets=targets)
    torch.testing.assert_close(losses.objective, loss, atol=0, rtol=1e-6)
    wanted = as_ours({name: p.grad for name, p in their_model.named_parameters()}, fill=0.0)
    count = targets.numel()
    assert_same({name: t / count for name, t in ours.items()}, {name: t / count for name, t in wanted.items()})
