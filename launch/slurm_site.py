"""What a Slurm site has, asked from where a user logs in: partitions, nodes, limits.

Only what is in Slurm itself must answer; accounting and quotas are asked where they are to be had, and said not to be
known elsewhere.
"""

from __future__ import annotations

import getpass
import math
import re
import subprocess
from dataclasses import dataclass, field

from launch.slurm import ask, read_facts

PATIENCE_SECONDS = 20.0  # for a command that is not Slurm's own
UNITS = {"K": 2**-10, "M": 1.0, "G": 2.0**10, "T": 2.0**20}  # of memory, in MiB


@dataclass(frozen=True)
class NodeKind:
    """Nodes of a partition that are alike."""

    count: int
    cpus: int
    memory_mb: int
    gpus: dict[str, int]  # on each, by type; "" where the site names none

    def most_gpus(self, gpu_type: str) -> int:
        """Of that type, or of the one that a node has most of."""
        return self.gpus.get(gpu_type, 0) if gpu_type else max(self.gpus.values(), default=0)


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
            return max((kind.most_gpus(gpu_type) for kind in self.kinds), default=0)
        return max((getattr(kind, what) for kind in self.kinds), default=0)


@dataclass(frozen=True)
class Site:
    partitions: list[Partition]
    config: dict[str, str]  # `scontrol show config`
    accounts: dict[str, int]  # jobs that this user may have in the queue, by account; none: no limit
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
    return dict(re.findall(r"^(\w+)\s*= (.*?)\s*$", text, re.MULTILINE))


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


def site_lines(site: Site) -> list[str]:
    """The site for people."""
    say = site.config.get
    lines = [
        f"Slurm {say('SLURM_VERSION', '?')}: arrays of at most {int(say('MaxArraySize', '0')):,} elements, "
        f"{int(say('MaxJobCount', '0')):,} jobs in the queue of all users together; preemption "
        f"{say('PreemptMode', '?').lower()} ({say('PreemptType', '?').removeprefix('preempt/')}), KillWait "
        f"{say('KillWait', '?')}; jobs that do not say are {'' if say('JobRequeue') == '1' else 'not '}requeued"
    ]
    described = {
        facts.get("PartitionName"): facts
        for facts in map(read_facts, ask("scontrol", "show", "partition", "--oneliner").splitlines())
    }
    for place in site.partitions:
        facts = described.get(place.name, {})
        marks = [word for word, there in ((" (default)", place.default), (" (down)", not place.up)) if there]
        lines.append(
            f"partition {place.name}{''.join(marks)}: {'; '.join(map(_kind_line, place.kinds))}; {place.idle} idle; "
            f"time limit {place.limit}; preemption {facts.get('PreemptMode', '?').lower()}, "
            f"{facts.get('GraceTime', '?')} s of grace"
        )
    limits = [f"account {name} {most:,}" for name, most in site.accounts.items()]
    limits += [f"qos {name} {most:,}" for name, most in site.qos.items()]
    known = ", ".join(limits) or "none" if site.accounting else "not known (sacctmgr gives no answer)"
    return [*lines, f"jobs that you may have in the queue: {known}"]


def _kind_line(kind: NodeKind) -> str:
    gpus = ", ".join(f"{count} {name} GPUs".replace("  ", " ") for name, count in kind.gpus.items()) or "no GPU"
    return f"{kind.count:,} nodes with {kind.cpus} CPUs, {kind.memory_mb / 1024:.0f} GiB, {gpus}"
