"""Proves that local ranks know their place, end together, and never outlive the command that started them."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

from launch import local
from launch.job import Job, State
from launch.local import LocalLauncher, free_port

PATIENCE_SECONDS = 30.0  # of a busy machine; every wait ends as soon as what it waits for is there


def until(condition):
    deadline = time.monotonic() + PATIENCE_SECONDS
    while not (value := condition()):
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.02)
    return value


def python(code):
    return (sys.executable, "-c", code)


def job(tmp_path, *codes, **settings):
    return Job("work", tuple(map(python, codes)), tmp_path / "logs", **settings)


def ended(launcher, job_id):
    until(lambda: launcher.state(job_id).state is not State.RUNNING)
    return launcher.state(job_id)


def alive(pid):
    """Whether the process runs; one that waits to be collected by its parent does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    except (FileNotFoundError, ProcessLookupError):
        return False


@pytest.fixture
def launcher():
    launcher = LocalLauncher()
    yield launcher
    for job_id in list(launcher._jobs):
        launcher.signal(job_id, signal.SIGKILL)
        for process in launcher._jobs[job_id].processes:
            process.wait()


SHOW = "import json, os; print(json.dumps(dict(os.environ)))"
NAMES = ("RANK", "LOCAL_RANK", "WORLD_SIZE", "LOCAL_WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT")


def test_ranks_are_told_their_place(tmp_path, launcher):
    """The variables of torch's `env://` rendezvous, and one port for all."""
    submitted = job(tmp_path, SHOW, SHOW, SHOW, ranks=True, environment={"EXTRA": "yes"})
    assert ended(launcher, launcher.submit(submitted)).state is State.DONE
    seen = [json.loads((tmp_path / "logs" / f"work-{rank}.log").read_text()) for rank in range(3)]
    for rank, variables in enumerate(seen):
        assert [variables[name] for name in NAMES[:5]] == [str(rank), str(rank), "3", "3", "127.0.0.1"]
        assert variables["EXTRA"] == "yes"
        assert variables["PATH"] == os.environ["PATH"]
    assert len({variables["MASTER_PORT"] for variables in seen}) == 1
    assert 1024 <= int(seen[0]["MASTER_PORT"]) <= 65_535


def test_workers_have_no_place(tmp_path, launcher, monkeypatch):
    for name in NAMES:
        monkeypatch.delenv(name, raising=False)
    assert ended(launcher, launcher.submit(job(tmp_path, SHOW, SHOW))).state is State.DONE
    assert not set(NAMES) & set(json.loads((tmp_path / "logs" / "work-1.log").read_text()))


def test_torch_finds_its_group_by_these_variables(tmp_path, launcher):
    code = """
import torch, torch.distributed as dist
dist.init_process_group("gloo")
total = torch.tensor([10.0 ** dist.get_rank()])
dist.all_reduce(total)
print("total", int(total))
dist.destroy_process_group()
"""
    assert ended(launcher, launcher.submit(job(tmp_path, code, code, ranks=True))).state is State.DONE
    assert all("total 11" in log.read_text() for log in (tmp_path / "logs").iterdir())


WAIT = "import time; time.sleep(600)"
SAY_TERM = """
import signal, sys, time
signal.signal(signal.SIGTERM, lambda *_: sys.exit(print("told to end")))
print("ready", flush=True)
time.sleep(600)
"""


def test_one_that_fails_ends_the_others_and_is_named(tmp_path, launcher):
    """Rank 1 fails once rank 0 is ready to be told."""
    log = tmp_path / "logs" / "work-0.log"
    fail = f"""
import sys, time, pathlib
while "ready" not in pathlib.Path({str(log)!r}).read_text():
    time.sleep(0.01)
print("the reason")
sys.exit(7)
"""
    job_id = launcher.submit(job(tmp_path, SAY_TERM, fail, WAIT, ranks=True))
    status = ended(launcher, job_id)
    assert (status.state, status.exit_code, status.log.name) == (State.FAILED, 7, "work-1.log")
    assert "the reason" in status.log.read_text()
    assert "told to end" in log.read_text()
    assert [process.returncode for process in launcher._jobs[job_id].processes] == [0, 7, -signal.SIGTERM]


ALL_REDUCE = """
import os, signal, torch, torch.distributed as dist
torch.set_num_threads(1)
dist.init_process_group("gloo")
rank = dist.get_rank()
dist.all_reduce(torch.ones(1))
print("together", flush=True)
if rank == {culprit}:
    {end}
dist.all_reduce(torch.ones(1))
"""
ENDS = {
    "raises": ("raise ValueError('the reason')", (1, -signal.SIGABRT)),  # gloo's threads may abort a process that ends
    "killed": ("os.kill(os.getpid(), signal.SIGKILL)", (-signal.SIGKILL,)),
}


