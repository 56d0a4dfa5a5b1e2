"""A trained model as a directory that transformers loads, and such a directory, whoever wrote it, as a model.

Weights are read from safetensors alone: a pickle may run any program.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import torch
from safetensors.torch import save_file
from torch import Tensor

from data_prep.files import UserError, atomic_path, atomic_write, write_json
from pretrain.architecture import ModelSettings
from pretrain.model import GPT
from pretrain.settings import TrainingJob
from pretrain.transformers_config import (
    WANTED,
    import_problems,
    open_weights,
    read_config,
    settings_of,
    token_ids,
    tokenizer_of,
    weight_files,
)
from pretrain.transformers_layout import HEAD, Layout, layout_of, why_not

SHOWN = 3  # names of missing or foreign tensors in a message


def export(state: dict[str, Tensor], job: TrainingJob, tokenizer_path: Path, out_dir: Path) -> None:
    """Write `state` (weights by our names) and the tokenizer to `out_dir`; config.json is published last."""
    layout = layout_of(job.model)
    if layout is None:
        raise UserError(
            f"this model cannot be exported: {why_not(job.model)}; train one without, or sample from the run"
        )
    with atomic_path(out_dir / "model.safetensors") as temporary:
        save_file(to_layout(state, layout, job.model, job.vocab_size), temporary, metadata={"format": "pt"})
    end_of_text = _token_of(tokenizer_path, job.end_of_text)
    specials = dict.fromkeys(("bos_token", "eos_token", "unk_token"), end_of_text)
    atomic_write(out_dir / "tokenizer.json", tokenizer_path.read_bytes())
    write_json(
        out_dir / "tokenizer_config.json",
        {"tokenizer_class": "PreTrainedTokenizerFast", "model_max_length": job.model.context_length, **specials},
    )
    ids = {"bos_token_id": job.end_of_text, "eos_token_id": job.end_of_text}
    write_json(out_dir / "generation_config.json", ids)
    write_json(out_dir / "config.json", layout.config(job.model, job.vocab_size) | ids)


def to_layout(state: dict[str, Tensor], layout: Layout, model: ModelSettings, vocab_size: int) -> dict[str, Tensor]:
    """Our tensors under transformers' names; rows that pad the vocabulary are left out."""
    tensors = {}
    for name, tensor in state.items():
        start = 0
        for stored in layout.stored(name, len(tensor), model, vocab_size):
            part = tensor[start : start + stored.rows]
            tensors[layout.written(stored.name)] = (part.T if layout.transposed(name) else part).contiguous()
            start += stored.rows
    return tensors


def load_export(directory: Path) -> tuple[GPT, Path]:
    """(model in fp32 and evaluation mode, path of its tokenizer.json) of a directory in transformers' format."""
    settings, vocab_size = settings_of(directory)
    tokenizer = tokenizer_of(directory, vocab_size)
    model = GPT(settings, vocab_size)
    model.load_state_dict(read_weights(directory, settings, vocab_size))
    return model.eval(), tokenizer


def initial_weights(directory: Path, model: ModelSettings, vocab_size: int) -> dict[str, Tensor]:
    """The weights, by our names, with which a model goes on from a directory in transformers' format.

    Learned positions are cut to the model's context, which may be shorter than the directory's.
    """
    for problem in import_problems(directory, model):
        raise UserError(problem)
    imported, rows = settings_of(directory)
    if rows != vocab_size:
        raise UserError(f"{directory} has a vocabulary of {rows}, the run {vocab_size}; use the directory's tokenizer")
    state = read_weights(directory, replace(imported, pad_vocab_to=model.pad_vocab_to), vocab_size)
    if model.position == "learned":
        state["positions.weight"] = state["positions.weight"][: model.context_length]
    return state


def read_weights(directory: Path, model: ModelSettings, vocab_size: int) -> dict[str, Tensor]:
    """All weights of a directory, by our names and in fp32; rows that pad the vocabulary are zeros."""
    layout, _ = read_config(directory)
    with torch.device("meta"):
        shapes = {name: tensor.shape for name, tensor in GPT(model, vocab_size).state_dict().items()}
    places = {name: layout.stored(name, shape[0], model, vocab_size) for name, shape in shapes.items()}
    tensors = _tensors(directory, layout)
    _refuse_others(directory, tensors, [stored.name for parts in places.values() for stored in parts], layout, model)
    state = {}
    for name, shape in shapes.items():
        state[name], start = torch.zeros(shape), 0
        for stored in places[name]:
            part = tensors[stored.name].read()
            target = state[name][start : start + stored.rows]
            target = target.T if layout.transposed(name) else target
            if part.shape != target.shape:
                raise UserError(
                    f"{directory}: {stored.name} has the shape {list(part.shape)}, its config.json wants "
                    f"{list(target.shape)}; {WANTED}"
                )
            target.copy_(part)
            start += stored.rows
    return state


class StoredTensor(NamedTuple):
    """A tensor in a safetensors file."""

    path: Path
    name: str

    def read(self) -> Tensor:
        with open_weights(self.path, "pt") as file:
            tensor: Tensor = file.get_tensor(self.name)
        return tensor


def _tensors(directory: Path, layout: Layout) -> dict[str, StoredTensor]:
    """Every tensor of a directory, in one file or several, by its name without the layout's prefix."""
    tensors: dict[str, StoredTensor] = {}
    for path in weight_files(directory):
        with open_weights(path, "pt") as file:
            tensors |= {name.removeprefix(layout.prefix): StoredTensor(path, name) for name in file.keys()}  # noqa: SIM118
    return tensors


def _refuse_others(
    directory: Path, tensors: dict[str, StoredTensor], wanted: list[str], layout: Layout, model: ModelSettings
) -> None:
    """`UserError` unless a directory holds the wanted tensors, all of them and no others."""
    head, embedding = f"{HEAD}.weight", layout.parts["embedding"][0] + ".weight"
    if model.tied_embeddings and {head, embedding} <= tensors.keys():  # some versions write both
        if not torch.equal(tensors[head].read(), tensors[embedding].read()):
            raise UserError(
                f"{directory}: config.json ties the output head to the embedding, but the weights hold another head; "
                "set tie_word_embeddings to false there"
            )
        del tensors[head]
    missing = [name for name in wanted if name not in tensors]
    foreign = [name for name in tensors if name not in wanted and not name.endswith(layout.buffers)]
    if missing or foreign:
        faults = [
            f"{word} {len(names)} tensors ({', '.join(names[:SHOWN])}{', ...' if len(names) > SHOWN else ''})"
            for word, names in (("lack", missing), ("hold beyond it", foreign))
            if names
        ]
        raise UserError(f"{directory}: the weights are not those of config.json, they {' and '.join(faults)}; {WANTED}")


def _token_of(tokenizer_path: Path, token_id: int) -> str:
    """The text of a token, from a tokenizer.json."""
    for token, number in token_ids(tokenizer_path).items():
        if number == token_id:
            return token
    raise UserError(f"{tokenizer_path} has no token of id {token_id}; run again with --from tokenizer")
