"""Proves that what Slurm says is read as it means it.

tests/launch/records/ holds what Slurm 22.05 printed of real jobs on two nodes, run for this. What other versions print
is in the tests, shortened to the fields that are read, with the version that printed it.
"""

from __future__ import annotations

import os
import stat
from collections import Counter
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from launch import slurm
from launch.job import JobError
from launch.slurm import (
    COLUMNS,
    ENDED,
    WAITING,
    SlurmRefused,
    element_count,
    read_facts,
    read_queue,
    this_job,
    what_became,
    why_waits,
)

RECORDS = Path(__file__).parent / "records"
COMMENT = "text2lm:0123456789abcdef"
# of 22.05: jobs and elements that ended, wait, were cut off with their node, ...
QUEUE_2205 = {
    "1": ({"COMPLETED": 1}, [], 0),
    "2": ({"PREEMPTED": 1}, [], 0),  # without --requeue
    "3": ({"COMPLETED": 1, "FAILED": 1, "PENDING": 8}, ["Resources"], 0),
    "4": ({"PENDING": 1}, ["Dependency"], 0),
    "5": ({"PENDING": 1}, ["JobHeldUser"], 0),
    "6": ({"PENDING": 1}, ["Priority"], 2),  # queued itself again, and was cut off once
    "7": ({"TIMEOUT": 1}, [], 0),
    "8": ({"FAILED": 1}, [], 0),
    "11": ({"PENDING": 31}, ["Priority"], 0),
    "12": ({"PENDING": 21}, ["Priority"], 0),
    "17": ({"CANCELLED": 1}, [], 0),
    "18": ({"RUNNING": 1}, [], 0),
    "19": ({"PENDING": 1}, ["Priority"], 0),
    "20": ({"PENDING": 1}, ["Dependency"], 0),
    "21": ({"PENDING": 1}, ["Dependency"], 0),
    "22": ({"PENDING": 1}, ["PartitionNodeLimit"], 0),
    "23": ({"PENDING": 1}, ["Priority"], 0),
    "26": ({"PENDING": 11}, ["JobHeldUser"], 0),  # of 29: squeue cut the list off
    "27": ({"PENDING": 1000}, ["JobHeldUser"], 0),
    "28": ({"NODE_FAIL": 1}, [], 0),
    "29": ({"SUSPENDED": 1}, [], 0),
    "30": ({"PENDING": 1}, ["job requeued in held state"], 1),
    "31": ({"SPECIAL_EXIT": 1}, ["job requeued in held state"], 1),
}


def squeue_lines(*rows: tuple[str, ...]) -> str:
    """As `squeue -O` prints cells: padded to their columns, cut off without a sign."""
    return "".join(
        "".join(cell[:width].ljust(width) for cell, width in zip(row, COLUMNS.values(), strict=True)) + "\n"
        for row in rows
    )


def test_the_queue_of_22_05() -> None:
    found = read_queue((RECORDS / "squeue-22.05.txt").read_text(), COMMENT)
    assert {name: (dict(job.states), job.reasons, job.restarts) for name, job in found.items()} == QUEUE_2205
    assert {name for name, job in found.items() if not job.alive} == {"1", "2", "7", "8", "17", "28"}
    assert found["18"].nodes == ["node2"] and found["1"].nodes == []  # where it runs, not where it ran
    assert found["6"].job_id == "6"


def test_only_jobs_of_that_comment_are_ours() -> None:
    text = (RECORDS / "squeue-22.05.txt").read_text()
    assert {"9", "10"}.isdisjoint(read_queue(text, COMMENT))
    assert list(read_queue(text, "trailing blank")) == ["10"]
    assert read_queue(text, "text2lm:0123456789abcde") == {} and read_queue(text, "text2lm") == {}


