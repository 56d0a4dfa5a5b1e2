"""The trained model as a directory that transformers loads: `GPT2LMHeadModel.from_pretrained(directory)`.

GPT-2's published layout stores its linear layers as `Conv1D`, the transpose of torch's `Linear`, and leaves the
output head out, since it is the embedding.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from safetensors.torch import load_file, save_file
from torch import Tensor

from data_prep.files import UserError, atomic_path, atomic_write, read_json, write_json
from pretrain.model import GPT
from pretrain.settings import TrainingJob

# our name of a part -> GPT-2's; those of a layer follow "transformer.h.N."
WHOLE = {"embedding": "wte", "positions": "wpe", "norm": "ln_f"}
LAYER = {
    "attention_norm": "ln_1",
    "attention.qkv": "attn.c_attn",
    "attention.out": "attn.c_proj",
    "mlp_norm": "ln_2",
    "mlp.up": "mlp.c_fc",
    "mlp.out": "mlp.c_proj",
}


def export_gpt2(state: dict[str, Tensor], job: TrainingJob, tokenizer_path: Path, out_dir: Path) -> None:
    """Write `state` (weights by our names) and the tokenizer to `out_dir`; config.json is published last."""
    tensors = {}
    for name, tensor in state.items():
        gpt2, transposed = gpt2_name(name)
        tensors[gpt2] = (tensor.T if transposed else tensor).contiguous()
    with atomic_path(out_dir / "model.safetensors") as temporary:
        save_file(tensors, temporary, metadata={"format": "pt"})
    end_of_text = _token_of(tokenizer_path, job.end_of_text)
    specials = dict.fromkeys(("bos_token", "eos_token", "unk_token"), end_of_text)
    atomic_write(out_dir / "tokenizer.json", tokenizer_path.read_bytes())
    write_json(
        out_dir / "tokenizer_config.json",
        {"tokenizer_class": "PreTrainedTokenizerFast", "model_max_length": job.model.context_length, **specials},
    )
    ids = {"bos_token_id": job.end_of_text, "eos_token_id": job.end_of_text}
    write_json(out_dir / "generation_config.json", ids)
    write_json(out_dir / "config.json", gpt2_config(job) | ids)


def gpt2_config(job: TrainingJob) -> dict[str, Any]:
    """transformers' `GPT2Config` of the job's model."""
    shape = job.model.shape()
    return {
        "architectures": ["GPT2LMHeadModel"],
        "model_type": "gpt2",
        "vocab_size": job.vocab_size,
        "n_positions": job.model.context_length,
        "n_ctx": job.model.context_length,  # an old name of n_positions that older tools read
        "n_embd": shape.d_model,
        "n_layer": shape.n_layers,
        "n_head": shape.n_heads,
        "activation_function": "gelu_new",  # GELU's tanh form
        "layer_norm_epsilon": 1e-5,
        "tie_word_embeddings": True,
        "dtype": "float32",
        **{f"{part}_pdrop": job.model.dropout for part in ("attn", "embd", "resid")},
    }


def load_gpt2(directory: Path) -> tuple[GPT, Path]:
    """(model in fp32 and evaluation mode, path of its tokenizer.json) of a directory that `export_gpt2` wrote."""
    if not (directory / "config.json").exists():
        raise UserError(f"{directory} has no config.json, so it is not an exported model; run text2lm export --run RUN")
    config = read_json(directory / "config.json")
    missing = [name for name in ("model.safetensors", "tokenizer.json") if not (directory / name).exists()]
    if config.get("model_type") != "gpt2" or missing:
        got = f"it lacks {' and '.join(missing)}" if missing else f"its model_type is {config.get('model_type')}"
        raise UserError(
            f"{directory} holds no GPT-2 that can be read: {got}; name a directory that text2lm export wrote"
        )
    model = GPT(
        vocab_size=config["vocab_size"],
        context_length=config["n_positions"],
        n_layers=config["n_layer"],
        n_heads=config["n_head"],
        d_model=config["n_embd"],
    )
    tensors = load_file(directory / "model.safetensors")
    state = {}
    for name in model.state_dict():
        gpt2, transposed = gpt2_name(name)
        state[name] = tensors[gpt2].T if transposed else tensors[gpt2]
    model.load_state_dict(state)
    return model.eval(), directory / "tokenizer.json"


def gpt2_name(name: str) -> tuple[str, bool]:
    """GPT-2's name of one of our parameters, and whether GPT-2 stores it transposed.

    >>> gpt2_name("blocks.3.mlp.up.weight")
    ('transformer.h.3.mlp.c_fc.weight', True)
    """
    part, kind = name.rsplit(".", 1)
    if part in WHOLE:
        return f"transformer.{WHOLE[part]}.{kind}", False
    _, number, part = part.split(".", 2)
    return f"transformer.h.{number}.{LAYER[part]}.{kind}", kind == "weight" and not part.endswith("norm")


def _token_of(tokenizer_path: Path, token_id: int) -> str:
    """The text of a special token, from a tokenizer.json."""
    for token in read_json(tokenizer_path)["added_tokens"]:
        if token["id"] == token_id:
            return str(token["content"])
    raise UserError(f"{tokenizer_path} has no special token of id {token_id}; run again with --from tokenizer")
