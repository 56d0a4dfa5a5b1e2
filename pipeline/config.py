"""One TOML file becomes one `RunConfig`. Each room declares its settings beside its code; this module only composes.

An unknown key is an error that names the nearest known one, a wrong type says what was wanted, and validation never
changes a value.
"""

from __future__ import annotations

import dataclasses
import difflib
import glob
import os
import tomllib
import types
import typing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import tomli_w

from data_prep.banding import preset_keys
from data_prep.files import UserError, atomic_write
from data_prep.settings import (
    CleanSettings,
    DedupSettings,
    ScrubSettings,
    SourceSettings,
    SplitSettings,
    TokenizerSettings,
    scrub_settings,
)
from launch.settings import LaunchSettings, SlurmSettings
from pretrain.architecture import ModelSettings
from pretrain.checks import batch_problems, deepspeed_problems, keep_best_problems, sample_problems
from pretrain.presets import PRESETS
from pretrain.settings import CheckpointSettings, TrainSettings, WandbSettings
from pretrain.transformers_config import end_of_text_of, import_problems, settings_of


@dataclass(frozen=True)
class RunConfig:
    """Everything a run is told. The tables of the TOML file are its fields."""

    source: list[SourceSettings]
    seed: int = 1
    clean: CleanSettings = field(default_factory=CleanSettings)
    dedup: DedupSettings = field(default_factory=DedupSettings)
    scrub: ScrubSettings = field(default_factory=ScrubSettings)
    split: SplitSettings = field(default_factory=SplitSettings)
    tokenizer: TokenizerSettings = field(default_factory=TokenizerSettings)
    model: ModelSettings = field(default_factory=ModelSettings)
    train: TrainSettings = field(default_factory=TrainSettings)
    checkpoint: CheckpointSettings = field(default_factory=CheckpointSettings)
    wandb: WandbSettings = field(default_factory=WandbSettings)
    deepspeed: dict[str, Any] = field(default_factory=dict)  # handed through to DeepSpeed: how to run, never what
    launch: LaunchSettings = field(default_factory=LaunchSettings)
    slurm: SlurmSettings = field(default_factory=SlurmSettings)

    def problems(self) -> list[str]:
        """Sentences about values that cannot work; empty when all is well."""
        names = [source.name for source in self.source]
        found = [
            f"source.name '{name}' is used twice; every source needs its own" for name in names if names.count(name) > 1
        ]
        if not names:
            found.append("the config names no [[source]]; add one with name and paths")
        plain = ("source", "seed", "deepspeed")
        tables = [getattr(self, item.name) for item in dataclasses.fields(self) if item.name not in plain]
        for table in [*self.source, *tables]:
            found += table.problems()
        for source in self.source:
            if "key_file" in source.scrub:
                found.append(f"source '{source.name}': scrub.key_file is one for all sources; put it into [scrub]")
            own = scrub_settings(self.scrub, source).problems() if source.scrub else []
            found += [f"source '{source.name}': {problem}" for problem in own if problem not in found]
        found += deepspeed_problems(self.deepspeed)
        found += [
            f"dedup.priority names the unknown source '{name}', wanted some of {', '.join(names)}"
            for name in self.dedup.priority
            if name not in names
        ]
        if not 0 <= self.seed < 2**63:
            found.append(f"seed must be 0 to 2^63 - 1, got {self.seed}")
        found += sample_problems(self.model, self.train, names) + keep_best_problems(self.train, self.checkpoint)
        return list(dict.fromkeys(found)) or batch_problems(self.model, self.train, self.launch.ranks)

    def identity(self, *reads: str) -> dict[str, Any]:
        """The identity settings below the dotted paths, as `{dotted path: value}`: a part of a stage's key."""
        flat: dict[str, Any] = {}
        for path in reads:
            flatten(self, path.split("."), "", flat)
        return flat


