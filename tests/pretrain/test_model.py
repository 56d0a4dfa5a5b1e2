"""Proves that our model is GPT-2: logits and gradients equal transformers', and no token sees a later one."""

from __future__ import annotations

from pathlib import Path

import pytest
import tiny_run
import torch
import torch.nn.functional as F
from tokenizer_file import write_tokenizer
from transformers import GPT2LMHeadModel

from pretrain.export import export_gpt2, gpt2_name, load_gpt2
from pretrain.model import GPT, build_model
from pretrain.presets import PRESETS, flops_per_token, parameter_count


def random_model(seed: int = 0) -> GPT:
    """Weights far from the initial ones, so that every bias and norm counts."""
    model = build_model(tiny_run.job())
    torch.manual_seed(seed)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(torch.randn_like(parameter) * 0.1)
    return model


def random_tokens() -> tuple[torch.Tensor, torch.Tensor]:
    tokens = torch.randint(0, tiny_run.VOCAB, (3, 33), generator=torch.Generator().manual_seed(1))
    return tokens[:, :-1], tokens[:, 1:]


@pytest.fixture
def exported(tmp_path: Path) -> tuple[GPT, Path]:
    model = random_model()
    directory = tmp_path / "hf"
    tokenizer = write_tokenizer(tmp_path / "tokenizer.json")
    export_gpt2(model.state_dict(), tiny_run.job(), tokenizer, directory)
    return model, directory


def test_logits_and_gradients_equal_transformers(exported: tuple[GPT, Path]) -> None:
    model, directory = exported
    theirs = GPT2LMHeadModel.from_pretrained(directory).eval()
    tokens, targets = random_tokens()
    their_logits = theirs(tokens).logits
    torch.testing.assert_close(model(tokens), their_logits, atol=1e-5, rtol=1e-5)

    their_loss = F.cross_entropy(their_logits.flatten(0, 1), targets.flatten(), reduction="sum")
    our_loss = model(tokens, targets)
    torch.testing.assert_close(our_loss, their_loss, rtol=1e-6, atol=0)
    (their_loss / targets.numel()).backward()
    (our_loss / targets.numel()).backward()
    their_gradients = {name: parameter.grad for name, parameter in theirs.named_parameters()}
    for name, parameter in model.named_parameters():
        gpt2, transposed = gpt2_name(name)
        wanted = their_gradients[gpt2]
        torch.testing.assert_close(parameter.grad, wanted.T if transposed else wanted, atol=1e-5, rtol=1e-4)


def test_transformers_continues_a_prompt_with_the_exported_directory_alone(exported: tuple[GPT, Path]) -> None:
    from transformers import AutoModelForCausalLM, AutoTokenizer

    _, directory = exported
    tokenizer = AutoTokenizer.from_pretrained(directory)
    model = AutoModelForCausalLM.from_pretrained(directory)
    assert tokenizer.eos_token_id == model.generation_config.eos_token_id == tiny_run.END_OF_TEXT
    ids = tokenizer("abc", return_tensors="pt")
    assert model.generate(**ids, max_new_tokens=3, do_sample=False).shape[1] >= 4


def test_an_export_reads_back_the_same(exported: tuple[GPT, Path]) -> None:
    model, directory = exported
    again, tokenizer = load_gpt2(directory)
    assert tokenizer.exists()
    for name, tensor in again.state_dict().items():
        assert torch.equal(tensor, model.state_dict()[name]), name


def test_a_later_token_cannot_change_an_earlier_logit() -> None:
    model = random_model()
    tokens, _ = random_tokens()
    changed = tokens.clone()
    changed[:, 20:] = (changed[:, 20:] + 1) % tiny_run.VOCAB
    before, after = model(tokens), model(changed)
    assert torch.equal(before[:, :20], after[:, :20])
    assert not torch.equal(before[:, 20:], after[:, 20:])


def test_initial_weights_follow_gpt2() -> None:
    """Standard deviation 0.02, and 0.02 / sqrt(2 layers) where a layer writes into the residual stream."""
    state = build_model(tiny_run.job()).state_dict()
    assert float(state["blocks.0.mlp.up.weight"].std()) == pytest.approx(0.02, rel=0.05)
    assert float(state["blocks.1.mlp.out.weight"].std()) == pytest.approx(0.01, rel=0.05)
    assert float(state["blocks.1.attention.out.weight"].std()) == pytest.approx(0.01, rel=0.05)
    assert not state["blocks.0.mlp.up.bias"].any()


# GPT2LMHeadModel's own count of the released checkpoints
@pytest.mark.parametrize(
    ("preset", "count"),
    [
        ("gpt2-small", 124_439_808),
        ("gpt2-medium", 354_823_168),
        ("gpt2-large", 774_030_080),
        ("gpt2-xl", 1_557_611_200),
    ],
)
def test_parameter_counts_of_the_released_models(preset: str, count: int) -> None:
    shape = PRESETS[preset]
    assert parameter_count(shape.n_layers, shape.d_model, 50_257, 1024) == count
    with torch.device("meta"):
        model = GPT(vocab_size=50_257, context_length=1024, **shape._asdict())
    assert sum(parameter.numel() for parameter in model.parameters()) == count


def test_flops_are_those_nanogpt_counts() -> None:
    assert flops_per_token(12, 768, 50_257, 1024) * 1024 == 874_944_921_600
