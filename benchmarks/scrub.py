"""Privacy scrubbing beside datatrove's formatter and presidio's engine: speed, quality, false positives, blow-ups.

python benchmarks/scrub.py DIRECTORY [--peers PYTHON] [--only PART,...] [--quick]

A PART is speed, kinds, hostile, quality, kernel or summaries. DIRECTORY keeps what is fetched and made: corpora
(benchmarks/scrub_corpus.py), sentences, what was found (values masked) and, unless PYTHON is an interpreter that has
them, the peers in an environment of their own (benchmarks/scrub_peers.py). Times are CPU-seconds, MB are of UTF-8.
--quick does hostile and quality on little text without peers or packages, and ends with 1 where a bar is missed.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import subprocess
import sys
import time
import venv
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "benchmarks")]

import scrub_corpus  # noqa: E402
from dedup_corpus import read  # noqa: E402
from scrub_hostile import HOSTILE_BYTES, hostile, one_line  # noqa: E402
from scrub_labels import VALID, Label, Labelled  # noqa: E402
from scrub_quality import Finder, Tally, generated, masked, mistakes, ours, read_sentences, shown, spans, table  # noqa: E402

from data_prep.pii import Scrubber  # noqa: E402
from data_prep.settings import ScrubSettings  # noqa: E402

PEERS = ("datatrove[processing]==0.10.1", "spacy", "presidio-analyzer==2.2.366", "presidio-evaluator==0.3.2")
PARTS = ("speed", "kinds", "hostile", "quality", "kernel", "summaries")
SENTENCES, DENSE_SENTENCES, SEED = 3_000, 40_000, 42
DATATROVE_BYTES, PRESIDIO_BYTES = 20_000_000, 300_000  # of a corpus, at most
WARMING_BYTES = 30_000_000
LITTLE_BAR, DENSE_BAR, DATATROVE_BAR, PRESIDIO_BAR = 100, 20, 15, 300
PRECISION_BAR, RECALL_BAR, PHONE_BAR = 0.99, 0.98, 0.9
BARRED = ("email", "ip", "credit-card", "iban", "us-ssn", "cn-resident-id")
PRESIDIO_SURE = 0.5  # a score of presidio's at which its many guesses are left out


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("directory", type=Path)
    options.add_argument("--peers", type=Path, help="an interpreter that has datatrove, presidio, presidio-evaluator")
    options.add_argument("--only", default=",".join(PARTS))
    options.add_argument("--quick", action="store_true")
    arguments = options.parse_args()
    directory = arguments.directory.resolve()
    directory.mkdir(parents=True, exist_ok=True)
    os.environ["OMP_NUM_THREADS"] = "1"
    if arguments.quick:
        missed = hostile(HOSTILE_BYTES // 100) + bars(table(generated(0.1), {"ours": ours(Scrubber(ScrubSettings()))}))
        sys.exit("\n".join(missed) or 0)
    parts: dict[str, Callable[[Path], object]] = {
        "speed": lambda python: speed(directory, python),
        "kinds": lambda python: cost_of_kinds(directory),
        "hostile": lambda python: (one_line(directory), hostile(HOSTILE_BYTES)),
        "quality": lambda python: quality(directory, python),
        "kernel": lambda python: kernel(directory),
        "summaries": lambda python: summaries(directory),
    }
    for name in arguments.only.split(","):
        parts[name](arguments.peers or peers(directory))


def peers(directory: Path) -> Path:
    """The interpreter of an environment with the peers, made if it is not there."""
    python = directory / "scrub-peers" / "bin" / "python"
    if not python.exists():
        venv.create(directory / "scrub-peers", with_pip=True)
        subprocess.run([python, "-m", "pip", "install", "--quiet", *PEERS], check=True)
    return python


def peer(python: Path, task: str, texts: Iterable[str], directory: Path) -> dict[str, Any]:
    """What a peer finds in the texts, and how long that took."""
    given, answer = directory / f"{task}-texts.jsonl", directory / f"{task}-found.json"
    given.write_text("".join(json.dumps({"text": text}) + "\n" for text in texts))
    command = [python, ROOT / "benchmarks" / "scrub_peers.py", task, given, answer]
    subprocess.run(command, check=True, capture_output=True)
    found: dict[str, Any] = json.loads(answer.read_text())
    return found


def sentences(directory: Path, python: Path, count: int, seed: int) -> list[Labelled]:
    """presidio-evaluator's, made once."""
    file = directory / f"sentences-{count}-{seed}.jsonl"
    if not file.exists():
        command = [python, ROOT / "benchmarks" / "scrub_peers.py", "sentences", str(count), str(seed), file]
        subprocess.run(command, check=True, capture_output=True)
    return read_sentences(file)


