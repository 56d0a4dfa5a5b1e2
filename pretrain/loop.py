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
from pretrain.peak import peak_flops
from pretrain.records import Records
from pretrain.saving import Saving
from pretrain.settings import TrainingJob
from pretrain.steadiness import BadSteps, SpikeDetector
from pretrain.stop import StopRequest
from pretrain.validate import Validation, write_sample
from pretrain.watchdog import Watchdog, log_line

PROGRESS_SECONDS = 10.0


class Loop:
    """One rank's part in a training. `run` is RUN."""

    def __init__(
        self, job: TrainingJob, engine: Engine, run: Path, stop_request: StopRequest, watchdog: Watchdog
    ) -> None:
        self.job = job
        self.engine = engine
        self.directory = run / "pretrain"
        self.stop_request = stop_request
        self.data = TrainingData(job, run / "tokens" / "train", self.directory / "windows")
        self.validation = Validation(job, run / "tokens" / "val")
        self.tokenizer = run / "tokenizer" / "tokenizer.json"
        self.saving = Saving(job, engine, self.directory / "checkpoints", self._say, self._sync)
        self.watchdog = watchdog
        self.spikes = SpikeDetector()
        self.bad_steps = BadSteps(job.train.max_bad_steps)
        self.records: Records | None = None  # on rank 0, once it is known where it goes on
        self.completed = 0  # steps
        self.unfinished = False  # a validation after the last of them, cut short
        self.row: dict[str, Any] = {}  # of the last step

    def run(self) -> str:
        """Train to the end ("done") or to a stop ("paused"); outcome.json says the same."""
        engine = self.engine
        if engine.sum_over_ranks([float(self.stop_request.requested)])[0]:  # to read a checkpoint may take long
            self.completed = engine.from_rank_0(self.saving.store.newest_step())
            self.unfinished = True  # nobody has looked
            return self._finish(self.completed)
        with self.watchdog.watch("resuming"):
            self.completed = self.saving.resume()
        if engine.rank == 0:
            self.records = Records(self.job, self.directory, self.completed, self._stop_requested)
        self.peak = self._total_peak()
        self._announce()
        self._make_up_for_a_validation()
        gc.collect()
        gc.disable()  # a collection in the middle of a step on one rank is a wait on all
        ahead = (self.completed, self.job.train.steps, self._stop_requested)
        with Loader(self.data, engine.rank, engine.ranks, *ahead) as loader:
            self._train(loader)
        gc.enable()
        outcome = self._finish(self._last_save())
        if self.records:
            with self.watchdog.watch("closing wandb"):
                self.records.close()
        return outcome

    def _train(self, loader: Loader) -> None:
        job = self.job
        last_progress = waiting_since = time.perf_counter()
        for step, batches in self._watched(loader):
            targets = self._agree(batches)
            if targets is None:
                return
            row = self._step(step, batches or [], targets, waiting_since)
            if self._validates():
                self._validate(row)
            self._record(row)
            if time.perf_counter() - last_progress > PROGRESS_SECONDS:
                last_progress = time.perf_counter()
                self._say(
                    f"step {self.completed}/{job.train.steps}: loss {row['loss'] or math.nan:.4f}, "
                    f"{row['tokens_per_second']:,.0f} tokens/s"
                )
            if self.bad_steps.too_many:
                return
            if self.completed % job.checkpoint.every_steps == 0:
                self._save()
            waiting_since = time.perf_counter()

    def _agree(self, batches: list[Batch] | None) -> int | None:
        """The ranks' word to each other before each step: its targets on all of them; None when some rank asked to
        stop. (One without batches has.) A checkpoint that all have written is published."""
        mine = [sum(int((batch.targets >= 0).sum()) for batch in batches or [])]
        mine += [self.stop_request.requested, self.saving.written()]
        with self.watchdog.watch(f"waiting for the other ranks before step {self.completed + 1}", waiting=True):
            targets, stops, written = self.engine.sum_over_ranks([float(value) for value in mine])
            if written == self.engine.ranks:
                self.saving.settle()
        return None if stops else int(targets)

    def _stop_requested(self) -> bool:
        return self.stop_request.requested

    def _watched(self, loader: Loader) -> Iterator[tuple[int, list[Batch] | None]]:
        """The loader's steps, watched while they are waited for: a dead file system hangs here."""
        steps = iter(loader)
        while True:
            with self.watchdog.watch(f"reading step {self.completed + 1}"):
                item = next(steps, None)
            if item is None:
                return
            yield item

    def _step(self, step: int, batches: list[Batch], targets: int, waiting_since: float) -> dict[str, Any]:
        """One optimizer step, of `targets` on all ranks: its row of metrics."""
        job, engine = self.job, self.engine
        start = time.perf_counter()
        lr, tokens = learning_rate(job, step), job.train.batch_sizes.batch_tokens(step)
        row: dict[str, Any] = {"step": step + 1, "loss": None, "lr": lr, "grad_norm": None, "skipped": True}
        self.completed = step + 1
        if self.completed in job.train.skip_steps:
            tokens = 0
            self._say(f"step {self.completed}: its batch is left out, as train.skip_steps asks")
        else:
            if job.model.dropout > 0:
                torch.manual_seed(_dropout_seed(job.seed, step, engine.rank))
            with self.watchdog.step(self.completed):
                result = engine.train_step(on_device(batches, engine.device), lr=lr, targets=targets)
            row |= {
                "loss": _finite(result.loss),
                "grad_norm": _finite(result.grad_norm),
                "skipped": result.skipped,
                "targets": targets,
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
        return row

    def _watch(self, row: dict[str, Any]) -> None:
        """Say what is not as it should be."""
        # fp16 begins with a loss scale that is too high, and finds its own by steps that overflow
        looks_for_scale = row["loss"] is not None and row.get("loss_scale", 0) > 1
        if self.bad_steps.saw(row["skipped"] and not looks_for_scale):
            self._say(f"step {row['step']}: the loss or the gradient is not finite; the step was skipped on all ranks")
        elif not row["skipped"] and (warning := self.spikes.saw(row["grad_norm"])):
            row["spike"] = True
            self._say(f"step {row['step']}: {warning}")

    def _validates(self) -> bool:
        """Whether there is a validation after the last completed step."""
        step, train = self.completed, self.job.train
        return step == train.steps or (step > 0 and step % train.validate_every_steps == 0)

    def _make_up_for_a_validation(self) -> None:
        """Do the one that a stop interrupted, so that no row differs from those of a training without stops."""
        row = self.records.last() if self.records and self._validates() else {}
        if self.engine.from_rank_0(bool(row) and "val_loss" not in row):
            if self.records:
                self.records.forget_text(self.completed)
            self._validate(row)
            if self.records:
                self.records.complete(row)

    def _validate(self, row: dict[str, Any]) -> None:
        """Score the held-out subset into `row`, unless some rank is asked to stop meanwhile."""
        with self.watchdog.watch("validation"):
            scores = self.validation.score(self.engine, self._stop_requested)
        self.unfinished = scores is None
        if scores is None:
            return
        row |= {
            "val_loss": scores.loss,
            "val_perplexity": scores.perplexity,
            "val_bits_per_byte": scores.bits_per_byte,
            "val": scores.sources,
        }
        self._say(f"step {self.completed}: validation loss {scores.loss:.4f}, {scores.bits_per_byte:.4f} bits per byte")
        self._sample()

    def _sample(self) -> None:
        """Let the model write a little, for the record. Rank 0 alone: at ZeRO stage 3, where it does not hold the
        weights, there are no samples until the training is done."""
        train = self.job.train
        if not self.records or train.zero_stage == 3 or train.sample_tokens == 0:
            return
        with self.watchdog.watch("a sample"):
            text = write_sample(self.job, self.engine, self.tokenizer)
        self.records.text(self.completed, text)

    def _save(self) -> None:
        facts = {"val_loss": self.row.get("val_loss"), "wandb_run_id": self.records and self.records.wandb_run_id}
        with self.watchdog.watch(f"saving step {self.completed}"):
            self.saving.start(self.completed, facts)
        gc.collect()

    def _sync(self) -> None:
        """Before a checkpoint is published: none lacks its row."""
        if self.records:
            self.records.sync()

    def _last_save(self) -> int:
        """Save where the training ends, unless that has been done; returns the step of the newest checkpoint."""
        with self.watchdog.watch("the last save"):
            saved = self.saving.finish()
        if saved != self.completed:
            self._save()
            with self.watchdog.watch("the last save"):
                saved = self.saving.finish()
        return saved

    def _record(self, row: dict[str, Any]) -> None:
        self.row = row
        if self.records:
            self.records.row(row)

    def _finish(self, saved: int) -> str:
        """`saved`: the step of the newest checkpoint."""
        train = self.job.train
        done = saved == train.steps and not self.unfinished
        outcome, tokens = "done" if done else "paused", train.tokens_after(saved)
        facts: dict[str, Any] = {"outcome": outcome, "step": saved, "tokens": tokens}
        if saved != self.completed:
            intact = f"the checkpoint of step {saved} is intact" if saved else "nor was any before it"
            facts["reason"] = (
                f"step {self.completed} could not be saved, {intact}; make room on the disk, or mend what the line "
                "above says, and run again"
            )
        elif self.bad_steps.too_many:
            first, last = self.completed - self.bad_steps.in_a_row + 1, self.completed
            facts["reason"] = (
                f"the loss or the gradient of steps {first} to {last} is not finite; no weight changed in them and a "
                f"checkpoint is saved; see what they read with text2lm batch --step {last}, run again to go on "
                "behind them, or begin a new run with a smaller train.lr"
            )
        if self.engine.rank == 0:
            write_json(self.directory / "outcome.json", facts)
        self._say(f"{outcome} after {saved} steps, {tokens:,} tokens")
        return outcome

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
            log_line(line)


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
