"""The training loop: resume, step, validate, save, until the tokens are trained on or somebody asks to stop.

Everything that varies over a training is a function of the step (order, learning rate, dropout's randomness), so a
checkpoint is the weights, the moments and one number, and a resumed run repeats an uninterrupted one bit for bit.
"""

from __future__ import annotations

import gc
import hashlib
import math
import time
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import torch

from data_prep.files import write_json
from pretrain.batches import Batch, Loader, TrainingData
from pretrain.continuation import learning_rate
from pretrain.cost import flops_per_token, parameter_count
from pretrain.engine import Engine
from pretrain.metrics import MetricsFile, NullTracker, Tracker, cut_back, open_tracker
from pretrain.peak import peak_flops
from pretrain.saving import Saving
from pretrain.settings import TrainingJob
from pretrain.steadiness import BadSteps, SpikeDetector
from pretrain.stop import StopRequest
from pretrain.validate import Validation, write_sample
from pretrain.watchdog import Watchdog

PROGRESS_SECONDS = 10.0


class Loop:
    """One rank's part in a training. `run` is RUN."""

    def __init__(self, job: TrainingJob, engine: Engine, run: Path, stop_request: StopRequest) -> None:
        self.job = job
        self.engine = engine
        self.directory = run / "pretrain"
        self.stop_request = stop_request
        self.data = TrainingData(job, run / "tokens" / "train", self.directory / "windows")
        self.validation = Validation(job, run / "tokens" / "val")
        self.tokenizer = run / "tokenizer" / "tokenizer.json"
        self.saving = Saving(job, engine, self.directory / "checkpoints", self._say)
        self.watchdog = Watchdog(
            self.directory / f"stacks-rank-{engine.rank:05d}.txt",
            factor=job.train.slow_step_factor,
            limit_seconds=60 * job.train.hang_minutes,
            say=self._say,
        )
        self.spikes = SpikeDetector()
        self.bad_steps = BadSteps(job.train.max_bad_steps)
        self.tracker: Tracker = NullTracker()
        self.completed = 0  # steps

    def run(self) -> str:
        """Train to the end ("done") or to a stop ("paused"); outcome.json says the same."""
        job, engine = self.job, self.engine
        self.completed = self.saving.resume()
        if engine.rank == 0:
            for name in ("metrics.jsonl", "samples.jsonl"):
                cut_back(self.directory / name, self.completed)
            self.metrics = MetricsFile(self.directory / "metrics.jsonl")
            self.samples = MetricsFile(self.directory / "samples.jsonl")
            self.tracker = open_tracker(job, self.directory)
        self.peak = self._total_peak()
        self._announce()
        stopping = engine.sum_over_ranks([float(self.stop_request.requested)])[0] > 0
        if self.completed < job.train.steps and not stopping:
            gc.collect()
            gc.disable()  # a collection in the middle of a step on one rank is a wait on all
            with Loader(self.data, engine.rank, engine.ranks, self.completed, job.train.steps) as loader:
                self._train(loader)
            gc.enable()
        outcome = "done" if self.completed == job.train.steps else "paused"
        self._finish(outcome)
        return outcome

    def _train(self, loader: Loader) -> None:
        last_progress = waiting_since = time.perf_counter()
        for step, batches in self._watched(loader):
            row, stopping = self._step(step, batches, waiting_since)
            at_end = self.completed == self.job.train.steps
            if not stopping and (at_end or self.completed % self.job.train.validate_every_steps == 0):
                stopping = self._validate(row)
            self._record(row)
            if time.perf_counter() - last_progress > PROGRESS_SECONDS:
                last_progress = time.perf_counter()
                self._say(
                    f"step {self.completed}/{self.job.train.steps}: loss {row['loss'] or math.nan:.4f}, "
                    f"{row['tokens_per_second']:,.0f} tokens/s"
                )
            stopping = stopping or self.bad_steps.too_many
            if stopping or at_end or self.completed % self.job.checkpoint.every_steps == 0:
                self._save()
            if stopping:
                return
            waiting_since = time.perf_counter()

    def _watched(self, loader: Loader) -> Iterator[tuple[int, list[Batch]]]:
        """The loader's steps, watched while they are waited for: a dead file system hangs here."""
        steps = iter(loader)
        while True:
            with self.watchdog.watch(f"reading step {self.completed + 1}"):
                item = next(steps, None)
            if item is None:
                return
            yield item

    def _step(self, step: int, batches: list[Batch], waiting_since: float) -> tuple[dict[str, Any], bool]:
        """One optimizer step: its row of metrics, and whether some rank asked to stop."""
        job, engine = self.job, self.engine
        start = time.perf_counter()
        lr, tokens = learning_rate(job, step), job.train.batch_sizes.batch_tokens(step)
        row: dict[str, Any] = {"step": step + 1, "loss": None, "lr": lr, "grad_norm": None, "skipped": True}
        self.completed = step + 1
        if self.completed in job.train.skip_steps:
            tokens = 0
            stopping = engine.sum_over_ranks([float(self.stop_request.requested)])[0] > 0
            self._say(f"step {self.completed}: its batch is left out, as train.skip_steps asks")
        else:
            if job.model.dropout > 0:
                torch.manual_seed(_dropout_seed(job.seed, step, engine.rank))
            with self.watchdog.step(self.completed):
                result = engine.train_step(on_device(batches, engine.device), lr=lr, stop=self.stop_request.requested)
            stopping = result.stop
            row |= {
                "loss": _finite(result.loss),
                "grad_norm": _finite(result.grad_norm),
                "skipped": result.skipped,
                "targets": result.targets,
                "memory_bytes": engine.memory_bytes(),
            }
            if result.loss_scale is not None:
                row["loss_scale"] = result.loss_scale
            self._watch(row)
        end = time.perf_counter()
        seconds = end - waiting_since
        row |= {
            "tokens": job.train.tokens_after(self.completed),
            "tokens_per_second": tokens / seconds,
            "mfu": self.peak and tokens / seconds * flops_per_token(job.model, job.vocab_size) / self.peak,
            "step_seconds": seconds,
            "data_seconds": start - waiting_since,
        }
        return row, stopping

    def _watch(self, row: dict[str, Any]) -> None:
        """Say what is not as it should be."""
        # fp16 begins with a loss scale that is too high, and finds its own by steps that overflow
        looks_for_scale = row["loss"] is not None and row.get("loss_scale", 0) > 1
        if self.bad_steps.saw(row["skipped"] and not looks_for_scale):
            self._say(f"step {row['step']}: the loss or the gradient is not finite; the step was skipped on all ranks")
        elif not row["skipped"] and (warning := self.spikes.saw(row["grad_norm"])):
            row["spike"] = True
            self._say(f"step {row['step']}: {warning}")

    def _validate(self, row: dict[str, Any]) -> bool:
        """Score the held-out subset into `row`. True when some rank asked to stop meanwhile."""
        with self.watchdog.watch("validation"):
            scores = self.validation.score(self.engine, lambda: self.stop_request.requested)
        if scores is None:
            return True
        row |= {
            "val_loss": scores.loss,
            "val_perplexity": scores.perplexity,
            "val_bits_per_byte": scores.bits_per_byte,
            "val": scores.sources,
        }
        self._say(f"step {self.completed}: validation loss {scores.loss:.4f}, {scores.bits_per_byte:.4f} bits per byte")
        self._sample()
        return False

    def _sample(self) -> None:
        """Let the model write a little, for the record. Rank 0 alone: at ZeRO stage 3, where it does not hold the
        weights, there are no samples until the training is done."""
        train = self.job.train
        if self.engine.rank != 0 or train.zero_stage == 3 or train.sample_tokens == 0:
            return
        with self.watchdog.watch("a sample"):
            text = write_sample(self.job, self.engine, self.tokenizer)
        self.samples.append({"step": self.completed, "text": text})

    def _save(self) -> None:
        if self.engine.rank == 0:  # first: no published step lacks its row
            self.metrics.sync()
            self.samples.sync()
        with self.watchdog.watch(f"saving step {self.completed}"):
            self.saving.save(self.completed, self.tracker.run_id)
        gc.collect()

    def _record(self, row: dict[str, Any]) -> None:
        if self.engine.rank == 0:
            self.metrics.append(row)
            self.tracker.log(row)

    def _finish(self, outcome: str) -> None:
        tokens = self.job.train.tokens_after(self.completed)
        facts: dict[str, Any] = {"outcome": outcome, "step": self.completed, "tokens": tokens}
        if self.bad_steps.too_many:
            first, last = self.completed - self.bad_steps.in_a_row + 1, self.completed
            facts["reason"] = (
                f"the loss or the gradient of steps {first} to {last} is not finite; no weight changed in them and a "
                f"checkpoint is saved; see what they read with text2lm batch --step {last}, run again to go on "
                "behind them, or begin a new run with a smaller train.lr"
            )
        if self.engine.rank == 0:
            self.metrics.close()
            self.samples.close()
            self.tracker.close()
            write_json(self.directory / "outcome.json", facts)
        self._say(f"{outcome} after {self.completed} steps, {tokens:,} tokens")

    def _total_peak(self) -> float | None:
        """FLOP/s that all ranks could reach together, measured at the same time where it is measured."""
        self.engine.barrier()
        peak = peak_flops(self.engine.device, self.job.train.precision)
        total, unknown = self.engine.sum_over_ranks([peak or 0.0, float(peak is None)])
        return None if unknown else total

    def _announce(self) -> None:
        train = self.job.train
        parameters = parameter_count(self.job.model, self.job.vocab_size)
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


def on_device(batches: Iterable[Batch], device: torch.device) -> Iterator[Any]:
    """The batches as tensors on `device`; copies to a GPU run beside the computation."""
    for batch in batches:
        tensors = (None if array is None else torch.from_numpy(array) for array in batch)
        if device.type == "cuda":
            tensors = (
                None if tensor is None else tensor.pin_memory().to(device, non_blocking=True) for tensor in tensors
            )
        yield Batch(*tensors)  # type: ignore[arg-type]


def _dropout_seed(seed: int, step: int, rank: int) -> int:
    """Randomness of one rank in one step, from its numbers alone: there is no random state to save."""
    return int.from_bytes(hashlib.sha256(f"{seed}:{step}:{rank}".encode()).digest()[:8], "big")


def _finite(value: float) -> float | None:
    """JSON has no word for what is not finite."""
    return value if math.isfinite(value) else None
