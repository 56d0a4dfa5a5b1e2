"""Proves that a config is read, overridden, resolved and hashed as documented."""

from __future__ import annotations

import dataclasses
import tomllib
from pathlib import Path

import pytest

from data_prep.files import UserError
from pipeline.config import RunConfig, build, load_config, save_config
from pipeline.stages import STAGES

CONFIGS = sorted((Path(__file__).parents[2] / "configs").glob("*.toml"))


@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: path.name)
def test_every_config_of_the_repository_loads(path: Path) -> None:
    load_config(path)


def test_the_resolved_config_reads_back_as_itself_from_anywhere(project: Path, tmp_path: Path) -> None:
    config = load_config(project / "tiny.toml", ["train.lr=1", "clean.thresholds.gopher-quality.min_words=7"])
    save_config(config, tmp_path / "elsewhere" / "config.toml")
    assert load_config(tmp_path / "elsewhere" / "config.toml") == config
    written = tomllib.loads((tmp_path / "elsewhere" / "config.toml").read_text())
    assert written["train"]["betas"] == [0.9, 0.95]  # defaults are written out
    assert written["source"][0]["paths"] == [str(project / "corpus" / "guide-*.jsonl.gz")]


def test_a_setting_named_by_a_word_of_python_is_that_word_in_toml(project: Path, tmp_path: Path) -> None:
    config = load_config(project / "tiny.toml", ["checkpoint.async=false"])
    assert config.checkpoint.async_ is False and load_config(project / "tiny.toml").checkpoint.async_ is True
    save_config(config, tmp_path / "config.toml")
    assert tomllib.loads((tmp_path / "config.toml").read_text())["checkpoint"]["async"] is False
    assert load_config(tmp_path / "config.toml") == config

    @dataclasses.dataclass(frozen=True)
    class Words:
        class_: str
        class_size: int = 3

    assert build(Words, {"class": "a"}, "words") == Words("a")
    assert RunConfig.identity(Words("a"), "class") == {"class": "a"}  # type: ignore[arg-type]
    for table, message in (
        ({"class_": "a"}, r"unknown key words.class_; did you mean class\?"),
        ({"clas": "a"}, r"unknown key words.clas; did you mean class\?"),
        ({}, "words.class is missing"),
        ({"class": 5}, "words.class must be a string, got the int 5"),
    ):
        with pytest.raises(UserError, match=message):
            build(Words, table, "words")


def test_overrides_take_toml_values_and_plain_words(project: Path) -> None:
    sets = ["source.1.weight=2", "train.precision=bf16", "scrub.kinds=['email']", "model.preset='gpt2-xl'"]
    config = load_config(project / "tiny.toml", sets)
    assert config.source[1].weight == 2.0 and config.train.precision == "bf16"
    assert config.scrub.kinds == ["email"] and config.model.preset == "gpt2-xl"


def test_every_setting_is_identity_of_some_stage_or_execution(project: Path) -> None:
    """A setting that no stage reads would change nothing when changed: the one exception is what inputs() covers."""
    said = ["clean.by_language.zh", "source.0.thresholds", "clean.thresholds"]
    overrides = [f"{place}.gopher-quality.min_words=7" for place in said]
    overrides += ["clean.fields.karma.min=3", "source.0.scrub.max_density=0.5"]
    config = load_config(project / "tiny.toml", overrides)
    read = {part for stage in STAGES for name in config.identity(*stage.reads) for part in name.split(".")[1:]}
    by_inputs = {"name", "paths", "hub"}  # sources enter ingest's key by the digests of what they name
    tables = [getattr(config, item.name) for item in dataclasses.fields(RunConfig)]
    while tables:
        table = tables.pop()
        tables += table if isinstance(table, list) else []
        for setting in dataclasses.fields(table) if dataclasses.is_dataclass(table) else []:
            if dataclasses.is_dataclass(value := getattr(table, setting.name)):
                tables.append(value)  # a table in a table
                continue
            execution = setting.metadata.get("execution", False)
            covered = setting.name in read | by_inputs
            assert execution != covered, f"{type(table).__name__}.{setting.name}"


def test_identity_holds_dotted_paths_and_leaves_execution_out(project: Path) -> None:
    identity = load_config(project / "tiny.toml").identity("seed", "source.weight", "train", "launch")
    assert identity["seed"] == 1 and identity["source.guide.weight"] == 1.0 and identity["source.notes.weight"] == 0.5
    assert identity["train.lr"] == 3e-3
    assert not {"train.micro_batch_size", "train.zero_stage", "launch.workers"} & set(identity)
