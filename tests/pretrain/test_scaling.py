"""Proves the scaling laws by values worked out by hand and by figures that others have published of them."""

from __future__ import annotations

import pytest

from pretrain.architecture import ModelSettings
from pretrain.cost import non_embedding_count, parameter_count
from pretrain.presets import PRESETS
from pretrain.scaling import chinchilla_loss, chinchilla_tokens, kaplan_loss

ENDLESS = 1e200


@pytest.mark.parametrize(
    ("parameters", "tokens", "loss"),
    [
        (ENDLESS, 5.4e13, 1.0),  # D = D_c
        (8.8e13, ENDLESS, 1.0),  # N = N_c
        (8.8e13, 5.4e13, 1.06807),  # 2^0.095 = e^0.065849
        (ENDLESS, 5.4e9, 2.39883),  # (10^4)^0.095 = 10^0.38
        (8.8e8, ENDLESS, 2.39883),  # (10^5)^0.076 = 10^0.38
        (8.8e8, 5.4e9, 2.56211),  # (10^4 + 10^4)^0.095: 2.398833 x 1.068065
        (8.8e3, ENDLESS, 5.75440),  # 10^0.76
        (8.8e8, 5.4e10, 2.42065),  # 11,000^0.095 = e^(0.095 x 9.305651)
        (8.8e13 / 1024, ENDLESS, 1.69349),  # 2^0.76 = e^0.526792
        (ENDLESS, 5.4e13 / 1024, 1.93188),  # 2^0.95 = e^0.658490
    ],
)
def test_kaplan_by_hand(parameters: float, tokens: float, loss: float) -> None:
    assert kaplan_loss(parameters, tokens) == pytest.approx(loss, abs=1e-5)


@pytest.mark.parametrize(
    ("parameters", "tokens", "loss"),
    [
        (1e300, 1e300, 1.69),
        (1.0, 1e300, 408.09),  # 1.69 + 406.4
        (1e300, 1.0, 412.39),  # 1.69 + 410.7
        (1e10, 1e300, 1.85179),  # 406.4 x 10^-3.4 = 406.4 x 0.000398107 = 0.161791
        (1e300, 1e10, 2.34092),  # 410.7 x 10^-2.8 = 410.7 x 0.00158489 = 0.650916
        (1e10, 1e10, 2.50271),
        (1e5, 1e300, 9.79875),  # 406.4 x 10^-1.7 = 406.4 x 0.0199526 = 8.10875
        (280e9, 300e9, 1.993),  # Gopher, Chinchilla and GPT-3 as worked out from the paper's formula
        (70e9, 1.4e12, 1.936),  # in a widely read essay ("chinchilla's wild implications", 2022)
        (175e9, 300e9, 2.002),
    ],
)
def test_chinchilla_by_hand(parameters: float, tokens: float, loss: float) -> None:
    assert chinchilla_loss(parameters, tokens) == pytest.approx(loss, abs=1e-3 if 1.9 < loss < 2.01 else 1e-4)


@pytest.mark.parametrize(("parameters", "tokens"), [(400e6, 8.0e9), (1e9, 20.2e9), (10e9, 205.1e9), (67e9, 1.5e12)])
def test_twenty_tokens_a_parameter_is_table_3_of_the_paper(parameters: float, tokens: float) -> None:
    assert chinchilla_tokens(int(parameters)) == pytest.approx(tokens, rel=0.12)


@pytest.mark.parametrize("preset", ["gpt2-small", "gpt1", "llama-7b", "llama-3.2-1b"])
def test_non_embedding_parameters_are_those_of_the_layers(preset: str) -> None:
    """One layer more adds exactly a layer: the rest is embeddings and the last norm."""
    model = ModelSettings(**PRESETS[preset]["model"])
    double = ModelSettings(**(PRESETS[preset]["model"] | {"n_layers": 2 * model.n_layers}))
    layers = parameter_count(double, 1000) - parameter_count(model, 1000)
    assert 0 <= non_embedding_count(model) - layers <= 2 * model.d_model
