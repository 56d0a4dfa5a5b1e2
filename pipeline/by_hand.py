"""`text2lm stage`: some of a stage's work, as a batch job or a person does it."""

from __future__ import annotations

import itertools

from data_prep.files import UserError, read_json
from launch.job import JobError
from pipeline.freshness import why_stale
from pipeline.runner import DONE, Runner, place
from pipeline.sealing import clear, need_done, need_parts, seal
from pipeline.shares import Share, complete, share_out, work_on
from pipeline.stage import Context, Step, begin_beside_others, is_done, run_task
from pipeline.stages import STAGES, stage_named


def do_tasks(runner: Runner, name: str, step_name: str | None, tasks: range) -> int:
    """The tasks of one step, those without a valid receipt. A parallel program takes the run's lock."""
    context = _opened(runner, name)
    if context is None:
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


def do_share(runner: Runner, name: str, step_name: str | None, share: Share, *, workers: int | None) -> int:
    """A share of a step's tasks and what others leave of theirs, by worker processes; None: by this one."""
    context = _opened(runner, name)
    if context is None:
        return DONE
    step = context.stage.step(step_name)
    if not step.tasks:
        raise UserError(f"{name}/{step.name} is one task and cannot be shared; run it with --task 0 or --gather")
    need_steps_before(context, step)
    if workers is None:
        return work_on(context, step, share)
    return runner.until_paused(lambda: share_out(runner, context, step, share, workers))


def do_seal(runner: Runner, name: str) -> int:
    context = _opened(runner, name)
    if context is not None:
        seal(context)
        clear(context, STAGES)
    return DONE


def gather(runner: Runner, name: str, step_name: str | None, until: str) -> int:
    """Do what stands between two pieces of work that jobs of their own do: all behind that step to the next such one,
    or to the end of `until`. Without a step: from the beginning of the stage. What the step should have done must be
    there."""
    first = place(name)
    after = stage_named(name).step(step_name) if step_name else None

    def walk() -> None:
        for stage in STAGES[first : place(until) + 1]:
            context = runner.context(stage)
            if why_stale(context, STAGES) is None:
                clear(context, STAGES)  # a kill can come after the seal
                continue
            if after and stage.name == name:
                _complete(runner, context, after)
            if not runner.do(context):
                return

    runner.hands_over = True
    with runner.run.lock():
        return runner.until_paused(walk)


def need_steps_before(context: Context, step: Step) -> None:
    """`UserError` unless every task of the steps before is done."""
    for before in itertools.takewhile(lambda other: other is not step, context.stage.steps):
        need_done(context, before)


def _opened(runner: Runner, name: str) -> Context | None:
    """The stage with its shard plan; None when it is sealed and fresh.

    Takes no lock, since many batch jobs work on one stage. The plan is written if there is none; one that was made for
    something else is refused, since other jobs may be at work on it.
    """
    context = runner.context(stage_named(name))
    if not runner.run.plan(name).exists():
        begin_beside_others(context)
    if context.plan().key != context.key():
        raise UserError(
            f"the shard plan of {name} was made for other settings or inputs; "
            f"bring it up to date: text2lm run CONFIG --run {runner.run.root} --until {name}"
        )
    if why_stale(context, STAGES) is None:
        runner.display.say(f"{name} is sealed and fresh: nothing to do")
        return None
    need_parts(context)
    return context


def _complete(runner: Runner, context: Context, step: Step) -> None:
    if not runner.run.plan(context.stage.name).exists():
        raise UserError(
            f"{context.stage.name} was not begun; run: text2lm stage {context.stage.name} --gather --run DIR"
        )
    if step.tasks:
        complete(runner, context, step)
    elif step.program and not is_done(context, step, 0):
        outcome = read_json(runner.run.outcome) if runner.run.outcome.exists() else {"outcome": "not begun"}
        if outcome["outcome"] != "done":
            raise JobError(f"{context.stage.name} is {outcome['outcome']}, and not trained to the end")
        run_task(context, step, 0)
