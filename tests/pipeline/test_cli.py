"""Proves that every bad input ends in one clear line and the right exit code, and loses nothing."""

from __future__ import annotations

import gzip
import json
import shutil
import subprocess
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from pipeline.arguments import parser
from pipeline.cli import main
from tests.conftest import TINY_CONFIG, small_disk, text2lm


def refused(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    """The one line of a request that exits 2."""
    assert main(arguments) == 2
    captured = capsys.readouterr()
    lines = captured.err.splitlines()
    assert len(lines) == 1 and lines[0].startswith("text2lm: "), captured.err
    return lines[0]


@pytest.mark.parametrize(
    ("setting", "words"),
    [
        ("train.learning_rate=1", "unknown key train.learning_rate"),
        ("train.warmup_step=1", "unknown key train.warmup_step; did you mean warmup_steps?"),
        ("trian.lr=1", "unknown key trian; did you mean train?"),
        ("clean.language=['en']", "unknown key clean.language; did you mean languages?"),
        ("train.lr='fast'", "train.lr must be a number, got the str 'fast'"),
        ("seed=1.5", "seed must be a whole number, got the float 1.5"),
        ("seed=true", "seed must be a whole number, got the bool True"),
        ("train.lr=-1", "train.lr must be above 0, got -1"),
        ("train.lr=nan", "train.lr must be above 0, got nan"),
        ("train.tokens=100", "train.tokens must be at least train.global_batch_tokens (1024), got 100"),
        ("launch.ranks=3", "which 3 ranks cannot share evenly; set launch.ranks to 2"),
        ("seed=-1", "seed must be 0 to 2^63 - 1, got -1"),
        ("clean.rules=['gopher-qualty']", "clean.rules names the unknown rule 'gopher-qualty', wanted gopher-quality"),
        (
            "clean.thresholds.gopher-quality.min_word=1",
            "min_word is not a threshold of that rule, wanted one of min_words",
        ),
        ("clean.thresholds.gopher-quality.min_words=nan", "min_words must be a number, got nan"),
        ("train.lr=1\nseed=3", "train.lr must be a number"),
        ("scrub.kinds=['fax']", "scrub.kinds names the unknown kind 'fax', wanted secret, url-credentials, email"),
        ("launch.on='cloud'", "launch.on must be one of local, slurm, got 'cloud'"),
        ("checkpoint.async='no'", "checkpoint.async must be true or false, got the str 'no'"),
        ("checkpoint.async_=false", "unknown key checkpoint.async_; did you mean async?"),
        ("checkpoint.stop_signals=['USR1']", "checkpoint.stop_signals may name SIGUSR1 and SIGUSR2, got 'USR1'"),
        ("checkpoint.keep_last=1", "checkpoint.keep_last must be at least 2, got 1"),
        ("checkpoint.keep_every=-1", "checkpoint.keep_every must be at least 0, got -1"),
        ("checkpoint.keep_every=12", "checkpoint.keep_every must be a multiple of checkpoint.every_steps (8), got 12"),
        ("train.zero_stage=4", "train.zero_stage must be 0, 1, 2 or 3, got 4"),
        ("train.phase=[{tokens=20480,weights={guid=1}}]", "a phase names the source 'guid', which is not there"),
        ("train.init_from='nowhere'", "nowhere holds no model in transformers' format"),
        ("source.0.format='pdf'", "format must be one of auto, text, html, got 'pdf'"),
        ("source.1.name='guide'", "source.name 'guide' is used twice"),
        ("source.1.name='a/b'", "source.name must be letters, digits, - and _, got 'a/b'"),
        ("source.0.paths='corpus/*'", "source.paths must be a list, got the str 'corpus/*'"),
        ("source.9.weight=1", "there is no such place"),
        ("train.lr", "wanted key=value"),
    ],
)
def test_a_wrong_setting(project: Path, capsys: pytest.CaptureFixture[str], setting: str, words: str) -> None:
    config, run = str(project / "tiny.toml"), project / "run"
    assert words in refused(capsys, "run", config, "--run", str(run), "--set", setting)
    assert not run.exists()


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["run"], "the following arguments are required: CONFIG"),
        (["walk"], "invalid choice: 'walk'"),
        (["run", "tiny.toml", "--until", "the-end"], "there is no stage 'the-end', wanted one of ingest, clean"),
        (["run", "tiny.toml", "--on", "cloud"], "launch.on must be one of local, slurm, got 'cloud'"),
        (["run", "tiny.toml", "--from", "pretrain"], "add --restart"),
        (["run", "tiny.toml", "--from", "tokens", "--until", "clean"], "--from tokens comes after --until clean"),
        (["run", "tinny.toml"], "config tinny.toml does not exist; did you mean tiny.toml?"),
        (["run", "."], "is a directory"),
        (["run", "tiny.toml", "--run", "tiny.toml"], "is a file, wanted a directory"),
        (["run", "tiny.toml", "--run", "corpus"], "holds other files and is no run directory"),
        (["status", "--run", "nowhere"], "nowhere is no run directory"),
        (["trace", "a:b", "--run", "nowhere"], "nowhere is no run directory"),
        (["sample", "--export", "nowhere"], "holds no model in transformers' format: it has no config.json"),
        (["stage", "clean", "--run", "corpus", "--task", "0"], "corpus is no run directory"),
        (["stage", "clean", "--run", "corpus", "--task", "x"], "wanted a number or a range such as 0-7"),
        (["stage", "clean", "--run", "corpus", "--task", "3-1"], "the range is empty"),
        (["sample", "--export", "corpus", "--step", "8"], "--step 8 chooses among a run's checkpoints: give --run DIR"),
        (["sample", "--export", "corpus", "--top-k", "-1"], "--top-k must be at least 0, got -1"),
        (["sample", "--export", "corpus", "--temperature", "nan"], "--temperature must be at least 0, got nan"),
        (["plan", "tiny.toml/x"], "tiny.toml/x: Not a directory"),
        (["status", "--run", "tiny.toml/x"], "tiny.toml/x is no run directory"),
    ],
)
def test_a_wrong_command(
    project: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, arguments: list[str], words: str
) -> None:
    monkeypatch.chdir(project)
    before = sorted(project.rglob("*"))
    assert words in refused(capsys, *arguments)
    assert sorted(path for path in project.rglob("*") if "lock" not in path.name) == before


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("seed = ", "is not valid TOML"),
        ("seed = 1", "source is missing"),
        ("source = []\n", "names no [[source]]"),
        ('[[source]]\npaths = ["x"]', "source.name is missing"),
        ('[[source]]\nname = "a"', "source 'a' must have either paths or hub, got neither"),
        ('source = "corpus"', "source must be a list, got the str 'corpus'"),
        ('[[source]]\nname = "a"\npaths = ["no/*.jsonl"]\n[model]\npreset = "gpt2-small"', "nothing matches"),
        (
            '[[source]]\nname = "a"\npaths = ["c.toml"]\n[model]\npreset = "gpt2-small"',
            "is of a kind that is not read",
        ),
        ('[[source]]\nname = "a"\npaths = ["c.toml"]\n[model]\npreset = "gpt2-smal"', "model.preset must be one of"),
    ],
)
def test_a_wrong_config(tmp_path: Path, capsys: pytest.CaptureFixture[str], text: str, words: str) -> None:
    (tmp_path / "c.toml").write_text(text)
    assert words in refused(capsys, "run", str(tmp_path / "c.toml"), "--run", str(tmp_path / "run"))


