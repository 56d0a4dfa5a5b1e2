"""The command `text2lm`: reads argv, calls one function, turns errors into one line and an exit code.

0 done, 1 failed while running, 2 an impossible request or input, 3 paused by a signal with everything finished saved.
"""

from __future__ import annotations

import argparse
import errno
import json
import math
import os
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

from data_prep.files import UserError
from launch.job import JobError
from launch.local import LocalLauncher
from pipeline.arguments import parser
from pipeline.cleaning_steps import list_files
from pipeline.config import load_config
from pipeline.dedup_steps import evaluation_files
from pipeline.progress import ProgressDisplay
from pipeline.run_dir import RunDir, open_run, prepare
from pipeline.scrub_steps import key_of

if TYPE_CHECKING:  # a command that only looks does not wait for the imports of one that works
    from pipeline.runner import Runner

FAILED, IMPOSSIBLE, PAUSED = 1, 2, 3
LOG_LINES = 20  # that `text2lm logs` shows
FULL_DISK = (errno.ENOSPC, errno.EDQUOT)
NOT_THERE = (errno.ENOENT, errno.ENOTDIR, errno.EISDIR, errno.EACCES, errno.EPERM, errno.EROFS)


def main(argv: Sequence[str]) -> int:
    """Run one command; the exit code."""
    try:
        arguments = parser().parse_args(argv)
        code: int = VERBS[arguments.verb](arguments)
        sys.stdout.flush()
        return code
    except BrokenPipeError:  # whoever read along, head for example, has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return FAILED
    except UserError as error:
        return fail(str(error), IMPOSSIBLE)
    except JobError as error:
        return fail(str(error), FAILED)
    except KeyboardInterrupt:
        return fail("stopped; what was finished is kept", PAUSED)
    except OSError as error:
        if error.errno in FULL_DISK:
            where = error.filename or "the run directory"
            return fail(f"the disk is full: {where} could not be written; free some space and run again", FAILED)
        if error.filename is None:  # no file that the user could do something about
            raise
        return fail(f"{error.filename}: {error.strerror}", IMPOSSIBLE if error.errno in NOT_THERE else FAILED)


def fail(message: str, code: int) -> int:
    print(f"text2lm: {' '.join(message.split())}", file=sys.stderr, flush=True)
    return code


def run(arguments: argparse.Namespace) -> int:
    from pipeline.queueing import refuse_jobs, run_in_queue
    from pipeline.runner import Runner

    on = [f"launch.on={arguments.on}"] if arguments.on else []
    config = load_config(arguments.config, [*arguments.set, *on])
    list_files(config.clean)  # a wrong path is said before anything is read
    evaluation_files(config.dedup)
    key_of(config)
    directory = prepare(run_directory(arguments))
    display = ProgressDisplay()
    runner = Runner(config, directory, LocalLauncher(), display, verify=arguments.verify, restart=arguments.restart)
    if config.launch.on == "slurm":
        code = run_in_queue(runner, arguments.first, arguments.until, detach=arguments.detach)
    elif arguments.detach:
        raise UserError("--detach leaves jobs to a queue: add --on slurm")
    else:
        refuse_jobs(directory)
        code = runner(arguments.first, arguments.until)
    if code == 0 and not arguments.detach and directory.results.exists() and arguments.until is None:
        for line in closing_lines(directory):
            display.say(line)
    return code


def closing_lines(directory: RunDir) -> list[str]:
    """What came out: the model beside gzip and xz, a sample, and where to look."""
    results = json.loads(directory.results.read_text())
    return [
        f"validation bits per byte: {results['bits_per_byte']:.3f} (this model), "
        f"{results['gzip_bits_per_byte']:.3f} (gzip -9), {results['xz_bits_per_byte']:.3f} (xz -9); fewer is better",
        f"a sample: {' '.join(results['samples'][0].split())}",
        f"look at:  {directory.report}",
    ]


def run_directory(arguments: argparse.Namespace) -> Path:
    chosen: Path | None = arguments.run
    return chosen or Path("runs") / arguments.config.stem


def plan(arguments: argparse.Namespace) -> int:
    from pipeline.plan import plan as make_plan
    from pipeline.plan import plan_lines

    mfu, peak = arguments.mfu, arguments.peak_tflops
    if not 0 < mfu <= 1:
        raise UserError(f"--mfu must be above 0 and at most 1, got {mfu}; try 0.4")
    if peak is not None and not 0 < peak < math.inf:
        raise UserError(f"--peak-tflops must be above 0, got {peak}; an H100 has 989 in bf16")
    config, directory = load_config(arguments.config, arguments.set), RunDir(run_directory(arguments))
    list_files(config.clean)
    evaluation_files(config.dedup)
    key_of(config)
    facts = make_plan(config, directory, mfu=mfu, peak_tflops=peak)
    print(json.dumps(facts, indent=1) if arguments.json else "\n".join(plan_lines(facts)))
    return 0


