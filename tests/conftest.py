"""A small corpus of real text (Python's own documentation), a config for it, and the command as a user runs it."""

from __future__ import annotations

import gzip
import json
import os
import pydoc_data.topics
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

# wandb, tokenizers and deepspeed must not look for a network
os.environ.update(HF_HUB_OFFLINE="1", WANDB_MODE="offline", TOKENIZERS_PARALLELISM="false")

WORDS_PER_DOCUMENT = 120

TINY_CONFIG = """
seed = 1
[[source]]
name = "guide"
paths = ["corpus/guide-*.jsonl.gz"]
id_field = "id"
[[source]]
name = "notes"
paths = ["corpus/notes.jsonl"]
weight = 0.5
[clean]
rules = ["gopher-quality"]
[clean.thresholds.gopher-quality]
min_alphabetic_words = 0.3
[split]
val_fraction = 0.05
[tokenizer]
vocab_size = 512
[model]
n_layers = 2
n_heads = 2
d_model = 64
context_length = 64
[train]
tokens = 20_480
global_batch_tokens = 1024
micro_batch_size = 4
lr = 3e-3
warmup_steps = 4
precision = "fp32"
validate_every_steps = 10
[checkpoint]
every_steps = 8
[launch]
workers = 2
ranks = 2
"""


def real_texts() -> list[str]:
    """Python's documentation in pieces of 120 words."""
    words = " ".join(text for _, text in sorted(pydoc_data.topics.topics.items())).split()
    return [" ".join(words[n : n + WORDS_PER_DOCUMENT]) for n in range(0, len(words), WORDS_PER_DOCUMENT)][:-1]


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A directory with `tiny.toml` and its corpus, in which a few things are planted for the tests to find."""
    write_project(tmp_path)
    return tmp_path


@pytest.fixture(scope="session")
def finished_data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Such a directory whose data stages, up to tokens, are done in `run/`. Made once: tests work on copies."""
    directory = tmp_path_factory.mktemp("finished_data")
    write_project(directory)
    text2lm(directory, "run", "tiny.toml", "--run", "run", "--until", "tokens")
    return directory


def write_project(directory: Path) -> None:
    corpus = directory / "corpus"
    corpus.mkdir(parents=True)
    texts = real_texts()
    half = len(texts) // 2
    guide = [{"id": f"t{number}", "text": text, "kind": "topic"} for number, text in enumerate(texts[:half])]
    guide[3]["text"] += " Write to jo.doe@mail.example.org from 8.8.4.4 and pay with 4111 1111 1111 1111 today."
    guide.append({"id": "copy", "text": guide[5]["text"]})
    guide.append({"id": "near", "text": guide[6]["text"] + " once more"})
    guide.append({"id": "short", "text": "Too short."})
    guide.append({"id": "t7", "text": guide[8]["text"]})
    for number in range(2):
        lines = "".join(json.dumps(row) + "\n" for row in guide[number::2])
        (corpus / f"guide-{number}.jsonl.gz").write_bytes(gzip.compress(lines.encode(), mtime=0))
    notes = [json.dumps({"text": text}).encode() for text in texts[half:]]
    notes[1:1] = [b'{"text": "cut off', b'{"text": "\xff\xfe"}', b'{"body": 1}', b'["a list"]', b'{"text": 5}']
    (corpus / "notes.jsonl").write_bytes(b"\n".join(notes) + b"\n")
    (directory / "tiny.toml").write_text(TINY_CONFIG)


def text2lm(directory: Path, *arguments: str, code: int | None = 0) -> subprocess.CompletedProcess[str]:
    """`text2lm ...` in a process of its own, as a user types it in `directory`; its exit code must be `code`."""
    done = subprocess.run(
        [sys.executable, "-m", "pipeline", *arguments], cwd=directory, capture_output=True, text=True, timeout=300
    )
    assert code is None or done.returncode == code, f"exit {done.returncode}\n{done.stdout}\n{done.stderr}"
    return done


def start_text2lm(directory: Path, *arguments: str) -> subprocess.Popen[str]:
    """The same, left running."""
    command = [sys.executable, "-m", "pipeline", *arguments]
    return subprocess.Popen(command, cwd=directory, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)


def contents(run: Path, *stages: str) -> dict[str, bytes]:
    """Every file that the stages' manifests list as made, by its path in the run."""
    found = {}
    for stage in stages:
        manifest = json.loads((run / stage / "manifest.json").read_text())
        for item in [*manifest["outputs"], *manifest["ledgers"]]:
            found[item["path"]] = (run / item["path"]).read_bytes()
    return found


@contextmanager
def small_disk(directory: Path, size: str) -> Iterator[None]:
    """A real file system of so many bytes, mounted at `directory`. CI fails where it cannot be had; others skip."""
    mount = ["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", str(directory)]
    mounted = subprocess.run(mount, capture_output=True, text=True)
    if mounted.returncode:
        (pytest.fail if "CI" in os.environ else pytest.skip)(f"no small file system here: {mounted.stderr.strip()}")
    try:
        yield
    finally:
        subprocess.run(["umount", "-l", str(directory)], check=True)
