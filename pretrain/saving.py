"""A training's checkpoints, saved and resumed by all ranks together.

To save, each rank copies its part (the stall) and writes the copy from a thread of its own while training goes on. The
thread speaks to nobody: at every step the ranks tell each other, in the step's first collective, whether their part
is written, and when all are, rank 0 publishes. To resume, rank 0 chooses, each rank verifies what it reads.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from importlib.metadata import version
from pathlib import Path
from typing import Any, NamedTuple

from data_prep.files import UserError
from pretrain.checkpoint import DIGEST, Checkpoint, CheckpointStore, Entry, file_damage
from pretrain.engine import Engine
from pretrain.fragments import header, overlapping, values
from pretrain.settings import TrainingJob
from pretrain.snapshot import Snapshot, live

NONE, REFUSED = -1, -2  # rank 0's answers to "which step do we resume from?" that are not a step
VERSIONS = ("text2lm", "torch", "deepspeed", "numpy", "safetensors")


class UnderWay(NamedTuple):
    """A save that has begun: the same on every rank, but for the part."""

    step: int
    facts: dict[str, Any]
    part: Future[Entry]  # being written by this rank


class Saving:
    """The checkpoints in `directory`. `say` tells people, on rank 0."""

    def __init__(
        self,
        job: TrainingJob,
        engine: Engine,
        directory: Path,
        say: Callable[[str], None],
        before_publishing: Callable[[], None],
    ) -> None:
        """`before_publishing` is called on rank 0, in another thread, and may raise `OSError`: nothing is published."""
        self.job = job
        self.engine = engine
        self.store = CheckpointStore(directory, job)
        self.say = say
        self.saved = 0  # step of the newest checkpoint that is known to be good, on rank 0
        self._before_publishing = before_publishing
        self._versions = {name: version(name) for name in VERSIONS}
        self._snapshot = Snapshot(values(engine.share())) if job.checkpoint.async_ else None
        self._thread = ThreadPoolExecutor(1, "checkpoint")
        self._under_way: UnderWay | None = None
        self._publishing: Future[None] | None = None  # on rank 0

    # --- resuming

    def resume(self) -> int:
        """Load the newest good checkpoint; returns the steps behind it, 0 when there is none yet."""
        while True:
            refusal: UserError | None = None
            checkpoint: Checkpoint | None = None
            if self.engine.rank == 0:
                try:
                    checkpoint = self.store.newest(self.say)
                except UserError as error:
                    refusal = error
            step = REFUSED if refusal else NONE if checkpoint is None else checkpoint.step
            step = self.engine.from_rank_0(step)
            if step == REFUSED:
                raise refusal or SystemExit(2)  # one rank says why
            if step == NONE:
                return 0
            if self._load(checkpoint or self.store.open(step)):
                self.saved = step
                self.say(f"resumed from {self.store.step_dir(step).name}")
                return step

    def _load(self, checkpoint: Checkpoint) -> bool:
        """Verify what each rank reads, and load it; False when a rank found damage, and rank 0 set it aside."""
        engine, directory, entries = self.engine, checkpoint.path, checkpoint.manifest["files"]
        mine = overlapping(checkpoint.files, engine.pieces())
        bad = [directory / entry["path"] in mine and bool(file_damage(directory, entry)) for entry in entries]
        ranks = engine.sum_over_ranks([float(damaged) for damaged in bad])
        found = next((entry for entry, count in zip(entries, ranks, strict=True) if count), None)
        if found:
            if engine.rank == 0:
                problem = file_damage(directory, found) or f"a rank finds {found['path']} damaged"
                self.store.set_aside(directory, problem, self.say)
            return False
        engine.load(checkpoint.files, checkpoint.manifest["engine"])
        before = checkpoint.manifest["skip_steps"]
        late = [skip for skip in self.job.train.skip_steps if skip <= checkpoint.step and skip not in before]
        if late:
            self.say(f"train.skip_steps names {late}, which it had trained on before: they stay in it")
        return True

    # --- saving

    def start(self, step: int, facts: dict[str, Any]) -> None:
        """Save what there is after `step` steps: when this returns, training may go on. `facts` go into the manifest.

        All ranks together. One save is under way at a time: the one before is waited for.
        """
        self.settle()
        engine, train = self.engine, self.job.train
        share = engine.share()
        facts = {
            "tokens": train.tokens_after(step),
            "samples": self.job.samples_before(step),
            "zero_stage": train.zero_stage,
            "precision": train.precision,
            "engine": engine.state(),
            "skip_steps": train.skip_steps,
            "versions": self._versions,
            **facts,
        }
        views = values(share)
        contents = self._snapshot.take(views) if self._snapshot else live(views)
        parts = (part for some in ([header(share, engine.shapes)], contents) for part in some)
        self._under_way = UnderWay(step, facts, self._thread.submit(self.store.write, step, engine.rank, parts))
        if self._snapshot is None:
            self.settle()

    def written(self) -> bool:
        """Whether this rank has nothing left to write: what the ranks tell each other at every step."""
        return self._under_way is not None and self._under_way.part.done()

    def settle(self) -> None:
        """Wait until all ranks have written what is under way; then publish it, or give it up where one failed.

        All ranks together. The publishing itself is not waited for.
        """
        if not self._under_way:
            return
        (step, facts, part), self._under_way = self._under_way, None
        error, entry = _outcome(part)
        size, digest = (entry["bytes"], bytes.fromhex(entry["digest"].partition(":")[2])) if entry else (0, bytes(16))
        rows = self.engine.gather([error, size, *digest])
        failed = {rank: row[0] for rank, row in enumerate(rows) if row[0]}
        if failed:
            if self.engine.rank == 0:
                self._give_up(step, f"{os.strerror(max(failed.values()))} (ranks {', '.join(map(str, failed))})")
            self.engine.barrier()  # before it is removed, nobody writes there again
        elif self.engine.rank == 0:
            files = [self.store.rank_file(step, rank) for rank in range(self.engine.ranks)]
            entries = [
                {"path": path.name, "bytes": size, "digest": f"{DIGEST}:{bytes(digest).hex()}"}
                for path, (_, size, *digest) in zip(files, rows, strict=True)
            ]
            self._publishing = self._thread.submit(self._publish, step, facts, entries)

    def finish(self) -> int:
        """Wait until nothing is under way; returns the step of the newest checkpoint, 0 when there is none. All ranks
        together."""
        self.settle()
        if self._publishing:
            self._publishing.result()
        return self.engine.from_rank_0(self.saved)

    def _publish(self, step: int, facts: dict[str, Any], entries: list[Entry]) -> None:
        """In rank 0's thread."""
        try:
            self._before_publishing()
            self.store.publish(step, facts, entries)
        except OSError as error:
            self._give_up(step, str(error.strerror))
            return
        self.saved = step
        self.say(f"saved {self.store.step_dir(step).name}")

    def _give_up(self, step: int, why: str) -> None:
        self.store.abandon(step)
        intact = f"{self.store.step_dir(self.saved).name} is intact" if self.saved else "none was saved before"
        self.say(f"checkpoint not saved: {self.store.step_dir(step).name}: {why}; {intact}")


def _outcome(part: Future[Entry]) -> tuple[int, Entry | None]:
    """(error number or 0, entry) of a part, waited for."""
    try:
        return 0, part.result()
    except OSError as error:
        return error.errno or errno.EIO, None