def stage(arguments: argparse.Namespace) -> int:
    from pipeline import by_hand
    from pipeline.shares import element_name, parse_share

    name, _, step = arguments.name.partition("/")
    tasks = task_range(arguments.task) if arguments.task is not None else range(0)
    runner, workers = runner_of(arguments.run), arguments.workers
    if workers is not None and workers < 1:
        raise UserError(f"--workers must be at least 1, got {workers}")
    if arguments.seal:
        return by_hand.do_seal(runner, name)
    if arguments.gather:
        if workers:
            runner.config = replace(runner.config, launch=replace(runner.config.launch, workers=workers))
        return by_hand.gather(runner, name, step or None, arguments.until)
    if arguments.share:
        share = parse_share(arguments.share, arguments.element or element_name())
        workers = None if arguments.element else workers or runner.config.launch.workers
        return by_hand.do_share(runner, name, step or None, share, workers=workers)
    return by_hand.do_tasks(runner, name, step or None, tasks)


def attempt(arguments: argparse.Namespace) -> int:
    from pipeline import attempt as attempts

    directory = open_run(arguments.run)
    config = load_config(directory.config)
    this = attempts.Attempt(arguments.job, arguments.restart, arguments.nodes.split(","), arguments.ranks)
    if arguments.when == "begin":
        port = attempts.begin(config, directory, this)
        print("" if port is None else port)
        return 0
    verdict = attempts.end(config, directory, this, signal=arguments.signal, state=arguments.state)
    for line in attempts.last_words(directory, this, verdict):
        print(line, file=sys.stderr)
    print(f"text2lm: {verdict.reason}", file=sys.stderr)
    print(",".join(verdict.exclude))
    return verdict.code


def runner_of(root: Path) -> Runner:
    """A runner for a run that is there, with the settings it was last run with."""
    from pipeline.runner import Runner

    directory = open_run(root)
    return Runner(load_config(directory.config), directory, LocalLauncher(), ProgressDisplay())


def task_range(text: str) -> range:
    """`"3"` or `"3-7"`, both ends in."""
    first, dash, last = text.partition("-")
    if not text.isascii() or not first.isdecimal() or (dash and not last.isdecimal()):
        raise UserError(f"--task {text}: wanted a number or a range such as 0-7")
    tasks = range(int(first), int(last or first) + 1)
    if not tasks:
        raise UserError(f"--task {text}: the range is empty; the smaller number comes first")
    return tasks


def status(arguments: argparse.Namespace) -> int:
    from pipeline.plan import status_lines
    from pipeline.queueing import queue_lines

    directory = open_run(arguments.run)
    print("\n".join([*status_lines(directory), *queue_lines(directory)]))
    return 0


def cancel(arguments: argparse.Namespace) -> int:
    from pipeline.queueing import cancel_jobs

    print(cancel_jobs(open_run(arguments.run)))
    return 0


def logs(arguments: argparse.Namespace) -> int:
    from pipeline.stages import stage_named
    from pipeline.watching import log_files

    directory, stage = open_run(arguments.run), stage_named(arguments.name)
    files = log_files(directory, stage.name)
    if not files:
        raise UserError(
            f"{directory.logs} has no log of {stage.name}; text2lm status --run {directory.root} says how far it is"
        )
    print("\n".join(map(str, files)))
    print(f"\n==> the end of {files[-1]}")
    print("\n".join(files[-1].read_text(errors="replace").splitlines()[-LOG_LINES:]))
    return 0


def report(arguments: argparse.Namespace) -> int:
    from pipeline.report import write_report
    from pipeline.stages import STAGES

    directory = open_run(arguments.run)
    write_report(directory, STAGES[:-1])
    print(directory.report)
    return 0


def rules(arguments: argparse.Namespace) -> int:
    from pipeline.tryout import rules_lines, settings_for

    config = load_config(arguments.config) if arguments.config else None
    settings, source = settings_for(config, arguments.source, language=arguments.language)
    print("\n".join(rules_lines(settings, source, all_asked=config is None)))
    return 0


def try_file(arguments: argparse.Namespace) -> int:
    from pipeline.tryout import settings_for, try_lines

    config = load_config(arguments.config) if arguments.config else None
    typed = {name: getattr(arguments, name) for name in ("language", "format", "rules")}
    settings, source = settings_for(config, arguments.source, **typed)
    for line in try_lines(arguments.file, settings, source, with_text=arguments.text):
        print(line)
    return 0


