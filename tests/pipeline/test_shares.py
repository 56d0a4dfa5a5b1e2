"""Proves that elements of an array share the work of a stage: each task is done once, what one leaves others or the
gather do, and the files are those of a local run.

The elements are processes of their own that start together, as on a cluster.
"""

from __future__ import annotations

import json
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from data_prep.files import UserError
from data_prep.settings import SourceSettings
from pipeline.config import RunConfig
from pipeline.run_dir import RunDir
from pipeline.shares import Share, in_words, parse_share
from pipeline.stage import Context, Result, Stage, Step
from tests.conftest import contents, start_text2lm, text2lm, write_project

TASKS = 40
# One worker of an element, on a stage without shards that writes down what it does. Some tasks take longer than others;
# the one named `slow` waits for a file.
WORKER = """
import sys, time
from pathlib import Path
from data_prep.settings import SourceSettings
from pipeline.config import RunConfig
from pipeline.run_dir import RunDir
from pipeline.shares import Share, work_on
from pipeline.stage import Context, Result, Stage, Step, begin_beside_others

root, element, number, of, slow = Path(sys.argv[1]), sys.argv[2], *map(int, sys.argv[3:6])

def work(context, task):
    with (root / "done").open("a") as file:
        file.write(f"{task} {element}\\n")
    if task == slow:
        while not (root / "go").exists():
            time.sleep(0.01)
    time.sleep(0.005 * (task * 7 % 11))
    path = context.directory / f"out-{task}"
    path.write_text(str(task))
    return Result([path])

step = Step("work", work, tasks=lambda context: TASKS)
stage = Stage("stage", (step,), inputs=lambda context: [])
context = Context(RunConfig([SourceSettings("s", ["s.jsonl"])]), RunDir(root), stage)
if not RunDir(root).plan("stage").exists():
    begin_beside_others(context)
(root / f"ready-{number}").touch()
while sum(1 for path in root.glob("ready-*")) < of and not slow >= 0:
    time.sleep(0.01)
sys.exit(work_on(context, step, Share(number, of, element)))
"""


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Callable[..., subprocess.Popen[str]]]:
    """Start a worker; what still runs at the end is killed."""
    started: list[subprocess.Popen[str]] = []

    def start(element: str, number: int, of: int, slow: int = -1) -> subprocess.Popen[str]:
        program = WORKER.replace("TASKS", str(TASKS))
        words = [sys.executable, "-c", program, str(tmp_path), element, str(number), str(of), str(slow)]
        started.append(subprocess.Popen(words, text=True, stderr=subprocess.PIPE))
        return started[-1]

    yield start
    for process in started:
        process.kill()
        process.communicate()


def ended(process: subprocess.Popen[str]) -> int:
    _, error = process.communicate(timeout=60)
    assert "Traceback" not in error, error
    return process.returncode


def done(root: Path) -> list[tuple[int, str]]:
    """Who did what, in order."""
    rows = [line.split(" ", 1) for line in (root / "done").read_text().splitlines()]
    return [(int(task), element) for task, element in rows]


def wait_for(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.01)


def test_of_three_elements_with_two_workers_each_none_does_what_another_does(
    tmp_path: Path, start: Callable[..., subprocess.Popen[str]]
) -> None:
    """The last range is the longest in work; those who are done early take from its end."""
    workers = [start(f"7_{number // 2}", number, 6) for number in range(6)]
    assert [ended(worker) for worker in workers] == [0] * 6
    assert sorted(task for task, _ in done(tmp_path)) == list(range(TASKS))
    receipts = RunDir(tmp_path).receipts("stage")
    assert len(list(receipts.glob("work-*.json"))) == TASKS and not list(receipts.glob("*.failed.json"))


def test_one_element_alone_does_what_the_others_never_come_to_do(
    tmp_path: Path, start: Callable[..., subprocess.Popen[str]]
) -> None:
    """As when it is the only one that a full cluster lets in: its own tasks first, then all others'."""
    (tmp_path / "ready-0").touch(), (tmp_path / "ready-2").touch(), (tmp_path / "ready-3").touch()
    assert ended(start("7_1", 1, 4)) == 0
    order = [task for task, _ in done(tmp_path)]
    assert order[:10] == list(Share(1, 4, "").tasks(TASKS)) and sorted(order) == list(range(TASKS))