def timed(work: Callable[[str], object], texts: list[str]) -> float:
    """MB a CPU-second, once RE2 has met such texts: it builds its automata while it reads."""
    for text in first(texts, WARMING_BYTES):
        work(text)
    seconds = -time.process_time()
    for text in texts:
        work(text)
    seconds += time.process_time()
    return size_of(texts) / 1e6 / seconds


def size_of(texts: Iterable[str]) -> int:
    return sum(len(text.encode("utf-8", "surrogatepass")) for text in texts)


def corpora(directory: Path) -> dict[str, tuple[list[str], float]]:
    """Texts by name, and the bar in MB/CPU-s."""
    little = [document.text for document in read(scrub_corpus.documentation(directory))]
    wikipedia = [document.text for document in read(scrub_corpus.summaries(directory))]
    lists = [document.text for document in read(scrub_corpus.contact_lists(directory))]
    return {
        "documentation": (little, LITTLE_BAR),
        "Wikipedia's summaries": (wikipedia, LITTLE_BAR),
        "lists of contacts": (lists, DENSE_BAR),
    }


def first(texts: list[str], size: int) -> list[str]:
    """As many as make up so many bytes."""
    taken = []
    for text in texts:
        size -= len(text.encode())
        if size < 0:
            break
        taken.append(text)
    return taken


def speed(directory: Path, python: Path) -> None:
    """MB a CPU-second of all default kinds; the peers on the first of the same documents."""
    cases = corpora(directory)
    joined = scrub_corpus.joined(directory, "sentences", sentences(directory, python, DENSE_SENTENCES, SEED + 1))
    cases["presidio-evaluator's sentences"] = ([document.text for document in read(joined)], DENSE_BAR)
    scrubber = Scrubber(ScrubSettings())
    heads = ("MB", "bytes a document", "ours", "datatrove", "times", "presidio, six kinds", "times", "all its", "times")
    print(f"\n| MB a CPU-second | {' | '.join(heads)} |")
    print(f"|---|{9 * '--:|'}")
    for name, (texts, bar) in cases.items():
        size = size_of(texts)
        rate = timed(scrubber.scrub, texts)
        cells = [f"{rate:.0f} (bar {bar}: {verdict(rate >= bar)})"]
        for task, limit, least in (
            ("datatrove", DATATROVE_BYTES, DATATROVE_BAR),
            ("presidio", PRESIDIO_BYTES, PRESIDIO_BAR),
            ("presidio-all", PRESIDIO_BYTES, PRESIDIO_BAR),
        ):
            some = first(texts, limit)
            its = peer(python, task, some, directory)
            theirs = its["bytes"] / 1e6 / its["seconds"]
            times = timed(scrubber.scrub, some) / theirs
            cells.append(f"{theirs:.3g} | {times:.0f} (bar {least}: {verdict(times >= least)})")
        print(f"| {name} | {size / 1e6:.1f} | {size / len(texts):.0f} | {' | '.join(cells)} |", flush=True)


def verdict(met: bool) -> str:
    return "met" if met else "MISSED"


def cost_of_kinds(directory: Path) -> None:
    """What each kind costs: nanoseconds a byte of all kinds less those without it, and of it alone."""
    kinds = ScrubSettings().kinds
    for name, (texts, bar) in corpora(directory).items():
        some = first(texts, bar * 50_000)
        scrubber, counts = Scrubber(ScrubSettings()), Counter[str]()
        every = 1e3 / timed(scrubber.scrub, some)
        for text in some:
            counts.update(one.kind for one in scrubber.find(text))
        print(f"\n| {name}, ns a byte | found | without it | alone |\n|---|--:|--:|--:|\n| all | | {every:.2f} | |")
        for kind in kinds:
            rest = ScrubSettings(kinds=[other for other in kinds if other != kind])
            without, alone = (
                1e3 / timed(Scrubber(settings).scrub, some) for settings in (rest, replace(rest, kinds=[kind]))
            )
            print(f"| {kind} | {counts[kind]} | {every - without:+.2f} | {alone:.2f} |", flush=True)


