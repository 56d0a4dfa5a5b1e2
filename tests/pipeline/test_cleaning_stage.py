"""Proves what the clean stage does in a run: the same files however wide, every drop with a reason, notes in meta."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from tests.conftest import contents, text2lm
from tests.data_prep.test_cleaning import CHINESE, ENGLISH, GERMAN

CONFIG = """
[[source]]
name = "web"
paths = ["web.jsonl", "pages"]
id_field = "id"
[[source]]
name = "code"
paths = ["code/*.txt"]
language = "en"
rules = []
[clean]
languages = ["en", "zh"]
rules = ["gopher-quality", "gopher-repetition", "fineweb"]
url_field = "url"
blocked_urls = ["lists/urls"]
[clean.fields.karma]
min = 3
[model]
preset = "gpt2-small"
[launch]
workers = 1
"""
RUN = ("run", "clean.toml", "--until", "clean")


@pytest.fixture
def project(tmp_path: Path) -> Path:
    for name in ("pages", "code", "lists"):
        (tmp_path / name).mkdir()
    (tmp_path / "clean.toml").write_text(CONFIG.replace('id_field = "id"\n', ""))
    (tmp_path / "lists/urls").write_text("bad.example\n")
    (tmp_path / "pages/a.html").write_text(f"<title>x</title><p>{ENGLISH.replace('bread', '<b>bread</b>')}")
    (tmp_path / "code/main.txt").write_text("int main() { return 0; }\n" * 3)
    rows: list[dict[str, Any]] = [
        {"text": ENGLISH, "karma": 5},
        {"text": CHINESE, "clean": "a field of its own"},
        {"text": GERMAN},
        {"text": f"{ENGLISH} It is so.", "karma": 2},
        {"text": f"{ENGLISH} And so on.", "url": "https://www.bad.example/x"},
        {"text": f"{ENGLISH}\n" * 3},
        {"text": "   "},
    ]
    (tmp_path / "web.jsonl").write_text("\n".join(map(json.dumps, rows)))
    return tmp_path


def parts(run: Path, where: str = "clean") -> list[dict[str, Any]]:
    return [row for path in sorted((run / where).glob("part-*.parquet")) for row in pq.read_table(path).to_pylist()]


def test_what_stays_what_goes_and_what_is_said_of_it(project: Path) -> None:
    text2lm(project, *RUN, "--run", "run")
    run = project / "run"
    kept = {row["id"]: row for row in parts(run)}
    assert kept.keys() == {"web:web.jsonl#0", "web:web.jsonl#1", "web:pages/a.html#0", "code:main.txt#0"}
    assert kept["web:pages/a.html#0"]["text"] == ENGLISH
    assert json.loads(kept["web:web.jsonl#1"]["meta"])["clean"]["language"] == "zh-Hans"
    noted = json.loads(kept["web:web.jsonl#0"]["meta"])
    assert (noted["karma"], noted["clean"]["language"], noted["clean"]["confidence"] > 0.65) == (5, "en", True)
    assert json.loads(kept["code:main.txt#0"]["meta"]) == {}
    gone = {row["id"]: (row["reason"], row["detail"]) for row in parts(run, "clean/dropped")}
    assert gone.pop("web:web.jsonl#5")[0].startswith("gopher-repeated")
    assert gone == {
        "web:web.jsonl#2": ("other-language", "language de"),
        "web:web.jsonl#3": ("field-karma", "the field karma: 2, at least 3 wanted"),
        "web:web.jsonl#4": ("blocked-url", "'bad.example' is on a list"),
        "web:web.jsonl#6": ("empty", ""),
    }
    facts = json.loads((run / "clean/manifest.json").read_text())["facts"]["cleaning"]["sources"]
    assert facts["web"]["languages"]["de"] == {"in": 1, "out": 0}
    assert facts["web"]["checks"]["clean.blocked_urls"]["alone"] == 1
    assert (facts["code"]["documents_in"], facts["code"]["documents_out"]) == (1, 1)
    assert not (run / "clean/work").exists()


def test_workers_and_kills_change_nothing(project: Path) -> None:
    """Two workers; and tasks done by hand in another order, one of them twice."""
    rows = [json.dumps({"text": f"{ENGLISH}\n{number} {CHINESE}\n" * 200}) for number in range(40)]
    (project / "web.jsonl").write_text("\n".join(rows))  # two shards or more
    text2lm(project, *RUN, "--run", "one")
    text2lm(project, *RUN, "--run", "two", "--set", "launch.workers=2")
    text2lm(project, "run", "clean.toml", "--until", "ingest", "--run", "hand")
    tasks = len(list((project / "one/clean").glob("part-*.parquet")))
    assert tasks > 2
    for first, last in ((tasks // 2, tasks - 1), (0, tasks // 2)):
        text2lm(project, "stage", "clean", "--run", "hand", "--task", f"{first}-{last}")
    text2lm(project, "stage", "clean", "--run", "hand", "--seal")
    facts = []
    for run in ("one", "two", "hand"):
        manifest = json.loads((project / run / "clean/manifest.json").read_text())
        facts.append((manifest["facts"], contents(project / run, "clean")))
    assert facts[0] == facts[1] == facts[2]


def test_a_changed_list_is_seen_and_a_wrong_one_refused_before_anything_is_read(project: Path) -> None:
    text2lm(project, *RUN, "--run", "run")
    assert "nothing to do" in text2lm(project, *RUN, "--run", "run").stdout
    (project / "lists/urls").write_text("good.example\n")
    text2lm(project, *RUN, "--run", "run")
    assert "web:web.jsonl#4" in {row["id"] for row in parts(project / "run")}
    done = text2lm(project, *RUN, "--run", "new", "--set", 'clean.blocked_words=["lists/none"]', code=2)
    assert "clean.blocked_words: no file matches" in done.stderr
    assert not (project / "new").exists()
