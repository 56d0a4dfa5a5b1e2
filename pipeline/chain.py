"""The whole road as a chain of batch jobs, from the table of stages alone.

A step of many tasks is shared by the elements of an array, whose number does not depend on the data: the chain is
queued before these are known. Between two arrays one job gathers: it seals, does the steps that are one task, and
plans what follows.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from pipeline.stage import Stage

Kind = Literal["array", "gather", "training"]


@dataclass(frozen=True)
class Link:
    """One job. It waits for the one before it: an array's gather for its end, whatever became of it."""

    name: str
    kind: Kind
    arguments: tuple[str, ...]  # of `text2lm`; of a training none


def chain(stages: Sequence[Stage]) -> list[Link]:
    """The jobs that bring these stages up to date, in order."""
    until = ("--until", stages[-1].name)
    links = [Link(f"{stages[0].name}-begin", "gather", ("stage", stages[0].name, "--gather", *until))]
    for stage in stages:
        for step in stage.steps:
            where, name = f"{stage.name}/{step.name}", f"{stage.name}-{step.name}"
            if step.program:
                links.append(Link(name, "training", ()))
            elif step.tasks:
                links.append(Link(name, "array", ("stage", where)))
            else:
                continue
            links.append(Link(f"{name}-gather", "gather", ("stage", where, "--gather", *until)))
    return links
