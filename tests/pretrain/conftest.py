"""What several test files look at."""

from __future__ import annotations

from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def engine_directory(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where engine_cases.py has left what trains from the start, and its checkpoints."""
    from engine_runs import launch_first  # DeepSpeed, which most tests here do without

    directory = tmp_path_factory.mktemp("engine")
    launch_first(directory)
    return directory
