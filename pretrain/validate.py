"""A look at the model during training: its scores on a fixed part of the held-out text, and a text of its own."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import torch

from pretrain.batches import Batch, together, validation_streams, validation_windows
from pretrain.engine import Engine
from pretrain.evaluate import rates, score
from pretrain.sample import generate, open_tokenizer
from pretrain.settings import TrainingJob


class Scores(NamedTuple):
    """Of the subset of all sources together, and of each. Bytes by a source's average over its whole held-out text."""

    loss: float  # mean nats a token
    perplexity: float
    bits_per_byte: float
    sources: dict[str, dict[str, float]]  # name -> the three of them


class Validation:
    """The subset, read once."""

    def __init__(self, job: TrainingJob, directory: Path) -> None:
        self._batches: list[tuple[int, Batch]] = []  # with the number of its source
        self._sizes: dict[str, tuple[int, float]] = {}  # source -> tokens, bytes
        for number, (name, stream) in enumerate(validation_streams(job, directory).items()):
            windows = validation_windows(job, stream)
            tokens = sum(window.targets.size for window in windows)
            self._sizes[name] = tokens, tokens * stream.text_bytes / len(stream)
            self._batches += [(number, batch) for batch in together(windows, job.train.micro_batch_size)]

    def score(self, engine: Engine, stop_requested: Callable[[], bool]) -> Scores | None:
        """Score the model as it is; None when some rank asked to stop meanwhile."""
        nats = torch.zeros(len(self._sizes), dtype=torch.float64, device=engine.device)
        engine.model.eval()
        try:
            for first in range(0, len(self._batches), engine.ranks):
                number = first + engine.rank
                # At ZeRO stage 3 all ranks gather the weights together: one without a batch of its own takes another's
                source, batch = self._batches[min(number, len(self._batches) - 1)]
                batch_nats = score(engine.model, batch, engine.device)
                if number < len(self._batches):
                    nats[source] += batch_nats
                if engine.sum_over_ranks([float(stop_requested())])[0]:
                    return None
        finally:
            engine.model.train()
        sums = engine.sum_over_ranks(nats.tolist())
        sizes = self._sizes.values()
        total = rates(sum(sums), sum(tokens for tokens, _ in sizes), sum(size for _, size in sizes))
        sources = {name: rates(found, *size) for (name, size), found in zip(self._sizes.items(), sums, strict=True)}
        return Scores(**total, sources=sources)


def write_sample(job: TrainingJob, engine: Engine, tokenizer: Path) -> str:
    """A short text by the model as it is, always from the same seed: all ranks call it, and write the same.

    At ZeRO stage 3 they gather the weights for every token together.
    """
    engine.model.eval()
    try:
        return generate(
            engine.model,
            open_tokenizer(tokenizer),
            "",
            end_of_text=job.end_of_text,
            max_tokens=job.train.sample_tokens,
            temperature=0.8,
            top_k=50,
            seed=job.seed,
        )
    finally:
        engine.model.train()