def write_config(directory: Path, rows: list[bytes], config: str = TINY_CONFIG) -> None:
    """The tiny config with one source, `corpus.jsonl`."""
    (directory / "corpus.jsonl").write_bytes(b"\n".join(rows))
    _, _, rest = config.partition("[split]")
    (directory / "c.toml").write_text('[[source]]\nname = "a"\npaths = ["corpus.jsonl"]\n[split]' + rest)


@pytest.mark.parametrize(
    ("rows", "words"),
    [
        ([], "ingest found no documents in the sources"),
        ([b'{"body": "text"}', b'{"text": "one two"}', b""], "clean let none of 1 documents through"),
        ([b"{", b"\xff"], "ingest let none of 2 documents through: 2 are broken, most by invalid-json; see"),
        ([b'{"text": "Short."}'], "clean let none of 1 documents through: most by gopher-few-words (1)"),
    ],
)
def test_a_corpus_of_nothing(tmp_path: Path, rows: list[bytes], words: str) -> None:
    write_config(tmp_path, rows)
    done = text2lm(tmp_path, "run", "c.toml", "--run", "run", code=2)
    assert words in done.stderr and len(done.stderr.splitlines()) == 1
    assert not (tmp_path / "run" / "clean" / "manifest.json").exists()


def test_a_corpus_with_nothing_to_validate_on_and_one_too_small_for_a_batch(project: Path, finished_data: Path) -> None:
    shutil.copytree(finished_data / "run", project / "run")
    run = ("run", "tiny.toml", "--run", "run", "--until", "pretrain")
    nothing = text2lm(project, *run, "--set", "split.val_fraction=0.0001", code=2)
    assert "into val: the corpus is too small for split.val_fraction = 0.0001" in nothing.stderr
    small = text2lm(
        project, *run, "--set", "train.global_batch_tokens=1048576", "--set", "train.tokens=1048576", code=2
    )
    assert "the corpus is too small for one batch" in small.stderr
    by_hand = text2lm(project, "stage", "pretrain/windows", "--run", "run", "--task", "0", code=2)
    assert "the corpus is too small for one batch" in by_hand.stderr
    assert len(small.stderr.splitlines()) == 1


