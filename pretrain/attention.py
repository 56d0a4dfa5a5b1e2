"""Who sees whom, by the fastest kernel that can say it: masks, rotary positions, and a cache for generation.

A mask is one of four things. None is plain causal. `Pieces` (documents packed in one row, on a CPU) is one causal call
per document: torch has no kernel for many lengths there, and a dense mask costs the whole T x T square. A `BlockMask`
is flex attention's (on CUDA), which skips the blocks that nobody sees. A boolean tensor (B, 1, T, keys) is the square:
for a prefix on a CPU, for a cache, and for attention dropout, which flex attention lacks.

B is samples, H heads, T tokens, D the width of a head.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.nn.attention.flex_attention import BlockMask, create_block_mask, create_mask, flex_attention


@dataclass(frozen=True)
class Pieces:
    """Lengths of the documents, over all rows laid end to end. A class, so that torch.compile looks not into it."""

    lengths: list[int]


Mask = None | Pieces | BlockMask | Tensor
Rule = Callable[[Tensor, Tensor, Tensor, Tensor], Tensor]  # (sample, head, query, key) -> whether query sees key


def sees(positions: Tensor | None, prefix: Tensor | None) -> Rule:
    """The rule: a query sees the keys of its own piece up to itself, and those of the prefix.

    A piece reaches from one position 0 to the next in `positions` (B, T); `prefix` (B,) counts leading tokens of the
    row, which see each other both ways (Raffel et al. 2020, figure 3).
    """
    piece = None if positions is None else (positions == 0).cumsum(1)  # (B, T)

    def rule(sample: Tensor, head: Tensor, query: Tensor, key: Tensor) -> Tensor:
        seen = query >= key
        if prefix is not None:
            seen = seen | (key < prefix[sample])
        if piece is not None:
            seen = seen & (piece[sample, query] == piece[sample, key])
        return seen

    return rule


def make_mask(positions: Tensor | None, prefix: Tensor | None, length: int, *, dropout: bool) -> Mask:
    """The mask of a forward pass over whole rows of `length` tokens: made once, used by every layer."""
    given = prefix if positions is None else positions
    if given is None:
        return None
    shape = (len(given), None, length, length)
    if given.is_cuda and not dropout:
        blocks: BlockMask = _compiled(create_block_mask)(sees(positions, prefix), *shape, device=given.device)
        return blocks
    if positions is not None and prefix is None and not given.is_cuda:
        return _pieces(positions)  # type: ignore[no-any-return]
    return create_mask(sees(positions, prefix), *shape, device=given.device)


@torch.compiler.disable  # type: ignore[untyped-decorator]  # lengths are data, never part of a graph
def _pieces(positions: Tensor) -> Pieces:
    starts = (positions.flatten() == 0).nonzero().flatten()
    return Pieces(torch.diff(starts, append=starts.new_tensor([positions.numel()])).tolist())


def attend(q: Tensor, k: Tensor, v: Tensor, mask: Mask, dropout: float = 0.0) -> Tensor:
    """Attention of q (B, H, T, D) on k and v (B, H or fewer, keys, D): the weighted values (B, H, T, D)."""
    grouped = q.shape[1] != k.shape[1]  # several queries a key; the kernels share it without a copy
    if isinstance(mask, Pieces):
        return _attend_pieces(q, k, v, mask, dropout)  # type: ignore[no-any-return]
    if isinstance(mask, BlockMask):
        y: Tensor = _compiled(flex_attention)(q, k, v, block_mask=mask, enable_gqa=grouped)
        return y
    return F.scaled_dot_product_attention(q, k, v, mask, dropout, is_causal=mask is None, enable_gqa=grouped)


@torch.compiler.disable  # type: ignore[untyped-decorator]
def _attend_pieces(q: Tensor, k: Tensor, v: Tensor, mask: Pieces, dropout: float) -> Tensor:
    B, H, T, D = q.shape
    # All rows end to end: (1, heads, B T, D), a view where no rotation came between
    q, k, v = (x.transpose(0, 1).reshape(1, -1, B * T, D) for x in (q, k, v))
    pieces = zip(*(torch.split(x, mask.lengths, dim=2) for x in (q, k, v)), strict=True)
    y = torch.cat([attend(q, k, v, None, dropout) for q, k, v in pieces], dim=2)
    return y.view(H, B, T, D).transpose(0, 1)


def _compiled(kernel: Callable[..., Any]) -> Callable[..., Any]:
    """Flex attention wants to be compiled: by itself, or with the model that is being compiled around it."""
    return kernel if torch.compiler.is_compiling() else _compile(kernel)


@functools.cache
def _compile(kernel: Callable[..., Any]) -> Callable[..., Any]:
    return torch.compile(kernel)


def rotation(positions: Tensor, width: int, theta: float) -> tuple[Tensor, Tensor]:
    """Cosines and sines (..., T, width) of rotary positions (Su et al. 2021, 3.4.2) for positions (..., T).

    In fp32: in bf16 the positions themselves would be rounded from 257 on.
    """
    frequencies = theta ** (torch.arange(0, width, 2, device=positions.device) / -width)  # (width / 2,)
    angles = positions[..., None] * frequencies
    angles = torch.cat((angles, angles), dim=-1)
    return angles.cos(), angles.sin()


def rotate(x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    """Turn each pair (x[i], x[i + D/2]) of x (B, H, T, D) by its angle: the pairing of LLaMA in transformers."""
    first, second = x.chunk(2, dim=-1)
    return (x * cos + torch.cat((-second, first), dim=-1) * sin).to(x.dtype)


class KeyValueCache:
    """Keys and values (B, kv heads, length, D) of all tokens so far, a pair for each layer."""

    def __init__(self) -> None:
        self.layers: list[tuple[Tensor, Tensor]] = []

    @property
    def length(self) -> int:
        return self.layers[0][0].shape[2] if self.layers else 0

    def append(self, layer: int, k: Tensor, v: Tensor) -> tuple[Tensor, Tensor]:
        """Add the new tokens' keys and values; returns those of all."""
        if layer == len(self.layers):
            self.layers.append((k, v))
        else:
            old_k, old_v = self.layers[layer]
            self.layers[layer] = torch.cat((old_k, k), dim=2), torch.cat((old_v, v), dim=2)
        return self.layers[layer]

    def select(self, rows: Tensor) -> None:
        """Keep these samples, in this order, as often as named: a beam search goes on with its best."""
        self.layers = [(k[rows], v[rows]) for k, v in self.layers]

    def mask(self, new: int) -> Tensor | None:
        """What `new` tokens after the cached ones see: (new, keys); None, plain causal, when nothing is cached."""
        if not self.layers:
            return None
        device, keys = self.layers[0][0].device, self.length + new
        return torch.ones(new, keys, dtype=torch.bool, device=device).tril(self.length)
