"""Cleaning beside datatrove: decisions, speed, memory; and Chinese pages with garbage among them.

python benchmarks/clean.py DIRECTORY [--peers PYTHON] [--only PART,...] [--rounds 1]

A PART is agreement, speed, stage, growth, chinese or calibration. DIRECTORY keeps what is fetched and made: corpora
(benchmarks/clean_corpus.py), what datatrove decides, runs and, unless PYTHON is an interpreter that has it, datatrove
in an environment of its own. What is timed is a process of its own (benchmarks/clean_contenders.py, clean_peers.py);
times are CPU-seconds.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import statistics
import subprocess
import sys
import venv
from collections import Counter, defaultdict
from collections.abc import Callable
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "benchmarks")]

import clean_corpus  # noqa: E402
from clean_calibration import calibration  # noqa: E402
from clean_contenders import FAMILIES, row_groups  # noqa: E402
from clean_decisions import Ours, compare, dropped_by_rule  # noqa: E402

from data_prep.settings import CleanSettings  # noqa: E402

PEERS = ("datatrove[processing]==0.10.1", "spacy", "nltk", "jieba", "sudachipy", "sudachidict_core", "pyarrow")
SLOW_SHARE = 10  # one of so many documents, for datatrove
GROWTH_BYTES = (100_000_000, 300_000_000, 1_000_000_000)
CHINESE_FAMILIES = ("gopher-repetition", "fineweb", "gopher-quality")
PARTS = ("agreement", "speed", "stage", "growth", "chinese", "calibration")
ALL_RULES = [*FAMILIES, "refinedweb", "length"]
CONFIG = """
[[source]]
name = "pages"
paths = ["{paths}"]
id_field = "id"
format = "{format}"
language = "{language}"
[clean]
rules = ["{rules}"]
detect_language = {detect}
[model]
preset = "gpt2-small"
[train]
tokens = 1_048_576
"""


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("directory", type=Path)
    options.add_argument("--peers", type=Path, help="an interpreter that has datatrove, spaCy, jieba, Sudachi")
    options.add_argument("--only", default=",".join(PARTS))
    options.add_argument("--rounds", type=int, default=1, help="of what is timed")
    arguments = options.parse_args()
    directory = arguments.directory.resolve()
    directory.mkdir(parents=True, exist_ok=True)
    os.environ["OMP_NUM_THREADS"] = "1"
    parts: dict[str, Callable[[], None]] = {
        "agreement": lambda: agreement(directory, arguments.peers or peers(directory)),
        "speed": lambda: speed(directory, arguments.peers or peers(directory), arguments.rounds),
        "stage": lambda: stage(directory, arguments.rounds),
        "growth": lambda: growth(directory),
        "chinese": lambda: chinese(directory, arguments.peers or peers(directory)),
        "calibration": lambda: calibration(directory, arguments.peers or peers(directory)),
    }
    for name in arguments.only.split(","):
        parts[name]()


def peers(directory: Path) -> Path:
    """The interpreter of an environment with datatrove, made if it is not there."""
    python = directory / "clean-peers" / "bin" / "python"
    if not python.exists():
        venv.create(directory / "clean-peers", with_pip=True)
        subprocess.run([python, "-m", "pip", "install", "--quiet", *PEERS], check=True)
    return python


def contender(*arguments: object) -> dict[str, Any]:
    command = [sys.executable, ROOT / "benchmarks" / "clean_contenders.py", *map(str, arguments)]
    result = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
    found: dict[str, Any] = json.loads(result.stdout.splitlines()[-1])
    return found


def decided(peers: Path, setting: str, corpus: Path, again: bool = False) -> dict[str, Any]:
    """What datatrove decides about a corpus: benchmarks/clean_peers.py, kept beside the corpus."""
    file = corpus.with_suffix(f".{setting}.json")
    if again or not file.exists():
        subprocess.run([peers, ROOT / "benchmarks" / "clean_peers.py", setting, corpus, file], check=True)
    found: dict[str, Any] = json.loads(file.read_text())
    return found


def agreement(directory: Path, peers: Path) -> None:
    """Equal decisions, of each family alone and of four in series, and on which checks the others turn."""
    corpus = clean_corpus.english(directory)
    theirs = decided(peers, "english", corpus)
    compare(corpus, theirs, FAMILIES, list(range(len(theirs["ids"]))))
    dropped_by_rule(Ours(corpus, list(FAMILIES)))


def speed(directory: Path, peers: Path, rounds: int) -> None:
    """The four families from parquet to reasons; datatrove beside them, which leaves off where a filter drops.

    So the series is timed on one of ten documents, and on those that stay, which every filter looks at.
    """
    every, slow = clean_corpus.english(directory), clean_corpus.sampled(directory, SLOW_SHARE)
    kept = clean_corpus.kept(directory, decided(peers, "english", every))
    measured: dict[str, list[tuple[float, float]]] = defaultdict(list)
    for _ in range(rounds):
        theirs = {"": decided(peers, "english", slow, again=True), " kept": decided(peers, "english", kept, again=True)}
        for name, found in theirs.items():
            corpus, size = (kept if name else every), found["bytes"] / 1e6
            for family in ("series",) if name else ("series", *FAMILIES):
                ours = contender("families", corpus, ",".join(FAMILIES) if family == "series" else family)
                rates = ours["bytes"] / 1e6 / ours["seconds"], size / found["seconds"][family]
                measured[("all four" if family == "series" else family) + name].append(rates)
            if not name:
                passes = sum(found["seconds"][family] for family in FAMILIES)
                rates = measured["all four"][-1][0], size / passes
                measured["all four, each on all documents"].append(rates)
    print("\n| MB of text a CPU-second | ours | datatrove | times |\n|---|--:|--:|--:|")
    for name, rounds_of in measured.items():
        ours_rate, their_rate = (statistics.median(side) for side in zip(*rounds_of, strict=True))
        print(f"| {name} | {ours_rate:.1f} | {their_rate:.3f} | {ours_rate / their_rate:.0f} |")


def stage(directory: Path, rounds: int) -> None:
    """The whole stage as a run does it: parquet in; extraction, repairs, language, rules; parquet and ledger out."""
    text, pages = clean_corpus.english(directory), clean_corpus.html(directory)
    default, four = "gopher-quality,gopher-repetition", ",".join(FAMILIES)
    cases = {
        "text, default rules": (text, "text", "en", default, False),
        "text, four families": (text, "text", "en", four, False),
        "text, four families, language detected": (text, "text", "", four, True),
        "HTML, default rules": (pages, "html", "en", default, False),
        "HTML, four families": (pages, "html", "en", four, False),
        "HTML, four families, language detected": (pages, "html", "", four, True),
    }
    print("\n| clean | MB/CPU-s | documents of, kB |\n|---|--:|--:|")
    for name, (corpus, form, language, rules, detect) in cases.items():
        config = CONFIG.format(
            paths=f"{corpus}/*.parquet", format=form, language=language, rules=rules.replace(",", '", "'),
            detect=str(detect).lower(),
        )  # fmt: skip
        little = config.replace("/*.parquet", "/part-00000.parquet")
        runs = [ingested(directory, f"clean-{place}", text) for place, text in (("run", config), ("little", little))]
        results = [contender("stage", *runs) for _ in range(rounds)]
        rate = statistics.median(found["bytes"] / 1e6 / found["seconds"] for found in results)
        size = results[0]["bytes"] / results[0]["documents"] / 1e3
        print(f"| {name} | {rate:.1f} | {size:.1f} |")


def ingested(directory: Path, name: str, config: str) -> Path:
    """A fresh run of a config, as far as ingest."""
    run, file = directory / "runs" / name, directory / "runs" / f"{name}.toml"
    shutil.rmtree(run, ignore_errors=True)
    file.parent.mkdir(exist_ok=True)
    file.write_text(config)
    contender("command", "run", file, "--run", run, "--until", "ingest")
    return run


def growth(directory: Path) -> None:
    """Ingest and clean of one file of JSON lines: CPU-seconds a stage, memory of the largest of its processes."""
    rules = '", "'.join(FAMILIES)
    print("\n| | ingest, CPU-s | clean, CPU-s | MB/CPU-s | ingest, MB of memory | clean, MB of memory |")
    print("|---|--:|--:|--:|--:|--:|")
    for size in GROWTH_BYTES:
        file = clean_corpus.large(directory, size)
        run, config = directory / "runs" / f"clean-{size}", directory / "runs" / f"clean-{size}.toml"
        shutil.rmtree(run, ignore_errors=True)
        config.parent.mkdir(exist_ok=True)
        config.write_text(CONFIG.format(paths=file, format="text", language="en", rules=rules, detect="false"))
        stages = [contender("command", "run", config, "--run", run, "--until", name) for name in ("ingest", "clean")]
        seconds = [found["seconds"] for found in stages]
        peaks = " | ".join(f"{found['peak'] / 1e6:.0f}" for found in stages)
        rate = size / 1e6 / sum(seconds)
        print(f"| {size / 1e6:.0f} MB | {seconds[0]:.1f} | {seconds[1]:.1f} | {rate:.1f} | {peaks} |")
        shutil.rmtree(run)


def chinese(directory: Path, peers: Path) -> None:
    """Pages kept and garbage dropped by all rules as they come; datatrove's decisions in FineWeb-2's setting."""
    corpus = clean_corpus.chinese(directory)
    documents = [document for group in row_groups(corpus) for document in group]
    kinds = [json.loads(document.meta)["kind"] for document in documents]
    theirs = decided(peers, "chinese", corpus)
    cases = {
        "default rules": Ours(corpus, CleanSettings().rules, detect_language=True, language="").reasons,
        "all rules": Ours(corpus, ALL_RULES, detect_language=True, language="").reasons,
        "languages = zh": Ours(corpus, ALL_RULES, detect_language=True, language="", languages=["zh"]).reasons,
        "datatrove, FineWeb-2's": theirs["series"],
    }
    print(f"\n| kept | documents | {' | '.join(cases)} | reasons of all rules |\n|---|{5 * '--:|'}---|")
    for kind in sorted(set(kinds)):
        rows = [row for row, one in enumerate(kinds) if one == kind]
        shares = [sum(not reasons[row] for row in rows) / len(rows) for reasons in cases.values()]
        first = Counter(cases["all rules"][row] for row in rows if cases["all rules"][row]).most_common(4)
        shown = ", ".join(f"{reason} {number}" for reason, number in first)
        print(f"| {kind} | {len(rows)} | {' | '.join(f'{share:.1%}' for share in shares)} | {shown} |")
    real = [row for row, kind in enumerate(kinds) if " zh" in kind]
    compare(corpus, theirs, CHINESE_FAMILIES, real, language="zh")


if __name__ == "__main__":
    main()
