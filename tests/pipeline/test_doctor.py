"""Proves that doctor reads what Slurm prints, sees what would not fit a site, and proposes a table that does.

The texts are Slurm's own, by the forms in its manual pages; on a real one see tests/slurm/test_doctor.py.
"""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path

import pytest

from launch.settings import SiteSettings, SlurmSettings
from launch.slurm_site import Site, read_config, read_limits, read_partitions, seconds_of
from pipeline.config import load_config
from pipeline.node_probe import judge
from pipeline.run_dir import RunDir
from pipeline.slurm_doctor import disk_findings, read_quota, toml_lines
from pipeline.slurm_fit import DEFAULT_TIME, fit, jobs_of_a_run, misfits
from tests.conftest import TINY_CONFIG

ROOT = Path(__file__).parents[2]
SINFO = """\
cpu*|up|2-00:00:00|90/10/0/100|64|256000|(null)
short|up|30:00|0/4/0/4|16|64000|(null)
gpu|up|12:00:00|6/2/0/8|64|1031000|gpu:a100:4(S:0-1)
gpu|up|12:00:00|0/2/0/2|96|2063000|gpu:h100:8(S:0-1),craynetwork:4
old|down|infinite|0/0/3/3|32|128000|gpu:2
"""
SCONTROL = """\
Configuration data as of 2026-11-22T14:00:00
KillWait                = 30 sec
MaxArraySize            = 1001
MaxJobCount             = 10000
SLURM_VERSION           = 23.11.4

Slurmctld(primary) at head is UP
"""


def site(**changes: object) -> Site:
    found = Site(read_partitions(SINFO), read_config(SCONTROL), {}, {}, accounting=False)
    return replace(found, **changes)  # type: ignore[arg-type]


def test_what_slurm_prints_is_read() -> None:
    found = site()
    cpu = found.partition("")
    gpu, old = found.partition("gpu"), found.partition("old")
    assert cpu and gpu and old
    assert (cpu.name, cpu.nodes, cpu.idle, cpu.most("cpus"), cpu.most("gpus")) == ("cpu", 100, 10, 64, 0)
    assert (gpu.nodes, gpu.most("gpus"), gpu.most("gpus", "a100"), gpu.most("memory_mb")) == (10, 8, 4, 2063000)
    assert not old.up and old.most("gpus") == 2
    assert found.config["SLURM_VERSION"] == "23.11.4" and found.config["MaxArraySize"] == "1001"


@pytest.mark.parametrize(
    ("time", "seconds"),  # sbatch(1), --time: each form that it names
    [
        ("10", 600),
        ("10:30", 630),
        ("1:10:30", 4230),
        ("2-3", 2 * 86400 + 3 * 3600),
        ("2-3:30", 2 * 86400 + 3.5 * 3600),
        ("2-03:30:15", 2 * 86400 + 3.5 * 3600 + 15),
        ("UNLIMITED", math.inf),
        ("infinite", math.inf),
    ],
)
def test_every_form_of_a_time_limit(time: str, seconds: float) -> None:
    assert seconds_of(time) == seconds


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        (SlurmSettings(partition="gpus"), "partition 'gpus' is unknown, there are cpu, short, gpu, old"),
        (SlurmSettings(partition="old"), "partition old is down"),
        (SlurmSettings(elements=1002), "slurm.elements = 1002: the site's arrays have at most 1001 elements"),
        (SlurmSettings(partition="short"), f"slurm.data.time: {DEFAULT_TIME} is above the limit of partition short"),
        (SlurmSettings(train=SiteSettings(partition="gpu", time="13:00:00")), "slurm.train.time: 13:00:00 is above"),
        (SlurmSettings(time="5"), "slurm.warning_seconds = 300 is no less than slurm.data.time, 5"),
        (SlurmSettings(memory="300G"), "slurm.data.memory: 300G is more than a node of cpu has"),
        (SlurmSettings(gpus_per_node=4), "slurm.gpus_per_node = 4: a node of cpu has 0 GPUs"),
        (
            SlurmSettings(gpus_per_node=8, gpu_type="a100", train=SiteSettings(partition="gpu", time="1:00:00")),
            "slurm.gpus_per_node = 8: a node of gpu has 4 a100 GPUs",
        ),
        (SlurmSettings(cpus=65), "slurm.cpus: 65 CPUs are more than a node of cpu has, 64"),
        (SlurmSettings(cpus_per_rank=33, ranks_per_node=2), "66 CPUs are more than a node of cpu has, 64"),
        (SlurmSettings(partition="short", ranks_per_node=1, time="9"), "take 8 nodes, partition short has 4"),
        (SlurmSettings(ranks_per_node=3), "launch.ranks = 8 cannot be shared by nodes with 3 ranks each"),
    ],
)
def test_what_slurm_would_refuse_is_said_before(settings: SlurmSettings, said: str) -> None:
    assert settings.problems() == []
    assert any(said in misfit for misfit in misfits(settings, 8, site())), misfits(settings, 8, site())


def test_limits_of_jobs_count_every_element_of_every_array() -> None:
    fine = SlurmSettings(elements=100)
    jobs = jobs_of_a_run(fine)
    assert jobs_of_a_run(replace(fine, elements=101)) - jobs == 10  # arrays: two of ingest, four of dedup, four others
    assert misfits(fine, 1, site()) == []
    limited = site(accounts=read_limits("physics|700\nchemistry|100\nphysics|\n"), accounting=True)
    assert misfits(fine, 1, limited) == [
        f"a run puts {jobs} jobs into the queue, account physics allows 700; lower slurm.elements"
    ]
    assert "account chemistry allows 100" in misfits(replace(fine, account="chemistry"), 1, limited)[0]
    assert misfits(fine, 1, site(qos={"normal": 50})) == []
    assert "qos normal allows 50" in misfits(replace(fine, qos="normal"), 1, site(qos={"normal": 50}))[0]
    assert "the site allows 500" in misfits(fine, 1, site(config={"MaxJobCount": "500"}))[0]


