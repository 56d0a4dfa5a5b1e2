"""Proves what the scrub stage does in a run: each source by its own settings, the same files however wide, nothing
personal and no key in anything that is written from there on; and that the second search finds what is left."""

from __future__ import annotations

import hashlib
import json
import shutil
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
from tokenizers import Tokenizer

from data_prep.document import Document
from data_prep.pii import shown_scrubber
from data_prep.shards import PartWriter
from data_prep.tokens import TokenFile, token_files
from pipeline.cli import main
from pipeline.receipt import Manifest, entry
from pipeline.scrub_steps import scrub_fields
from tests.conftest import contents, real_texts, text2lm

CONFIG = """
[[source]]
name = "web"
paths = ["web.jsonl"]
[[source]]
name = "books"
paths = ["books.jsonl"]
scrub = { kinds = ["credit-card"], max_density = 0.2 }
[[source]]
name = "mail"
paths = ["mail.jsonl"]
id_field = "message"
scrub = { replacement = "pseudonym" }
[clean]
rules = []
[scrub]
key_file = "scrub.key"
[dedup]
decontaminate = ["quiz.jsonl"]
contaminated = "report"
[split]
val_fraction = 0.2
[tokenizer]
vocab_size = 300
[model]
preset = "gpt2-small"
[launch]
workers = 1
keep_intermediates = true
"""
CARD, OTHER_CARD = "4111 1111 1111 1111", "5555-5555-5555-4444"  # numbers for tests of payment systems
EMAIL, IBAN = "jo.doe@mail.example.org", "GB29 NWBK 6016 1331 9268 19"  # RFC 2606; the registry's example
PLANTED = ("jo.doe@mail", "4111 1111", "5555-5555", "4111111111111111", "NWBK 6016", "amy@example", "sue@example")
QUIZ = "which of the following thirteen words are spoken by amy@example.com on a rainy day"
KEY = "a key that is made up for " + "this test alone"
RUN = ("run", "c.toml", "--run", "run")


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A directory with a config and three sources in which values are planted."""
    write_sources(tmp_path)
    return tmp_path


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Such a directory with a run that is done up to tokens, and its report. Tests that change it copy it."""
    directory = tmp_path_factory.mktemp("scrubbed")
    write_sources(directory)
    text2lm(directory, *RUN, "--until", "tokens")
    text2lm(directory, "report", "--run", "run")
    return directory


@pytest.fixture
def copy(finished: Path, tmp_path: Path) -> Path:
    shutil.copytree(finished, tmp_path / "copy")
    return tmp_path / "copy"


def write_sources(directory: Path) -> None:
    texts = real_texts()
    rows: dict[str, list[dict[str, Any]]] = {
        "web": [
            {"text": f"{texts[0]} Write to {EMAIL}, pay with {CARD} from {IBAN}.", "author": {"mail": [EMAIL]}},
            {"text": texts[1], "card": 4111111111111111, "scrub": "a field of its own", "year": 2024, "ok": True},
            {"text": f"{texts[2]} {QUIZ}", "scrub": "its own"},
            *({"text": text} for text in texts[3:30]),
        ],
        "books": [
            {"text": f"{texts[30]} Write to {EMAIL}, pay with {CARD}."},
            {"text": f"Pay with {CARD} or {OTHER_CARD} now."},  # 38 of its 56 bytes
            *({"text": text} for text in texts[31:50]),
        ],
        "mail": [
            {"text": f"{texts[50]} From sue@example.net to JO.DOE@mail.example.org"},
            {"text": f"{texts[51]} From {EMAIL}", "to": "sue@example.net"},
            *({"text": text} for text in texts[52:70]),
        ],
    }
    for number, row in enumerate(rows["mail"]):
        row["message"] = f"{number}@list.example.org" if number == 5 else str(number)
    for name, of_source in rows.items():
        (directory / f"{name}.jsonl").write_text("\n".join(map(json.dumps, of_source)))
    (directory / "quiz.jsonl").write_text(json.dumps({"question": QUIZ}))
    (directory / "scrub.key").write_text(f"{KEY}\n")
    (directory / "c.toml").write_text(CONFIG)


