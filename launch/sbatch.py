"""What is typed to Slurm: the arguments of `sbatch`, built from a job and the site's settings. Pure functions.

Nothing is pasted into a script: slurm/*.sbatch are files of their own, and every value reaches them, and sbatch, as one
argument of a process, whatever characters it holds.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from launch.settings import SiteSettings, SlurmSettings

UNUSUAL = re.compile(r"[^A-Za-z0-9_.-]+")


@dataclass(frozen=True)
class BatchJob:
    """One job for the queue."""

    name: str
    arguments: tuple[str, ...]  # for the script
    comment: str  # whose it is
    elements: int = 0  # of an array; 0: no array
    ranks: int = 0  # of a training; 0: data preparation
    after: tuple[str, ...] = ()  # "afterok:JOB" or "afterany:JOB", all of them
    held: bool = False
    script: str = ""  # beside the others; "": that of its kind


def job_name(run: str, name: str) -> str:
    """
    >>> job_name("my run", "clean-clean")
    'my-run.clean-clean'
    """
    return f"{UNUSUAL.sub('-', run).strip('-') or 'run'}.{name}"


def nodes_of(ranks: int, settings: SlurmSettings) -> tuple[int, int]:
    """(nodes, ranks on each) of a training; `ValueError`, a sentence, where they cannot be shared evenly."""
    each = min(ranks, settings.ranks_per_node or settings.gpus_per_node or ranks)
    if ranks % each:
        raise ValueError(
            f"launch.ranks = {ranks} cannot be shared by nodes with {each} ranks each; make it a multiple of "
            f"{'slurm.ranks_per_node' if settings.ranks_per_node else 'slurm.gpus_per_node'}"
        )
    return ranks // each, each


def sbatch_argv(job: BatchJob, settings: SlurmSettings, *, scripts: Path, logs: Path, python: str) -> list[str]:
    """The command that queues a job and prints its id. `scripts` holds cpu.sbatch and gpu.sbatch, `logs` gets the log.

    sbatch works in the directory above `scripts`, where the packages are.
    """
    pattern = "%x_%A_%a.log" if job.elements else "%x_%j.log"
    site = settings.train if job.ranks else settings.data
    argv = ["sbatch", "--parsable", "--requeue", "--export=ALL", "--kill-on-invalid-dep=yes", "--open-mode=append"]
    argv += [f"--job-name={job.name}", f"--comment={job.comment}", f"--chdir={scripts.parent}"]
    argv += [f"--output={str(logs).replace('%', '%%')}/{pattern}"]
    argv += [f"--signal=B:{settings.warning_signal}@{settings.warning_seconds}"]
    if job.ranks:
        nodes, each = nodes_of(job.ranks, settings)
        argv += [f"--nodes={nodes}", f"--ntasks-per-node={each}", f"--cpus-per-task={settings.cpus_per_rank}"]
        if settings.gpus_per_node:
            kind = f"{settings.gpu_type}:" if settings.gpu_type else ""
            argv += [f"--gres=gpu:{kind}{min(each, settings.gpus_per_node)}"]
    else:
        argv += ["--nodes=1", "--ntasks=1", f"--cpus-per-task={settings.cpus}"]
    if job.elements:
        limit = f"%{settings.elements_at_once}" if settings.elements_at_once else ""
        argv += [f"--array=0-{job.elements - 1}{limit}"]
    if job.after:
        argv += [f"--dependency={','.join(job.after)}"]
    if job.held:
        argv += ["--hold"]
    argv += _asked(settings, site)
    return [
        *argv,
        str(scripts / (job.script or ("gpu.sbatch" if job.ranks else "cpu.sbatch"))),
        *script_options(settings, python),
        *job.arguments,
    ]


def _asked(common: SiteSettings, site: SiteSettings) -> list[str]:
    """What one kind of job asks of the site, else what all do."""
    names = ("partition", "account", "qos", "constraint", "time", "memory")
    chosen = ((name, getattr(site, name) or getattr(common, name)) for name in names)
    found = [f"--{name.replace('memory', 'mem')}={value}" for name, value in chosen if value]
    return [*found, *common.options, *site.options]


def script_options(settings: SlurmSettings, python: str) -> list[str]:
    """The site's settings as slurm/site.sh reads them, in the order that it heeds them."""
    variables = dict(settings.environment)
    if settings.interface:
        variables = {"NCCL_SOCKET_IFNAME": settings.interface, "GLOO_SOCKET_IFNAME": settings.interface} | variables
    options = [("--module", module) for module in settings.modules] + [("--setup", line) for line in settings.setup]
    options += [("--env", f"{name}={value}") for name, value in variables.items()]
    options += [("--python", settings.python or python)] + [("--container", word) for word in settings.container]
    options += [("--restarts", str(settings.max_restarts))] + ([] if settings.requeue else [("--leave", "yes")])
    options += [("--srun", "--gpus-per-task=1")] if settings.gpus_per_node and settings.gpu_binding == "one" else []
    return [word for option in options for word in option]
