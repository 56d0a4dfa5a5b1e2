"""Proves that slurm/'s bash files hand on what they are given, unchanged, and queue a job again only when they may.

They are run as Slurm runs them, with its variables; its commands, `module` and the interpreter are small programs here
that write down what they were asked.
"""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from launch.sbatch import BatchJob, sbatch_argv
from launch.settings import SlurmSettings

ROOT = Path(__file__).resolve().parents[2]
HOSTILE = [
    "",
    " ",
    "two  words",
    "a\nb\n",
    "'",
    '"',
    'it\'s "quoted"',
    "$(touch pwned)",
    "`touch pwned`",
    "; touch pwned;",
    "$HOME",
    "*",
    "\\",
    "\\n",
    "--container",
    "é, ü, 中",
    "a=b=c",
    "100%",
    "-x",
    "\x1b[2J",
]
FACTS = "JobId=7 JobName=x JobState={state} Reason={reason} Restarts={restarts} ExcNodeList=(null)"
WRITES_DOWN = """#!/bin/bash
printf '%s\\0' "$#" "${{0##*/}}" "$@" >> {calls}
"""


@pytest.fixture
def site(tmp_path: Path) -> Site:
    return Site(tmp_path)


class Site:
    """A directory of programs, first on PATH, and what they were asked."""

    def __init__(self, directory: Path) -> None:
        self.directory, self.calls_file = directory, directory / "calls"
        for name in ("module", "scontrol", "srun", "sinfo", "scancel", "sleep", "python", "apptainer"):
            self.program(name)
        self.variables = {
            "PATH": f"{directory}:{os.environ['PATH']}",
            "HOME": "/home/me",
            "SLURM_JOB_ID": "7",
            "SLURM_JOB_NODELIST": "n[1-2]",
            "SLURM_JOB_NUM_NODES": "2",
            "SLURM_JOB_PARTITION": "main",
            "SLURM_NTASKS_PER_NODE": "1",
            "SLURM_CPUS_PER_TASK": "3",
        }

    def program(self, name: str, then: str = "") -> None:
        path = self.directory / name
        path.write_text(WRITES_DOWN.format(calls=self.calls_file) + then + "\n")
        path.chmod(0o755)

    def job(self, state: str, reason: str = "None", restarts: int = 0) -> None:
        """What scontrol says of the job."""
        self.program(
            "scontrol", f"[ \"$1\" != show ] || echo '{FACTS.format(state=state, reason=reason, restarts=restarts)}'"
        )

    def calls(self, name: str) -> list[list[str]]:
        """What a program was asked."""
        words = self.calls_file.read_text().split("\0")[:-1] if self.calls_file.exists() else []
        calls = []
        while words:
            count, program, words = int(words[0]), words[1], words[2:]
            calls += [words[:count]] if program == name else []
            words = words[count:]
        return calls

    def bash(self, *command: str, **variables: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            ["bash", *command], cwd=ROOT, env=self.variables | variables, capture_output=True, text=True, timeout=60
        )

    def submit(self, job: BatchJob, settings: SlurmSettings, **variables: str) -> subprocess.CompletedProcess[str]:
        """Run the script of a job as Slurm does: what stands behind sbatch's own options, by bash."""
        python = str(self.directory / "python")
        argv = sbatch_argv(job, settings, scripts=Path("slurm"), logs=Path("/logs"), python=python)
        script = next(number for number, word in enumerate(argv) if word.endswith(".sbatch"))
        return self.bash(*argv[script:], **variables)


def a_job(*arguments: str, ranks: int = 0) -> BatchJob:
    return BatchJob("mine.x", arguments, "text2lm:00", ranks=ranks)


def test_hostile_arguments_modules_and_container_words_arrive_unchanged(site: Site) -> None:
    modules = [text for text in HOSTILE if text]
    done = site.submit(a_job("stage", *HOSTILE), SlurmSettings(modules=modules, container=["apptainer", *HOSTILE]))
    assert done.returncode == 0, done.stderr
    assert site.calls("module") == [["load", module] for module in modules]
    (started,) = site.calls("apptainer")
    python = [str(site.directory / "python"), "-P", "-m", "pipeline"]
    assert started == [*HOSTILE, *python, "stage", *HOSTILE, "--workers", "3"]
    assert not list(site.directory.glob("pwned")) and not (ROOT / "pwned").exists()


