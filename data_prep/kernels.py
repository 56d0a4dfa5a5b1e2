"""`kernel`: a Python function as machine code. The home of numba.

Compiled at the first call and kept on disk for later processes (beside Python's own bytecode, or where
NUMBA_CACHE_DIR says). numba takes a kernel for unchanged as long as its own file is, whatever became of the kernels
that it calls in others; so what is kept lies in a directory that is named by the text of all modules with kernels, and
of those whose constants they use.
"""

from __future__ import annotations

import functools
import hashlib
import os
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

from numba import config, njit

Kernel = Callable[..., Any]
OURS = re.compile(rb"^from data_prep\.(\w+) import", re.MULTILINE)


def kernel(function: Kernel) -> Kernel:
    """The function, compiled without Python's objects: numbers and arrays only, in and out."""
    before = config.CACHE_DIR
    config.CACHE_DIR = str(directory())  # numba looks when it decorates, not when it compiles
    try:
        compiled: Kernel = njit(cache=True)(function)
    finally:
        config.CACHE_DIR = before
    return compiled


@functools.cache
def directory() -> Path:
    """Where the machine code of these sources is kept."""
    here = Path(__file__).parent
    texts = {path.stem: path.read_bytes() for path in here.glob("*.py")}
    imported = {name: {match.decode() for match in OURS.findall(text)} for name, text in texts.items()}
    with_kernels = [name for name in texts if "kernels" in imported[name]]
    sources = sorted(set().union(with_kernels, *(imported[name] for name in with_kernels)))
    digest = hashlib.sha256(b"\0".join(texts[name] for name in sources)).hexdigest()[:16]
    own = here / "__pycache__"
    home = own if os.access(own if own.exists() else here, os.W_OK) else Path("~/.cache/text2lm").expanduser()
    return Path(config.CACHE_DIR or home) / f"kernels-{digest}"
