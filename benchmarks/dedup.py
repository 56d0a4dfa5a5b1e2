"""Deduplication beside its peers, against the exact truth, and as the corpus grows.

python benchmarks/dedup.py DIRECTORY [--peers PYTHON] [--only signatures,match,truth,growth] [--rounds 1]

DIRECTORY keeps what is fetched and made: corpora (benchmarks/dedup_corpus.py), the truth (benchmarks/dedup_truth.py),
the runs and, unless PYTHON is an interpreter that has them, the peers: datasketch, rensa, datatrove in an environment
of their own. Every contender is a process of its own (benchmarks/dedup_contenders.py); times are CPU-seconds.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import venv
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq

ROOT = Path(__file__).parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "benchmarks")]

import dedup_corpus  # noqa: E402
from dedup_truth import THRESHOLD, truth  # noqa: E402

PEERS = ("datasketch>=2", "rensa", "datatrove[processing]", "spacy", "nltk", "xxhash", "pyarrow")
SLOW_BYTES, LITTLE_BYTES = 5_000_000, 1_000_000  # for datatrove; for what a step does before it is timed
STEPS = ("sign", "match", "collect", "cluster", "filter")
CONFIG = """
[[source]]
name = "docs"
paths = ["{corpus}/*.parquet"]
id_field = "id"
format = "text"
[clean]
rules = []
[model]
preset = "gpt2-small"
[train]
tokens = 1_048_576
"""


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("directory", type=Path)
    options.add_argument("--peers", type=Path, help="an interpreter that has the peers")
    options.add_argument("--only", default="signatures,match,truth,growth")
    options.add_argument("--rounds", type=int, default=1, help="of the signatures")
    arguments = options.parse_args()
    directory = arguments.directory.resolve()
    directory.mkdir(parents=True, exist_ok=True)
    os.environ["OMP_NUM_THREADS"] = "1"
    parts: dict[str, Callable[[], None]] = {
        "signatures": lambda: signatures(directory, arguments.peers or peers(directory), arguments.rounds),
        "match": lambda: match(directory, arguments.peers or peers(directory)),
        "truth": lambda: against_truth(directory),
        "growth": lambda: growth(directory),
    }
    for name in arguments.only.split(","):
        parts[name]()


def peers(directory: Path) -> Path:
    """The interpreter of an environment with the peers, made if it is not there."""
    python = directory / "peers" / "bin" / "python"
    if not python.exists():
        venv.create(directory / "peers", with_pip=True)
        subprocess.run([python, "-m", "pip", "install", "--quiet", *PEERS], check=True)
    return python


def contender(python: Path | str, *arguments: object) -> dict[str, Any]:
    command = [python, ROOT / "benchmarks" / "dedup_contenders.py", *map(str, arguments)]
    result = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
    found: dict[str, Any] = json.loads(result.stdout.splitlines()[-1])
    return found


def signatures(directory: Path, peers: Path, rounds: int) -> None:
    """MB of text a CPU-second from parquet to signatures; the medians of the rounds."""
    english, chinese = dedup_corpus.english(directory), dedup_corpus.chinese(directory)
    slow = dedup_corpus.sliced(directory, SLOW_BYTES)
    contenders = {
        "ours, 112 permutations": (sys.executable, "ours", english, 112),
        "ours, 256": (sys.executable, "ours", english, 256),
        "ours, 112, Chinese": (sys.executable, "ours", chinese, 112, 20),
        "ours, 256, Chinese": (sys.executable, "ours", chinese, 256, 20),
        "Python's shingles alone": (peers, "shingling", english),
        "rensa, 112": (peers, "rensa", english),
        "datasketch, 112": (peers, "datasketch", english),
        f"datatrove's stage, 14 x 8, {SLOW_BYTES / 1e6:.0f} MB": (peers, "datatrove", slow),
    }
    measured: dict[str, list[float]] = {name: [] for name in contenders}
    for _ in range(rounds):
        for name, command in contenders.items():
            result = contender(*command)
            measured[name].append(result["bytes"] / 1e6 / result["seconds"])
    speeds = {name: statistics.median(values) for name, values in measured.items()}
    ours = speeds["ours, 112 permutations"]
    print("\n| signatures | MB/CPU-s | ours / it |\n|---|--:|--:|")
    for name, speed in speeds.items():
        print(f"| {name} | {speed:.2f} | {ours / speed:.1f} |")
    with tempfile.TemporaryDirectory() as cache:
        os.environ["NUMBA_CACHE_DIR"] = cache
        cold, warm = (contender(sys.executable, "first-call")["seconds"] for _ in range(2))
        del os.environ["NUMBA_CACHE_DIR"]
    print(f"\nuntil the first text is signed: {cold:.2f} CPU-s, with what was compiled before {warm:.2f}")


def match(directory: Path, peers: Path) -> None:
    """From signatures to what goes: 14 x 8 and unverified as in MinHashLSH; beside it the default, which verifies."""
    corpus, saved = dedup_corpus.grown(directory, 10), directory / "signatures.npy"
    contender(sys.executable, "save-signatures", corpus, saved)
    theirs = contender(peers, "match-datasketch", saved)
    documents = theirs["documents"]
    print(f"\n| {documents:,} documents | match, CPU-s | collect | cluster | documents/CPU-s | bytes a document |")
    print("|---|--:|--:|--:|--:|--:|")
    print(f"| MinHashLSH | | | | {documents / theirs['seconds']:,.0f} | {theirs['peak'] / documents:,.0f} |")
    kernels = contender(sys.executable, "match-ours", saved)
    times = f"{documents / kernels['seconds']:,.0f} ({theirs['seconds'] / kernels['seconds']:.1f}x)"
    print(f"| ours, kernels in memory | | | | {times} | {kernels['peak'] / documents:,.0f} |")
    for preset in ("fineweb", "exact"):
        steps = steps_of(directory, corpus, preset, STEPS[:4])
        shown = " | ".join(f"{steps[step]['seconds']:.2f}" for step in STEPS[1:4])
        seconds = steps["match"]["seconds"] + steps["cluster"]["seconds"]
        peak = max(steps["match"]["peak"], steps["cluster"]["peak"]) / documents
        times = f"{documents / seconds:,.0f} ({theirs['seconds'] / seconds:.1f}x)"
        print(f"| ours, {preset} | {shown} | {times} | {peak:,.0f} |")


def growth(directory: Path) -> None:
    """Every step of the default, at 100 MB and at 1 GB; memory also where the settings allow 10 MB for documents."""
    corpora = [dedup_corpus.grown(directory, times) for times in (1, 10)]
    bounded = steps_of(directory, corpora[1], "exact", STEPS, "dedup.memory_gb=0.01")
    small, large = (steps_of(directory, corpus, "exact", STEPS) for corpus in corpora)
    times = large["sign"]["documents"] / small["sign"]["documents"]
    print("\n| | CPU-s: 100 MB | 1 GB | over linear | peak MB: 100 MB | 1 GB | 1 GB, memory_gb = 0.01 |")
    print("|---|--:|--:|--:|--:|--:|--:|")
    for step in STEPS:
        one, ten = small[step]["seconds"], large[step]["seconds"]
        peaks = " | ".join(f"{steps[step]['peak'] / 1e6:.0f}" for steps in (small, large, bounded))
        print(f"| {step} | {one:.2f} | {ten:.2f} | {ten / one / times:.2f} | {peaks} |")
    one, ten = (sum(row["seconds"] for row in steps.values()) for steps in (small, large))
    print(f"| all | {one:.2f} | {ten:.2f} | {ten / one / times:.2f} | | | |")


def steps_of(
    directory: Path, corpus: Path, preset: str, steps: tuple[str, ...], *settings: str
) -> dict[str, dict[str, Any]]:
    """What each step of dedup takes, after the run's earlier stages."""
    little = dedup_corpus.sliced(directory, LITTLE_BYTES)
    runs = [text2lm(directory, one, one.name, "clean", f"dedup.preset={preset}", *settings) for one in (corpus, little)]
    for run in runs:
        shutil.rmtree(run / "dedup", ignore_errors=True)
    return {step: contender(sys.executable, "steps-ours", step, *runs) for step in steps}