def test_hostile_variables_arrive_unchanged(site: Site) -> None:
    names = [f"HOSTILE_{number}" for number in range(len(HOSTILE))]
    dump = "; ".join(f"printf '%s\\0' \"${name}\"" for name in names)
    site.program("python", f"{{ {dump}; }} > {site.directory}/got")
    done = site.submit(a_job("stage"), SlurmSettings(environment=dict(zip(names, HOSTILE, strict=True))))
    assert done.returncode == 0, done.stderr
    assert (site.directory / "got").read_text().split("\0")[:-1] == HOSTILE


def test_setup_lines_are_bash_and_come_between_modules_and_variables(site: Site) -> None:
    """In one shell: what a line sets, the next ones and the variables see."""
    site.program("module")
    site.program("python", f'printf "%s" "$FIRST|$SECOND" > {site.directory}/got')
    settings = SlurmSettings(
        modules=["gcc"],
        setup=[
            "FIRST='a  b'",
            f'for word in x y; do\n  FIRST="$FIRST $word"\ndone; export FIRST; touch {site.directory}/x',
        ],
        environment={"SECOND": "$FIRST"},
    )
    done = site.submit(a_job("stage"), settings)
    assert done.returncode == 0, done.stderr
    assert (site.directory / "got").read_text() == "a  b x y|$FIRST"
    assert (site.directory / "x").exists()


@pytest.mark.parametrize("settings", [{"modules": ["missing"]}, {"setup": ["false"]}])
def test_a_job_whose_site_cannot_be_set_up_fails_before_it_does_anything(
    site: Site, settings: dict[str, list[str]]
) -> None:
    site.program("module", "exit 1")
    assert site.submit(a_job("stage"), SlurmSettings(**settings)).returncode == 1
    assert site.calls("python") == []


def test_an_element_of_an_array_does_its_share_and_a_whole_run_takes_what_the_node_has(site: Site) -> None:
    array = {"SLURM_ARRAY_JOB_ID": "5", "SLURM_ARRAY_TASK_ID": "6", "SLURM_ARRAY_TASK_MIN": "4"}
    site.submit(a_job("stage", "a/b"), SlurmSettings(), **array, SLURM_ARRAY_TASK_COUNT="9")
    site.submit(a_job("run", "x.toml"), SlurmSettings(), SLURM_GPUS_ON_NODE="4")
    site.submit(a_job("run", "x.toml"), SlurmSettings())
    begin = ["-P", "-m", "pipeline"]
    run = [*begin, "run", "x.toml", "--on", "local", "--set", "launch.workers=3"]
    assert site.calls("python") == [
        [*begin, "stage", "a/b", "--share", "2/9", "--workers", "3"],
        [*run, "--set", "launch.ranks=4"],
        run,
    ]


def test_typed_by_hand_it_needs_nothing_before_the_command(site: Site) -> None:
    (site.directory / ".venv" / "bin").mkdir(parents=True)
    (site.directory / "slurm").symlink_to(ROOT / "slurm")
    (site.directory / ".venv" / "bin" / "python").symlink_to(site.directory / "python")
    done = subprocess.run(
        ["bash", "slurm/cpu.sbatch", "stage", "x"], cwd=site.directory, env=site.variables, timeout=60
    )
    assert done.returncode == 0 and site.calls("python") == [["-P", "-m", "pipeline", "stage", "x", "--workers", "3"]]


PAUSED = "exit 3"


def test_a_paused_job_queues_itself_again_by_its_own_name(site: Site) -> None:
    """An element by the array's id and its number: by its job id it may be the whole array."""
    site.program("python", PAUSED)
    site.job("RUNNING")
    array = {"SLURM_ARRAY_JOB_ID": "5", "SLURM_ARRAY_TASK_ID": "6", "SLURM_ARRAY_TASK_MIN": "0"}
    site.submit(a_job("stage"), SlurmSettings())
    site.submit(a_job("stage"), SlurmSettings(), **array, SLURM_ARRAY_TASK_COUNT="9")
    assert [words for words in site.calls("scontrol") if words[0] != "show"] == [["requeue", "7"], ["requeue", "5_6"]]


