"""`text2lm doctor --on slurm`: what a Slurm site has and what is missing there, before anything is queued for long."""

from __future__ import annotations

import getpass
import os
from dataclasses import fields
from pathlib import Path

import tomli_w

from data_prep.files import UserError
from launch.settings import SlurmSettings
from launch.slurm import SlurmRefused
from launch.slurm_site import ask_site, said_by, site_lines
from pipeline.config import RunConfig, plain
from pipeline.node_probe import look_at_nodes
from pipeline.plan import plan, readable
from pipeline.progress import ProgressDisplay
from pipeline.run_dir import RunDir
from pipeline.slurm_fit import fit, jobs_of_a_run, misfits

LOOKED_AT_NODES = 2  # where no config says how many


def examine_site(
    config: RunConfig | None, run: RunDir, display: ProgressDisplay, minutes: float
) -> tuple[list[str], list[str]]:
    """Says what a Slurm site has; (problems, the lines of a `[slurm]` table for it).

    `config`: what is to run; None: whatever the site is good for. A job that looks at compute nodes may wait so many
    minutes in the queue.
    """
    try:
        site = ask_site()
        lines = site_lines(site)
    except SlurmRefused as refused:
        return [f"{refused}; type this where Slurm's commands work"], []
    proposed = fit(config.slurm if config else SlurmSettings(), site)
    place = site.partition(proposed.train.partition or proposed.partition)
    nodes = min(LOOKED_AT_NODES, place.nodes) if place else 1
    settings = config.slurm if config else proposed
    ranks = config.launch.ranks if config else nodes * (settings.gpus_per_node or 1)

    root = existing(run.root.resolve())
    facts, problems = disk_findings(config, run, root)
    jobs = f"a run puts {jobs_of_a_run(settings):,} jobs into the queue, every element of an array counted"
    for line in [*lines, jobs, *facts]:
        display.say(line)
    if unfit := misfits(settings, ranks, site):
        display.say("no job looks at the compute nodes before the [slurm] table fits the site")
    else:
        facts, more = look_at_nodes(settings, ranks, root, display, minutes)
        problems += more
        for line in facts:
            display.say(line)
    return unfit + problems, toml_lines(proposed)


def toml_lines(settings: SlurmSettings) -> list[str]:
    """The `[slurm]` table: what differs from the defaults."""
    ours, defaults = plain(settings), plain(SlurmSettings())
    table = {}
    for item in fields(settings):
        value, default = ours[item.name], defaults[item.name]
        if item.name in ("data", "train"):
            value = {name: inner for name, inner in value.items() if inner != default[name]}
            default = {}
        if value != default:
            table[item.name] = value
    return tomli_w.dumps({"slurm": table}).splitlines()


def disk_findings(config: RunConfig | None, run: RunDir, root: Path) -> tuple[list[str], list[str]]:
    """What is free where the run will be, in bytes and in files, against what `text2lm plan` foretells."""
    status = os.statvfs(root)
    bytes_free = {"free": float(status.f_bavail * status.f_frsize)}
    files_free = {"free": float(status.f_favail)} if status.f_files else {}
    lustre = ("lfs", "quota", "-u", getpass.getuser(), str(root))
    quota = read_quota(said_by("quota", "-w", "-p", "-f", str(root)) or said_by(*lustre) or "")
    for free, left in zip((bytes_free, files_free), quota, strict=True):
        free |= {"left of the quota": max(0.0, left)} if left is not None else {}
    of_bytes = ", ".join(f"{readable(most)} {what}" for what, most in bytes_free.items())
    of_files = ", ".join(f"{most:,.0f} files {what}" for what, most in files_free.items())
    known = "" if any(left is not None for left in quota) else "; a quota is not known"
    facts = [f"at {root}: {of_bytes}; {of_files or 'no limit of files is known'}{known}"]
    if config is None:
        return facts, []
    try:
        foretold = plan(config, run)
    except UserError as error:  # sources that are not there, for example
        return facts, [str(error)]
    need_bytes, need_files = foretold["disk_bytes"], foretold["disk_files"]
    facts.append(f"the run takes at most about {readable(need_bytes)} in {need_files:,} files at once (text2lm plan)")
    short = [f"{readable(most)} are {what}" for what, most in bytes_free.items() if most < need_bytes]
    short += [f"{most:,.0f} files are {what}" for what, most in files_free.items() if most < need_files]
    need = f"the run takes about {readable(need_bytes)} in {need_files:,} files"
    return facts, [f"{need}, {what} at {root}" for what in short]


def read_quota(text: str) -> tuple[float | None, float | None]:
    """(bytes, files) that quotas leave, from `quota -w -p` or `lfs quota -u`; None where there is no limit.

    Nine columns a file system: its name, KiB used, soft and hard limit, grace; files used, soft and hard limit, grace.

    >>> read_quota("Filesystem blocks quota limit grace files quota limit grace /dev/sda1 20* 10 100 0 7 0 0 0")
    (81920.0, None)
    """
    cells = text.rpartition("grace")[2].split()
    left_bytes, left_files = [], []
    for start in range(0, len(cells) - 8, 9):
        numbers = [int(cell.strip("*")) if cell.strip("*").isdecimal() else 0 for cell in cells[start + 1 : start + 9]]
        used, _, limit, _, files, _, most, _ = numbers
        left_bytes += [1024.0 * (limit - used)] if limit else []
        left_files += [float(most - files)] if most else []
    return min(left_bytes, default=None), min(left_files, default=None)


def existing(path: Path) -> Path:
    """The path, or the nearest directory above it that is there: on the file system where it will be."""
    while not path.is_dir():
        path = path.parent
    return path
