"""Checkpoint files that know neither their world size nor their ZeRO stage.

Each rank writes the pieces of every parameter that it owns (fp32 weight and AdamW's two moments) as 1-D tensors
`kind/name` into one safetensors file whose header holds {name: [start, numel]} and {name: shape}. Reading copies the
overlaps of all files with whatever pieces the new layout wants. No communication, no pickle, and no rank ever holds
the whole model.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import NamedTuple

import torch
from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor

from data_prep.files import UserError, atomic_path

WEIGHT = "weight"  # the kind that is the model; the others are the optimizer's
SUFFIX = ".safetensors"


class Piece(NamedTuple):
    """A run of one flattened parameter that this rank owns: live 1-D fp32 views, one per kind, of equal length."""

    start: int
    kinds: dict[str, Tensor]

    @property
    def numel(self) -> int:
        return self.kinds[WEIGHT].numel()


def write_fragments(path: Path, pieces: dict[str, Piece], shapes: dict[str, list[int]]) -> None:
    """Write one rank's pieces; `shapes` gives every parameter of the model its shape."""
    tensors = {f"{kind}/{name}": view.detach() for name, piece in pieces.items() for kind, view in piece.kinds.items()}
    header = {
        "pieces": json.dumps({name: [piece.start, piece.numel] for name, piece in pieces.items()}),
        "shapes": json.dumps(shapes),
    }
    with atomic_path(path) as temporary:
        save_file(tensors, temporary, metadata=header)


def read_into(step_dir: Path, pieces: dict[str, Piece]) -> None:
    """Fill the views of `pieces` from a checkpoint's files; every element must be there (else `UserError`)."""
    covered = dict.fromkeys(pieces, 0)
    for path in sorted(step_dir.glob(f"*{SUFFIX}")):
        with safe_open(path, framework="pt") as file:
            for name, (start, numel) in json.loads(file.metadata()["pieces"]).items():
                if name not in pieces:
                    continue
                wanted = pieces[name]
                low, high = max(start, wanted.start), min(start + numel, wanted.start + wanted.numel)
                if low >= high:
                    continue
                for kind, view in wanted.kinds.items():
                    source = file.get_slice(f"{kind}/{name}")[low - start : high - start]
                    view[low - wanted.start : high - wanted.start].copy_(source)
                covered[name] += high - low
    for name, piece in pieces.items():
        if covered[name] != piece.numel:
            raise UserError(
                f"checkpoint {step_dir} does not fit the model: it holds {covered[name]} of the {piece.numel} values "
                f"wanted of {name}; run with the settings that made it, or begin again with --restart"
            )


def read_full(step_dir: Path) -> dict[str, Tensor]:
    """The fp32 weights of a checkpoint, whole, by parameter name."""
    first = next(iter(sorted(step_dir.glob(f"*{SUFFIX}"))), None)
    if first is None:
        raise UserError(f"checkpoint {step_dir} holds no {SUFFIX} file; run again to train and save one")
    with safe_open(first, framework="pt") as file:
        shapes = json.loads(file.metadata()["shapes"])
    flat = {name: torch.empty(torch.Size(shape).numel()) for name, shape in shapes.items()}
    with torch.no_grad():
        read_into(step_dir, {name: Piece(0, {WEIGHT: tensor}) for name, tensor in flat.items()})
    return {name: tensor.view(shapes[name]) for name, tensor in flat.items()}