def test_a_controller_that_restarts_is_asked_again_for_it(site: Site) -> None:
    site.program("python", PAUSED)
    fails = f'[ "$1" = show ] || [ $(grep -ao requeue {site.calls_file} | wc -l) -ge 3 ]'
    site.program("scontrol", fails)
    site.submit(a_job("stage"), SlurmSettings())
    assert [words for words in site.calls("scontrol") if words[0] != "show"] == [["requeue", "7"]] * 3


@pytest.mark.parametrize(
    ("facts", "settings", "restart", "code", "words"),
    [
        # scancel: COMPLETING, and no restart more than this job began with
        (("COMPLETING", "None", 0), {}, 0, 3, "cancelled: not queued again"),
        (("COMPLETING", "None", 2), {}, 2, 3, "cancelled: not queued again"),
        (("CANCELLED", "None", 0), {}, 0, 3, "cancelled: not queued again"),
        (("RUNNING", "None", 0), {"requeue": False}, 0, 3, "the site lets no job queue itself again"),
        (("RUNNING", "None", 4), {"max_restarts": 4}, 4, 1, "queued again 4 times, and no more (slurm.max_restarts)"),
        (("RUNNING", "None", 0), {"max_restarts": 0}, 0, 1, "queued again 0 times, and no more (slurm.max_restarts)"),
    ],
)
def test_a_paused_job_that_must_not_queue_itself_again_says_why(
    site: Site, facts: tuple[str, str, int], settings: dict[str, int], restart: int, code: int, words: str
) -> None:
    site.program("python", PAUSED)
    site.job(*facts)
    done = site.submit(a_job("stage"), SlurmSettings(**settings), SLURM_RESTART_COUNT=str(restart))
    assert done.returncode == code and words in done.stdout
    assert not any("requeue" in words for words in site.calls("scontrol"))


def test_one_that_slurm_has_queued_again_already_leaves_it_at_that(site: Site) -> None:
    """Preempted: the controller counts the restart when it ends the job."""
    site.program("python", PAUSED)
    site.job("COMPLETING", "None", 1)
    site.submit(a_job("stage"), SlurmSettings())
    assert not any("requeue" in words for words in site.calls("scontrol"))


def test_at_the_time_limit_a_paused_job_still_queues_itself_again(site: Site) -> None:
    site.program("python", PAUSED)
    site.job("COMPLETING", "TimeLimit", 0)
    site.submit(a_job("stage"), SlurmSettings())
    assert ["requeue", "7"] in site.calls("scontrol")


@pytest.mark.parametrize("code", [0, 1, 2])
def test_other_ends_are_handed_on(site: Site, code: int) -> None:
    site.program("python", f"exit {code}")
    assert site.submit(a_job("stage"), SlurmSettings()).returncode == code
    assert site.calls("scontrol") == []


@pytest.mark.parametrize("name", ["TERM", "USR1", "USR2"])
def test_a_signal_is_passed_on_and_the_job_waits_for_the_end(site: Site, name: str) -> None:
    started, told = site.directory / "started", site.directory / "told"
    told_so = f"trap 'echo {name} > {told}; exit 3' {name}"
    waits = f"{told_so}; touch {started}; while :; do /bin/sleep 0.05; done"
    site.program("python", waits)
    site.job("RUNNING")
    python = str(site.directory / "python")
    job = subprocess.Popen(
        ["bash", "slurm/cpu.sbatch", "--python", python, "stage"],
        cwd=ROOT,
        env=site.variables,
        stdout=subprocess.DEVNULL,
    )
    wait_for(started.exists)
    job.send_signal(signal.Signals[f"SIG{name}"])
    assert job.wait(60) == 1  # Slurm ends it before it gets there
    assert told.read_text() == f"{name}\n" and ["requeue", "7"] in site.calls("scontrol")


def wait_for(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.02)


def training(site: Site, begin: str, end: str) -> None:
    """Programs of a training: what `attempt begin` and `attempt end` answer."""
    site.program("python", f'case "$*" in *"attempt begin"*) {begin} ;; *"attempt end"*) {end} ;; esac')
    hosts = "[ \"$2\" != hostnames ] || printf 'n1\\nn2\\n'"
    site.program(
        "scontrol", f"{hosts}; [ \"$2\" != job ] || echo '{FACTS.format(state='RUNNING', reason='None', restarts=0)}'"
    )