def test_a_requeued_element_and_the_words_of_newer_versions() -> None:
    """24.11 and 25.11 print the same columns; new are states, and reasons with spaces, commas and colons in them."""
    text = squeue_lines(
        ("2145_[4-190%2]", "PENDING", "0", "JobArrayTaskLimit", "", COMMENT),  # 22.05
        ("2145_3", "RUNNING", "1", "None", "compute-hpc-node-[100,373,397]", COMMENT),
        ("2145_2", "REQUEUED", "2", "BeginTime", "", COMMENT),
        ("9", "PENDING", "0", "ReqNodeNotAvail, UnavailableNodes:cs[100-102]", "", COMMENT),
        ("10", "PENDING", "0", "Nodes required for job are DOWN, DRAINED or reserved for jobs in higher", "", COMMENT),
        ("11", "STAGE_OUT", "0", "None", "n1", COMMENT),
        ("12", "SIGNALING", "0", "None", "n1", COMMENT),
        ("13", "OUT_OF_MEMORY", "0", "OutOfMemory", "n1", COMMENT),
    )
    found = read_queue(text, COMMENT)
    array = found["2145"]
    assert array.states == Counter(PENDING=187, RUNNING=1, REQUEUED=1) and array.restarts == 3 and array.alive
    assert array.reasons == ["JobArrayTaskLimit", "BeginTime"] and array.nodes == ["compute-hpc-node-[100,373,397]"]
    assert found["9"].reasons == ["ReqNodeNotAvail, UnavailableNodes:cs[100-102]"]
    assert found["10"].reasons == ["Nodes required for job are DOWN, DRAINED or reserved for jobs in"]
    assert found["11"].alive and found["12"].alive and not found["13"].alive


def test_an_array_has_ended_only_when_every_element_has() -> None:
    rows = [(f"7_{number}", "COMPLETED", "0", "None", "n1", COMMENT) for number in range(3)]
    assert not read_queue(squeue_lines(*rows), COMMENT)["7"].alive
    for state in (*ENDED, *WAITING, "RUNNING", "COMPLETING", "SUSPENDED"):
        if state != "COMPLETED":
            ended = read_queue(squeue_lines(*rows, ("7_3", state, "0", "None", "", COMMENT)), COMMENT)["7"]
            assert ended.alive == (state not in ENDED), state


@st.composite
def element_lists(draw: st.DrawFn) -> tuple[str, int]:
    """A list as sbatch(1) describes it ("0-15", "0,6,16-32", "0-15:4", "0-15%4"), and how many elements it names."""
    text, elements, at = [], 0, 0
    for _ in range(draw(st.integers(1, 6))):
        first = at + draw(st.integers(0, 9))
        last = first + draw(st.integers(0, 40))
        step = draw(st.integers(1, 7))
        kind = draw(st.sampled_from(["one", "range", "steps"]))
        named = {"one": [first], "range": range(first, last + 1), "steps": range(first, last + 1, step)}[kind]
        text.append({"one": f"{first}", "range": f"{first}-{last}", "steps": f"{first}-{last}:{step}"}[kind])
        elements, at = elements + len(named), last + 1
    limit = draw(st.sampled_from(["", "%1", "%16"]))
    return f"[{','.join(text)}{limit}]", elements


@given(element_lists())
@example(("[0]", 1))
@example(("[0-1000%100]", 1001))
def test_elements_are_counted_as_slurm_expands_them(case: tuple[str, int]) -> None:
    text, elements = case
    assert element_count(text) == elements


@given(element_lists(), st.integers(1, 64))
def test_a_list_that_squeue_cut_off_is_counted_as_far_as_it_goes(case: tuple[str, int], length: int) -> None:
    text, _ = case
    for cut in (text[:length], f"{text[:length]}..."):
        assert element_count(cut) >= (1 if length > 1 else 0)


def test_the_jobs_of_22_05() -> None:
    """With `Key=` in the middle of lines, empty values, `(null)`, a name with spaces, keys of arrays."""
    facts = [read_facts(line) for line in (RECORDS / "scontrol-22.05.txt").read_text().splitlines()]
    by_id = {fact["JobId"]: fact for fact in facts}
    assert by_id["2"]["JobName"] == "a name with spaces" and by_id["2"]["UserId"] == "root(0)"
    assert {name: what_became(fact) for name, fact in by_id.items()} == {
        "2": "preempted by another job",
        "6": "pending",
        "7": "ended by the time limit",
        "8": "failed (killed by signal 9)",
        "10": "pending",
        "13": "done",
        "14": "failed (exit code 3)",
        "17": "cancelled",
        "20": "pending",
        "22": "pending",
        "26": "pending",
        "28": "lost its node",
        "29": "suspended",
        "31": "special exit",
    }
    assert by_id["6"]["Restarts"] == "2" and by_id["6"]["NodeList"] == "" and by_id["6"]["ReqB:S:C:T"] == "0:0:*:*"
    assert by_id["10"]["Comment"].strip() == "trailing blank" and by_id["2"]["StdErr"] == "/home/me/runs/2.out"
    assert by_id["13"]["ArrayJobId"] == "3" and by_id["13"]["ArrayTaskId"] == "0"
    assert by_id["20"]["Dependency"] == "afterok:19(unfulfilled)" and by_id["2"]["Dependency"] == "(null)"
    assert by_id["31"]["Reason"] == "job_requeued_in_held_state"


