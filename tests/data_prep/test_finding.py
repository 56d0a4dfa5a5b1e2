"""Proves which files a source has, by whatever it names them, and what is refused before anything is read."""

from __future__ import annotations

import glob
import os
import shutil
import tempfile
from pathlib import Path

import pytest
from reading import rows, short, source

from data_prep.files import UserError
from data_prep.finding import find_inputs, fixed_directory


def names(*paths):
    return [piece["name"] for piece in find_inputs(source(*paths))]


def test_brackets_in_names_are_names_where_the_file_is_there(tmp_path):
    """A directory called so is escaped by the config; a file called so is meant; otherwise brackets are a wildcard."""
    folder = tmp_path / "w[1]"
    folder.mkdir()
    for name in ("a[x].txt", "ax.txt"):
        (folder / name).write_text(name)
    escaped = glob.escape(str(folder))
    assert [piece["name"] for piece in find_inputs(source(f"{escaped}/a[x].txt"))] == ["a[x].txt"]
    assert [piece["name"] for piece in find_inputs(source(f"{escaped}/a[xy].txt"))] == ["ax.txt"]
    assert [piece["name"] for piece in find_inputs(source(f"{escaped}/*.txt"))] == ["a[x].txt", "ax.txt"]


def test_a_file_name_that_is_not_utf8_is_named(tmp_path):
    (tmp_path / os.fsdecode(b"bad\xff.txt")).touch()
    with pytest.raises(UserError, match="is not valid UTF-8"):
        find_inputs(source(tmp_path / "*.txt"))


def test_ids_stay_the_same_when_the_corpus_moves(tmp_path):
    here, there = tmp_path / "here", tmp_path / "far" / "away"
    for name in ("a/x.jsonl", "b/c/x.jsonl"):
        (here / name).parent.mkdir(parents=True)
        (here / name).write_text('{"text": "t"}\n')
    before = rows(source(here / "**" / "*.jsonl"))
    there.parent.mkdir()
    shutil.move(here, there)
    assert rows(source(there / "**" / "*.jsonl")) == before
    assert list(short(before)) == ["s:a/x.jsonl#0", "s:b/c/x.jsonl#0"]


def test_names_are_below_the_directory_that_all_patterns_share(tmp_path):
    for name in ("a/x.txt", "b/x.txt"):
        (tmp_path / name).parent.mkdir()
        (tmp_path / name).write_text("t")
    assert list(short(rows(source(tmp_path / "b/*.txt", tmp_path / "a/x.txt", tmp_path / "a/*")))) == [
        "s:a/x.txt#0",
        "s:b/x.txt#0",
    ]


@pytest.mark.parametrize(
    ("pattern", "directory"),
    [("/data/a/x.jsonl", "/data/a"), ("/data/*/x", "/data"), ("/d?/**/a/*", "/"), ("*.txt", "."), ("a/[bc]/*", "a")],
)
def test_the_directory_before_the_first_wildcard(pattern, directory):
    assert fixed_directory(pattern) == directory


@pytest.mark.parametrize(
    ("name", "pattern", "said"),
    [
        ("x.txt", "*.jsonl", r"nothing matches .*\*\.jsonl"),
        ("x.txt", "y.txt", r"nothing matches .*y\.txt"),
        ("x.docx", "*", r"x\.docx is of a kind"),
        ("x.gz", "*", r"x\.gz is of a kind"),
    ],
)
def test_files_that_are_not_there_or_not_read(tmp_path, name, pattern, said):
    (tmp_path / name).write_text("t")
    with pytest.raises(UserError, match=said):
        find_inputs(source(tmp_path / pattern))


def test_a_directory_is_not_a_match(tmp_path):
    (tmp_path / "x.txt").mkdir()
    with pytest.raises(UserError, match="nothing matches"):
        find_inputs(source(tmp_path / "*.txt"))


