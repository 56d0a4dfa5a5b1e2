"""What a directory in transformers' format says of itself: its model in our settings, its tokenizer, its end of text.

No torch. Whatever our model does not have is refused here, in one line, before any weights are read.
"""

from __future__ import annotations

import json
from dataclasses import fields
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open

from data_prep.files import UserError, read_json, read_record
from pretrain.architecture import SIZES, ModelSettings
from pretrain.transformers_layout import LAYOUTS, Layout

WANTED = "name a directory that text2lm export or transformers' save_pretrained wrote"
KINDS = {int: "a whole number of at least 1", float: "a number", bool: "true or false"}
USERS_OWN = {"preset", "context_length", "scaled_residual_init", "dropout", "pad_vocab_to"}  # no matter to the weights


def read_config(directory: Path) -> tuple[Layout, dict[str, Any]]:
    """The layout of a directory and its config.json, rotary settings beside the others."""
    path = directory / "config.json"
    if not path.is_file():
        raise UserError(f"{directory} holds no model in transformers' format: it has no config.json; {WANTED}")
    try:
        config = read_json(path)
    except UserError as error:
        raise UserError(f"{str(error).partition(';')[0]}; {WANTED}") from None  # nothing of ours, to be made anew
    if not isinstance(config, dict) or config.get("model_type") not in LAYOUTS:
        got = json.dumps(config.get("model_type")) if isinstance(config, dict) else "no table"
        raise UserError(f"{path}: model_type must be one of {', '.join(LAYOUTS)}, got {got}; {WANTED}")
    for key in ("rope_parameters", "rope_scaling"):  # transformers 5's, and 4's, which wins there too
        table = config.get(key) or {}
        if not isinstance(table, dict):
            raise UserError(f"{path}: {key} must be a table or null, got {json.dumps(table)}; {WANTED}")
        config |= table
    return LAYOUTS[config["model_type"]], config


def settings_of(directory: Path) -> tuple[ModelSettings, int]:
    """(our settings of the directory's model, its vocabulary size); dropout is left to the user."""
    layout, config = read_config(directory)
    path = directory / "config.json"
    found = dict(layout.fixed) | layout.absent
    for ours, key in layout.keys.items():
        if config.get(key) is not None or ours in SIZES:
            found[ours] = _value(path, config, key, type(getattr(ModelSettings, ours)))
    for key, without in layout.switches.items():
        _only(path, config, key, [without])
    _only(path, config, layout.activation_key, list(layout.activations))
    found["activation"] = layout.activations[config.get(layout.activation_key) or next(iter(layout.activations))]
    if layout.bias_keys:
        found["biases"] = bool(config.get(layout.bias_keys[0]))
        for key in layout.bias_keys:
            _only(path, {key: bool(config.get(key))}, key, [found["biases"]])
    settings = ModelSettings(**found)
    for problem in settings.problems():
        raise UserError(f"{path}: {problem}; {WANTED}")
    _only(path, config, "head_dim", [settings.head_width])
    return settings, _value(path, config, "vocab_size", int)


def _value(path: Path, config: dict[str, Any], key: str, kind: type) -> Any:
    """A value of this kind. JSON writes 10000.0 as 10000, too."""
    value = config.get(key)
    fits = type(value) is kind or (kind, type(value)) == (float, int)
    if value is None or not fits or (kind is int and value < 1):
        raise UserError(f"{path}: {key} must be {KINDS[kind]}, got {json.dumps(value)}; {WANTED}")
    return kind(value)


def _only(path: Path, config: dict[str, Any], key: str, allowed: list[Any]) -> None:
    value = config.get(key)
    if value is not None and value not in allowed:
        ours = " or ".join(json.dumps(item) for item in allowed)
        raise UserError(f"{path}: our models have {key} = {ours} only, got {json.dumps(value)}; name another model")


