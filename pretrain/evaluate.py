"""How well a checkpoint predicts all held-out text: loss, perplexity and bits per byte, by source and together.

Bits per byte compares models with different tokenizers: the negative log-likelihood of every token (end-of-text
included) in bits, over the UTF-8 bytes of the same documents.
"""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import torch

from data_prep.tokens import TokenStream
from pretrain.batches import scoring_windows, together, validation_streams
from pretrain.model import GPT
from pretrain.settings import TrainingJob


def evaluate(job: TrainingJob, model: GPT, tokens_dir: Path) -> dict[str, Any]:
    """Score every token of the validation streams in `tokens_dir`.

    Returns loss (mean nats a token), perplexity, bits_per_byte, tokens, bytes, and sources: {name: the same}.
    """
    sources = {}
    for name, stream in validation_streams(job, tokens_dir).items():
        sources[name] = _scores(_nats(model, stream, job), len(stream), stream.text_bytes)
    nats = sum(scores["loss"] * scores["tokens"] for scores in sources.values())
    tokens, size = (sum(scores[key] for scores in sources.values()) for key in ("tokens", "bytes"))
    return {**_scores(nats, tokens, size), "sources": sources}


@torch.no_grad()
def _nats(model: GPT, stream: TokenStream, job: TrainingJob) -> float:
    """Summed negative log-likelihood of every token of a stream."""
    device = model.embedding.weight.device
    nats = 0.0
    windows = scoring_windows(stream, job.end_of_text, job.model.context_length)
    for batch in together(windows, job.train.micro_batch_size):
        tokens, targets = (torch.from_numpy(array).to(device) for array in batch)
        nats += model(tokens, targets).item()
    return nats


def _scores(nats: float, tokens: int, size_bytes: int) -> dict[str, Any]:
    loss = nats / tokens
    return {
        "loss": loss,
        "perplexity": math.exp(loss),
        "bits_per_byte": nats / math.log(2) / size_bytes,
        "tokens": tokens,
        "bytes": size_bytes,
    }
