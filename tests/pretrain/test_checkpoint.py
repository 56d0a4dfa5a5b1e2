"""Proves that only a whole checkpoint of this training is ever resumed from, and that a good one is never lost."""

from __future__ import annotations

import dataclasses
import errno
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import tiny_run

from data_prep.files import UserError
from pretrain import checkpoint
from pretrain.checkpoint import CheckpointStore
from tests.conftest import small_disk


def store_at(directory: Path, key: str = "k1", **keep: Any) -> CheckpointStore:
    return CheckpointStore(directory / "checkpoints", tiny_run.job(key=key, checkpoint=keep))


def contents(step: int, rank: int) -> bytes:
    return f"{step} of rank {rank}".encode() * 100


def save(store: CheckpointStore, step: int, val_loss: float | None = None) -> None:
    entries = [store.write(step, rank, [b"head", contents(step, rank)]) for rank in range(2)]
    store.publish(step, {"tokens": step * 10, "val_loss": val_loss}, entries)


def newest(store: CheckpointStore) -> tuple[int | None, list[str]]:
    """As a training looks for one: what is not whole is set aside; digests are asked for apart."""
    said: list[str] = []
    while (found := store.newest(said.append)) and (problem := store.damage(found)):
        store.set_aside(found.path, problem, said.append)
    return (None if found is None else found.step), said


def steps(store: CheckpointStore) -> list[int]:
    """Of the checkpoints on disk."""
    return sorted(int(path.parent.name[5:]) for path in store.directory.glob("step-????????/manifest.json"))


def test_nothing_saved_is_a_fresh_start(tmp_path: Path) -> None:
    assert newest(store_at(tmp_path)) == (None, [])
    assert store_at(tmp_path).newest_good(print) is None


def test_the_newest_is_found_with_its_facts(tmp_path: Path) -> None:
    store = store_at(tmp_path)
    save(store, 5)
    save(store, 10)
    found = store.newest_good(print)
    assert found is not None
    assert (found.step, found.path.name, found.manifest["tokens"]) == (10, "step-00000010", 100)
    assert [path.read_bytes() for path in found.files] == [b"head" + contents(10, rank) for rank in range(2)]
    assert (tmp_path / "checkpoints/latest").read_text() == "step-00000010\n"


def test_a_torn_save_is_set_aside_and_the_one_before_is_used(tmp_path: Path) -> None:
    store = store_at(tmp_path)
    save(store, 5)
    store.write(10, 0, [b"one rank of two"])
    assert store.newest_good(print).step == 5  # type: ignore[union-attr]  # who only looks does not speak of it
    step, said = newest(store)
    assert step == 5
    assert said == [
        "skipped checkpoint step-00000010: it has no manifest.json: its save was not finished; "
        "set aside as step-00000010.bad-1"
    ]
    save(store, 10)
    assert newest(store) == (10, [])
    assert (tmp_path / "checkpoints/step-00000010.bad-1").exists()


def test_a_torn_first_save_is_a_fresh_start(tmp_path: Path) -> None:
    store = store_at(tmp_path)
    store.write(5, 0, [b"all there was"])
    assert newest(store)[0] is None
    assert newest(store) == (None, [])


def test_of_torn_saves_the_last_stays_and_all_go_when_the_disk_is_full(tmp_path: Path) -> None:
    """A machine that is taken away often must not fill its disk with them."""
    store = store_at(tmp_path)
    save(store, 5)
    for step in (10, 15, 20):
        store.write(step, 0, [b"torn"])
        newest(store)
    save(store, 25)
    aside = tmp_path / "checkpoints"
    assert [path.name for path in aside.glob("*.bad-*")] == ["step-00000020.bad-1"]
    store.write(30, 0, [b"failed"])
    store.abandon(30)
    assert not list(aside.glob("*.bad-*")) and not store.step_dir(30).exists()
    assert newest(store) == (25, [])


def truncate(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-20])


def flip(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)


def swap(path: Path) -> None:
    other = path.with_name("rank-00001.safetensors")
    a, b = path.read_bytes(), other.read_bytes()
    path.write_bytes(b)
    other.write_bytes(a)


