"""Proves what dedup takes out of several sources, against the rule in plain Python, and what it says of it."""

from __future__ import annotations

import json
import random
import shutil
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from tests.conftest import contents, text2lm

CONFIG = """
[[source]]
name = "web"
paths = ["web.jsonl"]
id_field = "id"
[[source]]
name = "books"
paths = ["books.jsonl"]
id_field = "id"
[[source]]
name = "mirror"
paths = ["mirror.jsonl"]
id_field = "id"
[clean]
rules = []
[dedup]
priority = ["books"]
[model]
preset = "gpt2-small"
[launch]
workers = 1
"""
RUN = ("run", "dedup.toml", "--until", "dedup")
QUIZ = "the seven questions of the quiz were asked in the order in which they had been written"
BANNER = "this page was printed by a machine that does not know what it says"
COPYRIGHT = "all rights on these lines belong to nobody in particular and to all"


def words(seed: int, count: int = 200) -> list[str]:
    draw = random.Random(seed)
    return ["".join(draw.choices("abcdefghij", k=5)) for _ in range(count)]


def rows() -> dict[str, list[dict[str, str]]]:
    """By source. Families of near-copies at many similarities, exact copies, chains, addresses, quotes, banners."""
    found: dict[str, list[dict[str, str]]] = {"web": [], "books": [], "mirror": []}
    sources = ("web", "books", "mirror")
    for number in range(60):
        original, draw = words(number), random.Random(1000 + number)
        for copy, source in enumerate(sources):
            text = original.copy()
            for _ in range((0, 1, 2, 3, 4, 5, 9)[(number + copy) % 7]):  # each new word changes five shingles
                text[draw.randrange(len(text))] = f"{copy}x{draw.random()}"
            found[source].append({"id": f"f{number:02}", "text": " ".join(text)})
    for number in range(20):
        text = " ".join(words(5000 + number))
        for source, written in zip(sources, (text, text.upper(), text.replace(" ", "\n")), strict=True):
            found[source].append({"id": f"same{number}", "text": written})
    chain = words(9000)
    for link in range(8):
        found["web"].append({"id": f"chain{link}", "text": " ".join(chain[10 * link : 10 * link + 120])})
    for source in sources[:2]:
        found[source].append({"id": "here", "url": f"https://www.example.org/{source}", "text": " ".join(words(9100))})
    found["mirror"].append({"id": "there", "url": "http://example.org/web/#top", "text": " ".join(words(9101, 40))})
    found["web"].append({"id": "quote", "text": " ".join([*words(9200), QUIZ.upper() + "!", *words(9201)])})
    for number, source in enumerate(sources):
        lines = [BANNER, " ".join(words(9300 + number)), "short one", COPYRIGHT]
        found[source].append({"id": "page", "text": "\n".join(lines)})
    found["mirror"].append({"id": "only", "text": f"{BANNER}\n{COPYRIGHT}"})
    return found


def filling(source: str) -> list[dict[str, str]]:
    """Long documents like no other, so that each source fills shards of its own."""
    return [{"id": f"long{number}", "text": " ".join(words(hash_of(source) + number, 150_000))} for number in range(3)]