def rows_in(run: Path, where: str) -> dict[str, dict[str, Any]]:
    paths = sorted((run / where).glob("part-*.parquet"))
    return {row["id"]: row for path in paths for row in pq.read_table(path).to_pylist()}


def facts_of(run: Path, stage: str) -> dict[str, Any]:
    facts: dict[str, Any] = json.loads((run / stage / "manifest.json").read_text())["facts"]
    return facts


def everything(run: Path) -> dict[str, str]:
    """All that the files of a run say, by file: bytes as they are, of parquet the columns, of token files the texts."""
    said = {}
    for path in (path for path in run.rglob("*") if path.is_file()):
        name = str(path.relative_to(run))
        said[name] = path.read_bytes().decode("latin-1")
        if path.suffix == ".parquet":
            said[name] += json.dumps(pq.read_table(path).to_pylist())
    tokenizer = Tokenizer.from_file(str(run / "tokenizer/tokenizer.json")) if (run / "tokenizer").exists() else None
    for side in ("train", "val"):
        for source in ("web", "books", "mail"):
            for prefix in token_files(run / "tokens" / side, source) if tokenizer else []:
                ids = TokenFile(prefix).read(0, len(TokenFile(prefix))).tolist()
                said[f"tokens/{side}/{prefix.name} decoded"] = tokenizer.decode(ids)
    return said


def test_every_source_is_scrubbed_as_it_wants(finished: Path) -> None:
    run = finished / "run"
    kept = rows_in(run, "scrub")
    web, books, mail = kept["web:web.jsonl#0"], kept["books:books.jsonl#0"], kept["mail:0"]
    assert web["text"].endswith(" Write to <EMAIL>, pay with <CREDIT-CARD> from <IBAN>.")
    assert books["text"].endswith(f" Write to {EMAIL}, pay with <CREDIT-CARD>.")  # as asked for
    assert mail["text"].count("<EMAIL-") == 2
    name_of_jo = mail["text"].rpartition(" ")[2]
    assert kept["mail:1"]["text"].endswith(f" From {name_of_jo}")  # the same person in any spelling
    metas = {id: json.loads(row["meta"]) for id, row in kept.items()}
    assert metas["web:web.jsonl#0"]["author"] == {"mail": ["<EMAIL>"]}
    assert metas["web:web.jsonl#0"]["scrub"] == {"credit-card": 1, "email": 2, "iban": 1}
    second = metas["web:web.jsonl#1"]
    assert (second["card"], second["year"], second["ok"]) == ("<CREDIT-CARD>", 2024, True)
    assert second["scrub"] == {"credit-card": 1}
    assert metas["web:web.jsonl#2"]["scrub"] == {"email": 1}
    assert metas["web:web.jsonl#2"]["dedup"]["contaminated"]["ngram"].endswith(" are spoken by <EMAIL> on")
    assert metas["mail:1"]["to"] in mail["text"]
    assert "scrub" not in metas["web:web.jsonl#5"]


def test_nothing_personal_is_left_in_anything_that_is_written_from_there_on(finished: Path) -> None:
    said = everything(finished / "run")
    raw = {name for name in said if name.partition("/")[0] in ("ingest", "clean", "dedup")}
    assert [
        value for value in PLANTED if not any(value in said[name] for name in raw)
    ] == []  # it is looked for rightly
    for name in said.keys() - raw:
        for value in PLANTED:
            # the e-mail addresses of books are not asked for
            of_books = value == "jo.doe@mail" and name.startswith(("scrub/part", "split/", "tokens/", "tokenizer/"))
            assert value not in said[name] or of_books, f"{value} in {name}"
    assert "Decoded and searched again: 0 personal values in 70 documents." in said["report.html"]
    assert facts_of(finished / "run", "tokens")["search"] == {"searched": 70, "found": 0}


