"""What a Slurm site has, asked from where a user logs in: partitions, nodes, limits. And whether a `[slurm]` table fits it.

Only what is in Slurm itself must answer; accounting and quotas are asked where they are to be had, and said not to be
known elsewhere.
"""

from __future__ import annotations

import getpass
import math
import re
import subprocess
from dataclasses import dataclass, field, replace

from launch.sbatch import nodes_of
from launch.settings import SiteSettings, SlurmSettings
from launch.slurm import ask, read_facts
from pipeline.chain import chain
from pipeline.stages import STAGES

DEFAULT_TIME = "1-00:00:00"  # that slurm/*.sbatch ask for
PATIENCE_SECONDS = 20.0  # for a command that is not Slurm's own
UNITS = {"K": 2**-10, "M": 1.0, "G": 2.0**10, "T": 2.0**20}  # of memory, in MiB


@dataclass(frozen=True)
class NodeKind:
    """Nodes of a partition that are alike."""

    count: int
    cpus: int
    memory_mb: int
    gpus: dict[str, int]  # on each, by type; "" where the site names none


@dataclass
class Partition:
    """Nodes that jobs are queued for together."""

    name: str
    default: bool
    up: bool
    limit: str  # of time, in Slurm's words
    kinds: list[NodeKind] = field(default_factory=list)
    idle: int = 0

    @property
    def nodes(self) -> int:
        return sum(kind.count for kind in self.kinds)

    def most(self, what: str, gpu_type: str = "") -> int:
        """The most `cpus`, `memory_mb` or `gpus` (of a type, where one is given) that a node here has."""
        if what == "gpus":
            return max((_gpus(kind, gpu_type) for kind in self.kinds), default=0)
        return max((getattr(kind, what) for kind in self.kinds), default=0)


@dataclass(frozen=True)
class Site:
    partitions: list[Partition]
    config: dict[str, str]  # `scontrol show config`
    accounts: dict[
        str, int
    ]  # how many jobs this user may have in the queue, by account; those without a limit left out
    qos: dict[str, int]  # the same by quality of service
    accounting: bool  # whether anybody answered that

    def partition(self, name: str) -> Partition | None:
        """The one of that name; "" is the site's default."""
        return next((one for one in self.partitions if one.name == name or (not name and one.default)), None)


def ask_site() -> Site:
    """`SlurmRefused` where there is no Slurm."""
    partitions = read_partitions(ask("sinfo", "--noheader", "--exact", "--format=%P|%a|%l|%F|%c|%m|%G"))
    config = read_config(ask("scontrol", "show", "config"))
    show = ("sacctmgr", "--noheader", "--parsable2", "show")
    accounts = said_by(*show, "assoc", f"user={getpass.getuser()}", "format=Account,MaxSubmit")
    qos = said_by(*show, "qos", "format=Name,MaxSubmitPU") if accounts is not None else None
    return Site(partitions, config, read_limits(accounts or ""), read_limits(qos or ""), accounts is not None)


def said_by(*command: str) -> str | None:
    """A command's output; None when it is not there, refuses or takes long."""
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE_SECONDS)
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout if done.returncode == 0 else None


def read_partitions(text: str) -> list[Partition]:
    """The lines of sinfo, one a partition and kind of node, in the format of `ask_site`.

    >>> read_partitions("gpu*|up|2-00:00:00|1/6/1/8|64|512000|gpu:a100:4(S:0-1)")[0].kinds
    [NodeKind(count=8, cpus=64, memory_mb=512000, gpus={'a100': 4})]
    """
    found: dict[str, Partition] = {}
    for line in text.splitlines():
        name, available, limit, counts, cpus, memory, gres = line.split("|")
        plain = name.removesuffix("*")
        here = found.setdefault(plain, Partition(plain, name.endswith("*"), available == "up", limit))
        _, idle, _, total = (int(count) for count in counts.split("/"))
        here.idle += idle
        here.kinds.append(NodeKind(total, int(cpus), int(memory), read_gpus(gres)))
    return list(found.values())


def read_gpus(gres: str) -> dict[str, int]:
    """
    >>> read_gpus("gpu:a100:4(S:0-1),gpu:v100:2,craynetwork:4"), read_gpus("gpu:2"), read_gpus("(null)")
    ({'a100': 4, 'v100': 2}, {'': 2}, {})
    """
    return {kind: int(count) for kind, count in re.findall(r"\bgpu:(?:([^:,()]+):)?(\d+)", gres)}


def read_config(text: str) -> dict[str, str]:
    """
    >>> read_config("Configuration data as of now\\nKillWait                = 30 sec")
    {'KillWait': '30 sec'}
    """
    return {name: value for name, value in re.findall(r"^(\w+)\s*= (.*?)\s*$", text, re.MULTILINE)}