@pytest.mark.parametrize(
    "settings",
    [
        SlurmSettings(),
        SlurmSettings(partition="nowhere", elements=5000, cpus=200, cpus_per_rank=80, memory="4T", time="9-0"),
        SlurmSettings(data=SiteSettings(partition="short"), train=SiteSettings(partition="old", memory="2T")),
        SlurmSettings(partition="gpu", gpus_per_node=16, gpu_type="a100", warning_seconds=90_000),
        SlurmSettings(setup=['say "a\nb"'], environment={"X": "1 = 2"}, options=["--reservation=mine"], qos="long"),
    ],
)
def test_the_proposed_table_fits_and_is_a_config(settings: SlurmSettings, tmp_path: Path) -> None:
    here = site(accounts={"physics": 300}, accounting=True)
    proposed = fit(settings, here)
    assert misfits(proposed, 1, here) == []
    path = tmp_path / "tiny.toml"
    path.write_text("\n".join([TINY_CONFIG, *toml_lines(proposed)]))
    assert load_config(path).slurm == proposed


def test_a_table_for_a_site_with_gpus_sends_each_kind_of_job_to_its_partition() -> None:
    assert toml_lines(fit(SlurmSettings(elements=64), site())) == [
        "[slurm]",
        "elements = 64",
        "gpus_per_node = 8",
        "",
        "[slurm.data]",
        'partition = "cpu"',
        "",
        "[slurm.train]",
        'partition = "gpu"',
        'time = "12:00:00"',
    ]


@pytest.mark.parametrize("script", ["cpu.sbatch", "gpu.sbatch"])
def test_the_time_that_is_asked_for_without_a_setting_is_that_of_the_scripts(script: str) -> None:
    assert f"--time={DEFAULT_TIME}\n" in (ROOT / "slurm" / script).read_text()


@pytest.mark.parametrize(
    ("text", "left"),
    [
        ("", (None, None)),
        ("Disk quotas for user me (uid 1000): none\n", (None, None)),
        (  # quota -w -p
            "Disk quotas for user me (uid 1000):\n     Filesystem  blocks   quota   limit   grace   files   quota"
            "   limit   grace\nhead:/home  2000*   1000    3000 1795000000   10    0       15       0\n",
            (1000 * 1024, 5),
        ),
        (  # lfs quota -u
            "Disk quotas for usr me (uid 1000):\n     Filesystem  kbytes   quota   limit   grace   files   quota"
            "   limit   grace\n        /lustre    1000       0    5000       -     400       0       0       -\n",
            (4000 * 1024, None),
        ),
    ],
)
def test_quotas(text: str, left: tuple[float | None, float | None]) -> None:
    assert read_quota(text) == left


def test_a_run_that_is_larger_than_the_disk_is_said(project: Path) -> None:
    fine = load_config(project / "tiny.toml")
    facts, problems = disk_findings(fine, RunDir(project / "run"), project)
    assert problems == [] and "the run takes at most about" in facts[1]
    large = ["train.tokens=1_000_000", "checkpoint.every_steps=1", "checkpoint.keep_every=1"]
    large += ["model.d_model=32768", "model.n_layers=200"]
    _, problems = disk_findings(load_config(project / "tiny.toml", large), RunDir(project / "run"), project)
    assert len(problems) == 1 and "are free at" in problems[0]
    missing = load_config(project / "tiny.toml", ['source.0.paths=["nothing-*"]'])
    assert "nothing matches" in disk_findings(missing, RunDir(project / "run"), project)[1][0]


def rank(host: str, **changes: object) -> dict[str, object]:
    seen: dict[str, object] = {"host": host, "versions": {}, "gpus": 4, "gpu": "a GPU", "scratch": "/tmp"}
    return seen | {"scratch_bytes": 10**12, "called": True, "round_trip": 0.5} | changes


def test_nodes_that_differ_are_named_and_bandwidths_are_those_of_nccl_tests() -> None:
    """nccl-tests, doc/PERFORMANCE.md: busbw of an all-reduce = algbw * 2 (n - 1) / n."""
    summed = {"backend": "nccl", "bytes": 10**9, "ranks": 4, "seconds": 0.01}
    facts, problems = judge([rank("a"), rank("b", round_trip=1.25)], summed, SlurmSettings(gpus_per_node=2), 4)
    assert problems == []
    assert any("10.0 ms, algorithm bandwidth 100.00 GB/s" in fact and "bus bandwidth 150.00" in fact for fact in facts)
    assert any("an answer back in 1.25 s" in fact for fact in facts)

    broken = [rank(host, versions={"torch": "cannot be loaded (OSError: x)"}, gpus=0) for host in ("c", "d", "e")]
    _, problems = judge([rank("a", versions={"torch": "0.1"}), *broken], None, SlurmSettings(gpus_per_node=2), 4)
    assert problems[0].startswith("on a: torch is 0.1, ") and problems[0].endswith(" here")
    assert problems[1] == "on c, d and 1 more nodes: torch cannot be loaded (OSError: x)"
    assert problems[2].startswith("on c, d and 1 more nodes: torch sees no GPU")
    _, problems = judge([rank("a", round_trip=None)], None, SlurmSettings(), 1)
    assert problems == ["on a: an answer from here is not seen; the directory is not shared both ways"]
