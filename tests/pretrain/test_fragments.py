"""Proves that weights written by any number of ranks are read back whole by any other number."""

from __future__ import annotations

import itertools
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from data_prep.files import UserError
from pretrain.fragments import Piece, header, overlapping, read_full, read_into
from pretrain.fragments import values as views_of

SHAPES = {"a": [7, 3], "b": [5]}
KINDS = ("weight", "exp_avg", "exp_avg_sq")


def values(name: str, kind: str) -> torch.Tensor:
    size = torch.Size(SHAPES[name]).numel()
    return torch.arange(size, dtype=torch.float32) + 100 * KINDS.index(kind) + 1000 * list(SHAPES).index(name)


def cut(low: int, high: int) -> dict[str, Piece]:
    """The pieces of a rank that owns elements low..high of a and b laid end to end, as ZeRO lays them."""
    pieces, start = {}, 0
    for name, shape in SHAPES.items():
        size = torch.Size(shape).numel()
        first, last = max(low - start, 0), min(high - start, size)
        if first < last:
            pieces[name] = Piece(first, {kind: values(name, kind)[first:last].clone() for kind in KINDS})
        start += size
    return pieces


def write(directory: Path, bounds: list[int]) -> None:
    for rank, (low, high) in enumerate(itertools.pairwise(bounds)):
        pieces = cut(low, high)
        contents = header(pieces, SHAPES) + b"".join(view.numpy().tobytes() for view in views_of(pieces))
        (directory / f"rank-{rank:05d}.safetensors").write_bytes(contents)


def files(directory: Path) -> list[Path]:
    return sorted(directory.glob("rank-*"))


def test_safetensors_reads_what_is_written(tmp_path: Path) -> None:
    write(tmp_path, [0, 10, 26])
    found = load_file(files(tmp_path)[1])
    assert found.keys() == {f"{kind}/{name}" for kind in KINDS for name in SHAPES}
    assert all(torch.equal(found[f"{kind}/a"], values("a", kind)[10:]) for kind in KINDS)
    assert all(torch.equal(found[f"{kind}/b"], values("b", kind)) for kind in KINDS)


def test_only_files_that_hold_something_wanted_are_read(tmp_path: Path) -> None:
    write(tmp_path, [0, 10, 21, 26, 26])
    assert overlapping(files(tmp_path), cut(0, 10)) == files(tmp_path)[:1]
    assert overlapping(files(tmp_path), cut(9, 22)) == files(tmp_path)[:3]
    files(tmp_path)[3].write_bytes(b"torn")  # it may have been wanted: who verifies it will say so
    assert overlapping(files(tmp_path), cut(0, 10)) == [files(tmp_path)[0], files(tmp_path)[3]]


def test_ranks_that_own_the_same_share_it_evenly() -> None:
    whole = cut(0, 26)
    shares = [{name: piece.share(rank, 3) for name, piece in whole.items()} for rank in range(3)]
    assert [[(piece.start, piece.numel) for piece in share.values()] for share in shares] == [
        [(0, 7), (0, 1)],
        [(7, 7), (1, 2)],
        [(14, 7), (3, 2)],
    ]
    assert torch.equal(shares[1]["a"].kinds["exp_avg"], values("a", "exp_avg")[7:14])


@pytest.mark.parametrize("written", [[0, 26], [0, 13, 26], [0, 3, 21, 26, 26]])
@pytest.mark.parametrize("wanted", [[0, 26], [0, 9, 18, 26]])
def test_any_layout_reads_any_other(tmp_path: Path, written: list[int], wanted: list[int]) -> None:
    write(tmp_path, written)
    for low, high in itertools.pairwise(wanted):
        pieces = cut(low, high)
        originals = {name: {k: v.clone() for k, v in piece.kinds.items()} for name, piece in pieces.items()}
        for piece in pieces.values():
            for view in piece.kinds.values():
                view.zero_()
        read_into(files(tmp_path), pieces)
        for name, piece in pieces.items():
            for kind, view in piece.kinds.items():
                assert torch.equal(view, originals[name][kind])


def test_the_whole_model_has_its_shapes(tmp_path: Path) -> None:
    write(tmp_path, [0, 10, 26])
    state = read_full(files(tmp_path))
    assert torch.equal(state["a"], values("a", "weight").view(7, 3))
    assert torch.equal(state["b"], values("b", "weight"))


def test_a_missing_part_is_refused(tmp_path: Path) -> None:
    write(tmp_path, [0, 10, 26])
    (tmp_path / "rank-00001.safetensors").unlink()
    with pytest.raises(UserError, match="its files hold 10 of the 21 values wanted of a"):
        read_full(files(tmp_path))
