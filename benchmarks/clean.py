"""Cleaning beside datatrove: decisions, speed, memory; and Chinese pages with garbage among them.

python benchmarks/clean.py DIRECTORY [--peers PYTHON] [--only agreement,speed,stage,growth,chinese] [--rounds 1]

DIRECTORY keeps what is fetched and made: corpora (benchmarks/clean_corpus.py), what datatrove decides, runs and, unless
PYTHON is an interpreter that has it, datatrove in an environment of its own. What is timed is a process of its own
(benchmarks/clean_contenders.py, clean_peers.py); times are CPU-seconds.
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
import zlib
from collections import Counter, defaultdict
from collections.abc import Callable
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "benchmarks")]

import clean_corpus  # noqa: E402
from clean_contenders import FAMILIES, cleaner_of, row_groups  # noqa: E402

PEERS = ("datatrove[processing]==0.10.1", "spacy", "nltk", "jieba", "pyarrow")
SLOW_SHARE = 10  # one of so many documents, for datatrove
GROWTH_BYTES = (100_000_000, 300_000_000, 1_000_000_000)
CHINESE_FAMILIES = ("gopher-repetition", "fineweb", "gopher-quality")
OTHER_LANGUAGES = ("help en-us", "help ja")  # in the corpus of Chinese, to compare with
ALL_RULES = [*FAMILIES, "refinedweb", "length"]
SAME_CHECK = {  # datatrove's reason -> our check
    "gopher_short_doc": "gopher-quality.min_words",
    "gopher_long_doc": "gopher-quality.max_words",
    "gopher_below_avg_threshold": "gopher-quality.min_mean_word_length",
    "gopher_above_avg_threshold": "gopher-quality.max_mean_word_length",
    "gopher_too_many_hashes": "gopher-quality.max_hashes",
    "gopher_too_many_ellipsis": "gopher-quality.max_ellipses",
    "gopher_too_many_bullets": "gopher-quality.max_bullet_lines",
    "gopher_too_many_end_ellipsis": "gopher-quality.max_ellipsis_lines",
    "gopher_below_alpha_threshold": "gopher-quality.min_alphabetic_words",
    "gopher_enough_stop_words": "gopher-quality.min_stop_words",
    "dup_para_frac": "gopher-repetition.max_repeated_paragraphs",
    "dup_para_char_frac": "gopher-repetition.max_repeated_paragraph_characters",
    "dup_line_frac": "gopher-repetition.max_repeated_lines",
    "dup_line_char_frac": "gopher-repetition.max_repeated_line_characters",
    **{f"top_{n}_gram": f"gopher-repetition.max_top_{n}_gram" for n in (2, 3, 4)},
    **{f"duplicated_{n}_n_grams": f"gopher-repetition.max_repeated_{n}_grams" for n in range(5, 11)},
    "lorem_ipsum": "c4.max_lorem_ipsum",
    "curly_bracket": "c4.max_braces",
    "too_few_sentences": "c4.min_sentences",
    "line_punct_ratio": "fineweb.min_punctuated_lines",
    "short_line_ratio": "fineweb.max_short_lines",
    "char_dup_ratio": "fineweb.max_repeated_line_characters",
    "list_ratio": "fineweb.max_newlines",
    "empty": "clean.text",
}
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
    options.add_argument("--peers", type=Path, help="an interpreter that has datatrove, spaCy, jieba")
    options.add_argument("--only", default="agreement,speed,stage,growth,chinese")
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


class Ours:
    """Our decisions on a corpus: reason, what each check found, the text left, of each document."""

    def __init__(self, corpus: Path, rules: list[str], **settings: Any) -> None:
        cleaner = cleaner_of(corpus, rules, **settings)
        self.reasons: list[str] = []
        self.texts: list[str] = []
        self.checks: list[dict[str, tuple[float, float, bool]]] = []  # value, bound, whether it fails
        for documents in row_groups(corpus):
            looked = cleaner.look(documents)
            self.reasons += looked.reasons
            self.texts += looked.texts
            for row in range(len(documents)):
                found = {one.name: (one.values[row], one.bounds[row], bool(one.fails[row])) for one in looked.checks}
                self.checks.append(found)


def agreement(directory: Path, peers: Path) -> None:
    """Equal decisions, of each family alone and of four in series, and on which checks the others turn."""
    corpus = clean_corpus.english(directory)
    theirs = decided(peers, "english", corpus)
    compare(corpus, theirs, FAMILIES, list(range(len(theirs["ids"]))))
    dropped_by_rule(Ours(corpus, list(FAMILIES)))


def compare(corpus: Path, theirs: dict[str, Any], families: tuple[str, ...], rows: list[int], **settings: Any) -> None:
    """Decisions about the documents that `rows` number."""
    columns = "we drop | datatrove drops | equal | only we drop | only it drops | text left the same"
    print(f"\n| {len(rows):,} documents | {columns} |\n|---|--:|--:|--:|--:|--:|--:|")
    turns: dict[str, list[tuple[str, float]]] = defaultdict(list)
    for name in (*families, "series"):
        ours = Ours(corpus, list(families) if name == "series" else [name], **settings)
        reasons = theirs["series"] if name == "series" else theirs["alone"][name]
        both, we, it, kept, same = 0, 0, 0, 0, 0
        for row in rows:
            dropped = bool(ours.reasons[row]), bool(reasons[row])
            both, we, it = both + all(dropped), we + (dropped == (True, False)), it + (dropped == (False, True))
            if not any(dropped):
                kept += 1
                same += zlib.crc32(ours.texts[row].encode()) == theirs["sizes"][name][row][1]
            elif not all(dropped) and name != "series":
                turns_on(ours.checks[row], reasons[row], turns)
        equal = (both + kept) / len(rows)
        print(f"| {name} | {both + we:,} | {both + it:,} | {equal:.2%} | {we} | {it} | {same / max(kept, 1):.1%} |")
    columns = "only we drop | only datatrove drops | our value's distance from the threshold, median"
    print(f"\n| decisions turn on | {columns} |\n|---|--:|--:|--:|")
    for check, found in sorted(turns.items(), key=lambda item: -len(item[1])):
        sides = Counter(side for side, _ in found)
        distance = statistics.median(distance for _, distance in found)
        print(f"| {check} | {sides['ours']} | {sides['theirs']} | {distance:.1%} |")


def turns_on(
    checks: dict[str, tuple[float, float, bool]], reason: str, turns: dict[str, list[tuple[str, float]]]
) -> None:
    """Add the check by which one side drops a document and the other does not, and how near it was for ours."""
    failing = (name for name, (_, _, fails) in checks.items() if fails)
    check = SAME_CHECK[reason.partition(": ")[2]] if reason else next(failing)
    value, bound, _ = checks[check]
    turns[check].append(("theirs" if reason else "ours", abs(value - bound) / (abs(bound) or 1)))


def dropped_by_rule(ours: Ours) -> None:
    """Shares of the corpus that each check drops alone, and that only it drops."""
    count = len(ours.reasons)
    failed = [[name for name, (_, _, fails) in checks.items() if fails] for checks in ours.checks]
    alone = Counter(name for names in failed for name in names)
    only = Counter(names[0] for names in failed if len(names) == 1)
    first = Counter(ours.reasons)
    print(f"\nkept {first['']:,} of {count:,}; dropped by the first reason: ", end="")
    print(", ".join(f"{reason} {number / count:.1%}" for reason, number in first.most_common() if reason))
    print("\n| check | drops alone | only it drops |\n|---|--:|--:|")
    for name, number in alone.most_common():
        print(f"| {name} | {number / count:.2%} | {only[name] / count:.2%} |")


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
    looked = Ours(corpus, ALL_RULES, detect_language=True, language="")
    theirs = decided(peers, "chinese", corpus)
    print("\n| kind | documents | we keep | datatrove and jieba keep | first reasons of ours |\n|---|--:|--:|--:|---|")
    for kind in dict.fromkeys(kinds):
        rows = [row for row, one in enumerate(kinds) if one == kind]
        ours, other = (sum(not found[row] for row in rows) / len(rows) for found in (looked.reasons, theirs["series"]))
        reasons = Counter(looked.reasons[row] for row in rows if looked.reasons[row]).most_common(4)
        shown = ", ".join(f"{reason} {number}" for reason, number in reasons)
        print(
            f"| {kind} | {len(rows)} | {ours:.1%} | {f'{other:.1%}' if kind not in OTHER_LANGUAGES else ''} | {shown} |"
        )
    real = [row for row, kind in enumerate(kinds) if " zh" in kind]
    compare(corpus, theirs, CHINESE_FAMILIES, real, language="zh")


if __name__ == "__main__":
    main()
