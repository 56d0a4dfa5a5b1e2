"""The process of one rank: `python -m pretrain.worker --run RUN`.

Rank 0 logs plain lines to standard output. Exit code 0: done or paused, RUN/pretrain/outcome.json says which; 2: an
impossible request, in one line on standard error; 1: anything else, with a traceback.
"""

from __future__ import annotations

import argparse
import logging
import os
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from data_prep.files import UserError, read_record
from pretrain.checks import precision_problems
from pretrain.settings import TrainingJob
from pretrain.stop import StopRequest
from pretrain.watchdog import Watchdog, log_line

if TYPE_CHECKING:
    from pretrain.loop import Loop


class RankVariables(NamedTuple):
    """Who this process is among the ranks."""

    rank: int
    local_rank: int  # among those of this machine: the number of its GPU
    world_size: int
    local_world_size: int


def rank_variables(environ: Mapping[str, str]) -> RankVariables:
    """From torchrun's variables, else from srun's, else a single rank. Several need MASTER_ADDR and MASTER_PORT."""
    if "RANK" in environ:
        names = ("RANK", "LOCAL_RANK", "WORLD_SIZE", "LOCAL_WORLD_SIZE")
    elif "SLURM_PROCID" in environ:
        names = ("SLURM_PROCID", "SLURM_LOCALID", "SLURM_NTASKS", "SLURM_NTASKS_PER_NODE")
    else:
        return RankVariables(0, 0, 1, 1)
    missing = [name for name in names[:3] if name not in environ]
    world_size = int(environ.get(names[2], "1"))
    if world_size > 1:
        missing += [name for name in ("MASTER_ADDR", "MASTER_PORT") if name not in environ]
    if missing:
        raise UserError(f"{names[0]} is set but {', '.join(missing)} is not; start ranks with text2lm run or srun")
    rank, local_rank = int(environ[names[0]]), int(environ[names[1]])
    if names[0] == "SLURM_PROCID" and environ.get("CUDA_VISIBLE_DEVICES", ",").isdecimal():
        local_rank = 0  # srun --gpus-per-task=1: the rank sees its own GPU and no other
    return RankVariables(rank, local_rank, world_size, int(environ.get(names[3], str(world_size))))


def work(run: Path, ranks: RankVariables, stop_request: StopRequest) -> None:
    """Train as one rank. torch and DeepSpeed are imported here: a signal may come while they are (3-10 s)."""
    directory = run / "pretrain"
    if ranks.rank == 0:
        (directory / "outcome.json").unlink(missing_ok=True)
    if not (directory / "started.json").exists():
        raise UserError(f"{directory / 'started.json'} is missing; start the training with text2lm run CONFIG")
    job = read_record(directory / "started.json", TrainingJob.from_json)
    if ranks.world_size != job.ranks:
        raise UserError(f"{ranks.world_size} ranks were started, the job wants {job.ranks}; set launch.ranks to match")

    stop_request.keep(job.checkpoint.stop_signals)
    watchdog = Watchdog(
        directory / f"stacks-rank-{ranks.rank:05d}.txt",
        factor=job.train.slow_step_factor,
        limit_seconds=60 * job.train.hang_minutes,
        say=log_line,
    )
    with watchdog.watch("starting"):
        loop = _start(run, job, ranks, stop_request, watchdog)
    loop.run()

    from pretrain.engine import disconnect

    disconnect()
    stop_request.obeyed()


def _start(run: Path, job: TrainingJob, ranks: RankVariables, stop_request: StopRequest, watchdog: Watchdog) -> Loop:
    logging.disable(logging.WARNING)  # DeepSpeed warns that it found no accelerator, which is no news on a CPU
    import torch

    from pretrain.engine import Engine, connect
    from pretrain.export import initial_weights
    from pretrain.loop import Loop
    from pretrain.model import build_model

    logging.disable(logging.NOTSET)
    if not torch.cuda.is_available() and "OMP_NUM_THREADS" not in os.environ:
        torch.set_num_threads(max(1, len(os.sched_getaffinity(0)) // ranks.local_world_size))
    os.environ["LOCAL_RANK"] = str(ranks.local_rank)  # DeepSpeed looks for it there, which srun does not set
    device = connect(
        rank=ranks.rank,
        local_rank=ranks.local_rank,
        world_size=ranks.world_size,
        timeout_minutes=job.train.hang_minutes + 1,  # the watchdog, which knows what it is that hangs, comes first
    )
    capability = torch.cuda.get_device_capability(device) if device.type == "cuda" else None
    for problem in precision_problems(job.train.precision, capability):
        raise UserError(problem)
    model = build_model(job)
    if job.train.init_from and not any((run / "pretrain/checkpoints").glob("step-*/manifest.json")):
        model.load_state_dict(initial_weights(Path(job.train.init_from), job.model, job.vocab_size))
    return Loop(job, Engine(model, job, device), run, stop_request, watchdog)


def main(argv: list[str]) -> int:
    stop_request = StopRequest()
    stop_request.install()
    parser = argparse.ArgumentParser(prog="python -m pretrain.worker", description="Train as one rank.")
    parser.add_argument("--run", type=Path, required=True, help="the run's directory")
    arguments = parser.parse_args(argv)
    try:
        work(arguments.run, rank_variables(os.environ), stop_request)
    except UserError as error:
        print(f"text2lm: {' '.join(str(error).split())}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
