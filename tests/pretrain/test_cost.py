"""Proves the table of published models: parameter counts to the last one, and what their papers say of training."""

from __future__ import annotations

import itertools

import pytest
import torch

from pretrain.architecture import ModelSettings
from pretrain.cost import flops_per_token, parameter_count
from pretrain.model import GPT
from pretrain.presets import PRESETS


def count_of_a_real_model(settings: ModelSettings, vocab_size: int) -> int:
    with torch.device("meta"):  # shapes without memory
        return sum(parameter.numel() for parameter in GPT(settings, vocab_size).parameters())


# transformers' own counts of the released checkpoints; GPT-2 small without biases is nanoGPT's
@pytest.mark.parametrize(
    ("preset", "vocab_size", "changes", "count"),
    [
        # by hand: 37,000 ids of 512; six layers of 4 x 512^2 + 2 x 512 x 2,048 weights, 4,608 biases and two norms
        ("transformer-base", 37_000, {}, 18_944_000 + 6 * (3_145_728 + 4_608 + 2 * 1_024)),
        ("gpt1", 40_478, {}, 116_534_784),
        ("gpt2-small", 50_257, {}, 124_439_808),
        ("gpt2-small", 50_257, {"biases": False}, 124_337_664),
        ("gpt2-medium", 50_257, {}, 354_823_168),
        ("gpt2-large", 50_257, {}, 774_030_080),
        ("gpt2-xl", 50_257, {}, 1_557_611_200),
        ("llama-7b", 32_000, {}, 6_738_415_616),
        ("llama-3.2-1b", 128_256, {}, 1_235_814_400),
    ],
)
def test_parameters_of_released_models(preset: str, vocab_size: int, changes: dict[str, bool], count: int) -> None:
    settings = ModelSettings(**(PRESETS[preset]["model"] | {"pad_vocab_to": 1} | changes))
    assert parameter_count(settings, vocab_size) == count
    assert count_of_a_real_model(settings, vocab_size) == count


# Brown et al. 2020, table 2.1: millions of parameters, width of a head, batch in millions of tokens, learning rate
@pytest.mark.parametrize(
    ("preset", "millions", "head_width", "batch", "lr"),
    [
        ("gpt3-125m", 125, 64, 0.5, 6.0e-4),
        ("gpt3-350m", 350, 64, 0.5, 3.0e-4),
        ("gpt3-760m", 760, 96, 0.5, 2.5e-4),
        ("gpt3-1.3b", 1_300, 128, 1, 2.0e-4),
        ("gpt3-2.7b", 2_700, 80, 1, 1.6e-4),
        ("gpt3-6.7b", 6_700, 128, 2, 1.2e-4),
        ("gpt3-13b", 13_000, 128, 2, 1.0e-4),
        ("gpt3-175b", 175_000, 128, 3.2, 0.6e-4),
    ],
)
def test_gpt3_as_its_paper_lists_it(preset: str, millions: int, head_width: int, batch: float, lr: float) -> None:
    settings = ModelSettings(**(PRESETS[preset]["model"] | {"pad_vocab_to": 1}))
    train = PRESETS[preset]["train"]
    count = parameter_count(settings, 50_257)
    assert count == pytest.approx(millions * 1e6, rel=0.02)
    assert count_of_a_real_model(settings, 50_257) == count
    assert settings.head_width == head_width
    assert train["global_batch_tokens"] == pytest.approx(batch * 1e6, rel=0.05)
    assert train["warmup_steps"] * train["global_batch_tokens"] == pytest.approx(375e6, rel=0.01)
    assert train["lr"] == lr


@pytest.mark.parametrize("position", ["learned", "sinusoidal", "rotary"])
@pytest.mark.parametrize("activation", ["gelu", "swiglu"])
@pytest.mark.parametrize("norm", ["layernorm", "rmsnorm"])
def test_the_formula_is_the_model(position: str, activation: str, norm: str) -> None:
    for placement, biases, tied, kv_heads, qk_norm, d_ff in itertools.product(
        ("pre", "post"), (True, False), (True, False), (0, 2), (True, False), (0, 24)
    ):
        settings = ModelSettings(
            context_length=8,
            n_layers=2,
            n_heads=4,
            d_model=16,
            pad_vocab_to=1,
            position=position,
            activation=activation,
            norm=norm,
            norm_placement=placement,
            biases=biases,
            tied_embeddings=tied,
            n_kv_heads=kv_heads,
            qk_norm=qk_norm,
            d_ff=d_ff,
        )
        assert parameter_count(settings, 50) == count_of_a_real_model(settings, 50), settings


def test_padding_of_the_vocabulary_is_no_parameter() -> None:
    padded, plain = (ModelSettings(**PRESETS["gpt2-small"]["model"], pad_vocab_to=pad) for pad in (128, 1))
    assert parameter_count(padded, 50_257) == parameter_count(plain, 50_257)
    assert count_of_a_real_model(padded, 50_257) - count_of_a_real_model(plain, 50_257) == 47 * 768


def test_flops_by_hand() -> None:
    """GPT-2 small as nanoGPT counts it, and grouped SwiGLU layers: 2 d^2 + 2 d 8 + 3 d 24 for d = 16."""
    assert flops_per_token(ModelSettings(**PRESETS["gpt2-small"]["model"]), 50_257) * 1024 == 874_944_921_600
    llama = ModelSettings(
        context_length=8,
        n_layers=2,
        n_heads=4,
        n_kv_heads=2,
        d_model=16,
        d_ff=24,
        activation="swiglu",
        position="rotary",
        tied_embeddings=False,
    )
    layer = 2 * 256 + 2 * 16 * 8 + 3 * 16 * 24
    assert flops_per_token(llama, 50) == 6 * (2 * layer + 50 * 16) + 12 * 2 * 16 * 8