def flatten(value: Any, path: list[str], where: str, flat: dict[str, Any]) -> None:
    """Collect the settings at `path` below `value`; a list of tables is walked by the tables' names or numbers."""
    if isinstance(value, list) and value and dataclasses.is_dataclass(value[0]):
        for number, table in enumerate(value):
            flatten(table, path, f"{where}.{getattr(table, 'name', number)}", flat)
    elif dataclasses.is_dataclass(value):
        for item in dataclasses.fields(value):
            name = toml_name(item)
            if item.metadata.get("execution") or (path and name != path[0]):
                continue
            flatten(getattr(value, item.name), path[1:], f"{where}.{name}" if where else name, flat)
    elif isinstance(value, dict):
        for name, inner in value.items():
            flatten(inner, [], f"{where}.{name}", flat)
    else:
        flat[where] = value


def load_config(path: Path, overrides: typing.Sequence[str] = ()) -> RunConfig:
    """Read, override, check. Source paths come back absolute. Raises `UserError` with every problem in one line."""
    try:
        table = tomllib.loads(path.read_bytes().decode())
    except FileNotFoundError:
        raise UserError(f"config {path} does not exist{nearest_file(path)}") from None
    except IsADirectoryError:
        raise UserError(f"config {path} is a directory, wanted a .toml file") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise UserError(f"config {path} is not valid TOML: {error}") from None
    for override in overrides:
        apply_override(table, override)
    for source in table.get("source", []) if isinstance(table.get("source"), list) else []:
        if isinstance(source, dict) and isinstance(source.get("paths"), list):
            source["paths"] = [absolute(item, path.resolve().parent) for item in source["paths"]]
        if isinstance(source, dict) and isinstance(source.get("hub"), str) and (path.parent / source["hub"]).is_dir():
            source["hub"] = str((path.parent / source["hub"]).resolve())
    for name, keys in (("clean", ("blocked_urls", "blocked_words")), ("dedup", ("decontaminate",))):
        section = table.get(name)
        if isinstance(section, dict):
            for key in keys:
                if isinstance(section.get(key), list):
                    section[key] = [absolute(item, path.resolve().parent) for item in section[key]]
    scrub = table.get("scrub")
    if isinstance(scrub, dict) and isinstance(scrub.get("key_file"), str) and scrub["key_file"]:
        scrub["key_file"] = str((path.parent / Path(scrub["key_file"]).expanduser()).resolve())
    train = table.get("train")
    if isinstance(train, dict) and isinstance(train.get("init_from"), str) and train["init_from"]:
        train["init_from"] = str((path.parent / Path(train["init_from"]).expanduser()).resolve())
    apply_published(table)
    config = typing.cast(RunConfig, build(RunConfig, table, ""))
    for source in config.source:
        build(ScrubSettings, source.scrub, f"source.{source.name}.scrub")
    problems = config.problems()
    if config.train.init_from and not problems:
        problems = import_problems(Path(config.train.init_from), config.model)
        end_of_text_of(Path(config.train.init_from))  # a tokenizer that does not fit is said now, too
    if problems:
        raise UserError(f"config {path}: {'; '.join(problems)}")
    return config


def absolute(pattern: Any, directory: Path) -> Any:
    """A pattern below `directory`, whose own name is no pattern, whatever characters it has."""
    if not isinstance(pattern, str) or os.path.isabs(os.path.expanduser(pattern)):  # noqa: PTH111, PTH117
        return os.path.expanduser(pattern) if isinstance(pattern, str) else pattern  # noqa: PTH111
    return os.path.normpath(f"{glob.escape(str(directory))}/{pattern}")


def apply_published(table: dict[str, Any]) -> None:
    """The keys of presets, or of the model that training goes on from, as if they had been typed."""
    model, train, dedup = (table.setdefault(name, {}) for name in ("model", "train", "dedup"))
    if not all(isinstance(named, dict) for named in (model, train, dedup)):
        return  # `build` says so
    threshold = dedup.get("threshold", DedupSettings.threshold)
    if isinstance(threshold, int | float) and 0.5 <= threshold <= 1:
        table["dedup"] = preset_keys(str(dedup.get("preset", DedupSettings.preset)), threshold) | dedup
    preset = PRESETS.get(str(model.get("preset")), {})
    shape = preset.get("model", {})
    if isinstance(train.get("init_from"), str) and train["init_from"]:
        imported, _ = settings_of(Path(train["init_from"]))
        shape = shape | dataclasses.asdict(imported) | {"preset": ""}
    table["model"], table["train"] = shape | model, preset.get("train", {}) | train


