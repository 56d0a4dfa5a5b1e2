"""Cross entropy of a linear head, without ever holding all logits.

The logits of a small model are its largest tensor by far (4,096 tokens x 50,257 ids in fp32: 823 MB) and live on to
the backward pass. Here both gradients are computed chunk by chunk in the forward pass, where the chunk's softmax is
at hand. `torch.nn.functional.linear_cross_entropy` (2.13) does the same but multiplies in fp32 on a CPU: measured 3
times slower with bf16 weights.
"""

from __future__ import annotations

import functools
from typing import Any, NamedTuple

import torch
from torch import Tensor

CHUNK_ROWS_CPU = 256  # a chunk's logits (256 x 8,192 in bf16 and fp32) about fill a core's cache: fastest of 64..4096
CHUNK_ROWS_GPU = 4096  # large enough to fill the device


class Losses(NamedTuple):
    """Sums over the targets, scalars in fp32."""

    objective: Tensor  # what is minimised: label smoothing and z-loss included
    nll: Tensor  # plain cross entropy, in nats; no gradient flows through it


def linear_cross_entropy(
    hidden: Tensor,
    weight: Tensor,
    targets: Tensor,
    *,
    vocab_size: int,
    label_smoothing: float = 0.0,
    z_loss: float = 0.0,
    compiled: bool = False,
) -> Losses:
    """Cross entropy of logits `hidden @ weight.T` (N, C) x (C, rows) against targets (N,), each below `vocab_size`.

    Negative targets do not count, nor do the rows of `weight` from `vocab_size` on, which only pad it. Of a token with
    logits x, right id t and Z = sum exp(x), the objective is, with epsilon the label smoothing over K = vocab_size ids,

        log Z - (1 - epsilon) x[t] - epsilon / K sum(x) + z_loss (log Z)^2

    This is torch's smoothing: each id, the right one too, gets epsilon / K. Szegedy et al. 2016 (section 7) define it
    so; the code of Vaswani et al. 2017 gives the right id 1 - epsilon and each other epsilon / (K - 1), which is
    torch's at epsilon K / (K - 1).
    The z-loss is PaLM's (Chowdhery et al. 2022, section 5).
    """
    if not torch.is_grad_enabled():
        weight = weight.detach()  # a Function is told by it, not by no_grad, whether gradients are wanted
    losses: tuple[Tensor, Tensor] = _LinearCrossEntropy.apply(  # type: ignore[no-untyped-call]
        hidden, weight, targets, vocab_size, label_smoothing, z_loss, compiled
    )
    return Losses(*losses)


class _LinearCrossEntropy(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        hidden: Tensor,
        weight: Tensor,
        targets: Tensor,
        vocab_size: int,
        smoothing: float,
        z_loss: float,
        compiled: bool,
    ) -> tuple[Tensor, Tensor]:
        rows = CHUNK_ROWS_CPU if hidden.device.type == "cpu" else CHUNK_ROWS_GPU
        score = _compiled_score() if compiled else _score
        objective, nll = (torch.zeros((), dtype=torch.float32, device=hidden.device) for _ in Losses._fields)
        needs_gradient = any(ctx.needs_input_grad)
        if needs_gradient:
            d_hidden = torch.empty_like(hidden)  # (N, C)
            d_weight = torch.zeros_like(weight, dtype=torch.float32)  # sums of many chunks want fp32
        for start in range(0, len(hidden), rows):
            chunk = hidden[start : start + rows]  # (n, C)
            target = targets[start : start + rows, None]  # (n, 1)
            counts = target >= 0  # (n, 1)
            target = target.clamp_min(0)
            logits = chunk @ weight.T  # (n, rows of weight)
            logits[:, vocab_size:] = -torch.inf
            token_objective, token_nll, d_logits, d_target = score(logits, target, vocab_size, smoothing, z_loss)
            nll += (token_nll * counts).sum()
            objective += (token_objective * counts).sum()
            if needs_gradient:
                d_logits.scatter_(1, target, d_target)
                d_hidden[start : start + rows] = (d_logits @ weight) * counts
                d_weight += d_logits.T @ (chunk * counts)
        if needs_gradient:
            ctx.save_for_backward(d_hidden, d_weight)
            ctx.weight_dtype = weight.dtype
        ctx.mark_non_differentiable(nll)
        return objective, nll

    @staticmethod
    def backward(ctx: Any, *grad_outputs: Tensor) -> tuple[Tensor | None, ...]:
        grad = grad_outputs[0]
        d_hidden, d_weight = ctx.saved_tensors
        d_weight = (d_weight * grad).to(ctx.weight_dtype)
        return d_hidden * grad.to(d_hidden.dtype), d_weight, None, None, None, None, None


def _score(
    logits: Tensor, target: Tensor, vocab_size: int, smoothing: float, z_loss: float
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Of a chunk's logits (n, V) and target (n, 1): each token's objective and nll, (n, 1), and the gradient (n, V) of
    its objective, in the logits' precision, but for the target's own column, which comes apart, (n, 1)."""
    probabilities = torch.softmax(logits, dim=1, dtype=torch.float32)
    # log of the softmax's denominator, from the likeliest id: a target's own probability may underflow to 0
    highest, likeliest = probabilities.max(1, keepdim=True)  # (n, 1) each
    log_z = logits.gather(1, likeliest) - highest.log()
    nll = log_z - logits.gather(1, target)
    objective = nll
    if smoothing:
        uniform_nll = log_z - logits[:, :vocab_size].mean(1, keepdim=True, dtype=torch.float32)
        objective = (1 - smoothing) * nll + smoothing * uniform_nll
    if z_loss:
        objective = objective + z_loss * log_z.square()
        probabilities *= 1 + 2 * z_loss * log_z  # from here on the gradient, in place of the softmax
    if smoothing:
        probabilities[:, :vocab_size] -= smoothing / vocab_size
    d_target = probabilities.gather(1, target) + (smoothing - 1)
    return objective, nll, probabilities.to(logits.dtype), d_target.to(logits.dtype)


@functools.cache
def _compiled_score() -> Any:
    """Fused: a chunk's logits are read a few times, and no fp32 probabilities are written on a GPU."""
    return torch.compile(_score)