def test_a_truncated_gzip_is_quarantined_and_what_came_before_it_kept(project: Path) -> None:
    path = project / "corpus" / "guide-0.jsonl.gz"
    whole = gzip.decompress(path.read_bytes()).count(b"\n")
    path.write_bytes(path.read_bytes()[:-5000])
    text2lm(project, "run", "tiny.toml", "--run", "run", "--until", "ingest")
    rows = [row for part in (project / "run/ingest/quarantine").iterdir() for row in pq.read_table(part).to_pylist()]
    assert [row["reason"] for row in rows if row["id"].startswith("guide:guide-0")] == ["truncated-gzip"]
    kept = sum(pq.read_metadata(part).num_rows for part in (project / "run" / "ingest").glob("part-*"))
    assert whole < kept + whole and kept > 0


def test_a_full_disk_is_one_line_and_exit_1_and_room_lets_the_run_go_on(project: Path) -> None:
    disk = project / "disk"
    disk.mkdir()
    with small_disk(disk, "320k"):
        full = text2lm(project, "run", "tiny.toml", "--run", "disk/run", "--until", "tokens", code=1)
        assert "the disk is full" in full.stderr
        assert "Traceback" not in full.stderr and len(full.stderr.splitlines()) == 1
        subprocess.run(["mount", "-o", "remount,size=64m", str(disk)], check=True)
        text2lm(project, "run", "tiny.toml", "--run", "disk/run", "--until", "tokens")
        assert json.loads((disk / "run" / "tokens" / "manifest.json").read_text())["documents_out"] > 100


def test_the_verbs_are_those_of_the_design() -> None:
    (verbs,) = (action.choices for action in parser()._actions if action.dest == "verb")
    assert verbs is not None
    assert " ".join(verbs) == (
        "run plan stage attempt status cancel logs report rules try scrub trace batch sample sync export doctor fetch"
    )


def test_doctor_names_versions_and_the_disk(capsys: pytest.CaptureFixture[str]) -> None:
    main(["doctor"])
    facts = capsys.readouterr().out
    assert "torch " in facts and "deepspeed " in facts and "GB free disk" in facts
