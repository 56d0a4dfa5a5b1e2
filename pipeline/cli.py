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
from launch.settings import WHERE
from pipeline.config import load_config
from pipeline.progress import ProgressDisplay
from pipeline.run_dir import RunDir, open_run, prepare

if TYPE_CHECKING:  # a command that only looks does not wait for the imports of one that works
    from pipeline.runner import Runner

FAILED, IMPOSSIBLE, PAUSED = 1, 2, 3
LOG_LINES = 20  # that `text2lm logs` shows
FULL_DISK = (errno.ENOSPC, errno.EDQUOT)
NOT_THERE = (errno.ENOENT, errno.ENOTDIR, errno.EISDIR, errno.EACCES, errno.EPERM, errno.EROFS)


class Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        raise UserError(f"{message}; try: {self.prog} --help")


def parser() -> Parser:
    """Every verb and its options."""
    top = Parser(prog="text2lm", description="One TOML file and one command take raw text to a pretrained GPT.")
    verbs = top.add_subparsers(dest="verb", required=True, metavar="VERB", parser_class=Parser)

    def verb(name: str, help: str) -> argparse.ArgumentParser:
        return verbs.add_parser(name, help=help, description=help)

    def takes_config(parser: argparse.ArgumentParser) -> None:
        parser.add_argument("config", type=Path, metavar="CONFIG", help="a TOML file, for example configs/demo.toml")
        parser.add_argument(
            "--run", type=Path, metavar="DIR", help="run directory (default: runs/ and the config's name)"
        )
        parser.add_argument("--set", action="append", default=[], metavar="a.b=c", help="override one setting")

    def takes_run(parser: argparse.ArgumentParser) -> None:
        parser.add_argument("--run", type=Path, metavar="DIR", required=True, help="run directory")

    run = verb("run", "bring every stage up to date; running again resumes or does nothing")
    takes_config(run)
    run.add_argument("--from", dest="first", metavar="STAGE", help="redo this stage and what follows, fresh or not")
    run.add_argument("--until", metavar="STAGE", help="stop after this stage")
    run.add_argument("--on", metavar="WHERE", help="local or slurm; the same as --set launch.on=WHERE")
    run.add_argument("--detach", action="store_true", help="on slurm: queue the jobs and do not wait for them")
    run.add_argument("--restart", action="store_true", help="train from scratch; the old training is set aside")
    run.add_argument("--verify", action="store_true", help="check every recorded digest")

    plan = verb("plan", "say what a run would do, why, and what it would cost; touches nothing")
    takes_config(plan)
    plan.add_argument("--mfu", type=float, default=0.4, help="the share of a GPU's peak that training uses")
    plan.add_argument("--peak-tflops", type=float, help="that peak (default: of the GPU here, or an H100's)")
    plan.add_argument("--json", action="store_true", help="for programs")

    stage = verb("stage", "do some tasks of one stage, or seal it: what a batch job runs")
    stage.add_argument("name", metavar="NAME[/STEP]")
    takes_run(stage)
    work = stage.add_mutually_exclusive_group(required=True)
    work.add_argument("--task", metavar="A[-B]", help="a task or a range of tasks, from 0")
    work.add_argument(
        "--share", metavar="I/N", help="share I (from 0) of N of a step's tasks, then what is left of others"
    )
    work.add_argument("--gather", action="store_true", help="behind that step: all up to the next work on shards")
    work.add_argument("--seal", action="store_true", help="check the accounting and write the manifest")
    stage.add_argument("--workers", type=int, help="processes for a share or a gather (default: launch.workers)")
    stage.add_argument("--until", metavar="STAGE", default="report", help="where --gather ends (default: report)")
    stage.add_argument("--element", help=argparse.SUPPRESS)  # whose worker this process is

    attempt = verb("attempt", "what slurm/gpu.sbatch asks before and after the ranks of a training")
    attempt.add_argument("when", choices=("begin", "end"))
    takes_run(attempt)
    attempt.add_argument("--job", required=True)
    attempt.add_argument("--restart", type=int, default=0, help="how often the job was queued again")
    attempt.add_argument("--nodes", required=True, help="their names, with commas")
    attempt.add_argument("--ranks", type=int, required=True)
    attempt.add_argument("--signal", default="", help="that the job was sent: USR1, TERM")
    attempt.add_argument("--state", default="", help="what Slurm says of the job")

    takes_run(verb("status", "say how far a run is, and how its jobs stand in the queue"))
    takes_run(verb("cancel", "take a run's jobs out of the queue; what was finished is kept"))
    logs = verb("logs", "name the logs of a stage, and show the end of the newest")
    logs.add_argument("name", metavar="STAGE")
    takes_run(logs)
    takes_run(verb("report", "write RUN/report.html anew"))

    trace = verb("trace", "say where a document went, and why")
    trace.add_argument("id", metavar="DOC_ID")
    takes_run(trace)

    batch = verb("batch", "name the documents that a training step saw")
    takes_run(batch)
    batch.add_argument("--step", type=int, required=True, help="from 1, as in metrics.jsonl")

    sample = verb("sample", "let the model write")
    where = sample.add_mutually_exclusive_group(required=True)
    where.add_argument("--run", type=Path, metavar="DIR", help="run directory")
    where.add_argument("--export", type=Path, metavar="DIR", help="transformers-format directory")
    sample.add_argument("--step", type=int, help="the checkpoint of this step (default: the run's newest)")
    sample.add_argument("--prompt", default="", help="text to go on from (default: the beginning of a document)")
    sample.add_argument("--max-tokens", type=int, default=200)
    sample.add_argument("--temperature", type=float, help="0 takes the likeliest token (default: 0.8, with --beams 0)")
    sample.add_argument("--top-k", type=int, default=50, help="choose among so many; 0: all")
    sample.add_argument("--top-p", type=float, default=1.0, help="choose among the likeliest with this probability")
    sample.add_argument("--beams", type=int, default=1, help="search the likeliest text with so many beams; no chance")
    sample.add_argument("--seed", type=int, default=1)

    sync = verb("sync", "send the metrics of a training to wandb, as one run however often it was resumed")
    takes_run(sync)
    sync.add_argument("--mode", choices=("online", "offline"), default="online", help="offline: files to send later")
    sync.add_argument("--project", metavar="NAME", help="at wandb (default: the config's wandb.project)")

    export = verb("export", "write RUN/export/hf, a directory that transformers loads")
    takes_run(export)
    export.add_argument("--step", type=int, help="the checkpoint of this step, to RUN/pretrain/exports/step-STEP")
    doctor = verb("doctor", "say what this machine, or a Slurm site, has and what is missing")
    doctor.add_argument("config", type=Path, metavar="CONFIG", nargs="?", help="with --on slurm: what is to run there")
    doctor.add_argument("--run", type=Path, metavar="DIR", help="run directory (default: runs/ and the config's name)")
    doctor.add_argument("--set", action="append", default=[], metavar="a.b=c", help="override one setting")
    doctor.add_argument("--on", choices=WHERE, default="local", help="slurm: ask the site, and a job on its nodes")
    doctor.add_argument("--wait", type=float, default=30, metavar="MINUTES", help="for that job to start (default: 30)")
    fetch = verb("fetch", "bring what a run reads from the internet, so that its jobs need none")
    fetch.add_argument("config", type=Path, metavar="CONFIG", help="its hub datasets are put beside it")
    fetch.add_argument("--set", action="append", default=[], metavar="a.b=c", help="override one setting")
    fetch.add_argument("--wheels", type=Path, metavar="DIR", help="put the packages of this checkout there, too")
    return top


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
    facts = make_plan(config, directory, mfu=mfu, peak_tflops=peak)
    print(json.dumps(facts, indent=1) if arguments.json else "\n".join(plan_lines(facts)))
    return 0


def stage(arguments: argparse.Namespace) -> int:
    from pipeline import by_hand
    from pipeline.shares import element_name, parse_share

    name, _, step = arguments.name.partition("/")
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
    return by_hand.do_tasks(runner, name, step or None, task_range(arguments.task))


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
