"""One cluster for all tests here; each finds it empty. CI fails, and does not skip, where it cannot be had."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest

from tests.slurm.cluster import Cluster, missing, running_cluster


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