def read_limits(text: str) -> dict[str, int]:
    """`NAME|LIMIT` a line, as sacctmgr prints it; one that is listed twice (for two partitions) has the larger.

    >>> read_limits("physics|500\\nphysics|100\\nchemistry|")
    {'physics': 500}
    """
    found: dict[str, int] = {}
    for line in text.splitlines():
        name, _, limit = line.partition("|")
        if limit.strip().isdecimal():
            found[name] = max(int(limit), found.get(name, 0))
    return found


def seconds_of(time: str) -> float:
    """A time limit in Slurm's words.

    >>> seconds_of("90"), seconds_of("1:30"), seconds_of("1-12"), seconds_of("2-00:00:30"), seconds_of("infinite")
    (5400, 90, 129600, 172830, inf)
    """
    days, dash, rest = time.rpartition("-")
    parts = rest.split(":")
    if not all(part.isdecimal() for part in parts):
        return math.inf  # infinite, UNLIMITED
    hours, minutes, seconds = [int(part) for part in parts] + [0] * (3 - len(parts))
    if not dash and len(parts) < 3:  # minutes come first, then
        hours, minutes, seconds = 0, hours, minutes
    return int(days or 0) * 86400 + hours * 3600 + minutes * 60 + seconds


def mebibytes(memory: str) -> float:
    """
    >>> mebibytes("64G"), mebibytes("2000")
    (65536.0, 2000.0)
    """
    return float(memory.rstrip("KMGT")) * UNITS.get(memory[-1], 1.0)


def jobs_of_a_run(settings: SlurmSettings) -> int:
    """That a run from the first stage puts into the queue; every element of an array counts."""
    return sum(settings.elements if link.kind == "array" else 1 for link in chain(STAGES))


def misfits(settings: SlurmSettings, ranks: int, site: Site) -> list[str]:
    """Sentences about what this site would refuse, or never start."""
    found = []
    for table, own in (("slurm.data", settings.data), ("slurm.train", settings.train)):
        found += _partition_misfits(settings, table, own, ranks, site)
    largest = int(site.config.get("MaxArraySize", settings.elements))
    if settings.elements > largest:
        found.append(f"slurm.elements = {settings.elements}: the site's arrays have at most {largest} elements")
    jobs = jobs_of_a_run(settings)
    limits = {"the site": int(site.config.get("MaxJobCount", jobs))}
    accounts = {name: most for name, most in site.accounts.items() if settings.account in ("", name)}
    if accounts:
        best = max(accounts, key=lambda name: accounts[name])
        limits[f"account {best}"] = accounts[best]
    limits |= {f"qos {name}": most for name, most in site.qos.items() if name == settings.qos}
    for whose, most in limits.items():
        if jobs > most:
            found.append(f"a run puts {jobs} jobs into the queue, {whose} allows {most}; lower slurm.elements")
    return list(dict.fromkeys(found))


def _partition_misfits(settings: SlurmSettings, table: str, own: SiteSettings, ranks: int, site: Site) -> list[str]:
    """What the jobs of one kind ask for, against the partition that they go to."""
    name = own.partition or settings.partition
    place = site.partition(name)
    there = ", ".join(one.name for one in site.partitions)
    if place is None:
        return [f"partition {name!r} is unknown, there are {there}" if name else f"set slurm.partition, one of {there}"]
    found = [] if place.up else [f"partition {place.name} is down"]
    time, memory = own.time or settings.time or DEFAULT_TIME, own.memory or settings.memory
    if seconds_of(time) > seconds_of(place.limit):
        found.append(f"{table}.time: {time} is above the limit of partition {place.name}, {place.limit}")
    if settings.warning_seconds >= seconds_of(time):
        found.append(f"slurm.warning_seconds = {settings.warning_seconds} is no less than {table}.time, {time}")
    if memory and mebibytes(memory) > place.most("memory_mb"):
        found.append(f"{table}.memory: {memory} is more than a node of {place.name} has, {place.most('memory_mb')} MiB")
    nodes, each, asked, key = 1, 1, settings.cpus, "slurm.cpus"
    if own is settings.train:
        try:
            nodes, each = nodes_of(ranks, settings)
        except ValueError as error:
            return [*found, str(error)]
        asked, key = each * settings.cpus_per_rank, f"slurm.cpus_per_rank for {each} ranks on a node"
        gpus = place.most("gpus", settings.gpu_type)
        if settings.gpus_per_node > gpus:
            kind = f" {settings.gpu_type}" if settings.gpu_type else ""
            found.append(
                f"slurm.gpus_per_node = {settings.gpus_per_node}: a node of {place.name} has {gpus}{kind} GPUs"
            )
    if asked > place.most("cpus"):
        found.append(f"{key}: {asked} CPUs are more than a node of {place.name} has, {place.most('cpus')}")
    if nodes > place.nodes:
        found.append(f"launch.ranks = {ranks} take {nodes} nodes, partition {place.name} has {place.nodes}")
    return found


