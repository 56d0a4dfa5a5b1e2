"""Proves that `rules` lists every check with the threshold that holds, and that `try` says what cleaning would do."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from data_prep.quality import CHECKS, RULES
from pipeline.cli import main
from tests.conftest import real_texts

CONFIG = """
[[source]]
name = "web"
paths = ["corpus/*.jsonl"]
text_field = "body"
[[source]]
name = "books"
paths = ["books/*.txt"]
language = "zh"
rules = ["length"]
thresholds = {length = {min_characters = 7}}
[clean]
rules = ["gopher-quality"]
thresholds = {gopher-quality = {min_words = 3}}
by_language = {zh = {gopher-quality = {min_stop_words = 1}}}
blocked_words = ["words.txt"]
fields = {karma = {min = 3}}
[model]
preset = "gpt2-small"
[train]
tokens = 1_000_000
"""


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A directory with a config, in which the test types its commands."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "c.toml").write_text(CONFIG)
    (tmp_path / "words.txt").write_text("forbidden fruit\n")
    return tmp_path


def said(capsys: pytest.CaptureFixture[str], *arguments: str) -> list[str]:
    """The lines of a command that succeeds, each with single spaces."""
    assert main(arguments) == 0
    return [" ".join(line.split()) for line in capsys.readouterr().out.splitlines()]


def test_rules_lists_every_check_with_its_paper(capsys: pytest.CaptureFixture[str]) -> None:
    lines = said(capsys, "rules")
    for rule, paper in RULES.items():
        first = lines.index(f"{rule}: {paper}")
        listed = lines[first : lines.index("", first)]
        for check in CHECKS:
            if check.rule == rule:
                assert [line for line in listed if line.startswith(f"{check.threshold} ") and check.reason in line]
    assert "min_words ≥ 50 gopher-few-words words" in lines  # Rae et al. 2021: between 50 and 100,000 words
    assert "max_words ≤ 100,000 gopher-many-words words" in lines
    assert not [line for line in lines if "not asked" in line or "default" in line]


def test_rules_shows_the_thresholds_of_a_language_a_config_and_a_source(
    here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    chinese = said(capsys, "rules", "--language", "zh-Hant")
    assert (
        "max_mean_word_length ≤ no limit (default: 10) gopher-word-length characters in a word, on average" in chinese
    )
    unlisted = said(capsys, "rules", "--language", "fi")
    assert "min_stop_words does not apply (default: 2) gopher-few-stop-words different stop words of the language" in (
        unlisted
    )
    config = said(capsys, "rules", "c.toml")
    assert "min_words ≥ 3 (default: 50) gopher-few-words words" in config
    assert [line for line in config if line.startswith("c4 (not asked by this config): ")]
    books = said(capsys, "rules", "c.toml", "--source", "books")
    assert "min_characters ≥ 7 (default: 0) too-short characters" in books
    assert [line for line in books if line.startswith("min_stop_words ≥ 1 (default: 2)")]
    assert [line for line in books if line.startswith("gopher-quality (not asked by this config): ")]


def test_a_good_text_stays_and_a_short_one_goes(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (here / "good.txt").write_text(real_texts()[3])
    (here / "short.md").write_text("# The end of it\r\n")  # no kind of its own: a text
    good = said(capsys, "try", "good.txt")
    assert good[0] == "good.txt#0: stays" and good[1].startswith("language en, confidence 0.")
    short = said(capsys, "try", "short.md")
    assert short[0] == "short.md#0: goes: gopher-few-words (words: 4, at least 50 wanted)"
    assert short[2:4] == ["text 17 bytes came; 15 bytes, 4 words are left", "changed line-ends 1"]
    assert "gopher-quality.min_words 4 ≥ 50 decides: gopher-few-words" in short
    assert "gopher-quality.max_hashes 0.2 ≤ 0.1 fails: gopher-symbols" in short  # one of five words and marks
    assert "gopher-quality.min_mean_word_length 2.5 ≥ 3 fails: gopher-word-length" in short  # (3 + 3 + 2 + 2) / 4
    assert len([line for line in short if "decides" in line]) == 1
    assert short[-1].startswith("not asked: c4, fineweb, refinedweb, length; to ask them: --rules gopher-quality,")


def test_repetition_is_shown_as_counted_by_hand(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (here / "a.txt").write_text("One line here.\nOne line here.\nOne line here.\nAnother one here.\n")
    lines = said(capsys, "try", "a.txt", "--rules", "gopher-repetition")
    assert "gopher-repetition.max_repeated_lines 0.5 ≤ 0.3 decides: gopher-repeated-lines" in lines  # two of four
    assert not [line for line in lines if line.startswith("gopher-quality.")]


def test_what_does_not_apply_says_so(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (here / "zh.txt").write_text("今天天气很好，我们去公园散步。\n")
    lines = said(capsys, "try", "zh.txt")
    assert lines[1].startswith("language zh-Hans, confidence")
    assert "gopher-quality.max_mean_word_length does not apply ≤ no limit" in lines
    typed = said(capsys, "try", "zh.txt", "--language", "fi")
    assert typed[1] == "language fi"
    assert "gopher-quality.min_stop_words does not apply does not apply" in typed


def test_a_page_becomes_text_and_lines_go(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    page = "<!doctype html><p>Here is a sentence that <b>ends</b> well.<p>Menu<p>Here is another one of them."
    (here / "page.html").write_text(page)
    (here / "same.txt").write_text(page.removeprefix("<!doctype html>"))
    lines = said(capsys, "try", "page.html", "--rules", "c4", "--text")
    assert "changed c4-no-terminal-mark 1" in lines
    assert "c4.min_sentences 2 ≥ 5 decides: c4-few-sentences" in lines
    text = lines[lines.index("") :]
    assert "Here is a sentence that ends well." in text and "Here is another one of them." in text
    assert "Menu" not in text
    assert "<b>" in "".join(said(capsys, "try", "same.txt", "--text"))
    assert "<b>" not in "".join(said(capsys, "try", "same.txt", "--text", "--format", "html"))


def test_rows_are_tried_as_a_source_of_a_config(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rows = [
        {"body": "This is a text with many of the words of English.", "karma": 5},
        {"body": "This is a text with the forbidden FRUIT of that tree.", "karma": 5},
        {"body": "This is a text with many of the words of English.", "karma": 2},
        {"text": "The field has another name."},
        *({"body": "word"} for _ in range(9)),
    ]
    lines = [json.dumps(row) for row in rows]
    lines[4] = "\x1b[31m no json"
    (here / "rows.jsonl").write_text("\n".join(lines))
    assert main(["try", "rows.jsonl", "--config", "c.toml", "--source", "web"]) == 0
    out = capsys.readouterr().out
    verdicts = [line for line in out.splitlines() if line.startswith("rows.jsonl#")]
    assert verdicts[:3] == [
        "rows.jsonl#0: stays",
        "rows.jsonl#1: goes: blocked-word ('forbidden fruit' is on a list)",
        "rows.jsonl#2: goes: field-karma (the field karma: 2, at least 3 wanted)",
    ]
    assert verdicts[3].startswith("rows.jsonl#3: is no document: no-text-field")
    assert verdicts[4].startswith("rows.jsonl#4: is no document: invalid-json")
    assert len(verdicts) == 10 and "\x1b" not in out
    assert out.splitlines()[-1] == "the first 10 rows of rows.jsonl"
    fields = [" ".join(line.split()) for line in out.splitlines() if "fields.karma" in line]
    assert fields[:3] == [
        "clean.fields.karma.min 5 ≥ 3",
        "clean.fields.karma.min 5 ≥ 3",
        "clean.fields.karma.min 2 ≥ 3 decides: field-karma",
    ]
    assert fields[3] == "clean.fields.karma.min does not apply ≥ 3"


def test_columns_stand_below_each_other(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (here / "a.txt").write_text("Too short.")
    assert main(["try", "a.txt"]) == 0
    lines = [line for line in capsys.readouterr().out.splitlines() if " ≥ " in line or " ≤ " in line]
    assert len({max(line.find("≥"), line.find("≤")) for line in lines}) == 1 and len(lines) > 20


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["try", "nothing.txt"], "nothing.txt does not exist; name a text, a page or rows"),
        (["try", "."], ". is no file; name a text"),
        (["try", "empty.jsonl"], "empty.jsonl holds no rows; name another file"),
        (["try", "a.txt", "--config", "no.toml"], "config no.toml does not exist"),
        (["try", "a.txt", "--source", "web"], "--source web names a source of a config: say which, with a CONFIG"),
        (["try", "a.txt", "--config", "c.toml", "--source", "wiki"], "--source wiki: the config has web, books"),
        (["try", "a.txt", "--rules", "c5"], "--rules names the unknown rule 'c5', wanted gopher-quality"),
        (["try", "a.txt", "--language", "English"], "--language must name languages by codes such as en"),
        (["try", "a.txt", "--format", "pdf"], "argument --format: invalid choice: 'pdf'"),
        (["try"], "the following arguments are required: FILE"),
        (["rules", "no.toml"], "config no.toml does not exist"),
        (["rules", "--language", "EN"], "--language must name languages by codes such as en"),
        (["rules", "c.toml", "--source", "wiki"], "--source wiki: the config has web, books"),
    ],
)
def test_a_wrong_request(here: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], words: str) -> None:
    (here / "a.txt").write_text("a")
    (here / "empty.jsonl").write_text("")
    assert main(arguments) == 2
    error = capsys.readouterr().err
    assert words in error and len(error.splitlines()) == 1
