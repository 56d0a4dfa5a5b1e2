"""One cluster for all tests here; each finds it empty. CI fails, and does not skip, where it cannot be had."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.conftest import text2lm, write_project
from tests.slurm.cluster import Cluster, missing, running_cluster
from tests.slurm.queued import CONFIG


@pytest.fixture(scope="package")
def started_cluster() -> Iterator[Cluster]:
    if lacks := missing():
        (pytest.fail if "CI" in os.environ else pytest.skip)(f"no Slurm here: {', '.join(lacks)} missing (see .ci/run)")
    with running_cluster() as cluster:
        yield cluster


@pytest.fixture
def cluster(started_cluster: Cluster) -> Iterator[Cluster]:
    yield started_cluster
    started_cluster.clear()


@pytest.fixture(scope="package")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project with a space in its path: `data` has its tokens, `local` is a whole run on two local ranks."""
    directory = tmp_path_factory.mktemp("slurm project")
    write_project(directory)
    (directory / "tiny.toml").write_text(CONFIG)
    with pytest.MonkeyPatch.context() as environment:
        environment.setenv("OMP_NUM_THREADS", "1")  # as in the jobs: sums of other threads are other bits
        text2lm(directory, "run", "tiny.toml", "--run", "data", "--until", "tokens")
        shutil.copytree(directory / "data", directory / "local")
        text2lm(directory, "run", "tiny.toml", "--run", "local")
    return directory
