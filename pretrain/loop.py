"""The training loop: resume, step, validate, save, until the tokens are trained on or somebody asks to stop.

Everything that varies over a training is a function of the step (order, learning rate, dropout's randomness), so a
checkpoint is the weights, the moments and one number, and a resumed run repeats an uninterrupted one bit for bit.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Iterator
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from data_prep.files import UserError, read_json, write_json
from pretrain.batches import Batch, TrainingData
from pretrain.checkpoint import CheckpointStore
from pretrain.engine import Engine
from pretrain.metrics import MetricsFile, NullTracker, Tracker, cut_back, open_tracker
from pretrain.peak import peak_flops
from pretrain.presets import flops_per_token
from pretrain.schedule import lr_at
from pretrain.settings import TrainingJob
from pretrain.stop import StopRequest
from pretrain.validate import Validation

PROGRESS_SECONDS = 10.0
NONE, REFUSED = -1, -2  # rank 0's answers to "which step do we resume from?" that are not a step


class Loop:
    """One rank's part in a training. `directory` is RUN/pretrain, `tokens_dir` RUN/tokens."""

    def __init__(
        self, job: TrainingJob, engine: Engine, directory: Path, tokens_dir: Path, stop_request: StopRequest
    ) -> None:
        self.job = job
        self.engine = engine
        self.directory = directory
        self.stop_request = stop_request
        self.data = TrainingData(job, tokens_dir / "train")
        self.validation = Validation(job, tokens_dir / "val")
        self.store = CheckpointStore(directory / "checkpoints", key=job.key, keep_last=job.checkpoint.keep_last)
        self.tracker: Tracker = NullTracker()
        self.completed = 0  # steps

    def run(self) -> str:
        """Train to the end ("done") or to a stop ("paused"); outcome.json says the same."""
        job, engine = self.job, self.engine
        wandb_run_id = self._resume()
        if engine.rank == 0:
            cut_back(self.directory / "metrics.jsonl", self.completed)
            self.metrics = MetricsFile(self.directory / "metrics.jsonl")
            self.tracker = open_tracker(job, self.directory, wandb_run_id)
        self.peak = self._total_peak()
        self._announce()
        stopping = engine.sum_over_ranks([float(self.stop_request.requested)])[0] > 0
        last_progress = time.perf_counter()
        while self.completed < job.train.steps and not stopping:
            row, stopping = self._step()
            at_end = self.completed == job.train.steps
            if not stopping and (at_end or self.completed % job.train.validate_every_steps == 0):
                scores = self.validation.score(engine, lambda: self.stop_request.requested)
                if scores is None:
                    stopping = True
                else:
                    row |= {"val_loss": scores.loss, "val_bits_per_byte": scores.bits_per_byte}
                    self._say(
                        f"step {self.completed}: validation loss {scores.loss:.4f}, "
                        f"{scores.bits_per_byte:.4f} bits per byte"
                    )
            self._record(row)
            if time.perf_counter() - last_progress > PROGRESS_SECONDS:
                last_progress = time.perf_counter()
                self._say(
                    f"step {self.completed}/{job.train.steps}: loss {row['loss']:.4f}, "
                    f"{row['tokens_per_second']:,.0f} tokens/s"
                )
            if stopping or at_end or self.completed % job.checkpoint.every_steps == 0:
                self._save()
        outcome = "done" if self.completed == job.train.steps else "paused"
        self._finish(outcome)
        return outcome

    def _step(self) -> tuple[dict[str, Any], bool]:
        """One optimizer step: its row of metrics, and whether some rank asked to stop."""
        job, engine, step = self.job, self.engine, self.completed
        start = time.perf_counter()
        if job.model.dropout > 0:
            torch.manual_seed(_dropout_seed(job.seed, step, engine.rank))
        lr = lr_at(
            step,
            peak=job.train.lr,
            min_ratio=job.train.min_lr_ratio,
            warmup_steps=job.train.warmup_steps,
            total_steps=job.train.steps,
        )
        batches = list(self.data.micro_batches(step, engine.rank, engine.ranks))
        data_seconds = time.perf_counter() - start
        result = engine.train_step(
            self._on_device(batches),
            lr=lr,
            target_tokens=job.train.global_batch_tokens,
            stop=self.stop_request.requested,
        )
        seconds = time.perf_counter() - start
        self.completed += 1
        tokens_per_second = job.train.global_batch_tokens / seconds
        row = {
            "step": self.completed,
            "loss": result.loss,
            "lr": lr,
            "grad_norm": result.grad_norm,
            "tokens": self.completed * job.train.global_batch_tokens,
            "tokens_per_second": tokens_per_second,
            "mfu": self.peak and tokens_per_second * self._flops_per_token() / self.peak,
            "step_seconds": seconds,
            "data_seconds": data_seconds,
        }
        return row, result.stop

    def _on_device(self, batches: list[Batch]) -> Iterator[tuple[Tensor, Tensor]]:
        for batch in batches:
            tokens, targets = (torch.from_numpy(array) for array in batch)
            if self.engine.device.type == "cuda":
                tokens, targets = (
                    tensor.pin_memory().to(self.engine.device, non_blocking=True) for tensor in (tokens, targets)
                )
            yield tokens, targets

    def _resume(self) -> str | None:
        """Load the newest good checkpoint, if there is one: rank 0 decides, all follow. Returns its wandb run id."""
        refusal: UserError | None = None
        step = NONE
        if self.engine.rank == 0:
            try:
                checkpoint = self.store.newest_good(self._say, set_aside=True)
                step = NONE if checkpoint is None else checkpoint.step
            except UserError as error:
                refusal, step = error, REFUSED
        step = self.engine.from_rank_0(step)
        if step == REFUSED:
            raise refusal or SystemExit(2)  # one rank says why
        if step == NONE:
            return None
        self.engine.load(self.store.step_dir(step), step)
        self.completed = step
        manifest = read_json(self.store.step_dir(step) / "manifest.json")
        self._say(f"resumed from {self.store.step_dir(step).name}")
        run_id: str | None = manifest["wandb_run_id"]
        return run_id

    def _save(self) -> None:
        """Save a checkpoint of the completed steps, all ranks together."""
        step, engine = self.completed, self.engine
        if engine.rank == 0:
            self.metrics.sync()
            self.store.begin(step)
        engine.barrier()
        path = self.store.rank_file(step, engine.rank)
        engine.save(path)
        self.store.record(path)
        engine.barrier()
        if engine.rank == 0:
            facts = {
                "tokens": step * self.job.train.global_batch_tokens,
                "zero_stage": self.job.train.zero_stage,
                "precision": self.job.train.precision,
                "wandb_run_id": self.tracker.run_id,
                "versions": {name: version(name) for name in ("torch", "deepspeed")},
            }
            self.store.publish(step, facts, engine.ranks)
            self._say(f"saved {self.store.step_dir(step).name}")

    def _record(self, row: dict[str, Any]) -> None:
        if self.engine.rank == 0:
            self.metrics.append(row)
            self.tracker.log(row)

    def _finish(self, outcome: str) -> None:
        tokens = self.completed * self.job.train.global_batch_tokens
        if self.engine.rank == 0:
            self.metrics.close()
            self.tracker.close()
            write_json(self.directory / "outcome.json", {"outcome": outcome, "step": self.completed, "tokens": tokens})
        self._say(f"{outcome} after {self.completed} steps, {tokens:,} tokens")

    def _total_peak(self) -> float | None:
        """FLOP/s that all ranks could reach together, measured at the same time where it is measured."""
        self.engine.barrier()
        peak = peak_flops(self.engine.device, self.job.train.precision)
        total, unknown = self.engine.sum_over_ranks([peak or 0.0, float(peak is None)])
        return None if unknown else total

    def _flops_per_token(self) -> int:
        shape = self.job.model.shape()
        return flops_per_token(shape.n_layers, shape.d_model, self.job.vocab_size, self.job.model.context_length)

    def _announce(self) -> None:
        train = self.job.train
        parameters = sum(parameter.numel() for parameter in self.engine.model.parameters())
        epochs = ", ".join(f"{name} {count:.2f}" for name, count in self.data.epochs().items())
        self._say(
            f"{parameters:,} parameters, {train.steps:,} steps of {train.global_batch_tokens:,} tokens in "
            f"{train.precision} on {self.engine.ranks} ranks; epochs: {epochs}"
        )
        if train.warmup_steps >= train.steps:
            self._say(
                f"the learning rate never reaches train.lr: train.warmup_steps is {train.warmup_steps}, "
                f"the training has {train.steps} steps"
            )

    def _say(self, line: str) -> None:
        if self.engine.rank == 0:
            print(line, flush=True)


def _dropout_seed(seed: int, step: int, rank: int) -> int:
    """Randomness of one rank in one step, from its numbers alone: there is no random state to save."""
    return int.from_bytes(hashlib.sha256(f"{seed}:{step}:{rank}".encode()).digest()[:8], "big")
