"""What may be typed behind `text2lm`: every verb with its options."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import NoReturn

from data_prep.files import UserError
from data_prep.settings import FORMATS
from launch.settings import WHERE


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
    work.add_argument("--gather", action="store_true", help="behind that step: all up to the next step that is shared")
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

    rules = verb("rules", "list the cleaning rules: what each check measures, its threshold, its paper")
    rules.add_argument("config", type=Path, metavar="CONFIG", nargs="?", help="with the thresholds of this config")
    rules.add_argument("--source", default="", metavar="NAME", help="and of this source of it")
    rules.add_argument("--language", default="", metavar="CODE", help="for example zh (default: en)")

    tried = verb("try", "say what cleaning would do with a document of your own, and why")
    tried.add_argument("file", type=Path, metavar="FILE", help="a text, a page, or rows, of which the first are tried")
    tried.add_argument(
        "--config", type=Path, metavar="CONFIG", help="as this config says (default: as one that is empty)"
    )
    tried.add_argument("--source", default="", metavar="NAME", help="as a document of this source of it")
    tried.add_argument("--language", default="", metavar="CODE", help="for example zh (default: what is detected)")
    tried.add_argument("--format", default="", choices=FORMATS, help="of the file (default: auto, or the source's)")
    tried.add_argument("--rules", default="", metavar="A,B", help="ask these rules instead; text2lm rules lists all")
    tried.add_argument("--text", action="store_true", help="print the text that is left, too")

    scrubbed = verb("scrub", "print a file of your own with its personal values replaced")
    scrubbed.add_argument("file", type=Path, metavar="FILE", help="a text, a page, or rows")
    scrubbed.add_argument(
        "config", type=Path, metavar="CONFIG", nargs="?", help="as this config says (default: as one that is empty)"
    )
    scrubbed.add_argument("--source", default="", metavar="NAME", help="as documents of this source of it")
    scrubbed.add_argument("--kinds", default="", metavar="A,B", help="look for these kinds instead, such as email,ip")
    scrubbed.add_argument("--explain", action="store_true", help="say of each candidate what happens to it, and why")
    scrubbed.add_argument("--set", action="append", default=[], metavar="a.b=c", help="override one setting")

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
