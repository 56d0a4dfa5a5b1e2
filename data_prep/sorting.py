"""Sorted arrays: what they hold, each value once.

`np.unique` hashes whole numbers one by one since NumPy 2.3, which takes ten times as long as sorting them.
"""

from __future__ import annotations

from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt

Number = TypeVar("Number", bound=np.generic)


def distinct(values: npt.NDArray[Number]) -> npt.NDArray[Number]:
    """The values of an array (n,), sorted, each once.

    >>> distinct(np.array([7, 3, 7]))
    array([3, 7])
    """
    values = np.sort(values)
    return values[run_starts(values)]


def run_starts(values: npt.NDArray[Any]) -> npt.NDArray[np.bool_]:
    """Which entries of an array (n,) begin a run of equal values: (n,).

    >>> run_starts(np.array([3, 7, 7]))
    array([ True,  True, False])
    """
    starts = np.ones(len(values), bool)
    np.not_equal(values[1:], values[:-1], out=starts[1:])
    return starts
