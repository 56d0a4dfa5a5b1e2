"""Proves that sampling draws what it is asked to draw: distributions by hand, searches by transformers' own."""

from __future__ import annotations

import math
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
import tiny_run
import torch
from tokenizer_file import write_tokenizer
from tokenizers import Tokenizer
from torch._dynamo.utils import counters
from transformers import AutoModelForCausalLM

from data_prep.files import UserError
from pretrain.export import export, load_export
from pretrain.model import GPT, build_model
from pretrain.sample import Reader, beam_search, distribution, generate, pick, window_start

LLAMA = {"position": "rotary", "norm": "rmsnorm", "activation": "swiglu", "biases": False, "n_kv_heads": 1}
POST = {"norm_placement": "post"}


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, GPT, Tokenizer]:
    directory = tmp_path_factory.mktemp("hf")
    export(lively().state_dict(), tiny_run.job(), write_tokenizer(directory / "t.json"), directory)
    model, tokenizer_path = load_export(directory)
    return directory, model, Tokenizer.from_file(str(tokenizer_path))


def lively(settings: dict[str, Any] | None = None, scale: float = 0.2) -> GPT:
    """A model whose random weights are large enough for it to have opinions."""
    model = build_model(tiny_run.job(model=settings)).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter += torch.randn_like(parameter) * scale
    return model


# --- distributions

LOGITS = torch.log(torch.tensor([0.15, 0.5, 0.1, 0.25]))


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({"temperature": 1.0}, [0.15, 0.5, 0.1, 0.25]),
        # the squares .0225, .25, .01, .0625 sum to .345
        ({"temperature": 0.5}, [0.0225 / 0.345, 0.25 / 0.345, 0.01 / 0.345, 0.0625 / 0.345]),
        ({"temperature": 1e-30}, [0, 1, 0, 0]),
        ({"temperature": 1.0, "top_k": 2}, [0, 2 / 3, 0, 1 / 3]),
        ({"temperature": 1.0, "top_k": 9}, [0.15, 0.5, 0.1, 0.25]),
        ({"temperature": 1.0, "top_p": 0.45}, [0, 1, 0, 0]),
        ({"temperature": 1.0, "top_p": 0.74}, [0, 2 / 3, 0, 1 / 3]),
        ({"temperature": 1.0, "top_p": 0.76}, [1 / 6, 5 / 9, 0, 5 / 18]),  # .5 + .25 is not enough
        ({"temperature": 1.0, "top_p": 1e-9}, [0, 1, 0, 0]),
        # the three likeliest are 5/9, 5/18 and 1/6 of .9: two of them have 5/6 of it
        ({"temperature": 1.0, "top_k": 3, "top_p": 0.8}, [0, 2 / 3, 0, 1 / 3]),
    ],
)
def test_distributions_by_hand(options: dict[str, Any], expected: list[float]) -> None:
    torch.testing.assert_close(distribution(LOGITS, **options), torch.tensor(expected, dtype=torch.float32))


def test_draws_follow_the_distribution() -> None:
    generator = torch.Generator().manual_seed(0)
    drawn = Counter(pick(LOGITS, 1.0, 2, 1.0, generator) for _ in range(3000))
    assert set(drawn) == {1, 3}
    assert drawn[1] / 3000 == pytest.approx(2 / 3, abs=0.03)
    assert pick(LOGITS, 0, None, 1.0, generator) == 1


def test_a_seed_repeats_and_another_differs(exported: tuple[Path, GPT, Tokenizer]) -> None:
    _, model, tokenizer = exported
    texts = [generate(model, tokenizer, "a", end_of_text=299, max_tokens=20, seed=seed) for seed in (1, 1, 2)]
    assert texts[0] == texts[1] != texts[2]


# --- searches, and the cache


