"""Proves that any checkpoint of a training, not only its newest, can be sampled from and exported."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
import torch
from safetensors import safe_open
from transformers import GPT2LMHeadModel

from pipeline.cli import main
from tests.conftest import contents, text2lm

KEEP = ("--set", "checkpoint.keep_every=8", "--set", "wandb.mode=disabled")


@pytest.fixture(scope="module")
def project(finished_data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A training of 20 steps that keeps its checkpoints of steps 8, 16 and 20, exported."""
    project = tmp_path_factory.mktemp("steps")
    shutil.copytree(finished_data, project, dirs_exist_ok=True)
    text2lm(project, "run", "tiny.toml", "--run", "run", *KEEP, "--until", "export")
    return project


def stored(run: Path, step: int, name: str) -> torch.Tensor:
    """A flattened parameter of a checkpoint, put together from the ranks' files."""
    parts = []
    for path in sorted((run / f"pretrain/checkpoints/step-{step:08d}").glob("*.safetensors")):
        with safe_open(path, "pt") as file:
            if f"weight/{name}" in file.keys():  # noqa: SIM118
                parts.append(file.get_tensor(f"weight/{name}"))
    return torch.cat(parts)


def output(capsys: pytest.CaptureFixture[str], *arguments: str, code: int = 0) -> str:
    """What `text2lm ...` prints, or (code 2) the one line by which it refuses."""
    assert main(arguments) == code
    printed, refusal = capsys.readouterr()
    assert len(refusal.splitlines()) == code // 2
    return refusal or printed


def test_a_step_is_exported_beside_the_stages_own_export(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run = project / "run"
    before = contents(run, "export")
    printed = output(capsys, "export", "--run", str(run), "--step", "8").strip()
    assert printed == str(run / "pretrain/exports/step-00000008")
    for directory, step in ((Path(printed), 8), (run / "export/hf", 20)):
        weight = GPT2LMHeadModel.from_pretrained(directory).transformer.wte.weight.detach()
        assert torch.equal(weight.flatten(), stored(run, step, "embedding.weight")[: weight.numel()])
    assert not torch.equal(stored(run, 8, "embedding.weight"), stored(run, 20, "embedding.weight"))
    assert contents(run, "export") == before
    assert "nothing to do" in text2lm(project, "run", "tiny.toml", "--run", "run", *KEEP, "--until", "export").stdout


def test_a_sample_is_of_the_step_that_is_asked_for(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run = str(project / "run")
    exported = output(capsys, "export", "--run", run, "--step", "8").strip()

    def sample(*source: str) -> str:
        return output(capsys, "sample", *source, "--prompt", "The", "--temperature", "1", "--max-tokens", "50")

    newest, eighth = sample("--run", run), sample("--run", run, "--step", "8")
    assert newest != eighth
    assert sample("--run", run, "--step", "20") == newest
    assert sample("--export", exported) == eighth


@pytest.mark.parametrize("verb", ["sample", "export"])
@pytest.mark.parametrize("step", ["9", "0", "-8"])
def test_a_step_that_is_not_there_names_those_that_are(
    project: Path, capsys: pytest.CaptureFixture[str], verb: str, step: str
) -> None:
    run = project / "run"
    refused = output(capsys, verb, "--run", str(run), "--step", step, code=2)
    assert f"there is no checkpoint of step {step} in {run / 'pretrain/checkpoints'}" in refused
    assert "8, 16, 20" in refused
    assert not (run / f"pretrain/exports/step-{int(step):08d}").exists()


def test_a_damaged_step_is_refused(project: Path, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    shutil.copytree(project / "run", tmp_path / "run")
    path = tmp_path / "run/pretrain/checkpoints/step-00000016/rank-00001.safetensors"
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)
    for verb in ("sample", "export"):
        refused = output(capsys, verb, "--run", str(tmp_path / "run"), "--step", "16", code=2)
        assert "rank-00001.safetensors does not have its digest" in refused
    assert not (tmp_path / "run/pretrain/exports/step-00000016").exists()