def fit(settings: SlurmSettings, site: Site) -> SlurmSettings:
    """The settings, filled in and lowered to what the site has: the `[slurm]` table that doctor proposes."""
    up = [one for one in site.partitions if one.up and one.nodes]
    if not up:
        return settings
    train = site.partition(settings.train.partition or settings.partition or max(up, key=_worth_for_training).name)
    data = site.partition(settings.data.partition or settings.partition or max(up, key=_worth_for_data).name)
    train = train if train in up and train else max(up, key=_worth_for_training)
    data = data if data in up and data else max(up, key=_worth_for_data)
    gpu_type = settings.gpu_type if train.most("gpus", settings.gpu_type) else ""
    gpus = min(settings.gpus_per_node or train.most("gpus", gpu_type), train.most("gpus", gpu_type))
    ranks = settings.ranks_per_node or gpus or 1
    elements = min(settings.elements, int(site.config.get("MaxArraySize", settings.elements)))
    fitted = replace(
        settings,
        partition=train.name if train is data else "",
        time="",
        memory="",
        data=_fit_to(data, settings, settings.data, shared=train is data),
        train=_fit_to(train, settings, settings.train, shared=train is data),
        elements=elements,
        cpus=min(settings.cpus, data.most("cpus")),
        gpus_per_node=gpus,
        gpu_type=gpu_type,
        cpus_per_rank=max(1, min(settings.cpus_per_rank, train.most("cpus") // ranks)),
    )
    while fitted.elements > 1 and any("lower slurm.elements" in misfit for misfit in misfits(fitted, 1, site)):
        fitted = replace(fitted, elements=fitted.elements // 2)
    return fitted


def _fit_to(place: Partition, common: SlurmSettings, own: SiteSettings, *, shared: bool) -> SiteSettings:
    """What jobs of one kind ask for, within a partition's limits; `shared`: slurm.partition names it already."""
    time, memory = own.time or common.time, own.memory or common.memory
    if seconds_of(time or DEFAULT_TIME) > seconds_of(place.limit):
        time = place.limit
    if memory and mebibytes(memory) > place.most("memory_mb"):
        memory = f"{place.most('memory_mb')}M"
    return replace(own, partition="" if shared else place.name, time=time, memory=memory)


def _gpus(kind: NodeKind, gpu_type: str) -> int:
    return kind.gpus.get(gpu_type, 0) if gpu_type else max(kind.gpus.values(), default=0)


def _worth_for_training(place: Partition) -> tuple[int, bool]:
    return sum(kind.count * _gpus(kind, "") for kind in place.kinds), place.default


def _worth_for_data(place: Partition) -> tuple[bool, bool, int]:
    """CPU nodes before those whose GPUs would stand idle; among them the site's own choice."""
    return not place.most("gpus"), place.default, sum(kind.count * kind.cpus for kind in place.kinds)


def site_lines(site: Site, settings: SlurmSettings) -> list[str]:
    """The site for people."""
    say = site.config.get
    lines = [
        f"Slurm {say('SLURM_VERSION', '?')}: arrays of at most {int(say('MaxArraySize', '0')):,} elements, "
        f"{int(say('MaxJobCount', '0')):,} jobs in the queue of all users together; preemption "
        f"{say('PreemptMode', '?').lower()} ({say('PreemptType', '?').removeprefix('preempt/')}), KillWait "
        f"{say('KillWait', '?')}; jobs that do not say are {'' if say('JobRequeue') == '1' else 'not '}requeued"
    ]
    for place in site.partitions:
        facts = read_facts(ask("scontrol", "show", "partition", "--oneliner", place.name).partition("\n")[0])
        marks = [word for word, there in (("default", place.default), ("down", not place.up)) if there]
        lines.append(
            f"partition {place.name}{f' ({", ".join(marks)})' if marks else ''}: "
            f"{'; '.join(map(_kind_line, place.kinds))}; {place.idle} idle; time limit {place.limit}; preempted by "
            f"{facts.get('PreemptMode', '?').lower()}, {facts.get('GraceTime', '?')} s of grace"
        )
    lines.append(f"a run puts {jobs_of_a_run(settings):,} jobs into the queue, elements of arrays counted")
    limits = [f"account {name} {most:,}" for name, most in site.accounts.items()]
    limits += [f"qos {name} {most:,}" for name, most in site.qos.items()]
    known = ", ".join(limits) or "none" if site.accounting else "not known (sacctmgr gives no answer)"
    return [*lines, f"jobs that you may have in the queue: {known}"]


def _kind_line(kind: NodeKind) -> str:
    gpus = ", ".join(f"{count} {name} GPUs".replace("  ", " ") for name, count in kind.gpus.items()) or "no GPU"
    return f"{kind.count:,} nodes with {kind.cpus} CPUs, {kind.memory_mb / 1024:.0f} GiB, {gpus}"