@pytest.mark.parametrize("culprit", [0, 1])
@pytest.mark.parametrize("end", ENDS)
def test_ranks_that_fail_together_name_the_one_that_failed_first(tmp_path, launcher, culprit, end):
    """The other loses the connection in a collective, and has ended too before the launcher looks."""
    statement, exit_codes = ENDS[end]
    code = ALL_REDUCE.format(culprit=culprit, end=statement)
    job_id = launcher.submit(job(tmp_path, code, code, ranks=True))
    for process in launcher._jobs[job_id].processes:
        assert process.wait(PATIENCE_SECONDS) != 0
    status = launcher.state(job_id)
    assert (status.state, status.log.name) == (State.FAILED, f"work-{culprit}.log")
    assert status.exit_code in exit_codes
    assert end == "killed" or any("ValueError: the reason" in line for line in status.tail)


def test_a_rank_that_ends_without_a_word_left_it_to_another_to_say_why(tmp_path, launcher):
    speaks = f"""
import pathlib, signal, sys, time
signal.signal(signal.SIGTERM, signal.SIG_IGN)
pathlib.Path({str(tmp_path / "ready")!r}).touch()
time.sleep(0.3)
sys.exit("this cannot be")
"""
    silent = f"""
import pathlib, time
while not pathlib.Path({str(tmp_path / "ready")!r}).exists():
    time.sleep(0.01)
raise SystemExit(1)
"""
    status = ended(launcher, launcher.submit(job(tmp_path, speaks, silent, ranks=True)))
    assert (status.log.name, status.tail) == ("work-0.log", ("this cannot be",))


def test_what_one_said_before_it_was_told_to_end_is_not_lost(tmp_path, launcher):
    """Python gives its signals back when it ends: one that comes then kills it, whatever it has just said."""
    speaks = f"""
import os, time
print("nothing verifies", flush=True)
open({str(tmp_path / "said")!r}, "w").close()
time.sleep(60)
"""
    silent = f"""
import os, sys, time
while not os.path.exists({str(tmp_path / "said")!r}):
    time.sleep(0.01)
sys.exit(2)
"""
    status = ended(launcher, launcher.submit(job(tmp_path, speaks, silent, ranks=True)))
    assert (status.exit_code, status.tail) == (2, ("nothing verifies",))
    assert status.log == tmp_path / "logs" / "work-0.log"


def test_the_tail_begins_where_this_job_does(tmp_path, launcher):
    for word in ("first", "second"):
        code = f"import sys; print('{word}', flush=True); sys.exit(1)"
        status = ended(launcher, launcher.submit(job(tmp_path, code)))
        assert status.tail == (word,)
    many = "print(*range(100_000), sep='\\n', flush=True); raise SystemExit(1)"
    status = ended(launcher, launcher.submit(job(tmp_path, many)))
    assert status.tail == tuple(str(number) for number in range(100_000 - local.TAIL_LINES, 100_000))


def test_a_rank_that_is_stopped_is_ended_too(tmp_path, launcher, monkeypatch):
    """As a debugger or a full machine stops one: it cannot hear SIGTERM."""
    monkeypatch.setattr(local, "GRACE_SECONDS", 0.3)
    log = tmp_path / "logs" / "work-0.log"
    stops = "import os, signal; print('ready', flush=True); os.kill(os.getpid(), signal.SIGSTOP)"
    fails = f"""
import time, pathlib
while "ready" not in pathlib.Path({str(log)!r}).read_text():
    time.sleep(0.01)
raise SystemExit("nobody answers")
"""
    job_id = launcher.submit(job(tmp_path, stops, fails, ranks=True))
    status = ended(launcher, job_id)
    assert (status.exit_code, status.log.name, status.tail) == (1, "work-1.log", ("nobody answers",))
    assert launcher._jobs[job_id].processes[0].returncode == -signal.SIGKILL


def test_a_rank_that_hangs_after_the_others_are_done_is_ended(tmp_path, launcher, monkeypatch):
    monkeypatch.setattr(local, "LINGER_SECONDS", 0.3)
    status = ended(launcher, launcher.submit(job(tmp_path, "", WAIT, ranks=True)))
    assert (status.state, status.exit_code, status.log.name) == (State.FAILED, -signal.SIGKILL, "work-1.log")


def test_workers_need_not_end_together(tmp_path, launcher, monkeypatch):
    monkeypatch.setattr(local, "LINGER_SECONDS", 0.1)
    assert ended(launcher, launcher.submit(job(tmp_path, "", "import time; time.sleep(1)"))).state is State.DONE