def text2lm(directory: Path, corpus: Path, name: str, until: str, *settings: str) -> Path:
    """A run of the corpus, as far as a stage."""
    run = directory / "runs" / name
    run.parent.mkdir(exist_ok=True)
    config = run.with_suffix(".toml")
    config.write_text(CONFIG.format(corpus=corpus))
    command = [sys.executable, "-m", "pipeline", "run", config, "--run", run, "--until", until]
    options = [option for setting in settings for option in ("--set", setting)]
    subprocess.run([*command, *options], cwd=ROOT, stdout=subprocess.DEVNULL, check=True)
    return run


def against_truth(directory: Path) -> None:
    """What each preset finds and loses, and whether the number of workers can be seen in the files."""
    print(f"\n| corpus | preset | pairs of Jaccard >= {THRESHOLD} | found | planted found | removed | lost |")
    print("|---|---|--:|--:|--:|--:|--:|")
    for corpus in (dedup_corpus.english(directory), dedup_corpus.chinese(directory)):
        for preset in ("exact", "datasketch", "fineweb"):
            run = anew(directory, corpus, f"{corpus.name}-1", preset, workers=1)
            print(f"| {corpus.name} | {preset} | {judged(corpus, run)} |")
            if preset == "exact":
                other = anew(directory, corpus, f"{corpus.name}-2", preset, workers=2)
                same = "the same" if digests(run) == digests(other) else "OTHER"
                print(f"| | | | | | with 2 workers {same} bytes | |")


