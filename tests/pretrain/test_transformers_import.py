"""Proves that a directory that transformers wrote is read exactly, and one that we cannot read refused in one line."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from tokenizer_file import END_OF_TEXT, write_tokenizer
from transformers import (
    GPT2Config,
    GPT2LMHeadModel,
    LlamaConfig,
    LlamaForCausalLM,
    OpenAIGPTConfig,
    OpenAIGPTLMHeadModel,
    PreTrainedModel,
)

from data_prep.files import UserError, read_json, write_json
from pretrain.architecture import ModelSettings
from pretrain.export import initial_weights, load_export
from pretrain.model import GPT
from pretrain.transformers_config import end_of_text_of, settings_of

VOCAB = 300
GPT_SIZES: dict[str, Any] = {"n_positions": 64, "n_embd": 32, "n_layer": 2, "n_head": 4, "initializer_range": 0.2}
LLAMA_SIZES: dict[str, Any] = {
    "max_position_embeddings": 64,
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "rope_theta": 700.0,
    "initializer_range": 0.2,
}


def gpt2(**options: Any) -> PreTrainedModel:
    return GPT2LMHeadModel(GPT2Config(vocab_size=VOCAB, **GPT_SIZES, **options)).eval()


def llama(**options: Any) -> PreTrainedModel:
    return LlamaForCausalLM(LlamaConfig(vocab_size=VOCAB, **LLAMA_SIZES, **options)).eval()


def gpt1(**options: Any) -> PreTrainedModel:
    return OpenAIGPTLMHeadModel(OpenAIGPTConfig(vocab_size=VOCAB, **GPT_SIZES, **options)).eval()


def save(model: PreTrainedModel, directory: Path, **options: Any) -> Path:
    model.save_pretrained(directory, **options)
    write_tokenizer(directory / "tokenizer.json")
    return directory


@torch.no_grad()
def assert_same(directory: Path, theirs: PreTrainedModel) -> None:
    ids = torch.randint(0, VOCAB, (2, 64), generator=torch.Generator().manual_seed(1))
    ours, _ = load_export(directory)
    torch.testing.assert_close(ours(ids), theirs(ids).logits, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize(
    "make",
    [
        gpt2,
        lambda: gpt2(activation_function="relu", n_inner=40, tie_word_embeddings=False, layer_norm_epsilon=1e-3),
        lambda: gpt2(activation_function="gelu_pytorch_tanh"),
        llama,
        lambda: llama(tie_word_embeddings=True, attention_bias=True, mlp_bias=True, rms_norm_eps=1e-3),
        gpt1,
    ],
)
def test_what_transformers_wrote_gives_the_same_logits(tmp_path: Path, make: Callable[[], PreTrainedModel]) -> None:
    torch.manual_seed(0)
    model = make()
    for parameter in model.parameters():  # biases and norms too
        torch.nn.init.normal_(parameter, mean=0.1, std=0.2)
    assert_same(save(model, tmp_path), model)


@pytest.mark.parametrize("make", [gpt2, llama])
def test_a_model_in_several_files(tmp_path: Path, make: Callable[[], PreTrainedModel]) -> None:
    model = make()
    save(model, tmp_path, max_shard_size="30KB")
    assert len(list(tmp_path.glob("model-*.safetensors"))) > 1
    assert_same(tmp_path, model)
    next(tmp_path.glob("model-00002-*")).unlink()
    with pytest.raises(UserError, match=r"model-00002-of-.*copy the model anew"):
        load_export(tmp_path)


def test_names_without_prefix_with_mask_buffers_and_a_tied_head_as_in_released_files(tmp_path: Path) -> None:
    model = gpt2()
    save(model, tmp_path)
    tensors = {name.removeprefix("transformer."): t for name, t in load_file(tmp_path / "model.safetensors").items()}
    tensors["h.0.attn.bias"] = torch.ones(1, 1, 64, 64).tril()
    tensors["lm_head.weight"] = tensors["wte.weight"].clone()
    save_file(tensors, tmp_path / "model.safetensors")
    assert_same(tmp_path, model)
    save_file(tensors | {"lm_head.weight": tensors["wte.weight"] + 1}, tmp_path / "model.safetensors")
    with pytest.raises(UserError, match="set tie_word_embeddings to false"):
        load_export(tmp_path)


def test_half_precision_files_and_transformers_4_rotary_keys(tmp_path: Path) -> None:
    save(llama().bfloat16(), tmp_path)
    config = read_json(tmp_path / "config.json")
    del config["rope_parameters"], config["head_dim"]
    write_json(tmp_path / "config.json", config | {"rope_theta": 700, "rope_scaling": None})
    assert_same(tmp_path, LlamaForCausalLM.from_pretrained(tmp_path, dtype=torch.float32))


# --- what cannot be read


def changed(directory: Path, **values: Any) -> None:
    write_json(directory / "config.json", read_json(directory / "config.json") | values)


def reweighted(directory: Path, change: Callable[[dict[str, torch.Tensor]], Any]) -> None:
    tensors = load_file(directory / "model.safetensors")
    change(tensors)
    save_file(tensors, directory / "model.safetensors")


LLAMA3 = {"rope_type": "llama3", "factor": 32.0, "rope_theta": 5e5}


@pytest.mark.parametrize(
    ("make", "spoil", "message"),
    [
        (gpt2, lambda d: (d / "config.json").unlink(), "has no config.json; name a directory that"),
        (gpt2, lambda d: (d / "config.json").write_text("{"), "config.json is not valid JSON"),
        (gpt2, lambda d: (d / "config.json").write_text("[]"), "config.json: model_type must be one of gpt2, llama"),
        (gpt2, lambda d: changed(d, model_type="bert"), 'one of gpt2, llama, openai-gpt, got "bert"'),
        (gpt2, lambda d: changed(d, n_layer=None), "n_layer must be a whole number of at least 1, got null"),
        (gpt2, lambda d: changed(d, vocab_size="many"), 'vocab_size must be a whole number of at least 1, got "many"'),
        (gpt2, lambda d: changed(d, n_embd=0), "n_embd must be a whole number of at least 1, got 0"),
        (gpt2, lambda d: changed(d, n_head=5), r"must be a multiple of model.n_heads \(5\), got 32"),
        (gpt2, lambda d: changed(d, layer_norm_epsilon="x"), 'layer_norm_epsilon must be a number, got "x"'),
        (gpt2, lambda d: changed(d, activation_function="mish"), 'activation_function = "gelu_new" or .*, got "mish"'),
        (gpt2, lambda d: changed(d, activation_function="gelu"), 'got "gelu"'),  # the exact form, not the tanh one
        (gpt2, lambda d: changed(d, scale_attn_by_inverse_layer_idx=True), "inverse_layer_idx = false only, got true"),
        (gpt2, lambda d: changed(d, scale_attn_weights=False), "scale_attn_weights = true only, got false"),
        (gpt2, lambda d: changed(d, quantization_config={"bits": 4}), "quantization_config = null only"),
        (llama, lambda d: changed(d, rope_parameters=LLAMA3), 'rope_type = "default" only, got "llama3"'),
        (llama, lambda d: changed(d, rope_scaling={"type": "linear", "factor": 2}), 'type = "default" only, got "lin'),
        (llama, lambda d: changed(d, rope_scaling={"rope_type": "yarn", "factor": 2}), '"default" only, got "yarn"'),
        (llama, lambda d: changed(d, rope_scaling="linear"), 'rope_scaling must be a table or null, got "linear"'),
        (llama, lambda d: changed(d, sliding_window=16), "sliding_window = null only, got 16"),
        (llama, lambda d: changed(d, head_dim=16), "head_dim = 8 only, got 16"),
        (llama, lambda d: changed(d, attention_bias=True), "mlp_bias = true only, got false"),
        (llama, lambda d: changed(d, hidden_act="gelu"), 'hidden_act = "silu" or "swish" only, got "gelu"'),
        (gpt2, lambda d: (d / "tokenizer.json").unlink(), "no tokenizer.json"),
        (gpt2, lambda d: changed(d, vocab_size=200), "tokenizer.json has ids up to 299, the model has 200"),
        (gpt2, lambda d: (d / "tokenizer.json").write_text('{"a": 1}'), "no tokenizer in tokenizers' format"),
        (gpt2, lambda d: (d / "model.safetensors").rename(d / "pytorch_model.bin"), "as a pickle, which may run any"),
        (gpt2, lambda d: (d / "model.safetensors").unlink(), "has no weights: neither model.safetensors nor"),
        (gpt2, lambda d: (d / "model.safetensors").write_bytes(b"1" * 50), "is no whole safetensors file"),
        (gpt2, lambda d: changed(d, n_positions=128), r"wpe.weight has the shape \[64, 32\], .* wants \[128, 32\]"),
        (gpt2, lambda d: changed(d, n_inner=40), r"h.0.mlp.c_fc.weight has the shape \[32, 128\], .* wants \[32, 40\]"),
        (llama, lambda d: changed(d, num_key_value_heads=4), r"k_proj.weight .* \[16, 32\], .* wants \[32, 32\]"),
        (
            gpt2,
            lambda d: changed(d, n_layer=3),
            r"lack 12 tensors \(h.2.ln_1.weight, h.2.ln_1.bias, .*, \.\.\.\); name",
        ),
        (
            gpt2,
            lambda d: changed(d, n_layer=1),
            r"hold beyond it 12 tensors \(h.1.attn.c_attn.bias, .*, \.\.\.\); name",
        ),
        (
            gpt2,
            lambda d: reweighted(d, lambda tensors: tensors.update(cat=tensors.pop("transformer.ln_f.bias"))),
            r"lack 1 tensors \(ln_f.bias\) and hold beyond it 1 tensors \(cat\)",
        ),
    ],
)
def test_what_cannot_be_read_is_refused_in_one_line(
    tmp_path: Path, make: Callable[[], PreTrainedModel], spoil: Callable[[Path], Any], message: str
) -> None:
    save(make(), tmp_path)
    spoil(tmp_path)
    with pytest.raises(UserError, match=message) as error:
        load_export(tmp_path)
    assert "\n" not in str(error.value)
    assert str(tmp_path) in str(error.value)


# --- continued pretraining


def test_the_context_may_be_shorter_and_dropout_is_the_users(tmp_path: Path) -> None:
    theirs = gpt2()
    save(theirs, tmp_path)
    imported, vocab_size = settings_of(tmp_path)
    assert (imported.dropout, vocab_size) == (0.0, VOCAB)
    model = GPT(replace(imported, context_length=16, dropout=0.1, pad_vocab_to=64), VOCAB).eval()
    model.load_state_dict(initial_weights(tmp_path, model.settings, VOCAB))
    ids = torch.arange(16)[None]
    torch.testing.assert_close(model(ids), theirs(ids).logits, atol=1e-5, rtol=1e-5)
    assert model.embedding.weight.shape[0] == 320
    assert not model.embedding.weight[VOCAB:].any()


def test_rotary_positions_have_no_table_that_ends(tmp_path: Path) -> None:
    save(llama(), tmp_path)
    imported, _ = settings_of(tmp_path)
    for context_length in (16, 256):
        model = GPT(replace(imported, context_length=context_length), VOCAB)
        model.load_state_dict(initial_weights(tmp_path, model.settings, VOCAB))


@pytest.mark.parametrize(
    ("settings", "vocab_size", "message"),
    [
        ({"context_length": 65}, VOCAB, "learned positions for 64 tokens; set model.context_length to that or less"),
        ({"n_layers": 3}, VOCAB, "has model.n_layers = 2, the config 3"),
        ({"biases": False}, VOCAB, "has model.biases = true, the config false"),
        ({"d_ff": 64}, VOCAB, "has model.d_ff = 128, the config 64"),
        ({"norm_eps": 1e-6}, VOCAB, "has model.norm_eps = 1e-05, the config 1e-06"),
        ({}, 301, "has a vocabulary of 300, the run 301"),
    ],
)
def test_a_model_that_the_weights_do_not_fit_is_refused(
    tmp_path: Path, settings: dict[str, Any], vocab_size: int, message: str
) -> None:
    save(gpt2(), tmp_path)
    imported, _ = settings_of(tmp_path)
    with pytest.raises(UserError, match=message):
        initial_weights(tmp_path, replace(imported, **settings), vocab_size)


def test_settings_that_say_the_same_in_other_words_fit(tmp_path: Path) -> None:
    save(gpt2(), tmp_path)
    same = ModelSettings(context_length=64, n_layers=2, n_heads=4, d_model=32, n_kv_heads=4, d_ff=128)
    assert initial_weights(tmp_path, same, VOCAB)


def test_the_end_of_text_is_the_configs_or_the_tokenizers(tmp_path: Path) -> None:
    save(gpt2(eos_token_id=7, bos_token_id=7), tmp_path)
    assert end_of_text_of(tmp_path) == 7
    for unclear in (50_256, None, [1, 2]):
        changed(tmp_path, eos_token_id=unclear)
        (tmp_path / "tokenizer_config.json").unlink(missing_ok=True)
        with pytest.raises(
            UserError, match=r"does not say which token ends a text: .* is " + re.escape(json.dumps(unclear))
        ):
            end_of_text_of(tmp_path)
        for token in (END_OF_TEXT, {"content": END_OF_TEXT}):
            write_json(tmp_path / "tokenizer_config.json", {"eos_token": token})
            assert end_of_text_of(tmp_path) == 299