def quality(directory: Path, python: Path) -> None:
    """Precision and recall by set and kind, beside the peers'; mistakes, masked, are listed in a file."""
    sets = {"sentences": sentences(directory, python, SENTENCES, SEED), **generated(1)}

    def theirs(task: str, least: float) -> Finder:
        def find(texts: list[str]) -> list[list[tuple[int, int, str]]]:
            found = peer(python, task, texts, directory)["found"]
            return [[(start, end, kind) for start, end, kind, score in its if score >= least] for its in found]

        return find

    finders = {
        "ours": ours(Scrubber(ScrubSettings())),
        "presidio": theirs("presidio", 0),
        f"presidio from {PRESIDIO_SURE}": theirs("presidio", PRESIDIO_SURE),
        "datatrove": theirs("datatrove", 0),
    }
    missed = bars(table(sets, finders))
    print("\n".join(missed) or "every bar is met")
    lines = []
    for name, labelled in sets.items():
        rows = mistakes(labelled, finders["ours"]([one.text for one in labelled]))
        lines += [f"{name}: {row}" for row in rows]
    write(directory / "scrub-mistakes.txt", lines)


def bars(tallies: dict[str, Tally]) -> list[str]:
    """The bars that are missed."""
    missed = [
        f"{kind}: precision {tallies[kind].precision:.3f}, recall {tallies[kind].recall:.3f}"
        for kind in BARRED
        if tallies[kind].precision < PRECISION_BAR or tallies[kind].recall < RECALL_BAR
    ]
    phone = tallies["phone"]
    return missed + [f"phone: precision {phone.precision:.3f}"] * (phone.precision < PHONE_BAR)


def write(file: Path, lines: list[str]) -> None:
    file.write_text("".join(line + "\n" for line in lines))
    print(f"{len(lines)} lines in {file.name}")


def kernel(directory: Path) -> None:
    """E-mail addresses in the kernel's documentation, beside those that a plain expression and RFC 5322 tell."""
    plain = re.compile(r"[A-Za-z0-9_%+-][A-Za-z0-9._%+-]*@(?:[A-Za-z0-9-]+\.)+[A-Za-z]{2,}")
    finder, labelled = Scrubber(ScrubSettings()), []
    for text in scrub_corpus.kernel_texts(directory):
        labels = [Label(*match.span(), "email", match[0]) for match in plain.finditer(text)]
        labelled.append(Labelled(text, tuple(label for label in labels if VALID["email"](label.value))))
    every = [spans(finder, one.text) for one in labelled]
    others = Counter(kind for its in every for _, _, kind in its if kind != "email")
    found = [[span for span in its if span[2] == "email"] for its in every]
    table({"the kernel's documentation": labelled}, {"ours": lambda texts: found})
    print(f"of other kinds: {dict(others.most_common())}")
    rows = mistakes(labelled, found)
    rest = [
        shown(masked(one.text, its), span)
        for one, its in zip(labelled, every, strict=True)
        for span in its
        if span[2] != "email"
    ]
    write(directory / "scrub-kernel.txt", rows + rest)


def summaries(directory: Path) -> None:
    """Whatever is found in the summaries: there is hardly anything personal, and every find is looked at."""
    scrubber, counts, lines = Scrubber(ScrubSettings()), Counter[str](), []
    for document in read(scrub_corpus.summaries(directory)):
        its = spans(scrubber, document.text)
        counts.update(f"{document.source} {kind}" for _, _, kind in its)
        lines += [f"{document.id} {shown(masked(document.text, its), span)}" for span in its]
    print(f"\nfound in Wikipedia's summaries: {dict(sorted(counts.items())) or 'nothing'}")
    write(directory / "scrub-summaries.txt", lines)


if __name__ == "__main__":
    main()