def test_a_document_that_is_mostly_personal_goes_with_a_reason(finished: Path) -> None:
    run = finished / "run"
    gone = rows_in(run, "scrub/dropped")
    assert list(gone) == ["books:books.jsonl#1"]
    row = gone["books:books.jsonl#1"]
    assert (row["reason"], row["excerpt"]) == ("pii-density", "Pay with <CREDIT-CARD> or <CREDIT-CARD> now.")
    assert row["detail"] == "68% of its bytes are personal"
    manifest = json.loads((run / "scrub/manifest.json").read_text())
    assert manifest["dropped"] == {"pii-density": 1}
    facts = manifest["facts"]["scrub"]["sources"]
    assert (facts["books"]["documents_dropped"], facts["web"]["documents_dropped"]) == (1, 0)
    assert facts["books"]["kinds"] == {"credit-card": {"values": 3, "documents": 2}}
    assert [facts[name]["documents_named"] for name in ("web", "books", "mail")] == [0, 0, 1]
    assert facts["web"]["documents_touched"] == 3 and facts["mail"]["kinds"]["email"] == {"values": 4, "documents": 2}
    assert not (run / "scrub/work").exists()


def test_what_was_done_is_said_and_traced(finished: Path, capsys: pytest.CaptureFixture[str]) -> None:
    def said(*arguments: str) -> str:
        assert main([*arguments, "--run", str(finished / "run")]) == 0
        return capsys.readouterr().out

    assert "71 documents in, 70 out" in said("status")
    assert "(1 pii-density); replaced: 7 email, 5 credit-card, 1 iban\n" in said("status")
    traced = [line for line in said("trace", "web:web.jsonl#0").splitlines() if line.startswith("scrub")]
    assert len(traced) == 1 and traced[0].endswith(".parquet; replaced: 2 email, 1 iban, 1 credit-card")
    assert "replaced" not in said("trace", "web:web.jsonl#5")


