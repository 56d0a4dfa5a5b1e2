"""How well a checkpoint predicts all held-out text: loss, perplexity and bits per byte, by source and together.

Bits per byte compares models with different tokenizers: the negative log-likelihood of every token (end-of-text
included) in bits, over the UTF-8 bytes of the same documents.
"""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from pretrain.batches import Batch, scoring_windows, together, validation_streams
from pretrain.model import GPT
from pretrain.settings import TrainingJob


def evaluate(job: TrainingJob, model: GPT, tokens_dir: Path) -> dict[str, Any]:
    """Score every token of the validation streams in `tokens_dir`.

    Returns loss (mean nats a token), perplexity, bits_per_byte, tokens, bytes, and sources: {name: the same}.
    """
    device = model.embedding.weight.device
    sources = {}
    for name, stream in validation_streams(job, tokens_dir).items():
        nats = torch.zeros((), dtype=torch.float64, device=device)
        windows = scoring_windows(
            stream, job.end_of_text, job.model.context_length, document_mask=job.train.document_mask
        )
        for batch in together(windows, job.train.micro_batch_size):
            nats += score(model, batch, device)
        sources[name] = _scores(nats.item(), len(stream), stream.text_bytes)
    total = sum(scores["loss"] * scores["tokens"] for scores in sources.values())
    tokens, size = (sum(scores[key] for scores in sources.values()) for key in ("tokens", "bytes"))
    return {**_scores(total, tokens, size), "sources": sources}


@torch.no_grad()
def score(model: GPT, batch: Batch, device: torch.device) -> Tensor:
    """Summed negative log-likelihood of a batch's targets in nats, on the device, which is not waited for."""
    tokens, targets, positions, _ = (None if array is None else torch.from_numpy(array).to(device) for array in batch)
    nll: Tensor = model(tokens, targets, positions=positions).nll
    return nll


def rates(nats: float, tokens: int, size_bytes: float) -> dict[str, float]:
    """What people compare, of `nats` over so many tokens that stand for so many bytes of text."""
    loss = nats / tokens
    perplexity = math.exp(loss) if loss < 700 else math.inf  # the largest float is e^709
    return {"loss": loss, "perplexity": perplexity, "bits_per_byte": nats / math.log(2) / size_bytes}


def _scores(nats: float, tokens: int, size_bytes: int) -> dict[str, Any]:
    return {**rates(nats, tokens, size_bytes), "tokens": tokens, "bytes": size_bytes}
