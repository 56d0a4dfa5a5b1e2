"""A process with the shim loaded, which lives one scenario through: `python -m tests.faults.driver NAME DIRECTORY`.

First without a fault, which gives the calls. Then once for each call and each fault that can befall it, in a child
process; after each, what must hold is checked, the work is done again, and that is checked, too. Then for each
prefix of the calls and each state that a power cut may leave. Prints what it did as JSON.
"""

from __future__ import annotations

import errno
import gc
import json
import os
import signal
import sys
import traceback
from collections.abc import Iterator
from pathlib import Path

from tests.faults import careless, checkpoints, receipts
from tests.faults.power_cut import Disk
from tests.faults.scenario import Ending, Scenario
from tests.faults.shim import Call, Fault, Kind, armed, read_trace
from tests.faults.trees import Tree, read_tree, write_tree

RETRIED = {"open", "open64", "openat", "openat64", "read", "write", "fsync", "fdatasync"}  # after EINTR, by PEP 475
MUST_WORK = {(Fault.FAIL, errno.EINTR), (Fault.SHORT, 0)}
CODES = {Ending.DONE: 10, Ending.FAILED: 11}  # exit codes of a child


def faults_of(call: Call) -> Iterator[tuple[Fault, int]]:
    """What can befall a call, with the error that it gives."""
    yield Fault.FAIL, errno.EIO
    if call.name in RETRIED:
        yield Fault.FAIL, errno.EINTR
    if call.kind is Kind.TAKES:
        yield Fault.FAIL, errno.ENOSPC
        yield Fault.FAIL, errno.EDQUOT
        yield Fault.FULL, errno.ENOSPC
    if call.kind is not Kind.LOOKS:
        yield Fault.GONE, errno.EIO
        yield Fault.KILL_BEFORE, 0
        yield Fault.KILL_AFTER, 0
    if call.data:
        yield Fault.SHORT, 0
        yield Fault.PART, errno.ENOSPC
        yield Fault.KILL_PART, 0


def work_in_child(scenario: Scenario, root: Path, at: int, fault: Fault, error: int) -> Ending:
    """Do the work in a process of its own, whose call number `at` suffers; how that ended."""
    error_file = root.with_name("error")
    child = os.fork()
    if not child:
        code = 1
        try:
            with armed(root, at, fault, error):
                try:
                    scenario.work(root)
                    ending = Ending.DONE
                except OSError:
                    ending = Ending.FAILED
            code = CODES[ending]
        except BaseException:
            error_file.write_text(traceback.format_exc())
        finally:
            os._exit(code)
    status = os.waitpid(child, 0)[1]
    if fault in (Fault.KILL_BEFORE, Fault.KILL_AFTER, Fault.KILL_PART):
        assert os.WIFSIGNALED(status) and os.WTERMSIG(status) == signal.SIGKILL, f"call {at} was not reached"
        return Ending.CUT
    endings = {code: ending for ending, code in CODES.items()}
    assert os.WIFEXITED(status) and os.WEXITSTATUS(status) in endings, error_file.read_text()
    ending = endings[os.WEXITSTATUS(status)]
    assert ending is Ending.DONE or (fault, error) not in MUST_WORK, "the work failed"
    return Ending.STUCK if ending is Ending.FAILED and fault is Fault.GONE else ending


def inject(scenario: Scenario, root: Path, before: Tree, calls: list[Call]) -> Iterator[str | None]:
    """Every fault in turn; for each, what went wrong or None."""
    for at, call in enumerate(calls, 1):
        for fault, error in faults_of(call):
            write_tree(root, before)
            what = f"call {at}, {call.name} {call.path}, {fault.name} {errno.errorcode.get(error, '')}"
            try:
                ending = work_in_child(scenario, root, at, fault, error)
                what += f", {ending.value}"
                scenario.check(root, ending)
                what += ", again"
                scenario.again(root, ending)
            except Exception:
                yield f"{what}: {traceback.format_exc()}"
            else:
                yield None


def cut_power(scenario: Scenario, root: Path, before: Tree, calls: list[Call]) -> Iterator[str | None]:
    """A power cut after every call, in each state that it may leave; for each, what went wrong or None."""
    disk, seen = Disk(str(root), before), set()
    for number in range(len(calls) + 1):
        ending = Ending.DONE if number == len(calls) else Ending.CUT
        if number:
            disk.take(calls[number - 1])
        for tree in disk.survivors():
            world = (ending, frozenset(tree.items()))
            if world in seen:
                continue
            seen.add(world)
            write_tree(root, tree)
            what = f"power cut after {number} of {len(calls)} calls, which leaves {sorted(tree)}"
            try:
                scenario.check(root, ending)
                what += ", again"
                scenario.again(root, Ending.CUT)
            except Exception:
                yield f"{what}: {traceback.format_exc()}"
            else:
                yield None


def live(scenario: Scenario, directory: Path) -> dict[str, object]:
    root, trace = directory / "root", directory / "trace"
    write_tree(root, {})
    scenario.prepare(root)
    before = read_tree(root)
    write_tree(root, before)  # as for each fault: a directory is listed in the order in which it was filled
    with armed(root, trace=trace):
        scenario.work(root)
    scenario.check(root, Ending.DONE)
    calls, after = read_trace(trace), read_tree(root)
    disk = Disk(str(root), before)
    for call in calls:
        disk.take(call)
    faults = list(inject(scenario, root, before, calls))
    cuts = list(cut_power(scenario, root, before, calls))
    return {
        "made": [[call.name, os.path.relpath(call.other or call.path, root)] for call in calls if call.result >= 0],
        "all_seen": disk.now() == after,  # a change made by a call that the shim does not know would be missing
        "faults": len(faults),
        "power_cuts": len(cuts),
        "problems": [problem for problem in faults + cuts if problem],
    }


def main() -> None:
    name, directory = sys.argv[1:]
    scenarios: dict[str, Scenario] = {**receipts.SCENARIOS, **checkpoints.SCENARIOS, **careless.SCENARIOS}
    gc.freeze()  # so that a child copies fewer pages
    print(json.dumps(live(scenarios[name], Path(directory))))


if __name__ == "__main__":
    main()