def weight_files(directory: Path) -> list[Path]:
    """Its safetensors files: one, or those that an index names."""
    single, index = directory / "model.safetensors", directory / "model.safetensors.index.json"
    if single.exists():
        return [single]
    if index.exists():
        return read_record(index, lambda value: [directory / name for name in sorted({*value["weight_map"].values()})])
    if any(directory.glob("*.bin")):
        raise UserError(
            f"{directory} holds its weights as a pickle, which may run any program when it is read; save them as "
            "safetensors: model.save_pretrained(DIRECTORY) in transformers"
        )
    raise UserError(f"{directory} has no weights: neither model.safetensors nor its index; {WANTED}")


def open_weights(path: Path, framework: str) -> Any:
    """An open safetensors file, whose header fits its size."""
    try:
        return safe_open(path, framework=framework)
    except (SafetensorError, OSError) as error:
        raise UserError(f"{path} is no whole safetensors file ({error}); copy the model anew") from None


def import_problems(directory: Path, model: ModelSettings) -> list[str]:
    """Sentences about a `[model]` table that the weights of a directory do not fit. `UserError` when the directory
    lacks whole weights."""
    imported, _ = settings_of(directory)
    for path in weight_files(directory):
        with open_weights(path, "np"):
            pass
    theirs, ours = (_complete(settings) for settings in (imported, model))
    found = [
        f"{directory} has model.{name} = {json.dumps(value)}, the config {json.dumps(ours[name])}; set it to the former"
        for name, value in theirs.items()
        if ours[name] != value
    ]
    if model.position == "learned" and model.context_length > imported.context_length:
        found.append(
            f"{directory} has learned positions for {imported.context_length} tokens; set model.context_length to "
            f"that or less, got {model.context_length}"
        )
    return found


def _complete(model: ModelSettings) -> dict[str, Any]:
    values = {item.name: getattr(model, item.name) for item in fields(model) if item.name not in USERS_OWN}
    return values | {"n_kv_heads": model.kv_heads, "d_ff": model.ff_width}


def tokenizer_of(directory: Path, vocab_size: int) -> Path:
    """The directory's tokenizer.json, all of whose ids the model knows."""
    path = directory / "tokenizer.json"
    if not path.is_file():
        raise UserError(f"{directory} has no tokenizer.json; save the model's fast tokenizer there: save_pretrained")
    highest = max(token_ids(path).values(), default=-1)
    if highest >= vocab_size:
        raise UserError(
            f"{path} has ids up to {highest}, the model has {vocab_size}; put the model's own tokenizer there"
        )
    return path


def end_of_text_of(directory: Path) -> int:
    """The id that closes a text: config.json's eos_token_id, or else that of the tokenizer's eos_token."""
    _, config = read_config(directory)
    ids = token_ids(tokenizer_of(directory, settings_of(directory)[1]))
    if config.get("eos_token_id") in ids.values():
        return int(config["eos_token_id"])
    path = directory / "tokenizer_config.json"
    token = read_json(path).get("eos_token") if path.is_file() else None
    token = token["content"] if isinstance(token, dict) else token
    if token not in ids:
        raise UserError(
            f"{directory} does not say which token ends a text: config.json's eos_token_id is "
            f"{json.dumps(config.get('eos_token_id'))}; set it to an id of tokenizer.json"
        )
    return ids[token]


def token_ids(path: Path) -> dict[str, int]:
    """Token -> id, of a tokenizer.json."""
    tokenizer = read_json(path)
    try:
        vocabulary = tokenizer["model"]["vocab"]
        if isinstance(vocabulary, list):  # a unigram model: [token, log probability] in the order of ids
            vocabulary = {token: number for number, (token, _) in enumerate(vocabulary)}
        return dict(vocabulary) | {token["content"]: token["id"] for token in tokenizer["added_tokens"] or []}
    except (KeyError, TypeError, ValueError):
        raise UserError(f"{path} is no tokenizer in tokenizers' format; put the model's own tokenizer there") from None