def older(path: Path) -> None:
    shutil.copy(path.parents[1] / "step-00000005" / path.name, path)


@pytest.mark.parametrize(
    ("damage", "name", "sentence"),
    [
        (truncate, "rank-00001.safetensors", "rank-00001.safetensors has 1184 bytes, wanted 1204"),
        (flip, "rank-00001.safetensors", "rank-00001.safetensors does not have its digest"),
        (Path.unlink, "rank-00000.safetensors", "rank-00000.safetensors is missing"),
        (swap, "rank-00000.safetensors", "rank-00000.safetensors does not have its digest"),
        (older, "rank-00000.safetensors", "rank-00000.safetensors has 1104 bytes, wanted 1204"),
        (truncate, "manifest.json", "its manifest.json is damaged"),
        (flip, "manifest.json", "its manifest.json "),
        (Path.unlink, "manifest.json", "it has no manifest.json"),
        (older, "manifest.json", "its manifest says step 5"),
        (lambda path: path.write_text("[]"), "manifest.json", "its manifest.json is damaged"),
    ],
)
def test_a_damaged_one_is_skipped_with_a_sentence_and_set_aside(
    tmp_path: Path, damage: Callable[[Path], None], name: str, sentence: str
) -> None:
    store = store_at(tmp_path)
    save(store, 5)
    save(store, 10)
    damage(store.step_dir(10) / name)
    before = sorted(path.name for path in store.step_dir(10).iterdir())
    step, said = newest(store)
    assert step == 5
    assert len(said) == 1 and said[0].startswith("skipped checkpoint step-00000010: ") and sentence in said[0]
    assert not store.step_dir(10).exists()
    assert sorted(path.name for path in (tmp_path / "checkpoints/step-00000010.bad-1").iterdir()) == before
    save(store, 10)
    flip(store.rank_file(10, 0))
    assert newest(store)[0] == 5
    assert (tmp_path / "checkpoints/step-00000010.bad-2").exists()


def test_every_byte_of_a_manifest_counts(tmp_path: Path) -> None:
    """One that was changed may still be JSON, and say another number of steps."""
    store = store_at(tmp_path)
    save(store, 5)
    path = store.step_dir(5) / "manifest.json"
    original = path.read_bytes()
    for place, byte in enumerate(original):
        path.write_bytes(original[:place] + bytes([byte ^ 1]) + original[place + 1 :])
        if path.read_bytes() != original:
            try:
                same = json.loads(path.read_bytes()) == json.loads(original)
            except ValueError:
                same = False
            assert same or store._look(path.parent)[0] is not None, place


def test_one_of_another_version_is_refused_and_left_where_it_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = store_at(tmp_path)
    with monkeypatch.context() as later:
        later.setattr(checkpoint, "FORMAT", 3)
        save(store, 5)
    for look in (newest, lambda store: store.newest_good(print), lambda store: store.at(5)):
        with pytest.raises(UserError, match="is of format 3, this version of text2lm reads format 2"):
            look(store)
    assert steps(store) == [5]


def test_a_directory_under_another_name_is_not_taken(tmp_path: Path) -> None:
    store = store_at(tmp_path)
    save(store, 5)
    shutil.copytree(store.step_dir(5), store.step_dir(20))
    step, said = newest(store)
    assert step == 5 and "its manifest says step 5" in said[0]


def test_only_looking_moves_nothing(tmp_path: Path) -> None:
    store = store_at(tmp_path)
    save(store, 5)
    save(store, 10)
    flip(store.rank_file(10, 0))
    said: list[str] = []
    found = store.newest_good(said.append)
    assert found is not None and found.step == 5
    assert said == ["skipped checkpoint step-00000010: rank-00000.safetensors does not have its digest"]
    flip(store.rank_file(5, 0))
    with pytest.raises(UserError, match="step-00000010, step-00000005 damaged"):
        store.newest_good(lambda line: None)
    assert steps(store) == [5, 10]


