"""Checkpoint files that know neither their world size nor their ZeRO stage.

Each rank writes the pieces of every parameter that it owns (fp32 weight and AdamW's two moments) as 1-D tensors
`kind/name` into one safetensors file whose header holds {name: [start, numel]} and {name: shape}. Reading copies the
overlaps of all files with whatever pieces the new layout wants. No communication, no pickle, and no rank ever holds
the whole model. The files are made here byte by byte, since the library that reads them cannot hash while it writes.
"""

from __future__ import annotations

import json
import struct
from pathlib import Path
from typing import Any, NamedTuple

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from data_prep.files import UserError

WEIGHT = "weight"  # the kind that is the model; the others are the optimizer's


class Piece(NamedTuple):
    """A run of one flattened parameter that this rank owns: live 1-D fp32 views, one per kind, of equal length."""

    start: int
    kinds: dict[str, Tensor]

    @property
    def numel(self) -> int:
        return self.kinds[WEIGHT].numel()

    def share(self, rank: int, ranks: int) -> Piece:
        """The part of it that is `rank`'s when `ranks` cut it evenly."""
        low, high = self.numel * rank // ranks, self.numel * (rank + 1) // ranks
        return Piece(self.start + low, {kind: view[low:high] for kind, view in self.kinds.items()})


def header(pieces: dict[str, Piece], shapes: dict[str, list[int]]) -> bytes:
    """How a rank's file begins; the views of `values(pieces)` follow. `shapes` gives every parameter its shape.

    The safetensors format: the length of a JSON header as 8 bytes, the header, padded to a multiple of 8, the values.
    """
    table: dict[str, Any] = {
        "__metadata__": {
            "pieces": json.dumps({name: [piece.start, piece.numel] for name, piece in pieces.items()}),
            "shapes": json.dumps(shapes),
        }
    }
    end = 0
    for name, piece in pieces.items():
        for kind in piece.kinds:
            start, end = end, end + 4 * piece.numel
            table[f"{kind}/{name}"] = {"dtype": "F32", "shape": [piece.numel], "data_offsets": [start, end]}
    packed = json.dumps(table).encode()
    packed += b" " * (-len(packed) % 8)
    return struct.pack("<Q", len(packed)) + packed


def values(pieces: dict[str, Piece]) -> list[Tensor]:
    """The live views of all pieces, in the order of the file."""
    return [view for piece in pieces.values() for view in piece.kinds.values()]


def overlapping(files: list[Path], pieces: dict[str, Piece]) -> list[Path]:
    """Those of a checkpoint's files that hold something of `pieces`; one that cannot be read may."""
    found = []
    for path in files:
        try:
            with safe_open(path, framework="pt") as file:
                there = json.loads(file.metadata()["pieces"])
        except (OSError, SafetensorError, ValueError, KeyError, TypeError):
            found.append(path)
            continue
        if any(name in pieces and _overlap(pieces[name], *span) for name, span in there.items()):
            found.append(path)
    return found


def read_into(files: list[Path], pieces: dict[str, Piece]) -> None:
    """Fill the views of `pieces` from a checkpoint's files; every element must be there (else `UserError`)."""
    covered = dict.fromkeys(pieces, 0)
    for path in files:
        with safe_open(path, framework="pt") as file:
            for name, (start, numel) in json.loads(file.metadata()["pieces"]).items():
                if name not in pieces or not (overlap := _overlap(pieces[name], start, numel)):
                    continue
                for kind, view in pieces[name].kinds.items():
                    source = file.get_slice(f"{kind}/{name}")[overlap.start - start : overlap.stop - start]
                    first = pieces[name].start
                    view[overlap.start - first : overlap.stop - first].copy_(source)
                covered[name] += len(overlap)
    for name, piece in pieces.items():
        if covered[name] != piece.numel:
            raise UserError(
                f"the checkpoint does not fit the model: its files hold {covered[name]} of the {piece.numel} values "
                f"wanted of {name}; run with the settings that made it, or begin again with --restart"
            )


def read_full(files: list[Path]) -> dict[str, Tensor]:
    """The fp32 weights of a checkpoint, whole, by parameter name."""
    with safe_open(files[0], framework="pt") as file:
        shapes = json.loads(file.metadata()["shapes"])
    flat = {name: torch.empty(torch.Size(shape).numel()) for name, shape in shapes.items()}
    with torch.no_grad():
        read_into(files, {name: Piece(0, {WEIGHT: tensor}) for name, tensor in flat.items()})
    return {name: tensor.view(shapes[name]) for name, tensor in flat.items()}


def _overlap(piece: Piece, start: int, numel: int) -> range:
    """The elements of a parameter that a piece and a stored run of it share."""
    return range(max(start, piece.start), min(start + numel, piece.start + piece.numel))
