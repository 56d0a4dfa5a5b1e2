"""What this machine has and what is missing, before time is spent on a run."""

from __future__ import annotations

import importlib.metadata
import os
import platform
import shutil
from pathlib import Path

PACKAGES = (
    "torch", "deepspeed", "datasets", "tokenizers", "datasketch", "wandb", "pyarrow", "numpy", "numba", "safetensors",
)  # fmt: skip
DISK_GB = 10.0  # what the demo needs, with room


def examine(root: Path) -> tuple[list[str], list[str]]:
    """(facts, problems), each a line. `root` is where runs will be written."""
    facts = [f"python {platform.python_version()} on {platform.system()} {platform.machine()}"]
    problems = []
    if platform.system() != "Linux":
        problems.append("Linux is wanted (WSL on Windows)")
    for name in PACKAGES:
        try:
            facts.append(f"{name} {importlib.metadata.version(name)}")
        except importlib.metadata.PackageNotFoundError:
            problems.append(f"{name} is not installed; run: make setup")
    gpus = len(list(Path("/dev").glob("nvidia[0-9]*")))
    facts.append(f"{os.cpu_count()} CPU cores, {gpus} GPUs")
    memory_gb = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 1e9
    free_gb = shutil.disk_usage(root).free / 1e9
    facts.append(f"{memory_gb:.0f} GB memory, {free_gb:.0f} GB free disk at {root}")
    if free_gb < DISK_GB:
        problems.append(f"only {free_gb:.1f} GB are free at {root}, {DISK_GB:.0f} are wanted")
    if not os.access(root, os.W_OK):
        problems.append(f"{root} cannot be written to")
    return facts, problems