def test_greedy_is_transformers_greedy(exported: tuple[Path, GPT, Tokenizer]) -> None:
    directory, model, tokenizer = exported
    ours = generate(model, tokenizer, "abc", end_of_text=tiny_run.END_OF_TEXT, max_tokens=20, temperature=0)
    theirs = AutoModelForCausalLM.from_pretrained(directory)
    ids = torch.tensor([[tiny_run.END_OF_TEXT, *tokenizer.encode("abc").ids]])
    continued = theirs.generate(ids, attention_mask=torch.ones_like(ids), max_new_tokens=20, do_sample=False)[0, 4:]
    assert ours == tokenizer.decode(continued.tolist())
    assert len(ours) > 3


@torch.no_grad()
@pytest.mark.parametrize("beams", [2, 4, 7])
def test_beam_search_is_transformers_beam_search(tmp_path: Path, beams: int) -> None:
    """Over many prompts and lengths, so that some texts end early and some do not."""
    model = lively({"pad_vocab_to": 1}, scale=0.12)
    model.embedding.weight[tiny_run.END_OF_TEXT] *= 1.7  # make the end of text likely here and there
    export(model.state_dict(), tiny_run.job(), write_tokenizer(tmp_path / "t.json"), tmp_path / "hf")
    theirs = AutoModelForCausalLM.from_pretrained(tmp_path / "hf")
    lengths = Counter[bool]()
    for number in range(12):
        ids, count = torch.tensor([[299, number, 2 * number]]), 4 + number
        [expected] = theirs.generate(
            ids, attention_mask=torch.ones_like(ids), max_new_tokens=count, num_beams=beams, do_sample=False
        )
        chosen = beam_search(Reader(model), ids, end_of_text=299, max_tokens=count, beams=beams)
        assert chosen == [token for token in expected[3:].tolist() if token != 299]
        lengths[len(chosen) < count] += 1
    assert len(lengths) == 2, lengths