def test_a_directory_stands_for_what_is_read_below_it(tmp_path):
    for name in ("b.txt", "a/x.jsonl.gz", "a/b/X.HTML", "a/notes.docx", ".hidden.txt", ".git/x.txt", "a/Makefile"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    assert names(tmp_path) == ["a/b/X.HTML", "a/x.jsonl.gz", "b.txt"]
    assert names(f"{tmp_path}/") == names(tmp_path)
    assert names(tmp_path / "a") == ["b/X.HTML", "x.jsonl.gz"]
    assert names(tmp_path / "a", tmp_path / "b.txt") == names(tmp_path)
    assert names(glob.escape(str(tmp_path))) == names(tmp_path)


def test_every_kind_is_known(tmp_path):
    kinds = ["csv", "htm", "html", "jsonl", "ndjson", "txt", "warc"]
    wanted = sorted(["x.parquet", *(f"x.{kind}{packing}" for kind in kinds for packing in ("", ".gz", ".zst"))])
    for name in wanted:
        (tmp_path / name).touch()
    assert names(tmp_path) == names(tmp_path / "*") == wanted


@pytest.mark.parametrize("name", ["x.parquet.gz", "x.json", "x.gz", "gz", "x.jsonl.xz", "x.txt~"])
def test_a_directory_without_what_is_read(tmp_path, name):
    (tmp_path / name).touch()
    with pytest.raises(UserError, match="no file of a known kind"):
        find_inputs(source(tmp_path))
    with pytest.raises(UserError, match="is of a kind that is not read"):
        find_inputs(source(tmp_path / "x*" if name[0] == "x" else tmp_path / name))


def test_links_are_followed(tmp_path):
    """A directory twice is no loop."""
    (tmp_path / "real").mkdir()
    (tmp_path / "real" / "x.txt").write_text("t")
    corpus = tmp_path / "corpus"
    corpus.mkdir()
    (corpus / "one").symlink_to("../real")
    (corpus / "two").symlink_to("../real")
    (corpus / "y.txt").symlink_to("../real/x.txt")
    assert names(corpus) == names(corpus / "**") == ["one/x.txt", "two/x.txt", "y.txt"]


@pytest.mark.parametrize("pattern", ["", "**", "**/*.txt", "a/**/x.txt"])
@pytest.mark.parametrize("target", ["..", ".", "../../corpus/a", "../b"])
def test_a_loop_of_links_is_refused(tmp_path, pattern, target):
    """Two of them: to go round in them up to the limit of the system is 2^40 ways."""
    corpus = tmp_path / "corpus"
    for name in ("a", "b"):
        (corpus / name).mkdir(parents=True)
        (corpus / name / "x.txt").touch()
        (corpus / name / "again").symlink_to("../a")
    (corpus / "a" / "loop").symlink_to(target)
    with pytest.raises(UserError, match="is a link to a directory that it lies in; remove the link") as error:
        find_inputs(source(corpus / pattern))
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("pattern", ["", "*", "**/*"])
@pytest.mark.parametrize("target", ["nowhere", "y.txt"])
def test_a_link_to_nothing_is_refused(tmp_path, pattern, target):
    (tmp_path / "x.txt").touch()
    (tmp_path / "y.txt").symlink_to(target)
    with pytest.raises(UserError, match=r"y\.txt is a link to nothing"):
        find_inputs(source(tmp_path / pattern))
    with pytest.raises(UserError, match="nothing matches"):
        find_inputs(source(tmp_path / "y.txt"))


def test_a_file_that_may_not_be_read_is_refused():
    """Root may read everything, so it becomes nobody for a moment."""
    with tempfile.TemporaryDirectory() as directory:
        Path(directory).chmod(0o755)
        path = Path(directory) / "x.txt"
        path.touch(0o000)
        user = os.geteuid()
        os.seteuid(user or 65534)
        try:
            with pytest.raises(UserError, match=r"x\.txt may not be read; change its permissions"):
                find_inputs(source(directory))
        finally:
            os.seteuid(user)
