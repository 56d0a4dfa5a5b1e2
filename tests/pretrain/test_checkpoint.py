"""Proves that only a whole checkpoint of this training is ever resumed from, and that a good one is never lost."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from data_prep.files import UserError
from pretrain.checkpoint import CheckpointStore


def store_at(directory: Path, key: str = "k1", keep_last: int = 2) -> CheckpointStore:
    return CheckpointStore(directory / "checkpoints", key=key, keep_last=keep_last)


def write(store: CheckpointStore, step: int, ranks: int = 2) -> None:
    """All but the publishing."""
    store.begin(step)
    for rank in range(ranks):
        path = store.rank_file(step, rank)
        path.write_bytes(f"{step} of rank {rank}".encode() * 100)
        store.record(path)


def save(store: CheckpointStore, step: int) -> None:
    write(store, step)
    store.publish(step, {"tokens": step * 10}, world_size=2)


def newest(store: CheckpointStore) -> tuple[int | None, list[str]]:
    said: list[str] = []
    found = store.newest_good(said.append, set_aside=True)
    return (None if found is None else found.step), said


def test_nothing_saved_is_a_fresh_start(tmp_path: Path) -> None:
    assert newest(store_at(tmp_path)) == (None, [])


def test_the_newest_is_found_with_its_facts(tmp_path: Path) -> None:
    store = store_at(tmp_path)
    save(store, 5)
    save(store, 10)
    found = store.newest_good(print)
    assert found is not None
    assert (found.step, found.path.name, found.manifest["tokens"]) == (10, "step-00000010", 100)
    assert (tmp_path / "checkpoints/latest").read_text() == "step-00000010\n"


def test_a_torn_save_is_no_checkpoint_and_is_written_over(tmp_path: Path) -> None:
    store = store_at(tmp_path)
    save(store, 5)
    write(store, 10)
    (store.step_dir(10) / "leftover").touch()
    assert newest(store) == (5, [])
    save(store, 10)
    assert newest(store) == (10, [])
    assert not (store.step_dir(10) / "leftover").exists()


def test_a_torn_first_save_is_a_fresh_start(tmp_path: Path) -> None:
    store = store_at(tmp_path)
    write(store, 5)
    assert newest(store) == (None, [])


def truncate(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-1])


def flip(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)


@pytest.mark.parametrize(
    ("damage", "name", "sentence"),
    [
        (truncate, "rank-00001.safetensors", "bytes, wanted"),
        (flip, "rank-00001.safetensors", "does not have its digest"),
        (Path.unlink, "rank-00000.safetensors", "is missing"),
        (truncate, "manifest.json", "its manifest.json is damaged"),
        (lambda path: path.write_text("[]"), "manifest.json", "its manifest.json is damaged"),
        (lambda path: path.write_text('{"step": 9}'), "manifest.json", "its manifest says step 9"),
        (lambda path: path.write_text('{"step": 10, "files": []}'), "manifest.json", "its manifest.json is damaged"),
    ],
)
def test_a_damaged_one_is_skipped_with_a_sentence_and_set_aside(
    tmp_path: Path, damage: Callable[[Path], None], name: str, sentence: str
) -> None:
    store = store_at(tmp_path)
    save(store, 5)
    save(store, 10)
    if name == "manifest.json" and damage is truncate:
        damage = lambda path: path.write_bytes(path.read_bytes()[:-20])  # noqa: E731  (its last byte is a newline)
    damage(store.step_dir(10) / name)
    step, said = newest(store)
    assert step == 5
    assert len(said) == 1 and sentence in said[0]
    assert not store.step_dir(10).exists()
    assert (tmp_path / "checkpoints/step-00000010.bad-1").exists()
    save(store, 10)
    flip(store.rank_file(10, 0))
    assert newest(store)[0] == 5
    assert (tmp_path / "checkpoints/step-00000010.bad-2").exists()


def test_only_looking_moves_nothing(tmp_path: Path) -> None:
    store = store_at(tmp_path)
    save(store, 5)
    save(store, 10)
    flip(store.rank_file(10, 0))
    found = store.newest_good(lambda line: None)
    assert found is not None and found.step == 5
    assert store.step_dir(10).exists()
    flip(store.rank_file(5, 0))
    with pytest.raises(UserError, match="step-00000010, step-00000005 damaged"):
        store.newest_good(lambda line: None)


def test_when_none_verifies_it_refuses_and_goes_on_refusing(tmp_path: Path) -> None:
    store = store_at(tmp_path)
    save(store, 5)
    save(store, 10)
    for step in (5, 10):
        flip(store.rank_file(step, 0))
    for _ in range(2):
        with pytest.raises(UserError, match=r"no checkpoint .* verifies: .*bad-1, .*bad-1 damaged"):
            newest(store)


def test_another_trainings_checkpoint_is_refused_with_both_keys(tmp_path: Path) -> None:
    save(store_at(tmp_path, key="k1"), 5)
    with pytest.raises(UserError, match=r"its key is k1, this run's is k2"):
        newest(store_at(tmp_path, key="k2"))
    assert newest(store_at(tmp_path, key="k1")) == (5, [])


def test_retention_keeps_the_newest_and_ignores_torn_ones(tmp_path: Path) -> None:
    store = store_at(tmp_path, keep_last=2)
    for step in (5, 10, 15):
        save(store, step)
    write(store, 20)
    assert store.step_dir(5).exists() is False and store.step_dir(10).exists()
    save(store, 25)
    assert [path.name for path in store._published()] == ["step-00000025", "step-00000015"]


def test_an_older_one_goes_only_after_the_new_one_is_published(tmp_path: Path) -> None:
    store = store_at(tmp_path, keep_last=2)
    save(store, 5)
    save(store, 10)
    write(store, 15)
    store.rank_file(15, 1).with_suffix(".json").unlink()  # a rank that never reported
    with pytest.raises(FileNotFoundError):
        store.publish(15, {}, world_size=2)
    assert newest(store) == (10, [])
    assert store.step_dir(5).exists()


def test_the_manifest_names_every_file_with_size_and_digest(tmp_path: Path) -> None:
    store = store_at(tmp_path)
    save(store, 5)
    manifest = json.loads((store.step_dir(5) / "manifest.json").read_text())
    assert [entry["path"] for entry in manifest["files"]] == ["rank-00000.safetensors", "rank-00001.safetensors"]
    assert manifest["world_size"] == 2 and manifest["key"] == "k1"
    assert all(entry["bytes"] > 0 and entry["digest"].startswith("sha256:") for entry in manifest["files"])
