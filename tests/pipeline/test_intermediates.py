"""Proves that with `launch.keep_intermediates = false` parts go when they were read, and come back when wanted."""

from __future__ import annotations

import itertools
import json
import os
import re
import shutil
from pathlib import Path

import pytest

from tests.conftest import contents, text2lm

EMPTIED, KEPT = ("ingest", "clean", "dedup", "scrub"), ("split", "tokenizer", "tokens")
RUN = ("run", "tiny.toml", "--run", "run", "--until", "tokens")
KEEP = "launch.keep_intermediates=true"
STRICT = ("--set", "clean.thresholds.gopher-quality.min_stop_words=5")


@pytest.fixture(scope="module")
def made(finished_data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project whose config drops intermediates: its data stages are done in `run/`, and in `whole/` with all kept."""
    project = tmp_path_factory.mktemp("made")
    shutil.copytree(finished_data, project, dirs_exist_ok=True)
    (project / "run").rename(project / "whole")
    config = project / "tiny.toml"
    config.write_text(config.read_text().replace("[launch]\n", "[launch]\nkeep_intermediates = false\n"))
    text2lm(project, *RUN)
    return project


@pytest.fixture
def copy(made: Path, tmp_path: Path) -> Path:
    shutil.copytree(made, tmp_path / "copy")
    return tmp_path / "copy"


def parts(run: Path) -> list[str]:
    """Of the stages that may be emptied."""
    return sorted(str(path.relative_to(run)) for name in EMPTIED for path in (run / name).glob("*.parquet"))


def records(run: Path, stage: str) -> dict[str, object]:
    """What a manifest says but for times."""
    manifest = json.loads((run / stage / "manifest.json").read_text())
    manifest["made"] = [[item["path"], item["digest"]] for item in [*manifest["outputs"], *manifest["ledgers"]]]
    return {name: manifest[name] for name in ("key", "made", "documents_in", "documents_out", "dropped", "quarantined")}


def reasons(project: Path, *arguments: str) -> dict[str, str]:
    """Why each data stage is to be done, by `text2lm plan`."""
    plan = json.loads(text2lm(project, "plan", "tiny.toml", "--run", "run", "--json", *arguments).stdout)
    return {name: plan["stages"][name] for name in (*EMPTIED, *KEPT) if plan["stages"][name]}


def same_as_whole(project: Path, whole: Path) -> None:
    """The run is what one that keeps everything is, without the parts."""
    run = project / "run"
    assert parts(run) == []
    assert contents(run, *KEPT) == contents(whole, *KEPT)
    for stage in EMPTIED:
        assert records(run, stage) == records(whole, stage)
        ledgers = json.loads((whole / stage / "manifest.json").read_text())["ledgers"]
        for item in ledgers:
            assert (run / item["path"]).read_bytes() == (whole / item["path"]).read_bytes()


def test_parts_go_and_nothing_else(made: Path) -> None:
    assert len(parts(made / "whole")) >= 4
    same_as_whole(made, made / "whole")


def test_parts_stay_until_all_that_read_them_are_done(copy: Path) -> None:
    text2lm(copy, "run", "tiny.toml", "--run", "half", "--until", "clean")
    assert parts(copy / "half") == [name for name in parts(copy / "whole") if name.startswith("clean/")]


def test_running_again_does_nothing(copy: Path) -> None:
    files = {path: path.stat().st_mtime_ns for path in (copy / "run").rglob("*") if path.name != "config.toml"}
    for verify in ((), ("--verify",)):
        assert "nothing to do: all 7 stages are fresh" in text2lm(copy, *RUN, *verify).stdout
    assert "nothing to do" in text2lm(copy, *RUN, "--set", KEEP).stdout
    after = {path: path.stat().st_mtime_ns for path in (copy / "run").rglob("*") if path.name != "config.toml"}
    assert {path for path in files.keys() | after if path.is_file() and files.get(path) != after.get(path)} == set()
    assert reasons(copy) == {}


def test_a_run_that_kept_them_drops_them_when_told_to(copy: Path) -> None:
    shutil.rmtree(copy / "run")
    (copy / "whole").rename(copy / "run")
    before = contents(copy / "run", *KEPT)
    assert "nothing to do" in text2lm(copy, *RUN).stdout
    assert parts(copy / "run") == []
    assert contents(copy / "run", *KEPT) == before


def test_what_a_kill_between_manifest_and_removal_leaves_goes_with_the_next_run(copy: Path) -> None:
    part = "ingest/part-00000.parquet"
    shutil.copy2(copy / "whole" / part, copy / "run" / part)
    assert reasons(copy) == {}
    assert "nothing to do" in text2lm(copy, *RUN).stdout
    assert parts(copy / "run") == []


def test_another_rule_of_clean_begins_at_ingest_and_ends_as_a_run_of_its_own(copy: Path) -> None:
    said = reasons(copy, *STRICT)
    assert list(said) == [*EMPTIED, *KEPT]
    assert said["ingest"] == "its parts were dropped and clean, which reads them, must be done again"
    assert said["clean"].startswith("clean.thresholds.gopher-quality.min_stop_words changed")
    done = text2lm(copy, *RUN, *STRICT).stdout
    assert f"ingest: {said['ingest']}" in done and "fresh" not in done
    text2lm(copy, "run", "tiny.toml", "--run", "other", "--until", "tokens", *STRICT, "--set", KEEP)
    same_as_whole(copy, copy / "other")
    assert "nothing to do" in text2lm(copy, *RUN, *STRICT).stdout


def test_a_lost_file_at_the_end_of_the_chain_is_made_again_from_its_beginning(copy: Path) -> None:
    (copy / "run" / "split" / "train" / "part-00000.parquet").unlink()
    said = reasons(copy)
    assert said["ingest"] == "its parts were dropped and clean, which reads them, must be done again"
    assert said["scrub"] == "dedup will be redone" and "tokens" in said
    assert "5 stages done, 2 were fresh" in text2lm(copy, *RUN).stdout
    same_as_whole(copy, copy / "whole")


def test_verify_finds_hidden_damage_behind_dropped_parts(copy: Path) -> None:
    part = copy / "run" / "split" / "val" / "part-00000.parquet"
    status, data = part.stat(), bytearray(part.read_bytes())
    data[100] ^= 1
    part.write_bytes(data)
    os.utime(part, ns=(status.st_atime_ns, status.st_mtime_ns))
    assert "nothing to do" in text2lm(copy, *RUN).stdout
    assert "ingest: its parts were dropped" in text2lm(copy, *RUN, "--verify").stdout
    same_as_whole(copy, copy / "whole")


def test_from_a_stage_whose_input_is_gone_makes_that_first(copy: Path) -> None:
    done = text2lm(copy, *RUN, "--from", "dedup").stdout
    assert "ingest: its parts were dropped and clean, which reads them, must be done again" in done
    assert "clean: its parts were dropped and dedup, which reads them, must be done again" in done
    assert "dedup: asked for with --from" in done and "fresh" not in done
    same_as_whole(copy, copy / "whole")


def test_by_hand_a_stage_without_its_input_says_how_to_get_it(copy: Path) -> None:
    shutil.rmtree(copy / "run" / "dedup")
    refused = text2lm(copy, "stage", "dedup/sign", "--run", "run", "--task", "0", code=2).stderr
    assert "the parts of clean, which dedup reads, were dropped" in refused and "--until dedup" in refused
    assert len(refused.splitlines()) == 1


def test_trace_says_what_can_be_told(copy: Path) -> None:
    def trace(document_id: str, code: int = 0) -> str:
        done = text2lm(copy, "trace", document_id, "--run", "run", code=code)
        return done.stdout or done.stderr

    kept = trace("guide:t3").splitlines()
    said = [re.split("; language|; replaced", line)[0] for line in kept]  # what stages noted in the part of split
    assert said[:4] == [f"{name:<10} kept; the parts are dropped since" for name in EMPTIED]
    assert said[1] != kept[1] and said[3] != kept[3]
    assert kept[4].startswith("split      kept in split/") and kept[5].startswith("tokens     tokens ")
    assert trace("guide:short").splitlines()[0] == "ingest     kept; the parts are dropped since"
    assert trace("guide:short").splitlines()[1].startswith("clean      dropped: gopher-few-words")
    assert len(trace("guide:short").splitlines()) == 2
    assert trace("notes:notes.jsonl#1").startswith("ingest     quarantine: invalid-json")
    unknown = trace("guide:nobody", code=2)
    assert "no document 'guide:nobody' in run; ids look like 'guide:t" in unknown
    (copy / "run" / "split" / "manifest.json").unlink()
    unknown = trace("guide:t3", code=2)
    assert "no document 'guide:t3' in run, as far as can be told without the parts of ingest, clean, dedup" in unknown


def test_status_report_and_plan_know_of_it(copy: Path) -> None:
    status = text2lm(copy, "status", "--run", "run").stdout
    assert status == text2lm(copy, "status", "--run", "whole").stdout
    text2lm(copy, "report", "--run", "run")
    assert "gopher-few-words" in (copy / "run" / "report.html").read_text()
    plan = json.loads(text2lm(copy, "plan", "tiny.toml", "--run", "run", "--json").stdout)
    for name in EMPTIED:
        there = [path for path in (copy / "run" / name).rglob("*") if path.is_file()]
        size = sum(path.stat().st_size for path in there)
        assert plan["disk"][name] == {"bytes": size, "files": len(there), "exact": True}


def test_plan_counts_what_is_there_at_once(copy: Path) -> None:
    """By hand: at most two neighbours of the five that hold documents, or what stays."""
    kept, dropped = (
        json.loads(text2lm(copy, "plan", "tiny.toml", "--json", "--run", "new", "--set", f"launch.{setting}").stdout)
        for setting in ("keep_intermediates=true", "keep_intermediates=false")
    )
    assert kept["disk"] == dropped["disk"]
    for what in ("bytes", "files"):
        sizes = {name: size[what] for name, size in kept["disk"].items()}
        assert kept[f"disk_{what}"] == sum(sizes.values())
        stays = sum(size for name, size in sizes.items() if name not in EMPTIED)
        pairs = [sizes[left] + sizes[right] for left, right in itertools.pairwise(EMPTIED)]
        assert dropped[f"disk_{what}"] == max(stays, *pairs, sizes["scrub"] + sizes["split"])
