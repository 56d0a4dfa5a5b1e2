"""Proves that the chunked loss is torch's cross entropy, value and gradients, in all that it can be asked for."""

from __future__ import annotations

from typing import Any

import pytest
import torch
import torch.nn.functional as F

import pretrain.loss
from pretrain.loss import linear_cross_entropy

VOCAB = 90


def problem(scale: float = 1.0) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    torch.manual_seed(0)
    hidden, weight = torch.randn(50, 16), torch.randn(VOCAB, 16) * scale
    return hidden.requires_grad_(), weight.requires_grad_(), torch.randint(0, VOCAB, (50,))


def assert_same(ours: torch.Tensor, theirs: torch.Tensor, inputs: list[torch.Tensor], scale: float = 1.0) -> None:
    torch.testing.assert_close(ours, theirs, rtol=1e-6, atol=0)
    our_gradients, their_gradients = (torch.autograd.grad(loss / 3, inputs) for loss in (ours, theirs))
    torch.testing.assert_close(our_gradients, their_gradients, rtol=1e-5, atol=1e-5 * scale)


@pytest.mark.parametrize("chunk", [1, 7, 64, 1000])
@pytest.mark.parametrize("scale", [1.0, 300.0])  # at 300 most probabilities are 0 in fp32
def test_equals_cross_entropy(monkeypatch: pytest.MonkeyPatch, chunk: int, scale: float) -> None:
    monkeypatch.setattr(pretrain.loss, "CHUNK_ROWS_CPU", chunk)
    hidden, weight, targets = problem(scale)
    objective, nll = linear_cross_entropy(hidden, weight, targets, vocab_size=VOCAB)
    theirs = F.cross_entropy(F.linear(hidden, weight), targets, reduction="sum")
    assert_same(objective, theirs, [hidden, weight], scale)
    assert torch.equal(nll, objective.detach()) and not nll.requires_grad


@pytest.mark.parametrize(("smoothing", "z_loss"), [(0.0, 0.0), (0.1, 0.0), (0.0, 1e-2), (0.1, 1e-2)])
@pytest.mark.parametrize("compiled", [False, True])
def test_smoothing_and_z_loss_equal_torchs(smoothing: float, z_loss: float, compiled: bool) -> None:
    hidden, weight, targets = problem()
    objective, nll = linear_cross_entropy(
        hidden, weight, targets, vocab_size=VOCAB, label_smoothing=smoothing, z_loss=z_loss, compiled=compiled
    )
    logits = F.linear(hidden, weight)
    theirs = F.cross_entropy(logits, targets, reduction="sum", label_smoothing=smoothing)
    theirs = theirs + z_loss * logits.logsumexp(1).square().sum()
    assert_same(objective, theirs, [hidden, weight])
    torch.testing.assert_close(nll, F.cross_entropy(logits, targets, reduction="sum").detach(), rtol=1e-6, atol=0)


def test_smoothing_by_hand_and_as_vaswani_has_it() -> None:
    """Two ids, probabilities 3/4 and 1/4: ln Z = ln 4 with logits ln 3 and 0. Epsilon 0.2 gives each id 0.1; the code
    of Vaswani et al. gives the wrong one all of 0.2, which is torch's at 0.2 x 2 / (2 - 1)."""
    hidden, weight = torch.ones(1, 1), torch.tensor([[3.0], [1.0]]).log()
    right, wrong = torch.tensor([4 / 3, 4.0]).log()
    for smoothing, share in ((0.2, 0.1), (0.4, 0.2)):
        found = linear_cross_entropy(hidden, weight, torch.tensor([0]), vocab_size=2, label_smoothing=smoothing)
        assert float(found.objective) == pytest.approx(float((1 - share) * right + share * wrong))


@pytest.mark.parametrize("options", [{}, {"label_smoothing": 0.1, "z_loss": 1e-2}])
def test_negative_targets_and_rows_that_pad_do_not_count(options: dict[str, Any]) -> None:
    hidden, weight, targets = problem()
    short = linear_cross_entropy(hidden[:40], weight, targets[:40], vocab_size=VOCAB, **options).objective
    wanted = torch.autograd.grad(short, [hidden, weight])
    padded = torch.cat([weight.detach(), torch.randn(38, 16) * 9]).requires_grad_()
    ignored = torch.where(torch.arange(50) < 40, targets, -100)
    objective, nll = linear_cross_entropy(hidden, padded, ignored, vocab_size=VOCAB, **options)
    torch.testing.assert_close(objective, short, rtol=1e-6, atol=0)
    d_hidden, d_weight = torch.autograd.grad(objective, [hidden, padded])
    torch.testing.assert_close(d_hidden, wanted[0])
    torch.testing.assert_close(d_weight[:VOCAB], wanted[1])
    assert not d_weight[VOCAB:].any() and not d_hidden[40:].any()
    plain = F.cross_entropy(hidden[:40] @ weight.T, targets[:40], reduction="sum").detach()
    torch.testing.assert_close(nll, plain, rtol=1e-6, atol=0)


def test_bf16_stays_near_fp32() -> None:
    torch.manual_seed(0)
    hidden, weight = torch.randn(512, 64), torch.randn(1000, 64) * 0.2
    targets = torch.randint(0, 1000, (512,))
    exact = F.cross_entropy(hidden @ weight.T, targets, reduction="sum")
    low_hidden = hidden.bfloat16().requires_grad_()
    low_weight = weight.bfloat16().requires_grad_()
    loss, _ = linear_cross_entropy(low_hidden, low_weight, targets, vocab_size=1000)
    assert loss.dtype == torch.float32
    assert float(loss.detach()) == pytest.approx(float(exact), rel=1e-3)
    loss.backward()
    hidden.requires_grad_()
    F.cross_entropy(hidden @ weight.T, targets, reduction="sum").backward()
    assert hidden.grad is not None and low_hidden.grad is not None
    assert float((low_hidden.grad.float() - hidden.grad).norm() / hidden.grad.norm()) < 0.01
