"""A directory and all that is in it as a value: kept, compared, put back."""

from __future__ import annotations

import shutil
from pathlib import Path

Tree = dict[str, bytes | None]  # relative path -> content; None: a directory. What is above comes first


def read_tree(root: Path) -> Tree:
    paths = sorted(root.rglob("*"))
    return {str(path.relative_to(root)): None if path.is_dir() else path.read_bytes() for path in paths}


def write_tree(root: Path, tree: Tree) -> None:
    """Make `root` hold just that."""
    shutil.rmtree(root, ignore_errors=True)
    root.mkdir()
    for name, content in tree.items():
        if content is None:
            (root / name).mkdir()
        else:
            (root / name).write_bytes(content)