def test_one_of_many_is_asked_for_by_its_step(tmp_path: Path) -> None:
    store = store_at(tmp_path)
    save(store, 5)
    save(store, 10)
    assert store.at(5).step == 5
    with pytest.raises(UserError, match=r"there is no checkpoint of step 7 in .*; there are: 5, 10"):
        store.at(7)
    flip(store.rank_file(5, 1))
    with pytest.raises(UserError, match=r"rank-00001.safetensors does not have its digest"):
        store.at(5)


def test_when_none_verifies_it_refuses_and_goes_on_refusing(tmp_path: Path) -> None:
    store = store_at(tmp_path)
    save(store, 5)
    save(store, 10)
    for step in (5, 10):
        flip(store.rank_file(step, 0))
    for _ in range(2):
        with pytest.raises(UserError, match=r"no checkpoint .* verifies: .*bad-1, .*bad-1 damaged"):
            newest(store)


def test_when_all_are_gone_it_does_not_begin_again_by_itself(tmp_path: Path) -> None:
    """As on a file system that removes what is old."""
    store = store_at(tmp_path)
    save(store, 5)
    shutil.rmtree(store.step_dir(5))
    for look in (newest, lambda store: store.newest_good(print)):
        with pytest.raises(UserError, match=r"verifies: step-00000005 is gone; .* begin again with --restart"):
            look(store)


def test_another_trainings_checkpoint_is_refused_with_both_values(tmp_path: Path) -> None:
    save(store_at(tmp_path, key="k1"), 5)
    with pytest.raises(UserError, match=r"its key is k1, this run's is k2"):
        newest(store_at(tmp_path, key="k2"))
    model = tiny_run.job(key="k3", model={"n_layers": 3})
    other = dataclasses.replace(model, dataset="other", vocab_size=500)
    with pytest.raises(UserError) as refused:
        newest(CheckpointStore(tmp_path / "checkpoints", other))
    assert "its model.n_layers is 2, this run's is 3; its vocab_size is 300, this run's is 500" in str(refused.value)
    assert "its dataset is synthetic, this run's is other" in str(refused.value)
    assert newest(store_at(tmp_path, key="k1")) == (5, [])


def test_retention_keeps_the_newest(tmp_path: Path) -> None:
    store = store_at(tmp_path, keep_last=2)
    for step in (5, 10, 15, 20):
        save(store, step)
        assert steps(store) == [step - 5, step][step == 5 :]


def test_retention_keeps_multiples_and_the_best(tmp_path: Path) -> None:
    store = store_at(tmp_path, keep_last=2, keep_every=20, keep_best=2)
    losses = {5: 3.0, 10: 1.5, 15: None, 20: 2.0, 25: 1.0, 30: 1.7, 35: 1.6, 40: None, 45: None}
    for step, loss in losses.items():
        save(store, step, loss)
    assert steps(store) == [10, 20, 25, 40, 45]


def test_a_save_that_fails_costs_no_older_one(tmp_path: Path) -> None:
    store = store_at(tmp_path, keep_last=2)
    (tmp_path / "checkpoints").mkdir()
    with small_disk(tmp_path / "checkpoints", "64k"):
        save(store, 5)
        save(store, 10)
        with pytest.raises(OSError) as error:
            store.write(15, 0, [b"x" * 100_000])
        assert error.value.errno == errno.ENOSPC
        store.abandon(15)
        assert newest(store) == (10, []) and steps(store) == [5, 10]
        save(store, 15)
        assert newest(store) == (15, []) and steps(store) == [10, 15]


def test_the_manifest_names_every_file_with_size_and_digest(tmp_path: Path) -> None:
    store = store_at(tmp_path)
    save(store, 5)
    manifest = json.loads((store.step_dir(5) / "manifest.json").read_text())
    assert [entry["path"] for entry in manifest["files"]] == ["rank-00000.safetensors", "rank-00001.safetensors"]
    assert manifest["world_size"] == 2 and manifest["key"] == "k1" and manifest["job"]["model"]["n_layers"] == 2
    assert [entry["bytes"] for entry in manifest["files"]] == [1104] * 2
    # the digest of nothing, in xxHash's specification
    assert store.write(6, 0, [])["digest"] == "xxh3-128:99aa06d3014798d86001c324468d497f"