def test_one_that_does_not_listen_is_killed_after_the_grace_time(tmp_path, launcher, monkeypatch):
    monkeypatch.setattr(local, "GRACE_SECONDS", 0.3)
    log = tmp_path / "logs" / "work-0.log"
    deaf = "import signal, time; signal.signal(15, signal.SIG_IGN); print('ready', flush=True); time.sleep(600)"
    job_id = launcher.submit(job(tmp_path, deaf, WAIT, ranks=True))
    until(lambda: "ready" in log.read_text())
    os.kill(launcher._jobs[job_id].processes[1].pid, signal.SIGSEGV)
    status = ended(launcher, job_id)
    assert (status.state, status.exit_code, status.log.name) == (State.FAILED, -signal.SIGSEGV, "work-1.log")
    assert launcher._jobs[job_id].processes[0].returncode == -signal.SIGKILL


def test_a_command_that_does_not_exist_is_a_failure(tmp_path, launcher):
    missing = Job("work", (("/no/such/command",),), tmp_path / "logs")
    status = ended(launcher, launcher.submit(missing))
    assert status.state is State.FAILED
    assert "/no/such/command" in status.log.read_text() or "No such file" in status.log.read_text()


def test_a_signal_is_passed_on_to_all(tmp_path, launcher):
    code = """
import signal, sys, time
signal.signal(signal.SIGUSR1, lambda *_: sys.exit(0))
print("ready", flush=True)
time.sleep(600)
"""
    job_id = launcher.submit(job(tmp_path, code, code))
    until(lambda: all("ready" in (tmp_path / "logs" / f"work-{n}.log").read_text() for n in range(2)))
    assert launcher.state(job_id).state is State.RUNNING
    launcher.signal(job_id, signal.SIGUSR1)
    assert ended(launcher, job_id).state is State.DONE
    launcher.signal(job_id, signal.SIGUSR1)  # too late is no error


def test_logs_are_appended_and_hold_both_streams(tmp_path, launcher):
    for word in ("first", "second"):
        code = f"import sys; print('{word}', flush=True); print('{word} error', file=sys.stderr)"
        ended(launcher, launcher.submit(job(tmp_path, code)))
    assert (tmp_path / "logs" / "work-0.log").read_text().split("\n") == [
        "first",
        "first error",
        "second",
        "second error",
        "",
    ]


def test_the_standard_input_is_empty(tmp_path, launcher):
    ended(launcher, launcher.submit(job(tmp_path, "import sys; print(repr(sys.stdin.read()))")))
    assert (tmp_path / "logs" / "work-0.log").read_text() == "''\n"


# a command of the user's that starts two children, says which, and then waits: told by Ctrl-C, it says so
COMMAND = """
import sys, time
from pathlib import Path
from launch.job import Job
from launch.local import LocalLauncher
launcher = LocalLauncher()
child = "import os, time; print('ready', os.getpid(), flush=True); time.sleep(600)"
launcher.submit(Job("work", ((sys.executable, "-c", child),) * 2, Path(sys.argv[1])))
try:
    time.sleep(600)
except KeyboardInterrupt:
    print("interrupted", flush=True)
    time.sleep(600)
"""


@pytest.fixture
def command(tmp_path):
    """The command, leading a process group as it does in a terminal, and its children's process ids."""
    with subprocess.Popen(
        [sys.executable, "-c", COMMAND, tmp_path], stdout=subprocess.PIPE, text=True, process_group=0
    ) as parent:
        children = []
        try:
            logs = [tmp_path / f"work-{number}.log" for number in range(2)]
            until(lambda: all(log.exists() and log.read_text().endswith("\n") for log in logs))
            children += [int(log.read_text().split()[1]) for log in logs]
            yield parent, children
        finally:
            for pid in (parent.pid, *filter(alive, children)):
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)


def test_control_c_reaches_only_the_command(command):
    parent, children = command
    assert [os.getsid(child) for child in children] == children  # each leads a session of its own
    os.killpg(parent.pid, signal.SIGINT)  # what a terminal does
    assert parent.stdout.readline() == "interrupted\n"
    assert all(map(alive, children))


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM, signal.SIGSEGV])
def test_the_children_end_with_the_command_however_it_ends(command, number):
    parent, children = command
    assert all(map(alive, children))
    parent.send_signal(number)
    until(lambda: not any(map(alive, children)))


def test_a_child_whose_parent_is_already_gone_does_not_begin(tmp_path):
    """`python -m launch.local PARENT` with a parent that is not its own."""
    marker = tmp_path / "began"
    done = subprocess.run([sys.executable, "-m", "launch.local", "1", "touch", marker])
    assert done.returncode == -signal.SIGKILL
    assert not marker.exists()


def test_a_free_port_can_be_listened_on():
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", free_port()))
