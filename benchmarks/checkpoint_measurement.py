"""A rank of checkpoint_cost.py: takes part in all that is measured; rank 0 leaves it in DIRECTORY/found.json.

usage: checkpoint_measurement.py DIRECTORY STAGE PRECISION ROUNDS full|smoke   (rank variables in the environment)
"""

from __future__ import annotations

import contextlib
import ctypes
import gc
import io
import math
import os
import re
import shutil
import statistics
import subprocess
import sys
import time
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from gpu_training import TOY, TOY_VOCAB, VOCAB
from training_speed import job

from data_prep.files import sync, write_json
from pretrain.architecture import ModelSettings
from pretrain.checkpoint import file_damage, write_file
from pretrain.engine import Engine, connect, disconnect
from pretrain.fragments import header, values
from pretrain.model import build_model
from pretrain.presets import PRESETS
from pretrain.saving import Saving
from pretrain.settings import TrainingJob
from pretrain.snapshot import Snapshot

STEP_TOKENS = 64  # of a rank: a step here is the optimizer's, mostly
STEPS_ALONE = 6
COPIES, FILES = 10, 4  # in a round, in turns with their peers


class Rank:
    """One rank's part. `seconds`: what was measured -> the slowest rank's seconds, one for each time."""

    def __init__(self, training: TrainingJob, engine: Engine, directory: Path) -> None:
        self.engine = engine
        self.directory = directory
        self.seconds: dict[str, list[float]] = defaultdict(list)
        self.saved = 0  # steps named so far: each save has one of its own
        checkpoints = directory / "checkpoints"
        at_once = replace(training, checkpoint=replace(training.checkpoint, async_=False))
        self.train_step()  # afterwards nothing is made for the first time
        gc.collect()
        before = memory("VmRSS")
        self.behind = Saving(training, engine, checkpoints, no_word, no_records)
        Path("/proc/self/clear_refs").write_text("5")  # VmHWM begins anew: proc(5)
        self.save_behind()
        self.seconds.clear()
        extra = engine.sum_over_ranks([float(memory("VmHWM") - before)])[0]
        self.at_once = Saving(at_once, engine, checkpoints, no_word, no_records)

        views = values(engine.share())
        self.copy = Snapshot(views)
        self.contents = self.copy.take(views)[0]
        self.source = torch.ones(self.contents.nbytes // 4).numpy()  # memory as torch makes it, like what is copied
        file_bytes = len(header(engine.share(), engine.shapes)) + self.contents.nbytes  # rank 0's: one writer's
        self.facts = {
            "parameters": sum(math.prod(shape) for shape in engine.shapes.values()),
            "snapshot_bytes": [row[0] for row in engine.gather([self.contents.nbytes])],
            "file_bytes": engine.from_rank_0(file_bytes),
            "extra_bytes": extra,
        }

    def round(self) -> None:
        """Everything once, or some times in turns with its peer."""
        self.save_behind()
        self.save_at_once()
        self.save_as_deepspeed_does()
        self.save_behind_training()
        for turn in range(COPIES):
            for measure in (self.memcpy, self.snapshot)[:: (-1) ** turn]:
                measure()
        for turn in range(FILES):
            for measure in (self.dd, self.write)[:: (-1) ** turn]:
                measure()

    # --- saves, by all ranks

    def save_behind(self) -> None:
        """Asynchronously, while the training does nothing else."""
        self.quiet()
        with self.clock("async, published"):
            with self.clock("stall"):
                self.behind.start(self.next_step(), {"val_loss": None})
            assert self.behind.finish() == self.saved

    def save_at_once(self) -> None:
        self.quiet()
        with self.clock("at once, published"):
            self.at_once.start(self.next_step(), {"val_loss": None})
            assert self.at_once.finish() == self.saved

    def save_as_deepspeed_does(self) -> None:
        """It leaves its files to the page cache; ours are on the disk, so their fsync is timed too."""
        directory = self.directory / "deepspeed"
        self.quiet()
        with self.clock("DeepSpeed, synced"):
            with self.clock("DeepSpeed"), contextlib.redirect_stdout(io.StringIO()):
                self.engine._engine.save_checkpoint(str(directory), tag="step", save_latest=True)
            files = sorted(path for path in directory.rglob("*") if path.is_file())
            for path in files[self.engine.rank :: self.engine.ranks]:
                sync(path)
        self.facts["deepspeed_bytes"] = self.engine.from_rank_0(sum(path.stat().st_size for path in files))
        self.engine.barrier()
        if self.engine.rank == 0:
            shutil.rmtree(directory)

    def save_behind_training(self) -> None:
        """Steps without a save, and steps while one is written: of these, all that it overlaps."""
        self.quiet()
        for _ in range(STEPS_ALONE):
            with self.clock("step alone"):
                self.step_and_vote()
        self.quiet()
        lasted, written = 0, False
        with self.clock("steps and a save"):
            self.behind.start(self.next_step(), {"val_loss": None})
            while not written:
                with self.clock("step beside a save"):
                    written = self.step_and_vote()
                lasted += 1
        assert self.behind.finish() == self.saved
        alone = statistics.median(self.seconds["step alone"][-STEPS_ALONE:])
        self.seconds["lost to a save"].append(self.seconds["steps and a save"][-1] - lasted * alone)

    def step_and_vote(self) -> bool:
        """A step as the training loop's: with a word to the other ranks. True when all have written."""
        self.train_step()
        return self.engine.sum_over_ranks([float(self.behind.written())])[0] == self.engine.ranks

    def train_step(self) -> None:
        tokens = torch.zeros(1, STEP_TOKENS, dtype=torch.int64, device=self.engine.device)
        self.engine.train_step([(tokens, tokens, None, None)], lr=1e-4, targets=self.engine.ranks * STEP_TOKENS)

    def next_step(self) -> int:
        self.saved += 1
        return self.saved

    # --- memory: all ranks at the same time

    def memcpy(self) -> None:
        """libc's, of as many bytes, to where the snapshot goes."""
        with self.clock("memcpy"):
            ctypes.memmove(self.contents.ctypes.data, self.source.ctypes.data, self.contents.nbytes)

    def snapshot(self) -> None:
        views = values(self.engine.share())
        with self.clock("snapshot"):
            self.copy.take(views)

    # --- the disk: rank 0 alone

    def dd(self) -> None:
        path, size = self.directory / "one-file", self.facts["file_bytes"]
        command = ["dd", "if=/dev/zero", f"of={path}", "bs=16M", f"count={size}", "iflag=count_bytes", "conv=fsync"]
        self.quiet()
        with self.clock("dd"):
            if self.engine.rank == 0:
                subprocess.run(command, check=True, capture_output=True)
        if self.engine.rank == 0:
            assert path.stat().st_size == size
            path.unlink()

    def write(self) -> None:
        path, entry = self.directory / "one-file", None
        share = self.engine.share()
        parts = [header(share, self.engine.shapes), *self.copy.take(values(share))]
        self.quiet()
        with self.clock("write"):
            if self.engine.rank == 0:
                entry = write_file(path, parts)
        with self.clock("read back"):
            if entry:
                assert file_damage(self.directory, entry) is None
        if entry:
            assert entry["bytes"] == self.facts["file_bytes"]
            path.unlink()

    # --- clocks

    def quiet(self) -> None:
        """What was written before is not written while the next is measured."""
        if self.engine.rank == 0:
            os.sync()
        self.engine.barrier()

    @contextmanager
    def clock(self, what: str) -> Iterator[None]:
        """Begins and ends with all ranks."""
        self.engine.barrier()
        start = time.perf_counter_ns()
        yield
        spent = time.perf_counter_ns() - start
        self.seconds[what].append(max(row[0] for row in self.engine.gather([spent])) / 1e9)


def memory(name: str) -> int:
    """Bytes of this process: VmRSS, in memory now; VmHWM, the most so far."""
    match = re.search(rf"{name}:\s+(\d+) kB", Path("/proc/self/status").read_text())
    assert match
    return int(match[1]) * 1024


def no_word(line: str) -> None:
    """To people: here the assertions speak."""


def no_records() -> None:
    """To sync before a checkpoint is published: there are none."""


def settings(stage: int, precision: str, ranks: int, smoke: bool) -> TrainingJob:
    model = TOY if smoke else ModelSettings(**PRESETS["gpt2-small"]["model"])
    return replace(job(precision, ranks, stage), vocab_size=TOY_VOCAB if smoke else VOCAB, model=model)


def main(directory: Path, stage: int, precision: str, rounds: int, size: str) -> None:
    place = {name: int(os.environ[name.upper()]) for name in ("rank", "local_rank", "world_size")}
    device = connect(**place, timeout_minutes=10)
    training = settings(stage, precision, place["world_size"], smoke=size == "smoke")
    rank = Rank(training, Engine(build_model(training), training, device), directory)
    gc.disable()  # as the training loop does
    for _ in range(rounds):
        rank.round()
    if rank.engine.rank == 0:
        found: dict[str, Any] = {"seconds": rank.seconds} | rank.facts
        write_json(directory / "found.json", found)
    disconnect()


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]), sys.argv[3], int(sys.argv[4]), sys.argv[5])