def test_a_training_starts_its_ranks_by_srun_and_is_judged_by_what_they_left(site: Site) -> None:
    run = "/runs/100% of mine"
    training(site, "echo 23456", "exit 0")
    site.program(
        "srun", 'printf "%s:%s:%s" "$MASTER_ADDR" "$MASTER_PORT" "$OMP_NUM_THREADS" > "${0%/*}/rendezvous"; exit 137'
    )
    settings = SlurmSettings(gpus_per_node=1, gpu_binding="one", container=["apptainer", "exec", "my image.sif"])
    site.program("apptainer", 'shift 2; exec "$@"')
    done = site.submit(a_job(run, ranks=2), settings)
    assert done.returncode == 0, done.stderr
    this = ["--run", run, "--job", "7", "--restart", "0", "--nodes", "n1,n2", "--ranks", "2"]
    begin, end = site.calls("python")
    assert begin == ["-P", "-m", "pipeline", "attempt", "begin", *this]
    assert end == ["-P", "-m", "pipeline", "attempt", "end", *this, "--signal", "", "--state", "RUNNING"]
    (srun,) = site.calls("srun")
    container = ["apptainer", "exec", "my image.sif", str(site.directory / "python")]
    assert srun[:2] == ["--ntasks=2", "--cpus-per-task=3"] and "--gpus-per-task=1" in srun
    assert "--output=/runs/100%% of mine/logs/pretrain-%t.log" in srun
    assert srun[-7 - len(container) + 2 :] == [*container, "-P", "-m", "pretrain.worker", "--run", run]
    assert (site.directory / "rendezvous").read_text() == "n1:23456:3"


@pytest.mark.parametrize(
    ("begin", "code"), [("exit 2", 2), ("exit 1", 1), ("exit 0", 0)], ids=["impossible", "failed", "trained already"]
)
def test_a_training_that_cannot_or_need_not_begin_starts_no_ranks(site: Site, begin: str, code: int) -> None:
    training(site, begin, "exit 9")
    assert site.submit(a_job("/r", ranks=2), SlurmSettings()).returncode == code
    assert site.calls("srun") == [] and len(site.calls("python")) == 1


@pytest.mark.parametrize(
    ("nodes", "excluded"),
    [(["n1", "n2", "n3", "n4"], True), (["n1", "n2"], False)],
    ids=["others are left", "none left"],
)
def test_the_node_of_a_hung_rank_is_left_out_where_there_are_others(
    site: Site, nodes: list[str], excluded: bool
) -> None:
    """Slurm takes a list that leaves too few, and the job waits for ever."""
    training(site, "echo 23456", "echo n2; exit 3")
    site.program("sinfo", f"printf '%s\\n' {' '.join(nodes)}")
    site.submit(a_job("/r", ranks=2), SlurmSettings())
    done = [words for words in site.calls("scontrol") if words[0] != "show"]
    assert done == [["requeue", "7"], *([["update", "JobId=7", "ExcNodeList=n2"]] if excluded else [])]


def test_a_warned_training_tells_its_ranks_and_not_srun(site: Site) -> None:
    """srun ends its tasks hard when it is sent TERM."""
    started, told = site.directory / "started", site.directory / "told"
    training(site, "echo 23456", "exit 1")
    site.program("srun", f"touch {started}; until [ -e {told} ]; do /bin/sleep 0.05; done; exit 3")
    site.program("scancel", f"touch {told}")
    python = str(site.directory / "python")
    job = subprocess.Popen(
        ["bash", "slurm/gpu.sbatch", "--python", python, "/r"], cwd=ROOT, env=site.variables, stdout=subprocess.DEVNULL
    )
    wait_for(started.exists)
    job.send_signal(signal.SIGUSR1)
    assert job.wait(60) == 1
    assert site.calls("scancel") == [["--signal=TERM", "7.0"]]
    assert site.calls("python")[-1][-4:] == ["--signal", "USR1", "--state", "RUNNING"]