def nearest_file(path: Path) -> str:
    near = difflib.get_close_matches(path.name, [other.name for other in path.parent.glob("*.toml")], 1)
    return f"; did you mean {path.parent / near[0]}?" if near else ""


def apply_override(table: dict[str, Any], override: str) -> None:
    """`--set a.b=c`: put a value (TOML, or else a plain word) at a dotted key; a number indexes a list of tables."""
    key, equals, text = override.partition("=")
    if not equals or not key.strip():
        raise UserError(f"--set {override}: wanted key=value, for example --set train.lr=3e-4")
    try:
        parsed = tomllib.loads(f"value = {text}")
    except tomllib.TOMLDecodeError:
        parsed = {}
    value = parsed["value"] if list(parsed) == ["value"] else text
    *parents, last = key.strip().split(".")
    target: Any = table
    try:
        for name in parents:
            target = target[int(name)] if isinstance(target, list) else target.setdefault(name, {})
        if isinstance(target, list):
            target[int(last)] = value
        else:
            target[last] = value
    except (TypeError, ValueError, IndexError, AttributeError):
        raise UserError(f"--set {override}: there is no such place in the config") from None


def build(kind: Any, value: Any, where: str) -> Any:
    """`value` as `kind` (a settings class or a type hint), or a `UserError` that names the dotted key."""
    if dataclasses.is_dataclass(kind):
        if not isinstance(value, dict):
            raise UserError(f"config: {where} must be a table, got {describe(value)}")
        return build_table(kind, value, where)
    if kind is typing.Any:
        return value
    origin, arguments = typing.get_origin(kind), typing.get_args(kind)
    if origin is types.UnionType:  # only ever "X | None", and TOML has no null
        return build(arguments[0], value, where)
    if origin is list:
        if not isinstance(value, list):
            raise UserError(f"config: {where} must be a list, got {describe(value)}")
        return [build(arguments[0], item, where) for item in value]
    if origin is dict:
        if not isinstance(value, dict):
            raise UserError(f"config: {where} must be a table, got {describe(value)}")
        return {name: build(arguments[1], item, f"{where}.{name}") for name, item in value.items()}
    if kind is float and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    if type(value) is not kind:
        names = {int: "a whole number", float: "a number", str: "a string", bool: "true or false"}
        raise UserError(f"config: {where} must be {names[kind]}, got {describe(value)}")
    return value


def build_table(kind: Any, table: dict[str, Any], where: str) -> Any:
    hints = typing.get_type_hints(kind)
    fields = {toml_name(item): item for item in dataclasses.fields(kind)}
    for name in table:
        if name not in fields:
            dotted = f"{where}.{name}" if where else name
            near = difflib.get_close_matches(name, fields, 1, 0.5)
            hint = f"did you mean {near[0]}?" if near else f"known here: {', '.join(fields)}"
            raise UserError(f"config: unknown key {dotted}; {hint}")
    for name, item in fields.items():
        required = item.default is dataclasses.MISSING and item.default_factory is dataclasses.MISSING
        if required and name not in table:
            raise UserError(f"config: {f'{where}.{name}' if where else name} is missing")
    values = {
        item.name: build(hints[item.name], table[name], f"{where}.{name}" if where else name)
        for name, item in fields.items()
        if name in table
    }
    return kind(**values)


def toml_name(item: dataclasses.Field[Any]) -> str:
    """A setting's name in TOML. One that is a word of Python's has an underscore more there: `async_` is `async`."""
    return item.name.removesuffix("_")


def describe(value: Any) -> str:
    return f"the {'table' if isinstance(value, dict) else type(value).__name__} {value!r}"


def save_config(config: RunConfig, path: Path) -> None:
    """Write the resolved config: every value as it is used, source paths absolute."""
    atomic_write(path, tomli_w.dumps(plain(config)))


def plain(value: Any) -> Any:
    """Settings as TOML's values. There is no null in it: an absent key is one."""
    if dataclasses.is_dataclass(value):
        value = {toml_name(item): getattr(value, item.name) for item in dataclasses.fields(value)}
    if isinstance(value, dict):
        return {name: plain(item) for name, item in value.items() if item is not None}
    return [plain(item) for item in value] if isinstance(value, list) else value
