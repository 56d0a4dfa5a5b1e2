"""Proves that weights written by any number of ranks are read back whole by any other number."""

from __future__ import annotations

import itertools
from pathlib import Path

import pytest
import torch

from data_prep.files import UserError
from pretrain.fragments import Piece, read_full, read_into, write_fragments

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
        write_fragments(directory / f"rank-{rank:05d}.safetensors", cut(low, high), SHAPES)


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
        read_into(tmp_path, pieces)
        for name, piece in pieces.items():
            for kind, view in piece.kinds.items():
                assert torch.equal(view, originals[name][kind])


def test_the_whole_model_has_its_shapes(tmp_path: Path) -> None:
    write(tmp_path, [0, 10, 26])
    state = read_full(tmp_path)
    assert torch.equal(state["a"], values("a", "weight").view(7, 3))
    assert torch.equal(state["b"], values("b", "weight"))


def test_a_missing_part_is_refused(tmp_path: Path) -> None:
    write(tmp_path, [0, 10, 26])
    (tmp_path / "rank-00001.safetensors").unlink()
    with pytest.raises(UserError, match="it holds 10 of the 21 values wanted of a"):
        read_full(tmp_path)
