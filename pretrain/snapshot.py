"""Buffers of bytes that a checkpoint's file is written from: a copy that training cannot change, or the live values."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

Bytes = npt.NDArray[np.uint8]


class Snapshot:
    """A copy of tensors in one buffer of host memory, made once and used again for every save.

    Made when training starts: memory that is touched for the first time is several times slower.
    """

    def __init__(self, views: list[Tensor]) -> None:
        """`views`: 1-D fp32, those that `take` will be given, or of their sizes."""
        on_gpu = any(view.is_cuda for view in views)
        self._buffer = torch.zeros(sum(view.numel() for view in views), pin_memory=on_gpu)

    def take(self, views: list[Tensor]) -> list[Bytes]:
        """Copy them, one behind the other. When this returns, they may change."""
        start = 0
        for view in views:
            self._buffer[start : start + view.numel()].copy_(view, non_blocking=True)
            start += view.numel()
        if self._buffer.is_pinned():
            torch.cuda.synchronize()
        return [self._buffer.numpy().view(np.uint8)]


def live(views: list[Tensor]) -> Iterator[Bytes]:
    """The values as they are when each is asked for: they must not change meanwhile."""
    for view in views:
        yield view.cpu().numpy().view(np.uint8)
