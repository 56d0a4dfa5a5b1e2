"""`text2lm stage`: some of a stage's tasks, or its seal, as a batch job or a person runs them."""

from __future__ import annotations

import itertools

from data_prep.files import UserError
from pipeline.freshness import why_stale
from pipeline.runner import DONE, Runner
from pipeline.stage import Context, Step, begin_beside_others, is_done, need_done, run_task, seal
from pipeline.stages import stage_named


def run_by_hand(runner: Runner, name: str, step_name: str | None, tasks: range | None) -> int:
    """The tasks of one step (those without a valid receipt), or the seal (`tasks` None).

    Takes no lock, since many batch jobs work on one stage; a parallel program takes it. The shard plan is written if
    there is none; one that was made for something else is refused, since other jobs may be at work on it.
    """
    context = runner.context(stage_named(name))
    if not runner.run.plan(name).exists():
        begin_beside_others(context)
    if context.plan().key != context.key():
        raise UserError(
            f"the shard plan of {name} was made for other settings or inputs; "
            f"bring it up to date: text2lm run CONFIG --run {runner.run.root} --until {name}"
        )
    if why_stale(context) is None:
        runner.display.say(f"{name} is sealed and fresh: nothing to do")
        return DONE
    if tasks is None:
        seal(context)
        return DONE
    step = context.stage.step(step_name)
    if tasks.stop > context.tasks(step):
        raise UserError(f"{name}/{step.name} has the tasks 0 to {context.tasks(step) - 1}, got {tasks.stop - 1}")
    need_steps_before(context, step)
    if step.program:
        with runner.run.lock():
            return runner.train(context, step)
    for task in tasks:
        if not is_done(context, step, task):
            run_task(context, step, task)
    return DONE


def need_steps_before(context: Context, step: Step) -> None:
    """`UserError` unless every task of the steps before is done."""
    for before in itertools.takewhile(lambda other: other is not step, context.stage.steps):
        need_done(context, before)
