"""A training's checkpoints, saved and resumed by all ranks together: rank 0 decides, everyone follows."""

from __future__ import annotations

from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path

from data_prep.files import UserError
from pretrain.checkpoint import CheckpointStore
from pretrain.engine import Engine
from pretrain.settings import TrainingJob

NONE, REFUSED = -1, -2  # rank 0's answers to "which step do we resume from?" that are not a step


class Saving:
    """The checkpoints in `directory`. `say` tells people, on rank 0."""

    def __init__(self, job: TrainingJob, engine: Engine, directory: Path, say: Callable[[str], None]) -> None:
        self.job = job
        self.engine = engine
        self.store = CheckpointStore(directory, key=job.key, keep_last=job.checkpoint.keep_last)
        self.say = say

    def resume(self) -> int:
        """Load the newest good checkpoint; returns the steps behind it, 0 when there is none yet."""
        refusal: UserError | None = None
        step = NONE
        if self.engine.rank == 0:
            try:
                checkpoint = self.store.newest_good(self.say, set_aside=True)
                step = NONE if checkpoint is None else checkpoint.step
            except UserError as error:
                refusal, step = error, REFUSED
        step = self.engine.from_rank_0(step)
        if step == REFUSED:
            raise refusal or SystemExit(2)  # one rank says why
        if step == NONE:
            return 0
        manifest = self.store.manifest(step)
        self.engine.load(self.store.step_dir(step), step, manifest["engine"])
        late = [skip for skip in self.job.train.skip_steps if skip <= step and skip not in manifest["skip_steps"]]
        if late:
            self.say(f"train.skip_steps names {late}, which it had trained on before: they stay in it")
        self.say(f"resumed from {self.store.step_dir(step).name}")
        return step

    def save(self, step: int, wandb_run_id: str | None) -> None:
        """Publish a checkpoint after `step` steps, once every rank has its part on disk."""
        job, engine, store = self.job, self.engine, self.store
        if engine.rank == 0:
            store.begin(step)
        engine.barrier()
        path = store.rank_file(step, engine.rank)
        engine.save(path)
        store.record(path)
        engine.barrier()
        if engine.rank == 0:
            facts = {
                "tokens": job.train.tokens_after(step),
                "zero_stage": job.train.zero_stage,
                "precision": job.train.precision,
                "engine": engine.state(),
                "skip_steps": job.train.skip_steps,
                "wandb_run_id": wandb_run_id,
                "versions": {name: version(name) for name in ("torch", "deepspeed")},
            }
            store.publish(step, facts, engine.ranks)
            self.say(f"saved {store.step_dir(step).name}")