@pytest.mark.parametrize(
    ("line", "words"),
    [
        (  # 23.02
            "JobId=569966 JobName=testjob JobState=OUT_OF_MEMORY Reason=OutOfMemory Dependency=(null) Requeue=0 "
            "Restarts=0 BatchFlag=1 Reboot=0 ExitCode=0:125 LastSchedEval=2023-07-19T15:54:37 Scheduler=Main",
            "out of memory",
        ),
        (  # 25.11, PreemptMode=CANCEL
            "JobId=121 JobName=low JobState=PREEMPTED Reason=None Requeue=1 Restarts=0 BatchFlag=1 ExitCode=0:15",
            "preempted by another job",
        ),
        (  # 25.05: StepMgrEnabled, ReqTRES, LicensesAlloc and OOMKillStep are new keys
            "JobId=1 JobName=job-sleep-single JobState=CANCELLED Reason=None Dependency=(null) Requeue=1 Restarts=0 "
            "ExitCode=0:0 NodeList=slurm-bridge-1 BatchHost=slurm-bridge-1 StepMgrEnabled=Yes NumNodes=1 "
            "ReqTRES=cpu=1,mem=96046M,node=1,billing=1 AllocTRES=cpu=4,mem=96046M,node=1,billing=4 Licenses=(null) "
            'LicensesAlloc=(null) AdminComment={"pods":["slurm-bridge/job-sleep-single-8wtc2"]} OOMKillStep=0',
            "cancelled",
        ),
        ("JobId=1 JobState=CANCELLED Reason=DependencyNeverSatisfied", "never started: a job before it failed"),
        ("JobId=1 JobState=CANCELLED Reason=Dependency", "never started: a job before it failed"),
        ("JobId=1 JobState=BOOT_FAIL Reason=None", "its node did not boot"),
        ("JobId=1 JobState=DEADLINE Reason=DeadLine", "ended by its deadline"),
        ("JobId=1 JobState=FAILED Reason=NonZeroExitCode ExitCode=1:0", "failed (exit code 1)"),
        ("", "no longer known to Slurm"),
    ],
)
def test_what_became_of_a_job_is_told_apart(line: str, words: str) -> None:
    assert what_became(read_facts(line)) == words


def test_values_with_equal_signs_stay_whole_and_the_first_key_holds() -> None:
    line = "JobId=5 JobState=RUNNING TRES=cpu=1,mem=2000M,node=1 Command=/x --a=b JobState=FAILED Comment= StdErr=/e"
    facts = read_facts(line)
    assert facts["TRES"] == "cpu=1,mem=2000M,node=1" and facts["JobState"] == "RUNNING" and facts["Comment"] == ""


@pytest.mark.parametrize(
    ("reason", "words"),
    [
        ("Dependency", "waits for the job before it"),
        ("ReqNodeNotAvail, UnavailableNodes:node1", "waits for nodes that are down or reserved"),  # 22.05, squeue
        ("(ReqNodeNotAvail, May be reserved for other job)", "waits for nodes that are down or reserved"),
        ("ReqNodeNotAvail,_UnavailableNodes:n[1-3]", "waits for nodes that are down or reserved"),  # scontrol
        ("QOSGrpGRES", "waits for a limit of the site (QOSGrpGRES)"),
        ("AssocGrpCpuLimit", "waits for a limit of the site (AssocGrpCpuLimit)"),
        ("MaxGRESPerAccount", "waits for a limit of the site (MaxGRESPerAccount)"),
        ("(Resources)", "waits for free nodes"),
        ("job requeued in held state", "waits (job requeued in held state)"),
        ("BadConstraints", "waits (BadConstraints)"),
        ("", "waits ()"),
    ],
)
def test_why_something_waits_is_said_in_words(reason: str, words: str) -> None:
    assert why_waits(reason) == words


