"""Proves that `text2lm fetch` brings a hub's dataset whole or not at all, once, and that a run then needs no network.

The hub is a server on the loopback network; the client is the one that users have.
"""

from __future__ import annotations

import re
import subprocess
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from pipeline.fetch import CHECKOUT
from tests.conftest import TINY_CONFIG, start_text2lm, text2lm
from tests.pipeline.hub import NAME, serving

CARD = b"""---
configs:
- config_name: default
  data_files:
  - {split: train, path: data/train-*.jsonl}
  - {split: test, path: data/test.jsonl}
- config_name: other
  data_files: other/*.jsonl
---
"""
TRAIN = {f"data/train-{number}.jsonl": b'{"text": "one of %d"}\n{"text": "two"}\n' % number for number in range(3)}
FILES = {"README.md": CARD, **TRAIN, "data/test.jsonl": b'{"text": "held out"}\n', "other/a.jsonl": b'{"text": "x"}\n'}
SOURCE = f'[[source]]\nname = "hub"\nhub = "{NAME}"\n'


def write_config(directory: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A config that reads the hub's dataset, where no earlier test has left anything in a cache."""
    (directory / "hub.toml").write_text(SOURCE + TINY_CONFIG[TINY_CONFIG.index("[split]") :])
    monkeypatch.setenv("HF_HOME", str(directory / "cache"))
    monkeypatch.setenv("HF_HUB_OFFLINE", "0")


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    write_config(tmp_path, monkeypatch)
    return tmp_path


@pytest.fixture(scope="module", autouse=True)
def without_a_network(tmp_path_factory: pytest.TempPathFactory) -> Iterator[subprocess.Popen[str]]:
    """A fetch from a hub that is no longer there. The hub's client tries for 24 seconds: other tests run meanwhile."""
    directory = tmp_path_factory.mktemp("without_a_network")
    with pytest.MonkeyPatch.context() as monkeypatch:
        write_config(directory, monkeypatch)
        with serving({}) as hub:
            monkeypatch.setenv("HF_ENDPOINT", hub.url)
        fetch = start_text2lm(directory, "fetch", "hub.toml")
    yield fetch
    fetch.kill()
    fetch.communicate()


def test_what_was_fetched_is_read_without_a_network(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with serving(FILES) as hub:
        monkeypatch.setenv("HF_ENDPOINT", hub.url)
        said = text2lm(project, "fetch", "hub.toml").stdout
    folder = project / NAME
    assert f"source 'hub': 5 files, {sum(map(len, FILES.values())) - 14} B, in {folder}" in said
    there = {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    assert there == {name: content for name, content in FILES.items() if name != "other/a.jsonl"}
    assert list(folder.parent.iterdir()) == [folder]

    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    assert f"in {folder}" in text2lm(project, "fetch", "hub.toml").stdout
    text2lm(project, "run", "hub.toml", "--run", "run", "--until", "ingest")
    texts = [
        text for part in (project / "run/ingest").glob("part-*") for text in pq.read_table(part)["text"].to_pylist()
    ]
    assert sorted(texts) == ["one of 0", "one of 1", "one of 2", "two", "two", "two"]


def test_a_fetch_that_fails_leaves_no_dataset_and_the_next_goes_on(
    project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with serving(FILES) as hub:
        monkeypatch.setenv("HF_ENDPOINT", hub.url)
        hub.refused.add("data/train-1.jsonl")
        said = text2lm(project, "fetch", "hub.toml", code=2).stderr
        assert said.count("\n") == 1 and f"text2lm: hub dataset '{NAME}' cannot be fetched (" in said
        assert not (project / NAME).exists()
        hub.refused.clear()
        hub.asked.clear()
        text2lm(project, "fetch", "hub.toml")
        assert [name for name in hub.asked if name in TRAIN] == ["data/train-1.jsonl"]
    assert (project / NAME / "data/train-1.jsonl").read_bytes() == TRAIN["data/train-1.jsonl"]


def test_files_are_counted_and_missing_ones_named(project: Path) -> None:
    (project / "a.txt").write_text("four")
    (project / "b.txt").write_text("fives")
    paths = '[[source]]\nname = "files"\npaths = ["*.txt"]\n'
    (project / "files.toml").write_text((project / "hub.toml").read_text().replace(SOURCE, paths))
    assert "source 'files': 2 files, 9 B, in " in text2lm(project, "fetch", "files.toml").stdout
    (project / "a.txt").unlink()
    (project / "b.txt").unlink()
    assert "nothing matches" in text2lm(project, "fetch", "files.toml", code=2).stderr


def write_wheel(directory: Path, name: str, version: str) -> str:
    """An empty package, as pip reads one; its file's name."""
    plain = name.replace("-", "_")
    path = directory / f"{plain}-{version}-py3-none-any.whl"
    with zipfile.ZipFile(path, "w") as wheel:
        about = f"{plain}-{version}.dist-info"
        wheel.writestr(f"{about}/METADATA", f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n")
        wheel.writestr(f"{about}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        wheel.writestr(f"{about}/RECORD", "")
    return path.name


def test_wheels_are_those_that_are_tested(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """pip itself chooses, from an index that has newer ones, too."""
    index, wheels = project / "index", project / "wheels"
    index.mkdir()
    tested = dict(re.findall(r"^([\w.-]+)==(\S+)$", (CHECKOUT / "constraints.txt").read_text(), re.MULTILINE))
    tested = {name.lower().replace("_", "-"): version for name, version in tested.items()} | {"setuptools": "80.0"}
    requirements = re.search(r"^dependencies = \[(.*?)^\]", (CHECKOUT / "pyproject.toml").read_text(), re.S | re.M)
    assert requirements
    names = re.findall(r'^ *"([\w-]+)', requirements[1], re.MULTILINE)
    assert "torch" in names
    wanted = {write_wheel(index, name, tested[name]) for name in [*names, "setuptools"]}
    for name in names:
        write_wheel(index, name, f"{tested[name].partition('+')[0]}.post1")
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(index))
    (project / "a.txt").write_text("text")
    files = ("fetch", "hub.toml", "--set", 'source=[{name = "s", paths = ["a.txt"]}]', "--wheels", str(wheels))
    assert f"{len(wanted)} packages" in text2lm(project, *files).stdout
    assert {path.name for path in wheels.iterdir()} == wanted
    next(index.glob("orjson*")).unlink()
    next(index.glob("orjson*")).unlink()
    said = text2lm(project, *files, code=2).stderr
    assert said.count("\n") == 1 and "the packages cannot be fetched (" in said and "orjson" in said


def test_a_name_that_is_none_of_the_hub_is_refused(project: Path) -> None:
    said = text2lm(project, "fetch", "hub.toml", "--set", "source.0.hub=../elsewhere", code=2).stderr
    assert "neither a folder that is there nor owner/name" in said


def test_without_a_network_one_line_says_so(without_a_network: subprocess.Popen[str]) -> None:
    """The last of these tests, since it waits."""
    said, _ = without_a_network.communicate(timeout=120)
    assert without_a_network.returncode == 2
    assert said.count("\n") == 1 and "sees the internet" in said