def anew(directory: Path, corpus: Path, name: str, preset: str, workers: int) -> Path:
    shutil.rmtree(directory / "runs" / name / "dedup", ignore_errors=True)
    return text2lm(directory, corpus, name, "dedup", f"dedup.preset={preset}", f"launch.workers={workers}")


def judged(corpus: Path, run: Path) -> str:
    """A pair is found when one of its documents went; a document is lost when it went and none like it stays."""
    documents = list(dedup_corpus.read(corpus))
    pairs = truth((document.text for document in documents), corpus.with_suffix(".truth.npz"))
    number = {f"docs:{document.id}": row for row, document in enumerate(documents)}
    gone = {number[name] for path in run.glob("dedup/dropped/*.parquet") for name in column(path, "id")}
    stay = {number[name] for path in run.glob("dedup/*.parquet") for name in column(path, "id")}
    assert len(gone) + len(stay) == len(documents)
    found, planted = Counter[bool](), Counter[bool]()
    stands_for = set()
    for left, right in zip(pairs.left.tolist(), pairs.right.tolist(), strict=True):
        found[left in gone or right in gone] += 1
        ids = {documents[left].id, documents[right].id}
        if any(json.loads(documents[row].meta).get("copy_of") in ids for row in (left, right)):
            planted[left in gone or right in gone] += 1
        stands_for |= {left} if right in stay else set()
        stands_for |= {right} if left in stay else set()
    shares = [f"{counts[True] / counts.total():.5f}" for counts in (found, planted)]
    return f"{found.total():,} | {shares[0]} | {shares[1]} | {len(gone):,} | {len(gone - stands_for):,}"


def column(path: Path, name: str) -> list[str]:
    values: list[str] = pq.read_table(path, columns=[name])[name].to_pylist()
    return values


def digests(run: Path) -> dict[str, str]:
    """Of the documents and ledgers that dedup left."""
    files = run.glob("dedup/**/*.parquet")
    return {str(path.relative_to(run)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


if __name__ == "__main__":
    main()