def test_an_element_is_named_by_its_array(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("SLURM_JOB_ID", "SLURM_ARRAY_JOB_ID", "SLURM_ARRAY_TASK_ID"):
        monkeypatch.delenv(name, raising=False)
    assert this_job() == ""
    monkeypatch.setenv("SLURM_JOB_ID", "15")
    assert this_job() == "15"
    monkeypatch.setenv("SLURM_ARRAY_JOB_ID", "12")
    monkeypatch.setenv("SLURM_ARRAY_TASK_ID", "2")
    assert this_job() == "12_2"


@pytest.fixture
def controller(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A directory on PATH for programs that stand in for Slurm's; nothing else of Slurm is to be found."""
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    monkeypatch.setattr(slurm, "RETRY_SECONDS", 0.01)
    return tmp_path


def program(directory: Path, name: str, text: str) -> None:
    path = directory / name
    path.write_text(f"#!/bin/bash\n{text}\n")
    path.chmod(path.stat().st_mode | stat.S_IXUSR)


def test_a_controller_that_restarts_is_asked_again(controller: Path) -> None:
    away = "sbatch: error: Batch job submission failed: Unable to contact slurm controller (connect failure)"
    third = f"echo x >> {controller}/calls; [ $(wc -l < {controller}/calls) -ge 3 ]"
    program(controller, "sbatch", f"{third} || {{ echo '{away}' >&2; exit 1; }}; echo '7;cluster'")
    assert slurm.submit(["sbatch"]) == "7"
    assert (controller / "calls").read_text() == "x\n" * 3


def test_a_controller_that_stays_away_is_an_error_at_last(controller: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(slurm, "PATIENCE_SECONDS", 0.05)
    program(controller, "squeue", "echo 'slurm_load_jobs error: Socket timed out on send/recv operation' >&2; exit 1")
    with pytest.raises(JobError, match="controller does not answer: slurm_load_jobs error: Socket timed out"):
        slurm.queue(COMMENT)


def test_a_refusal_is_passed_on_in_one_line_and_not_repeated(controller: Path) -> None:
    said = r"sbatch: error: invalid partition specified: x\nsbatch: error: Invalid partition name specified"
    program(controller, "sbatch", f"echo x >> {controller}/calls; printf '{said}\\n' >&2; exit 1")
    with pytest.raises(SlurmRefused, match=r"^invalid partition specified: x; Invalid"):
        slurm.submit(["sbatch"])
    assert (controller / "calls").read_text() == "x\n"


def test_a_job_that_slurm_has_forgotten_runs_no_more(controller: Path) -> None:
    program(controller, "scontrol", "echo 'slurm_load_jobs error: Invalid job id specified' >&2; exit 1")
    assert slurm.job_facts("99999") == {} and not slurm.is_running("99999")


@pytest.mark.parametrize(
    ("state", "runs"),
    [("RUNNING", True), ("COMPLETING", True), ("SUSPENDED", True), ("PENDING", False), ("FAILED", False)],
)
def test_who_has_nodes_runs(controller: Path, state: str, runs: bool) -> None:
    program(controller, "scontrol", f"echo 'JobId=7 JobName=x JobState={state} Reason=None'")
    assert slurm.is_running("7") == runs


def test_a_job_hands_its_own_place_on_to_none_that_it_queues(controller: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """sbatch inside of a job would take its memory, its nodes and more for options of the new one."""
    monkeypatch.setenv("SLURM_MEM_PER_CPU", "100")
    monkeypatch.setenv("SBATCH_EXPORT", "NONE")
    monkeypatch.setenv("SLURM_CONF", "/etc/slurm/slurm.conf")
    monkeypatch.setenv("MINE", "kept")
    program(controller, "sbatch", "env")
    got = dict(line.split("=", 1) for line in slurm.ask("sbatch").splitlines() if "=" in line)
    assert got["SLURM_CONF"] == "/etc/slurm/slurm.conf" and got["MINE"] == "kept"
    assert not {"SLURM_MEM_PER_CPU", "SBATCH_EXPORT"} & got.keys() and got["PATH"] == os.environ["PATH"]


def test_jobs_that_have_ended_are_passed_over_when_others_are_cancelled(controller: Path) -> None:
    gone = "echo 'scancel: error: Kill job error on job id 5: Job/step already completing or completed' >&2; exit 1"
    program(controller, "scancel", f'echo "$@" >> {controller}/calls; [ "$1" != 5 ] || {{ {gone}; }}')
    slurm.cancel(["7", "5", "6"])
    assert (controller / "calls").read_text().split() == ["7", "5", "6"]
    program(controller, "scancel", "echo 'scancel: error: Kill job error: Access/permission denied' >&2; exit 1")
    with pytest.raises(SlurmRefused, match="permission denied"):
        slurm.cancel(["7"])


def test_where_there_is_no_slurm_it_is_said(controller: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(controller))
    with pytest.raises(SlurmRefused, match=r"^sbatch is not on this machine$"):
        slurm.submit(["sbatch"])
    with pytest.raises(SlurmRefused, match=r"^scontrol is not on this machine$"):
        slurm.is_running("7")  # nobody knows