def test_workers_and_kills_change_nothing(project: Path) -> None:
    """Two workers; and tasks done by hand in another order, one of them twice."""
    big = [json.dumps({"text": f"{text} No. {n}: {EMAIL}, {CARD}. " * 100}) for n, text in enumerate(real_texts()[:80])]
    (project / "web.jsonl").write_text("\n".join(big))  # several shards
    text2lm(project, *RUN, "--until", "dedup")
    for name in ("one", "two", "hand"):
        shutil.copytree(project / "run", project / name)
    text2lm(project, "run", "c.toml", "--until", "scrub", "--run", "one")
    text2lm(project, "run", "c.toml", "--until", "scrub", "--run", "two", "--set", "launch.workers=2")
    tasks = len(list((project / "one/scrub").glob("part-*.parquet")))
    assert tasks > 2
    for first, last in ((tasks // 2, tasks - 1), (0, tasks // 2)):
        text2lm(project, "stage", "scrub", "--run", "hand", "--task", f"{first}-{last}")
    text2lm(project, "stage", "scrub", "--run", "hand", "--seal")
    found = [(facts_of(project / run, "scrub"), contents(project / run, "scrub")) for run in ("one", "two", "hand")]
    assert found[0] == found[1] == found[2]
    assert len(found[0][0]["scrub"]["samples"]) > 5


def test_the_key_is_nowhere_and_another_one_makes_scrub_stale(copy: Path) -> None:
    project = copy
    before = rows_in(project / "run", "scrub")
    (project / "moved.key").write_text(f"{KEY}\n")
    moved = ("--set", "scrub.key_file=moved.key")
    assert "nothing to do" in text2lm(project, *RUN, "--until", "scrub", *moved).stdout
    raw = KEY.encode()
    digests = [hashlib.new(name, data).hexdigest() for name in ("md5", "sha1", "sha256") for data in (raw, raw + b"\n")]
    for name, said in everything(project / "run").items():
        assert KEY not in said, name
        assert not [digest for digest in digests if digest in said], name  # of a short key they could be guessed
    (project / "scrub.key").write_text("another key of more than 16 bytes")
    assert "its input changed (scrub.key_file)" in text2lm(project, "plan", "c.toml", "--run", "run").stdout
    text2lm(project, *RUN, "--until", "scrub")
    after = rows_in(project / "run", "scrub")
    changed = {id for id, row in before.items() if after[id] != row}
    assert changed == {"mail:0", "mail:1"}


@pytest.mark.parametrize(
    ("content", "words"),
    [(None, "scrub.key_file"), ("short", "holds 5 bytes, wanted at least 16")],
)
def test_a_wrong_key_is_refused_before_anything_is_read(
    project: Path, content: str | None, words: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(project)
    (project / "scrub.key").unlink()
    if content is not None:
        (project / "scrub.key").write_text(content)
    for verb in ("run", "plan"):
        assert main([verb, "c.toml", "--run", "run"]) == 2
        error = capsys.readouterr().err
        assert words in error and "make one with" in error and len(error.splitlines()) == 1
    assert not (project / "run").exists()
    assert main(["plan", "c.toml", "--run", "run", "--set", "source.2.scrub={}"]) == 0  # nobody wants pseudonyms now


def test_the_second_search_finds_what_stands_in_a_part_after_all(copy: Path) -> None:
    """A part of split in which a value stands, as if scrub had missed it: its manifest vouches for it."""
    run = copy / "run"
    manifest = Manifest.load(run / "split/manifest.json")
    assert manifest
    for item in manifest.outputs:
        rows = pq.read_table(run / item["path"]).to_pylist()
        with PartWriter(run / item["path"]) as writer:
            for row in rows:
                bad = row["id"] in ("web:web.jsonl#7", "web:web.jsonl#8", "books:books.jsonl#5")
                text = f"{row['text']} {EMAIL} and {CARD}" if bad else row["text"]
                writer.write(Document(row["id"], text, row["source"], row["meta"]))
        item |= entry(run, run / item["path"])
    manifest.save(run / "split/manifest.json")
    done = text2lm(copy, *RUN, "--until", "tokens", code=2)
    said = done.stderr + done.stdout + "".join(path.read_text() for path in (run / "logs").iterdir())
    assert "tokens: what was encoded holds personal values that scrub should have replaced" in done.stderr
    assert "--from scrub" in done.stderr
    assert "books:books.jsonl#5" in said or "web:web.jsonl#7" in said
    assert "jo.doe" not in said and "4111" not in said
    assert not (run / "tokens/manifest.json").exists()
    text2lm(copy, *RUN, "--until", "tokens", "--from", "scrub")
    assert facts_of(run, "tokens")["search"]["found"] == 0


@pytest.mark.parametrize(
    ("meta", "scrubbed"),
    [
        ({"url": "https://example.org/a", "n": 5, "x": 1.5, "ok": True, "none": None}, None),
        ({"mail": "jo@example.org", "list": ["8.8.8.8", {"deep": "jo@example.org"}]},
         {"mail": "<EMAIL>", "list": ["<IP>", {"deep": "<EMAIL>"}]}),
        ({"jo@example.org": 1, "b": 2}, {"<EMAIL>": 1, "b": 2}),
        ({"card": 4111111111111111, "again": 4111111111111111.0}, {"card": "<CREDIT-CARD>", "again": "<CREDIT-CARD>"}),
        ({"phone": "6502530000", "ssn": "536904399"}, {"phone": "<PHONE>", "ssn": "<US-SSN>"}),
    ],
)  # fmt: skip
def test_fields_are_scrubbed_with_their_names_as_context(meta, scrubbed):
    fields, found = scrub_fields(json.dumps(meta), shown_scrubber())
    assert json.loads(fields) == (scrubbed or meta)
    assert bool(found) == bool(scrubbed)