def hash_of(source: str) -> int:
    return int.from_bytes(source.encode(), "big")


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A corpus, and `run` in which it is deduplicated."""
    directory = tmp_path_factory.mktemp("dedup")
    for source, documents in rows().items():
        written = [*filling(source), *documents]
        (directory / f"{source}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in written))
    (directory / "quiz.jsonl").write_text(json.dumps({"question": QUIZ, "choices": ["yes", "no"]}) + "\n")
    (directory / "dedup.toml").write_text(CONFIG)
    text2lm(directory, *RUN, "--run", "run")
    return directory


@pytest.fixture
def run(project: Path, tmp_path: Path) -> Path:
    """A copy of the run, for other settings of dedup: what was read and cleaned is there."""
    shutil.copytree(project / "run", tmp_path / "run")
    return tmp_path / "run"


def stays(run: Path) -> dict[str, dict[str, Any]]:
    """By id: text and meta of what dedup left."""
    found = {}
    for path in sorted((run / "dedup").glob("part-*.parquet")):
        found |= {row["id"]: row | {"meta": json.loads(row["meta"])} for row in pq.read_table(path).to_pylist()}
    return found


def gone(run: Path) -> dict[str, dict[str, Any]]:
    return {row["id"]: row for row in pq.read_table(run / "dedup" / "dropped").to_pylist()}


def shingles(text: str) -> frozenset[tuple[str, ...]]:
    tokens = text.lower().replace(".", " ").split()
    return frozenset(tuple(tokens[start : start + 5]) for start in range(max(len(tokens) - 4, 1)))


def by_hand(threshold: float = 0.8) -> dict[str, tuple[str, str]]:
    """Of each document that goes: for which, and the end of what the ledger says. All pairs are compared."""
    documents = [
        (source != "books", -len(row["text"]), f"{source}:{row['id']}", row["text"])
        for source, of_source in rows().items()
        for row in of_source
    ]
    kept: list[tuple[str, str, frozenset[tuple[str, ...]]]] = []
    found = {}
    for _, _, name, text in sorted(documents):
        own, normal = shingles(text), " ".join(text.lower().split())
        for other, other_normal, sets in kept:
            if other_normal == normal:
                found[name] = (other, "the same text")
                break
            similarity = len(own & sets) / len(own | sets)
            if similarity >= threshold:
                found[name] = (other, f"similarity {similarity:.2f}")
                break
        else:
            kept.append((name, normal, own))
    return found


def details(run: Path) -> dict[str, tuple[str, str]]:
    return {
        name: (row["detail"].split(" ")[1], row["detail"].partition("(")[2].rstrip(")"))
        for name, row in gone(run).items()
    }


def test_every_document_goes_for_the_one_that_it_must_and_for_no_other(project: Path) -> None:
    wanted = by_hand()
    assert 60 < len(wanted) < 160 and len({how for _, how in wanted.values()}) > 5
    assert details(project / "run") == wanted
    assert not set(stays(project / "run")) & set(wanted)


def test_a_survivor_says_for_how_many_it_stands(project: Path) -> None:
    kept, wanted = stays(project / "run"), by_hand()
    assert len(json.loads((project / "run" / "dedup" / "plan.json").read_text())["shards"]) > 2
    sizes = {name: 1 + sum(other == name for other, _ in wanted.values()) for name in kept}
    said = {name: row["meta"].get("dedup", {"size": 1})["size"] for name, row in kept.items()}
    assert said == sizes
    assert kept["books:same3"]["meta"]["dedup"] == {"cluster": "books:same3", "size": 3}
    facts = json.loads((project / "run" / "dedup" / "manifest.json").read_text())["facts"]
    histogram = {size: list(sizes.values()).count(size) for size in set(sizes.values()) if size > 1}
    assert facts["cluster_sizes"] == {str(size): histogram[size] for size in sorted(histogram)}
    texts = {f"{source}:{row['id']}": row["text"] for source, found in rows().items() for row in found}
    removed = {source: sum(len(texts[name]) for name in wanted if name.startswith(source)) for source in rows()}
    assert facts["removed_bytes"] == {source: count for source, count in removed.items() if count}


@pytest.mark.parametrize(
    "other", [("launch.workers=2",), ("dedup.memory_gb=0.00001",)], ids=["two workers", "ten kilobytes of memory"]
)
def test_workers_and_memory_change_no_byte(project: Path, run: Path, other: tuple[str, ...]) -> None:
    sets = (word for item in other for word in ("--set", item))
    assert "dedup: asked for" in text2lm(project, *RUN, "--from", "dedup", "--run", str(run), *sets).stdout
    assert contents(run, "dedup") == contents(project / "run", "dedup")
    receipts = (run / "dedup" / "receipts" / "match.jsonl").read_text()
    assert ("pairs-0000-0001" in receipts) is other[0].startswith(
        "dedup.memory_gb"
    )  # in ranges of keys, or in one piece


def test_another_order_of_shards_changes_no_decision(project: Path, tmp_path: Path) -> None:
    """Sources are read by name: under other names the same documents stand in other shards. Priorities follow."""
    names = {"web": "a_web", "books": "m_books", "mirror": "b_mirror"}
    config = CONFIG
    for old, new in names.items():
        config = config.replace(f'name = "{old}"', f'name = "{new}"').replace(f'["{old}"]', f'["{new}"]')
        (tmp_path / f"{old}.jsonl").write_bytes((project / f"{old}.jsonl").read_bytes())
    (tmp_path / "dedup.toml").write_text(config)
    text2lm(tmp_path, *RUN, "--run", "run")
    back = {new: old for old, new in names.items()}

    def renamed(name: str) -> str:
        source, _, rest = name.partition(":")
        return f"{back[source]}:{rest}"

    found = {renamed(name): (renamed(other), how) for name, (other, how) in details(tmp_path / "run").items()}
    assert found == by_hand()


def test_addresses_lines_and_evaluation_texts(project: Path, run: Path) -> None:
    sets = ("dedup.url_field=url", "dedup.repeats=lines", 'dedup.decontaminate=["quiz.jsonl"]')
    text2lm(project, *RUN, "--run", str(run), *(word for item in sets for word in ("--set", item)))
    out, kept = gone(run), stays(run)
    assert (out["mirror:there"]["reason"], out["mirror:there"]["detail"]) == (
        "url-duplicate",
        "of web:here (the same address)",
    )
    assert out["web:quote"]["reason"] == "contaminated"
    assert out["web:quote"]["detail"].lower() == f"shares '{' '.join(QUIZ.split()[:13])}' with quiz.jsonl"
    assert [name for name, row in kept.items() if BANNER in row["text"]] == ["books:page"]  # the best one that stays
    assert kept["web:page"]["text"] == f"{' '.join(words(9300))}\nshort one\n"
    assert kept["web:page"]["meta"]["dedup"]["repeats_removed"] == 2
    assert out["mirror:only"]["reason"] == "repeated-lines"
    facts = json.loads((run / "dedup" / "manifest.json").read_text())["facts"]
    assert facts["contaminated"] == {"quiz.jsonl": 1}
    assert facts["repeated"]["lines"] == 6
    reported = (*sets, "dedup.contaminated=report")
    text2lm(project, *RUN, "--run", str(run), *(word for item in reported for word in ("--set", item)))
    note = stays(run)["web:quote"]["meta"]["dedup"]["contaminated"]
    assert note["set"] == "quiz.jsonl" and note["ngram"].lower() == " ".join(QUIZ.split()[:13])


def test_an_evaluation_text_that_changes_is_another_input(project: Path, run: Path, tmp_path: Path) -> None:
    quiz = tmp_path / "quiz.txt"
    quiz.write_text(" ".join(words(9200)[:20]))
    sets = ("--set", f'dedup.decontaminate=["{quiz}"]')
    text2lm(project, *RUN, "--run", str(run), *sets)
    assert gone(run)["web:quote"]["reason"] == "contaminated"
    quiz.write_text(" ".join(words(1)[:20]))
    text2lm(project, *RUN, "--run", str(run), *sets)
    assert "web:quote" not in gone(run)
    assert "nothing to do" in text2lm(project, *RUN, "--run", str(run), *sets).stdout


def test_unverified_whoever_shares_a_band_goes(project: Path, run: Path) -> None:
    """FineWeb's setting takes nearly a whole chain for one document, with whose end it shares nothing."""
    text2lm(project, *RUN, "--run", str(run), "--set", "dedup.preset=fineweb")
    chain = {name: row for name, row in gone(run).items() if name.startswith("web:chain")}
    assert len(chain) > 4 and all("estimated similarity" in row["detail"] for row in chain.values())
    assert sum(name.startswith("web:chain") for name in gone(project / "run")) < len(chain)


