"""Whether a `[slurm]` table fits a site, and the table that would.

What Slurm would refuse, or leave in the queue for ever, is said before anything is queued.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import replace

from launch.sbatch import nodes_of
from launch.settings import SiteSettings, SlurmSettings
from launch.slurm_site import Partition, Site, mebibytes, seconds_of
from pipeline.chain import chain
from pipeline.stages import STAGES

DEFAULT_TIME = "1-00:00:00"  # that slurm/*.sbatch ask for


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
    tables = [_fit_to(place, settings, own) for place, own in ((data, settings.data), (train, settings.train))]
    same = {name: value for name, value in vars(tables[0]).items() if value == getattr(tables[1], name)}
    common = {name: same.get(name, "") for name in ("partition", "time", "memory")}
    of_data, of_train = (_without(table, same) for table in tables)
    gpu_type = settings.gpu_type if train.most("gpus", settings.gpu_type) else ""
    gpus = min(settings.gpus_per_node or train.most("gpus", gpu_type), train.most("gpus", gpu_type))
    shortest = min(seconds_of(table.time or DEFAULT_TIME) for table in tables)
    fitted = replace(
        settings,
        **common,
        data=of_data,
        train=of_train,
        elements=min(settings.elements, int(site.config.get("MaxArraySize", settings.elements))),
        cpus=min(settings.cpus, data.most("cpus")),
        gpus_per_node=gpus,
        gpu_type=gpu_type,
        cpus_per_rank=max(1, min(settings.cpus_per_rank, train.most("cpus") // (settings.ranks_per_node or gpus or 1))),
        warning_seconds=int(min(settings.warning_seconds, shortest // 2)),
    )
    while fitted.elements > 1 and any("lower slurm.elements" in misfit for misfit in misfits(fitted, 1, site)):
        fitted = replace(fitted, elements=fitted.elements // 2)
    return fitted


def _without(table: SiteSettings, same: Collection[str]) -> SiteSettings:
    """Less what the table above says already."""
    kept = {name: "" if name in same else getattr(table, name) for name in ("partition", "time", "memory")}
    return replace(table, partition=kept["partition"], time=kept["time"], memory=kept["memory"])


def _fit_to(place: Partition, common: SlurmSettings, own: SiteSettings) -> SiteSettings:
    """What jobs of one kind ask for, in a partition and within its limits."""
    time, memory = own.time or common.time, own.memory or common.memory
    if seconds_of(time or DEFAULT_TIME) > seconds_of(place.limit):
        time = place.limit
    if memory and mebibytes(memory) > place.most("memory_mb"):
        memory = f"{place.most('memory_mb')}M"
    return replace(own, partition=place.name, time=time, memory=memory)


def _worth_for_training(place: Partition) -> tuple[int, bool]:
    return sum(kind.count * kind.most_gpus("") for kind in place.kinds), place.default


def _worth_for_data(place: Partition) -> tuple[bool, bool, int]:
    """CPU nodes before those whose GPUs would stand idle; among them the site's own choice."""
    return not place.most("gpus"), place.default, sum(kind.count * kind.cpus for kind in place.kinds)