def test_a_killed_element_takes_up_its_claims_when_it_is_started_again_and_nobody_else_does(
    tmp_path: Path, start: Callable[..., subprocess.Popen[str]]
) -> None:
    slow = 2
    first = start("7_0", 0, 2, slow)
    wait_for(lambda: (tmp_path / "done").exists() and (slow, "7_0") in done(tmp_path))
    first.kill()
    assert ended(first) == -signal.SIGKILL
    assert ended(start("7_1", 1, 2, slow)) == 0  # does all but the one that is claimed
    assert {task for task, element in done(tmp_path) if element == "7_1"} == set(range(TASKS)) - {0, 1, slow}
    (tmp_path / "go").touch()
    assert ended(start("7_0", 0, 2, slow)) == 0
    assert [row for row in done(tmp_path) if row[0] == slow] == [(slow, "7_0")] * 2
    assert len(done(tmp_path)) == TASKS + 1


def test_a_signal_ends_a_worker_after_the_task_at_hand(
    tmp_path: Path, start: Callable[..., subprocess.Popen[str]]
) -> None:
    worker = start("7_0", 0, 1, 3)
    wait_for(lambda: (tmp_path / "done").exists() and (3, "7_0") in done(tmp_path))
    worker.send_signal(signal.SIGTERM)
    (tmp_path / "go").touch()
    assert ended(worker) == 3
    assert [task for task, _ in done(tmp_path)] == [0, 1, 2, 3]
    assert len(list(RunDir(tmp_path).receipts("stage").glob("work-*.json"))) == 4