def test_a_truncated_signature_file_is_named_and_made_anew(project: Path, run: Path) -> None:
    shutil.rmtree(run / "dedup")
    text2lm(project, "stage", "dedup", "--run", str(run), "--gather", "--until", "dedup")  # plans, and waits for shards
    last = len(json.loads((run / "dedup" / "plan.json").read_text())["shards"]) - 1
    text2lm(project, "stage", "dedup/sign", "--run", str(run), "--task", f"0-{last}")
    broken = run / "dedup" / "work" / "sign" / "documents-00001.arrow"
    broken.write_bytes(broken.read_bytes()[:5000])
    refused = text2lm(project, "stage", "dedup/match", "--run", str(run), "--task", "0", code=2).stderr
    assert "dedup/sign is not finished" in refused
    text2lm(project, *RUN, "--run", str(run))
    assert contents(run, "dedup") == contents(project / "run", "dedup")


@pytest.mark.parametrize(
    ("setting", "said"),
    [
        ("dedup.preset=exakt", "dedup.preset must be one of exact, fineweb, datasketch, or \"\", got 'exakt'"),
        (
            "dedup.priority=['webb']",
            "dedup.priority names the unknown source 'webb', wanted some of web, books, mirror",
        ),
        ("dedup.decontaminate=['none/*.jsonl']", "no file matches"),
        ("dedup.bands=0", "dedup.bands and dedup.rows must be at least 1 each"),
        ("dedup.repeats=words", "dedup.repeats must be keep, lines or paragraphs, got 'words'"),
        ("dedup.threshold=0.3", "dedup.threshold must be 0.5 to 1, got 0.3"),
        ("dedup.band=3", "unknown key dedup.band; did you mean bands?"),
    ],
)
def test_a_wrong_setting_is_one_line(project: Path, tmp_path: Path, setting: str, said: str) -> None:
    refused = text2lm(project, *RUN, "--run", str(tmp_path / "run"), "--set", setting, code=2).stderr
    assert said in refused and len(refused.splitlines()) == 1


def test_trace_names_what_a_document_duplicated_and_how_similar_it_was(project: Path) -> None:
    name, (other, how) = next((name, said) for name, said in by_hand().items() if said[1].startswith("similarity"))
    assert f"near-duplicate of {other} ({how})" in text2lm(project, "trace", name, "--run", "run").stdout