def scrub(arguments: argparse.Namespace) -> int:
    from pipeline.scrub_file import explained, scrub_settings_for, scrubbed_texts

    if arguments.set and not arguments.config:
        raise UserError(f"--set {arguments.set[0]} changes a setting of a config: say which, with a CONFIG")
    config = load_config(arguments.config, arguments.set) if arguments.config else None
    settings, source, key = scrub_settings_for(config, arguments.source, arguments.kinds)
    if arguments.explain:
        for line in explained(arguments.file, source, settings, key):
            print(line)
        return 0
    for text in scrubbed_texts(arguments.file, source, settings, key):
        print(text, end="" if text.endswith("\n") else "\n")
    return 0


def trace(arguments: argparse.Namespace) -> int:
    from pipeline.lineage import trace as trace_document

    directory = open_run(arguments.run)
    print("\n".join(trace_document(load_config(directory.config), directory, arguments.id)))
    return 0


def batch(arguments: argparse.Namespace) -> int:
    from pipeline.lineage import documents_of_step

    print("\n".join(documents_of_step(open_run(arguments.run), arguments.step)))
    return 0


def sample(arguments: argparse.Namespace) -> int:
    from pipeline.model_steps import sample as draw

    if arguments.temperature is None:
        arguments.temperature = 0.0 if arguments.beams > 1 else 0.8
    for name, smallest in (("max_tokens", 1), ("temperature", 0), ("top_k", 0), ("top_p", 0), ("beams", 1)):
        if not smallest <= getattr(arguments, name) < math.inf:
            raise UserError(f"--{name.replace('_', '-')} must be at least {smallest}, got {getattr(arguments, name)}")
    if not 0 <= arguments.seed < 2**63:
        raise UserError(f"--seed must be 0 to 2^63 - 1, got {arguments.seed}")
    if arguments.step is not None and not arguments.run:
        raise UserError(f"--step {arguments.step} chooses among a run's checkpoints: give --run DIR")
    directory = open_run(arguments.run) if arguments.run else None
    names = ("step", "max_tokens", "temperature", "top_k", "top_p", "beams", "seed")
    options = {name: getattr(arguments, name) for name in names}
    print(arguments.prompt + draw(directory, arguments.export, arguments.prompt, **options))
    return 0


def sync(arguments: argparse.Namespace) -> int:
    from pretrain.sync import sync as send

    directory = open_run(arguments.run)
    synced = send(directory.metrics.parent, online=arguments.mode == "online", project=arguments.project)
    print(f"run {synced.run_id}: {synced.rows:,} steps in {synced.place}")
    if arguments.mode == "offline":
        print(f"send it with: wandb sync {synced.place}")
    return 0


def export(arguments: argparse.Namespace) -> int:
    from pipeline.model_steps import export_step
    from pipeline.plan import need_stage
    from pipeline.stages import stage_named

    if arguments.step is not None:
        directory = open_run(arguments.run)
        export_step(directory, arguments.step, directory.export_of(arguments.step))
        print(directory.export_of(arguments.step))
        return 0
    runner = runner_of(arguments.run)
    with runner.run.lock():
        code = runner.update(stage_named("export"))
    if code == 0:
        what = need_stage(runner.run, "export").facts["what"]
        if what.startswith("none"):
            raise UserError(
                f"nothing to export, {what.removeprefix('none: ')}; read the model with text2lm sample --run"
            )
        print(runner.run.export)
    return code


def doctor(arguments: argparse.Namespace) -> int:
    from pipeline.doctor import examine

    facts, problems = examine(Path.cwd())
    table: list[str] = []
    print("\n".join(facts), flush=True)
    if arguments.on == "slurm":
        from pipeline.slurm_doctor import examine_site

        config = load_config(arguments.config, arguments.set) if arguments.config else None
        run = RunDir(run_directory(arguments) if arguments.config else arguments.run or Path("runs"))
        more, table = examine_site(config, run, ProgressDisplay(), arguments.wait)
        problems += more
    for problem in problems:
        print(f"missing: {problem}")
    if table:
        print("\n".join(["", "a table for this site, to put into a config:", "", *table]))
    return IMPOSSIBLE if problems else 0


def fetch(arguments: argparse.Namespace) -> int:
    from pipeline.fetch import fetch_sources, fetch_wheels

    fetch_sources(load_config(arguments.config, arguments.set), arguments.config.resolve().parent, ProgressDisplay())
    if arguments.wheels:
        fetch_wheels(arguments.wheels, ProgressDisplay())
    return 0


VERBS = {
    "run": run,
    "plan": plan,
    "stage": stage,
    "attempt": attempt,
    "status": status,
    "cancel": cancel,
    "logs": logs,
    "report": report,
    "rules": rules,
    "try": try_file,
    "scrub": scrub,
    "trace": trace,
    "batch": batch,
    "sample": sample,
    "sync": sync,
    "export": export,
    "doctor": doctor,
    "fetch": fetch,
}


def entry() -> NoReturn:
    sys.exit(main(sys.argv[1:]))