@pytest.fixture(scope="module")
def reference(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project of eight sources, whose stages up to clean a local run made in `run`; in `array` clean is only planned.

    The plan is as fine as that of a corpus some thousand times as large: a shard a part.
    """
    project = tmp_path_factory.mktemp("reference")
    write_project(project)
    config = (project / "tiny.toml").read_text().partition("[split]")
    lines = (project / "corpus" / "notes.jsonl").read_bytes().splitlines(keepends=True)
    sources = ""
    for number in range(8):
        (project / "corpus" / f"{number}.jsonl").write_bytes(b"".join(lines[number::8]))
        sources += f'[[source]]\nname = "s{number}"\npaths = ["corpus/{number}.jsonl"]\n'
    (project / "tiny.toml").write_text(f"seed = 1\n{sources}{config[1]}{config[2]}")
    text2lm(project, "run", "tiny.toml", "--run", "array", "--until", "ingest")
    text2lm(project, "stage", "ingest", "--gather", "--until", "clean", "--run", "array")
    path = project / "array" / "clean" / "plan.json"
    plan = json.loads(path.read_text())
    path.write_text(json.dumps(plan | {"shards": [[piece] for shard in plan["shards"] for piece in shard]}))
    shutil.copytree(project / "array", project / "run")
    text2lm(project, "run", "tiny.toml", "--run", "run", "--until", "clean")
    return project


@pytest.fixture
def project(reference: Path, tmp_path: Path) -> Path:
    """A copy of it."""
    return Path(shutil.copytree(reference, tmp_path / "project", dirs_exist_ok=True))


CLEAN, GATHER = ("stage", "clean/clean", "--run", "array"), ("--gather", "--until", "clean")


def test_three_elements_at_once_and_the_gather_make_the_files_of_a_local_run(project: Path) -> None:
    elements = [start_text2lm(project, *CLEAN, "--share", f"{number}/3", "--workers", "1") for number in range(3)]
    for element in elements:
        out, _ = element.communicate(timeout=120)
        assert element.returncode == 0, out
    run = RunDir(project / "array")
    tasks = len(json.loads(run.plan("clean").read_text())["shards"])
    assert tasks == 8
    claims = sorted(run.claims("clean").iterdir())
    assert [path.name for path in claims] == [f"clean-{task:05d}" for task in range(tasks)]
    assert len({path.read_text() for path in claims}) <= 3
    assert len(list(run.receipts("clean").glob("clean-*.json"))) == tasks
    assert not run.manifest("clean").exists()
    text2lm(project, *CLEAN, *GATHER)
    assert contents(project / "array", "ingest", "clean") == contents(project / "run", "ingest", "clean")
    assert not run.claims("clean").exists() and not list(run.receipts("clean").glob("*.json"))
    assert not list((run.logs / "slurm").glob("*.log"))  # no worker had anything to say
    assert "nothing to do" in text2lm(project, *CLEAN, "--share", "0/3").stdout


def test_a_shard_that_fails_is_told_and_costs_the_others_nothing(project: Path) -> None:
    run = RunDir(project / "array")
    part = run.root / "ingest" / "part-00002.parquet"
    whole = part.read_bytes()
    part.write_bytes(whole[: len(whole) // 2])
    tasks = json.loads(run.plan("clean").read_text())["shards"]
    lost = [number for number, shard in enumerate(tasks) if "ingest/part-00002.parquet" in json.dumps(shard)]
    assert len(lost) == 1
    element = text2lm(project, *CLEAN, "--share", "0/1", "--workers", "2", code=1)
    assert (
        f"1 of {len(tasks)} tasks are missing: task {lost[0]}, ingest/part-00002.parquet (ArrowInvalid"
        in element.stderr
    )
    note = run.receipts("clean") / f"clean-{lost[0]:05d}.failed.json"
    told = json.loads(note.read_text())
    assert told["error"].startswith("ArrowInvalid: Parquet magic") and told["host"] and told["element"]
    assert len(list(run.receipts("clean").glob("clean-?????.json"))) == len(tasks) - 1
    note.write_text(json.dumps(told | {"error": "an old error"}))
    gather = text2lm(project, *CLEAN, *GATHER, code=1)
    assert "an old error); once more, here" in gather.stdout and "magic bytes" in gather.stderr
    assert gather.stderr.startswith(f"text2lm: clean/clean: 1 of {len(tasks)} tasks are missing: task {lost[0]}, ")
    assert "Traceback" not in gather.stderr and not run.manifest("clean").exists()
    part.write_bytes(whole)
    text2lm(project, *CLEAN, *GATHER)
    assert contents(project / "array", "clean") == contents(project / "run", "clean") and not note.exists()


def test_what_no_element_did_the_gather_does(project: Path) -> None:
    """As when every element was lost with its node and none is started again."""
    run = RunDir(project / "array")
    run.claims("clean").mkdir()
    (run.claims("clean") / "clean-00003").write_text("7_0 0/2")
    gather = text2lm(project, *CLEAN, *GATHER)
    assert "it left no word" in gather.stdout and "once more, here" in gather.stdout
    assert contents(project / "array", "clean") == contents(project / "run", "clean")


def test_a_task_that_is_no_shard_is_named_by_its_number(tmp_path: Path) -> None:
    step = Step("pair", lambda context, task: Result([]), tasks=lambda context: 3)
    stage = Stage("stage", (step,), inputs=lambda context: [])
    context = Context(RunConfig([SourceSettings("s", ["s.jsonl"])]), RunDir(tmp_path), stage)
    assert in_words(context, step, [1]) == "1 of 3 tasks are missing: task 1 (it left no word)"


@pytest.mark.parametrize("share", ["3/3", "0/0", "-1/3", "1", "1/", "/3", "a/3", "1/3/5", " 1/3", "1.0/3", "²/3"])
def test_a_wrong_share_is_refused(share: str) -> None:
    with pytest.raises(UserError, match=r"--share .*: wanted I/N with I below N, such as 0/16"):
        parse_share(share, "7_0")


def test_what_cannot_be_shared_is_refused_in_one_line(project: Path) -> None:
    for words, said in (
        (("stage", "clean/clean", "--share", "3/3"), "--share 3/3: wanted I/N with I below N, such as 0/16"),
        (("stage", "tokenizer/train", "--share", "0/2"), "tokenizer needs split, which is not finished"),
        (
            ("stage", "dedup/cluster", "--share", "0/2"),
            "dedup/cluster is one task and cannot be shared; run it with --task 0",
        ),
        (("stage", "clean/clean", "--share", "0/2", "--workers", "0"), "--workers must be at least 1, got 0"),
    ):
        done = text2lm(project, *words, "--run", "run", code=2)
        assert said in done.stderr and done.stderr.count("\n") == 1
