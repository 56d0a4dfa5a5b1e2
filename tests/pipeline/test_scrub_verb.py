"""Proves that `scrub` prints a file without its values, and that `--explain` says what happens to each without one."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from pipeline.cli import main

CONFIG = """
[[source]]
name = "web"
paths = ["*.jsonl"]
text_field = "body"
[[source]]
name = "books"
paths = ["books/*.txt"]
scrub = { kinds = ["credit-card"], max_density = 0.1 }
[scrub]
key_file = "scrub.key"
[model]
preset = "gpt2-small"
[train]
tokens = 1_000_000
"""
TEXT = """Write to jo.doe@example.org
or Äé jo.doe@example.org, pay
with 4111 1111 1111 1111, not 4111 1111 1111 1112."""
PIECES = ("jo.doe", "example.org", "4111", "1111")


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A directory with a config, in which the test types its commands."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "c.toml").write_text(CONFIG)
    (tmp_path / "scrub.key").write_text("made up " * 3)
    (tmp_path / "a.txt").write_text(TEXT)
    return tmp_path


def said(capsys: pytest.CaptureFixture[str], *arguments: str) -> list[str]:
    """The lines of a command that succeeds, each with single spaces."""
    assert main(["scrub", *arguments]) == 0
    return [" ".join(line.split()) for line in capsys.readouterr().out.splitlines()]


def test_a_text_is_printed_scrubbed(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["scrub", "a.txt"]) == 0
    card = "4111 1111 1111 1112"  # the check digit is wrong
    assert capsys.readouterr().out == (f"Write to <EMAIL>\nor Äé <EMAIL>, pay\nwith <CREDIT-CARD>, not {card}.\n")


def test_every_candidate_is_explained_without_its_value(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    lines = said(capsys, "a.txt", "--explain")
    assert lines[:3] == [
        "a.txt#0: stays; 50% of its bytes are personal",  # 18 + 18 + 19 of 110
        "1:10 email j… (18 characters) replaced by <EMAIL>",
        "2:7 email j… (18 characters) replaced by <EMAIL>",
    ]
    assert lines[3] == "3:6 credit-card 4… (19 characters) replaced by <CREDIT-CARD>"
    assert lines[4].startswith("3:31 credit-card 4… (19 characters) kept: looks like one, but ")
    assert "check digit (ISO/IEC 7812-1)" in lines[4]
    assert lines[5:] == ["", "email 2 replaced 0 kept", "credit-card 1 replaced 1 kept"]
    assert not [piece for piece in PIECES if piece in "\n".join(lines)]


def test_only_the_kinds_asked_for(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert said(capsys, "a.txt", "--kinds", "email, ip")[-1].startswith("with 4111 1111 1111 1111, not")
    assert said(capsys, "a.txt", "--explain", "--kinds", "email")[-1] == "email 2 replaced 0 kept"
    assert said(capsys, "a.txt", "--explain", "--kinds", "ip")[-1] == "nothing in it looks like a personal value"


def test_a_source_of_a_config_with_pseudonyms(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    books = said(capsys, "a.txt", "c.toml", "--source", "books")
    assert books[0] == "Write to jo.doe@example.org" and "<CREDIT-CARD>" in books[2]
    dense = said(capsys, "a.txt", "c.toml", "--source", "books", "--explain")
    assert dense[0] == "a.txt#0: goes: pii-density (17% of its bytes are personal, at most 10% wanted)"  # 19 of 110
    named = ("a.txt", "c.toml", "--set", 'scrub.replacement="pseudonym"')
    first, second = said(capsys, *named)[:2]
    assert first.startswith("Write to <EMAIL-") and first.rpartition(" ")[2] + "," == second.split()[2]
    explained = said(capsys, *named, "--explain")
    assert explained[1].endswith(f"replaced by {first.rpartition(' ')[2]}")
    assert not [line for line in explained if "made up" in line]


def test_rows_are_read_as_a_source_reads_them(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rows = [json.dumps({"body": f"jo{n}@example.org"}) for n in range(12)]  # more than `try` looks at
    (here / "rows.jsonl").write_text("\n".join(rows))
    assert said(capsys, "rows.jsonl", "c.toml", "--source", "web") == ["<EMAIL>"] * 12
    rows[1:2] = ['{"body": "cut off by jo@example.org', '{"text": "other field, jo@example.org"}']
    (here / "rows.jsonl").write_text("\n".join(rows))
    lines = said(capsys, "rows.jsonl", "c.toml", "--source", "web", "--explain")
    assert lines[-1] == "email 11 replaced 0 kept"
    assert [line.partition(";")[0] for line in lines if "no document" in line] == [
        "rows.jsonl#1: is no document: invalid-json",
        "rows.jsonl#2: is no document: no-text-field",
    ]
    assert "example.org" not in "\n".join(lines)
    assert main(["scrub", "rows.jsonl", "c.toml", "--source", "web"]) == 2
    error = capsys.readouterr().err
    assert "rows.jsonl#1 is no document: invalid-json" in error and "example" not in error


def test_columns_count_characters_of_a_line(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = "电话 😀\té\n\n" * 3 + "电话😀 "
    (here / "b.txt").write_text(f"{before}jo@example.org 中 am@example.org")
    lines = said(capsys, "b.txt", "--explain")
    assert [line.split()[0] for line in lines if "replaced by" in line] == ["7:5", "7:22"]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["nothing.txt"], "nothing.txt does not exist; name a text, a page or rows"),
        (["."], ". is no file; name a text"),
        (["empty.jsonl"], "empty.jsonl holds no rows; name another file"),
        (["a.txt", "no.toml"], "config no.toml does not exist"),
        (["a.txt", "--source", "web"], "--source web names a source of a config: say which, with a CONFIG"),
        (["a.txt", "c.toml", "--source", "wiki"], "--source wiki: the config has web, books"),
        (["a.txt", "--kinds", "fax"], "--kinds fax: scrub.kinds names the unknown kind 'fax', wanted secret"),
        (["a.txt", "--kinds", "person"], "scrub.person_model"),
        (["a.txt", "--set", "seed=2"], "--set seed=2 changes a setting of a config: say which, with a CONFIG"),
        ([], "the following arguments are required: FILE"),
    ],
)
def test_a_wrong_request(here: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], words: str) -> None:
    (here / "empty.jsonl").write_text("")
    assert main(["scrub", *arguments]) == 2
    error = capsys.readouterr().err
    assert words in error and len(error.splitlines()) == 1
