"""Proves that transformers and ctranslate2 read what we export: the same logits, the same greedy tokens."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import ctranslate2
import numpy as np
import pytest
import tiny_run
import torch
from ctranslate2.converters import TransformersConverter
from safetensors.torch import load_file
from tokenizer_file import write_tokenizer
from torch import Tensor
from transformers import AutoModelForCausalLM, AutoTokenizer

from data_prep.files import UserError, read_json
from pretrain.architecture import ModelSettings
from pretrain.export import export, load_export
from pretrain.model import GPT, build_model
from pretrain.presets import PRESETS
from pretrain.sample import Reader
from pretrain.transformers_layout import layout_of, why_not

ROTARY = {"position": "rotary", "norm": "rmsnorm", "activation": "swiglu", "biases": False, "norm_eps": 1e-6}
LLAMA = ROTARY | {"n_heads": 4, "n_kv_heads": 2, "d_ff": 96, "rope_theta": 500.0}
MODELS: dict[str, dict[str, Any]] = {
    "gpt2": {},
    "gpt2-untied-relu": {"tied_embeddings": False, "activation": "relu", "d_ff": 100, "pad_vocab_to": 1},
    "llama": LLAMA | {"tied_embeddings": False},
    "llama-tied-biases": LLAMA | {"biases": True, "n_kv_heads": 0},
    "gpt1": {"norm_placement": "post"},
}


def exported(directory: Path, name: str) -> tuple[Path, GPT]:
    """An exported model with weights large enough to matter, and what was exported."""
    job = tiny_run.job(model=MODELS[name])
    model = build_model(job).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter += torch.randn_like(parameter) * 0.1
    export(model.state_dict(), job, write_tokenizer(directory / "t.json"), directory / "hf")
    return directory / "hf", model


def some_ids() -> Tensor:
    return torch.randint(0, tiny_run.VOCAB, (2, 40), generator=torch.Generator().manual_seed(5))


def greedy(model: GPT, ids: Tensor, count: int) -> list[int]:
    reader, start = Reader(model), ids.shape[1]
    for _ in range(count):
        ids = torch.cat((ids, reader.logits(ids).argmax(-1, keepdim=True)), dim=1)
    return ids[0, start:].tolist()


@torch.no_grad()
@pytest.mark.parametrize("name", MODELS)
def test_transformers_and_we_ourselves_read_an_export(tmp_path: Path, name: str) -> None:
    directory, model = exported(tmp_path, name)
    theirs, ids = AutoModelForCausalLM.from_pretrained(directory), some_ids()
    torch.testing.assert_close(theirs(ids).logits, model(ids), atol=1e-5, rtol=1e-5)
    continued = theirs.generate(ids[:1], attention_mask=torch.ones_like(ids[:1]), max_new_tokens=20, do_sample=False)
    assert greedy(model, ids[:1], 20)[: continued.shape[1] - 40] == continued[0, 40:].tolist()
    again, tokenizer = load_export(directory)
    assert torch.equal(again(ids), model(ids))
    assert tokenizer.read_bytes() == (tmp_path / "t.json").read_bytes()


@torch.no_grad()
@pytest.mark.parametrize("name", ["gpt2", "llama"])
def test_ctranslate2_reads_an_export(tmp_path: Path, name: str) -> None:
    directory, model = exported(tmp_path, name)
    TransformersConverter(str(directory)).convert(str(tmp_path / "ct2"))
    theirs, ids = ctranslate2.Generator(str(tmp_path / "ct2"), intra_threads=1), some_ids()
    tokenizer = AutoTokenizer.from_pretrained(directory)
    texts = [tokenizer.convert_ids_to_tokens(row.tolist()) for row in ids]
    logits = np.array(theirs.forward_batch(texts).to_device(ctranslate2.Device.cpu))
    np.testing.assert_allclose(logits, model(ids).numpy(), atol=1e-4)
    [result] = theirs.generate_batch(
        texts[:1], max_length=20, sampling_topk=1, include_prompt_in_result=False, end_token=[]
    )
    assert result.sequences_ids[0] == greedy(model, ids[:1], 20)


def test_rows_that_pad_the_vocabulary_stay_at_home(tmp_path: Path) -> None:
    directory, model = exported(tmp_path, "llama")
    assert model.embedding.weight.shape[0] == model.head.weight.shape[0] == 384
    tensors = load_file(directory / "model.safetensors")
    assert tensors["model.embed_tokens.weight"].shape == tensors["lm_head.weight"].shape == (tiny_run.VOCAB, 64)


def test_the_files_say_what_tools_ask_for(tmp_path: Path) -> None:
    directory, _ = exported(tmp_path, "gpt2")
    config = read_json(directory / "config.json")
    assert config["n_ctx"] == config["n_positions"] == tiny_run.CONTEXT
    assert config["eos_token_id"] == read_json(directory / "generation_config.json")["eos_token_id"] == 299
    tokenizer = AutoTokenizer.from_pretrained(directory)
    assert (tokenizer.eos_token_id, tokenizer.model_max_length) == (299, tiny_run.CONTEXT)
    directory, _ = exported(tmp_path, "llama")
    config = read_json(directory / "config.json")
    assert config["rope_theta"] == config["rope_parameters"]["rope_theta"] == 500.0  # transformers 4's place, and 5's


def test_an_export_that_fails_is_none(tmp_path: Path) -> None:
    job = tiny_run.job()
    with pytest.raises(UserError, match="no token of id 300"):
        export(
            build_model(job).state_dict(),
            replace(job, end_of_text=300),
            write_tokenizer(tmp_path / "t.json"),
            tmp_path / "hf",
        )
    assert not (tmp_path / "hf" / "config.json").exists()


@pytest.mark.parametrize(
    ("settings", "names"),
    [
        ({"position": "sinusoidal"}, ['model.position = "sinusoidal"']),
        ({"qk_norm": True, "biases": False}, ["model.biases = false", "model.qk_norm = true"]),
        ({"n_kv_heads": 1}, ["model.n_kv_heads = 1"]),
        ({"norm_placement": "post", "d_ff": 100}, ['model.norm_placement = "post"']),
        (LLAMA | {"activation": "gelu"}, ['model.activation = "gelu"']),
        (LLAMA | {"embedding_scale": True}, ["model.embedding_scale = true"]),
    ],
)
def test_a_model_that_transformers_lacks_is_refused_by_its_settings(
    tmp_path: Path, settings: dict[str, Any], names: list[str]
) -> None:
    job = tiny_run.job(model=settings)
    assert layout_of(job.model) is None
    with pytest.raises(UserError) as error:
        export({}, job, tmp_path / "t.json", tmp_path / "hf")
    assert all(name in str(error.value) for name in names)
    assert str(error.value).count("model.") == len(names)
    assert why_not(job.model) in str(error.value)


@pytest.mark.parametrize("preset", sorted(PRESETS.keys() - {"transformer-base"}))  # whose sinusoids no class has
def test_every_preset_of_a_language_model_has_a_layout(preset: str) -> None:
    layout = layout_of(ModelSettings(**PRESETS[preset]["model"]))
    assert layout
    assert why_not(ModelSettings(**PRESETS[preset]["model"])) == ""
    assert layout.model_type == {"gpt1": "openai-gpt", "llam": "llama"}.get(preset[:4], "gpt2")
