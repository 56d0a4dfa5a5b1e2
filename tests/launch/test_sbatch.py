"""Proves what is typed to `sbatch`, whole command lines as data."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from launch.sbatch import BatchJob, job_name, nodes_of, sbatch_argv
from launch.settings import SiteSettings, SlurmSettings

PYTHON = "/work dir/.venv/bin/python"


def typed(job: BatchJob, logs: str = "/runs/mine/logs/slurm", **settings: Any) -> list[str]:
    settings = {"max_restarts": 20, **settings}
    return sbatch_argv(job, SlurmSettings(**settings), scripts=Path("/code/slurm"), logs=Path(logs), python=PYTHON)


def a_job(**changed: Any) -> BatchJob:
    named = {
        "name": "mine.clean-clean",
        "comment": "text2lm:00ff",
        "arguments": ("stage", "clean/clean", "--run", "/r"),
    }
    return BatchJob(**named | changed)


def test_an_array_behind_a_gather() -> None:
    job = a_job(elements=16, after=("afterok:41",))
    assert typed(job, elements_at_once=4, cpus=3) == [
        "sbatch",
        "--parsable",
        "--requeue",
        "--export=ALL",
        "--kill-on-invalid-dep=yes",
        "--open-mode=append",
        "--job-name=mine.clean-clean",
        "--comment=text2lm:00ff",
        "--chdir=/code",
        "--output=/runs/mine/logs/slurm/%x_%A_%a.log",
        "--signal=B:USR1@300",
        "--nodes=1",
        "--ntasks=1",
        "--cpus-per-task=3",
        "--array=0-15%4",
        "--dependency=afterok:41",
        "/code/slurm/cpu.sbatch",
        "--python",
        PYTHON,
        "--restarts",
        "20",
        "stage",
        "clean/clean",
        "--run",
        "/r",
    ]


def test_a_gather_behind_an_array_and_the_first_job_which_is_held() -> None:
    gather = a_job(name="mine.clean-clean-gather", arguments=("stage", "clean/clean", "--gather"))
    middle = ["--nodes=1", "--ntasks=1", "--cpus-per-task=8"]
    end = ["/code/slurm/cpu.sbatch", "--python", PYTHON, "--restarts", "20", "stage", "clean/clean", "--gather"]
    begin = [
        "sbatch",
        "--parsable",
        "--requeue",
        "--export=ALL",
        "--kill-on-invalid-dep=yes",
        "--open-mode=append",
        "--job-name=mine.clean-clean-gather",
        "--comment=text2lm:00ff",
        "--chdir=/code",
        "--output=/runs/mine/logs/slurm/%x_%j.log",
        "--signal=B:TERM@60",
    ]
    warned = {"warning_signal": "TERM", "warning_seconds": 60}
    behind = BatchJob(**vars(gather) | {"after": ("afterok:6", "afterany:7")})
    assert typed(behind, **warned) == [*begin, *middle, "--dependency=afterok:6,afterany:7", *end]
    first = BatchJob(**vars(gather) | {"held": True})
    assert typed(first, **warned) == [*begin, *middle, "--hold", *end]


def test_a_training_over_several_nodes_with_all_gpus_of_its_node_for_each_rank() -> None:
    job = a_job(name="mine.pretrain-train", arguments=("/runs/mine",), ranks=8, after=("afterok:9",))
    settings = {"gpus_per_node": 4, "gpu_type": "a100", "cpus_per_rank": 12, "interface": "ib0"}
    assert typed(job, **settings, environment={"NCCL_DEBUG": "INFO"}) == [
        "sbatch",
        "--parsable",
        "--requeue",
        "--export=ALL",
        "--kill-on-invalid-dep=yes",
        "--open-mode=append",
        "--job-name=mine.pretrain-train",
        "--comment=text2lm:00ff",
        "--chdir=/code",
        "--output=/runs/mine/logs/slurm/%x_%j.log",
        "--signal=B:USR1@300",
        "--nodes=2",
        "--ntasks-per-node=4",
        "--cpus-per-task=12",
        "--gres=gpu:a100:4",
        "--dependency=afterok:9",
        "/code/slurm/gpu.sbatch",
        "--env",
        "NCCL_SOCKET_IFNAME=ib0",
        "--env",
        "GLOO_SOCKET_IFNAME=ib0",
        "--env",
        "NCCL_DEBUG=INFO",
        "--python",
        PYTHON,
        "--restarts",
        "20",
        "/runs/mine",
    ]


def test_one_gpu_for_each_rank_is_left_to_srun() -> None:
    argv = typed(a_job(ranks=2, arguments=("/r",)), gpus_per_node=2, gpu_binding="one")
    assert "--gres=gpu:2" in argv and argv[-3:] == ["--srun", "--gpus-per-task=1", "/r"]
    on_cpus = typed(a_job(ranks=2, arguments=("/r",)), gpu_binding="one")
    assert "--srun" not in on_cpus and not any("gres" in word for word in on_cpus)


def test_no_data_job_asks_for_a_gpu() -> None:
    assert not any("gres" in word for word in typed(a_job(), gpus_per_node=8, gpu_type="h100"))


def test_the_tables_of_data_and_training_have_the_last_word() -> None:
    tables: dict[str, Any] = {
        "partition": "cpu",
        "account": "project",
        "time": "60",
        "options": ["--mail-type=END"],
        "data": SiteSettings(memory="16G"),
        "train": SiteSettings(partition="gpu", qos="high", constraint="a&b", time="1-0", options=["--exclusive"]),
    }
    data, train = typed(a_job(), **tables), typed(a_job(ranks=1), **tables)
    asked = ["--partition=cpu", "--account=project", "--time=60", "--mem=16G", "--mail-type=END"]
    assert data[14 : data.index("/code/slurm/cpu.sbatch")] == asked
    asked = ["--partition=gpu", "--account=project", "--qos=high", "--constraint=a&b", "--time=1-0"]
    assert train[14 : train.index("/code/slurm/gpu.sbatch")] == [*asked, "--mail-type=END", "--exclusive"]


def test_what_the_site_needs_stands_behind_the_script_in_the_order_that_it_is_heeded() -> None:
    argv = typed(
        a_job(arguments=("stage", "x")),
        modules=["gcc/13", "cuda/12.4"],
        setup=["ulimit -n 4096"],
        environment={"A": "1"},
        container=["apptainer", "exec", "x.sif"],
        python="/opt/python",
        requeue=False,
    )
    site = ["--module", "gcc/13", "--module", "cuda/12.4", "--setup", "ulimit -n 4096", "--env", "A=1"]
    site += ["--python", "/opt/python", "--container", "apptainer", "--container", "exec", "--container", "x.sif"]
    assert argv[argv.index("/code/slurm/cpu.sbatch") + 1 :] == [
        *site,
        "--restarts",
        "20",
        "--leave",
        "yes",
        "stage",
        "x",
    ]


def test_a_variable_that_the_user_names_wins_over_the_interface() -> None:
    argv = typed(a_job(), interface="ib0", environment={"NCCL_SOCKET_IFNAME": "^lo"})
    assert [word for word in argv if "IFNAME" in word] == ["NCCL_SOCKET_IFNAME=^lo", "GLOO_SOCKET_IFNAME=ib0"]


def test_percent_signs_of_a_path_are_no_pattern_of_sbatch() -> None:
    argv = typed(a_job(), logs="/scratch/100% of it/%j/logs/slurm")
    assert "--output=/scratch/100%% of it/%%j/logs/slurm/%x_%j.log" in argv


def test_a_job_is_named_without_what_a_file_name_or_a_listing_trips_over() -> None:
    assert job_name("My run/../%x $(id)\n", "clean-clean") == "My-run-..-x-id.clean-clean"
    assert job_name("中文", "clean-clean") == "run.clean-clean"


@pytest.mark.parametrize(
    ("ranks", "settings", "nodes"),
    [
        (1, {}, (1, 1)),
        (6, {}, (1, 6)),
        (8, {"gpus_per_node": 4}, (2, 4)),
        (2, {"gpus_per_node": 4}, (1, 2)),
        (8, {"gpus_per_node": 4, "ranks_per_node": 2}, (4, 2)),
        (3, {"ranks_per_node": 1}, (3, 1)),
    ],
)
def test_ranks_are_spread_evenly(ranks: int, settings: dict[str, int], nodes: tuple[int, int]) -> None:
    assert nodes_of(ranks, SlurmSettings(**settings)) == nodes


def test_ranks_that_cannot_be_spread_evenly_are_refused() -> None:
    with pytest.raises(
        ValueError, match=r"launch.ranks = 6 .* 4 ranks each; make it a multiple of slurm.gpus_per_node"
    ):
        nodes_of(6, SlurmSettings(gpus_per_node=4))
    with pytest.raises(ValueError, match=r"make it a multiple of slurm.ranks_per_node"):
        nodes_of(3, SlurmSettings(ranks_per_node=2))
