"""Proves what `[slurm]` takes and what it refuses, in sentences that name the key."""

from __future__ import annotations

import re
from typing import Any

import pytest

from launch.settings import LaunchSettings, SiteSettings, SlurmSettings


def test_the_defaults_and_a_whole_site_have_no_problems() -> None:
    assert LaunchSettings().problems() == [] and SlurmSettings().problems() == []
    site = SlurmSettings(
        partition="gpu,long",
        account="project-12",
        qos="normal",
        constraint="a100&nvlink|h100",
        time="1-00:00:00",
        memory="64G",
        options=["--reservation=mine", "--exclude=node[1-3]", "-x", "--mail-user=a b"],
        train=SiteSettings(time="UNLIMITED", memory="0"),
        modules=["cuda/12.4"],
        setup=["export A=1\nulimit -n 4096", 'source "$HOME/my env/bin/activate"'],
        environment={"LINES": "one\ntwo", "_Q": "'\"$(x);"},
        container=["apptainer", "exec", "--bind", "/scratch dir", "x.sif"],
    )
    assert site.problems() == []


# sbatch(1): "minutes", "minutes:seconds", "hours:minutes:seconds", "days-hours", "days-hours:minutes",
# "days-hours:minutes:seconds"
@pytest.mark.parametrize("time", ["30", "30:00", "12:30:00", "1-0", "1-12:30", "1-12:30:00", "UNLIMITED"])
def test_every_form_of_a_time_that_sbatch_takes_is_taken(time: str) -> None:
    assert SiteSettings(time=time).problems_of("slurm") == []


@pytest.mark.parametrize("time", ["1h", "1:2:3:4", "-5", "30 min", "1-", "12:30:00\n", "tomorrow"])
def test_other_times_are_refused(time: str) -> None:
    assert SiteSettings(time=time).problems_of("slurm.train") == [
        f"slurm.train.time must be minutes, H:M:S or D-H:M:S, got {time!r}"
    ]


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"memory": "64 GB"}, "slurm.memory must be a number with K, M, G or T, such as 64G, got '64 GB'"),
        ({"partition": "a\nb"}, r"slurm.partition holds a character that no option of sbatch has: 'a\nb'"),
        ({"account": "x\0"}, r"slurm.account holds a character that no option of sbatch has: 'x\x00'"),
        ({"data": SiteSettings(qos="a\tb")}, "slurm.data.qos holds a character"),
        ({"train": SiteSettings(constraint="\x1b[2J")}, "slurm.train.constraint holds a character"),
        ({"options": ["--a=b\n--c"]}, "slurm.options holds a character"),
        ({"options": ["--reservation", "mine"]}, "slurm.options wants options of sbatch in one piece"),
        ({"options": ["echo; rm -rf"]}, "slurm.options wants options of sbatch in one piece"),
        ({"interface": "ib0\n"}, "slurm.interface holds a character"),
        ({"gpu_type": "a100\n"}, "slurm.gpu_type holds a character"),
        ({"python": "/x\ny"}, "slurm.python holds a character"),
        ({"environment": {"A B": "1"}}, "slurm.environment: 'A B' is no name of a variable"),
        ({"environment": {"A=1;B": "1"}}, "slurm.environment: 'A=1;B' is no name of a variable"),
        ({"environment": {"A\n": "1"}}, "slurm.environment: 'A\\n' is no name of a variable"),
        ({"environment": {"A": "\0"}}, "slurm: no argument of a program can hold a zero byte"),
        ({"modules": ["a\0"]}, "slurm: no argument of a program can hold a zero byte"),
        ({"setup": ["a\0"]}, "slurm: no argument of a program can hold a zero byte"),
        ({"container": ["a\0"]}, "slurm: no argument of a program can hold a zero byte"),
        ({"elements": 0}, "slurm.elements must be at least 1, got 0"),
        ({"elements_at_once": -1}, "slurm.elements_at_once must be at least 0, got -1"),
        ({"cpus": 0}, "slurm.cpus must be at least 1, got 0"),
        ({"warning_seconds": 0}, "slurm.warning_seconds must be at least 1, got 0"),
        ({"max_restarts": -1}, "slurm.max_restarts must be at least 0, got -1"),
        ({"poll_seconds": 0.0}, "slurm.poll_seconds must be 0.1 to 3600, got 0"),
        ({"poll_seconds": float("nan")}, "slurm.poll_seconds must be 0.1 to 3600, got nan"),
        ({"gpu_binding": "some"}, "slurm.gpu_binding must be one of all, one, got 'some'"),
        ({"warning_signal": "KILL"}, "slurm.warning_signal must be one of TERM, USR1, USR2, got 'KILL'"),
    ],
)
def test_what_cannot_be_typed_to_slurm_is_refused(settings: dict[str, Any], words: str) -> None:
    found = SlurmSettings(**settings).problems()
    assert len(found) == 1 and re.match(re.escape(words), found[0]), found
