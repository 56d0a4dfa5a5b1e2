"""Proves that sampling draws what it is asked to draw: greedy equals transformers', top-k keeps k, seeds repeat."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import pytest
import tiny_run
import torch
from tokenizer_file import write_tokenizer
from tokenizers import Tokenizer
from transformers import GPT2LMHeadModel

from pretrain.export import export_gpt2, load_gpt2
from pretrain.model import GPT, build_model
from pretrain.sample import generate, pick


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, GPT, Tokenizer]:
    directory = tmp_path_factory.mktemp("hf")
    model = build_model(tiny_run.job())
    torch.manual_seed(3)
    state = {name: tensor + torch.randn_like(tensor) * 0.2 for name, tensor in model.state_dict().items()}
    export_gpt2(state, tiny_run.job(), write_tokenizer(directory / "t.json"), directory)
    model, tokenizer_path = load_gpt2(directory)
    return directory, model, Tokenizer.from_file(str(tokenizer_path))


def test_greedy_is_transformers_greedy(exported: tuple[Path, GPT, Tokenizer]) -> None:
    directory, model, tokenizer = exported
    ours = generate(model, tokenizer, "abc", end_of_text=tiny_run.END_OF_TEXT, max_tokens=20, temperature=0)
    theirs = GPT2LMHeadModel.from_pretrained(directory)
    ids = torch.tensor([[tiny_run.END_OF_TEXT, *tokenizer.encode("abc").ids]])
    continued = theirs.generate(ids, attention_mask=torch.ones_like(ids), max_new_tokens=20, do_sample=False)[0, 4:]
    assert ours == tokenizer.decode(continued.tolist())
    assert len(ours) > 3


def test_a_prompt_longer_than_the_context_is_cropped(exported: tuple[Path, GPT, Tokenizer]) -> None:
    _, model, tokenizer = exported
    assert generate(model, tokenizer, "abc" * 50, end_of_text=tiny_run.END_OF_TEXT, max_tokens=80)


def test_a_seed_repeats_and_another_differs(exported: tuple[Path, GPT, Tokenizer]) -> None:
    _, model, tokenizer = exported
    texts = [generate(model, tokenizer, "a", end_of_text=299, max_tokens=20, seed=seed) for seed in (1, 1, 2)]
    assert texts[0] == texts[1] != texts[2]


class Counting(torch.nn.Module):
    """A model that is sure that every token is followed by the next id."""

    context_length = 8

    def __init__(self) -> None:
        super().__init__()
        self.embedding = torch.nn.Embedding(1, 1)

    def forward(self, tokens: torch.Tensor) -> torch.Tensor:
        return torch.nn.functional.one_hot(tokens + 1, tiny_run.VOCAB).float() * 100


def test_it_stops_at_the_end_of_text_and_not_before(exported: tuple[Path, GPT, Tokenizer]) -> None:
    tokenizer = exported[2]
    model: Any = Counting()
    assert generate(model, tokenizer, "c", end_of_text=7) == "defg"  # ids 3 4 5 6; 7 ends the text
    assert generate(model, tokenizer, "c", end_of_text=50, max_tokens=12) == "defghijklmno"


def test_draws_follow_the_softmax_of_the_kept_logits() -> None:
    generator = torch.Generator().manual_seed(0)
    logits = torch.log(torch.tensor([0.5, 0.25, 0.15, 0.1]))
    drawn = Counter(pick(logits, 1.0, 2, generator) for _ in range(3000))
    assert set(drawn) == {0, 1}
    assert drawn[0] / 3000 == pytest.approx(2 / 3, abs=0.03)
    cold = Counter(pick(logits, 0.5, None, generator) for _ in range(3000))
    assert cold[0] / 3000 == pytest.approx(0.25 / (0.25 + 0.0625 + 0.0225 + 0.01), abs=0.03)
    assert pick(logits, 0, None, generator) == 0