@torch.no_grad()
def test_a_wide_enough_beam_finds_the_likeliest_text_of_all() -> None:
    """Against every text of three tokens out of five."""
    model, vocab = lively(scale=0.3), 5
    model.vocab_size = vocab
    prompt = torch.tensor([[1, 2]])
    scores = {}
    for number in range(vocab**3):
        text = [number // 25, number // 5 % 5, number % 5]
        length = text.index(0) + 1 if 0 in text else 3  # 0 ends a text
        log_p = model(torch.tensor([[1, 2, *text]]))[0, 1:-1].log_softmax(-1)
        scores[tuple(text[:length])] = sum(float(log_p[i, text[i]]) for i in range(length)) / length
    best = list(max(scores, key=lambda text: scores[text]))
    assert beam_search(Reader(model), prompt, end_of_text=0, max_tokens=3, beams=40) == [t for t in best if t != 0]


@torch.no_grad()
@pytest.mark.parametrize("settings", [{}, LLAMA, POST, {"position": "sinusoidal", "qk_norm": True}])
def test_the_cache_changes_nothing_within_the_context_and_beyond(settings: dict[str, Any]) -> None:
    model = lively(settings)
    reader, ids = Reader(model), torch.tensor([[299, 1, 2, 3], [299, 7, 8, 9]])
    for _ in range(2 * tiny_run.CONTEXT):
        cached = reader.logits(ids)
        whole = model(ids[:, window_start(ids.shape[1], tiny_run.CONTEXT) :])[:, -1]
        torch.testing.assert_close(cached, whole, atol=1e-4, rtol=1e-5)
        assert torch.equal(cached.argmax(-1), whole.argmax(-1))
        ids = torch.cat((ids, whole.argmax(-1, keepdim=True)), dim=1)
        if ids.shape[1] % 10 == 0:  # as a beam search does
            ids = ids.flip(0)
            reader.select(torch.tensor([1, 0]))


@torch.no_grad()
def test_a_compiled_model_writes_without_compiling(exported: tuple[Path, GPT, Tokenizer]) -> None:
    """A block has eight graphs at most, after which training itself would go on uncompiled."""
    _, model, tokenizer = exported
    wanted = generate(model, tokenizer, "1", end_of_text=tiny_run.END_OF_TEXT, max_tokens=8, seed=3)
    compiled = build_model(tiny_run.job()).eval()
    compiled.load_state_dict(model.state_dict())
    compiled.compile_parts()
    counters.clear()
    assert generate(compiled, tokenizer, "1", end_of_text=tiny_run.END_OF_TEXT, max_tokens=8, seed=3) == wanted
    assert not counters["frames"]


def test_each_token_is_read_once_until_the_context_is_full() -> None:
    model = lively()
    read: list[int] = []
    model.register_forward_pre_hook(lambda _, inputs: read.append(inputs[0].shape[1]))
    reader = Reader(model)
    for length in range(10, tiny_run.CONTEXT + 4):
        reader.logits(torch.zeros(1, length, dtype=torch.int64))
    assert read == [10] + [1] * 54 + [33, 1, 1]


def test_a_window_holds_half_a_context_to_a_whole_one() -> None:
    for context_length in (1, 2, 5, 64):
        for length in range(1, 5 * context_length):
            seen = length - window_start(length, context_length)
            assert min(length, math.ceil(context_length / 2)) <= seen <= context_length


@pytest.mark.parametrize("options", [{"temperature": 1.0}, {"temperature": 0.0, "beams": 3}])
def test_a_prompt_longer_than_the_context_is_cropped(
    exported: tuple[Path, GPT, Tokenizer], options: dict[str, Any]
) -> None:
    _, model, tokenizer = exported
    assert generate(model, tokenizer, "abc" * 50, end_of_text=tiny_run.END_OF_TEXT, max_tokens=80, **options)


# --- where a text ends


@pytest.fixture(scope="module")
def counting() -> GPT:
    """A model that is sure that every token is followed by the next id: no blocks, and a head one row on."""
    shape = {"d_model": 300, "n_heads": 1, "tied_embeddings": False, "pad_vocab_to": 1, "context_length": 8}
    model = build_model(tiny_run.job(model=shape)).eval()
    with torch.no_grad():
        for parameter in model.blocks.parameters():
            parameter.zero_()
        model.positions.weight.zero_()
        model.embedding.weight.copy_(torch.eye(300))
        model.head.weight.copy_(torch.eye(300).roll(1, dims=0) * 10)
    return model


@pytest.mark.parametrize("options", [{}, {"temperature": 0}, {"top_p": 0.5}, {"temperature": 0, "beams": 3}])
def test_it_stops_at_the_end_of_text_and_not_before(
    exported: tuple[Path, GPT, Tokenizer], counting: GPT, options: dict[str, Any]
) -> None:
    tokenizer = exported[2]
    assert generate(counting, tokenizer, "c", end_of_text=7, **options) == "defg"  # ids 3 4 5 6; 7 ends the text
    assert generate(counting, tokenizer, "c", end_of_text=50, max_tokens=12, **options) == "defghijklmno"


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"top_p": 0.0}, "top_p must be above 0 and at most 1, got 0.0"),
        ({"top_p": 1.5}, "top_p must be above 0 and at most 1, got 1.5"),
        ({"top_p": math.nan}, "top_p must be above 0"),
        ({"top_k": 0}, "top_k must be at least 1, got 0"),
        ({"beams": 0}, "beams must be at least 1, got 0"),
        ({"max_tokens": 0}, "max_tokens must be at least 1, got 0"),
        ({"temperature": -1.0}, "temperature must be at least 0, got -1.0"),
        ({"temperature": 0.8, "beams": 4}, "4 beams draws nothing by chance; set temperature to 0, got 0.8"),
    ],
)
def test_impossible_options_are_refused(
    exported: tuple[Path, GPT, Tokenizer], options: dict[str, Any], message: str
) -> None:
    _, model, tokenizer = exported
    with pytest.raises(UserError, match=message):
        generate(model, tokenizer, "a", end_of_text=299, **options)
