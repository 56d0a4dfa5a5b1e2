"""Proves that a published file is always one whole version: under kill -9, on an error, and on a disk that is full."""

from __future__ import annotations

import errno
import hashlib
import subprocess
import sys
import time

import pytest

from data_prep.files import (
    UserError,
    atomic_file,
    atomic_path,
    atomic_write,
    canonical_json,
    digest_bytes,
    digest_file,
    last_json_line,
    read_json,
    read_json_lines,
    write_json,
)
from tests.conftest import small_disk

# version N is its number in ten digits, 100,000 times: a mixture of two versions or a part of one shows
WRITE_FOR_EVER = """
import sys
from pathlib import Path
from data_prep.files import atomic_write
for version in range(10**9):
    atomic_write(Path(sys.argv[1]), f"{version:010d}" * 100_000)
    if version == 0:
        print("ready", flush=True)
"""


def test_a_reader_sees_one_whole_version_whenever_the_writer_is_killed(tmp_path):
    path = tmp_path / "file"
    for attempt in range(6):
        with subprocess.Popen([sys.executable, "-c", WRITE_FOR_EVER, path], stdout=subprocess.PIPE) as writer:
            writer.stdout.readline()
            versions = set()
            while len(versions) < 3:
                assert writer.poll() is None
                data = path.read_bytes()
                versions.add(data[:10])
                assert data == data[:10] * 100_000
            time.sleep(0.007 * attempt)  # another instant each time
            writer.kill()
        data = path.read_bytes()
        assert data == data[:10] * 100_000


@pytest.mark.parametrize("old", [None, b"the old version"])
def test_an_error_leaves_the_old_file_and_no_temporary(tmp_path, old):
    path = tmp_path / "deep" / "file"
    if old is not None:
        atomic_write(path, old)
    with pytest.raises(ZeroDivisionError), atomic_file(path) as file:
        file.write(b"half of the new")
        raise ZeroDivisionError
    assert [name.name for name in path.parent.iterdir()] == ([] if old is None else ["file"])
    assert old is None or path.read_bytes() == old


def test_a_full_disk_leaves_the_old_file_and_no_temporary(tmp_path):
    with small_disk(tmp_path, "256k"):
        path = tmp_path / "file"
        atomic_write(path, b"old" * 1000)
        with pytest.raises(OSError) as error:
            atomic_write(path, b"new" * 1_000_000)
        assert error.value.errno == errno.ENOSPC
        assert path.read_bytes() == b"old" * 1000
        assert list(tmp_path.iterdir()) == [path]
        atomic_write(path, b"new" * 1000)  # the space came back
        assert path.read_bytes() == b"new" * 1000


def test_a_block_that_never_makes_its_file_publishes_nothing(tmp_path):
    with pytest.raises(FileNotFoundError), atomic_path(tmp_path / "file"):
        pass
    assert list(tmp_path.iterdir()) == []


def test_text_is_written_as_utf8(tmp_path):
    atomic_write(tmp_path / "file", "é\n")
    assert (tmp_path / "file").read_bytes() == b"\xc3\xa9\n"


@pytest.mark.parametrize("data", [b"", b"abc", b"\0" * (1 << 20) + b"end"])
def test_digests_are_those_of_sha256(tmp_path, data):
    (tmp_path / "file").write_bytes(data)
    wanted = "sha256:" + hashlib.sha256(data).hexdigest()
    assert digest_bytes(data) == digest_file(tmp_path / "file") == wanted


def test_digest_of_abc_is_the_one_of_the_standard():
    """FIPS 180-2, appendix B.1."""
    assert digest_bytes(b"abc") == "sha256:ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"


def test_canonical_json_does_not_depend_on_the_order_of_keys():
    assert canonical_json({"b": 1, "a": ["é", 0.1]}) == canonical_json({"a": ["é", 0.1], "b": 1})
    assert canonical_json({"b": 1, "a": ["é", 0.1]}) == '{"a":["é",0.1],"b":1}'.encode()


def test_json_comes_back(tmp_path):
    value = {"text": "naïve \u2028 \n", "numbers": [1, 2.5, None, True], "big": 2**80}
    write_json(tmp_path / "file", value)
    assert read_json(tmp_path / "file") == value


@pytest.mark.parametrize("data", [b"", b'{"a": ', b"\xff\xfe"])
def test_a_file_that_is_not_json_is_named(tmp_path, data):
    (tmp_path / "x.json").write_bytes(data)
    with pytest.raises(UserError, match=r"x\.json"):
        read_json(tmp_path / "x.json")


@pytest.mark.parametrize(
    ("data", "rows"),
    [
        (None, []),
        (b"", []),
        (b'{"a": 1}\n{"a": 2}\n', [{"a": 1}, {"a": 2}]),
        (b'{"a": 1}\n{"a": 2', [{"a": 1}]),
        (b'{"a": 1}\n{"a": 2}', [{"a": 1}]),  # whole by chance: its writer did not say that it is
        (b'{"a": 1', []),
        ('{"a": "\u2028\x85"}\n'.encode(), [{"a": "\u2028\x85"}]),  # a line end to str.splitlines, not to a log
    ],
)
def test_a_torn_last_line_is_left_out(tmp_path, data, rows):
    path = tmp_path / "log.jsonl"
    if data is not None:
        path.write_bytes(data)
    assert read_json_lines(path) == rows
    assert last_json_line(path) == (rows[-1] if rows else None)


def test_the_last_line_of_a_long_log(tmp_path):
    path = tmp_path / "log.jsonl"
    path.write_bytes(b"".join(b'{"step": %d}\n' % step for step in range(50_000)) + b'{"step": 50')
    assert last_json_line(path) == {"step": 49_999}
