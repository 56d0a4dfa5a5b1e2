"""Proves that the chunked loss is torch's cross entropy, value and gradients, also where a softmax underflows."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F

import pretrain.loss
from pretrain.loss import linear_cross_entropy


@pytest.mark.parametrize("chunk", [1, 7, 64, 1000])
@pytest.mark.parametrize("scale", [1.0, 300.0])  # at 300 most probabilities are 0 in fp32
def test_equals_cross_entropy(monkeypatch: pytest.MonkeyPatch, chunk: int, scale: float) -> None:
    monkeypatch.setattr(pretrain.loss, "CHUNK_ROWS_CPU", chunk)
    torch.manual_seed(0)
    hidden = torch.randn(50, 16, requires_grad=True)
    weight = (torch.randn(90, 16) * scale).requires_grad_()
    targets = torch.randint(0, 90, (50,))
    ours = linear_cross_entropy(hidden, weight, targets)
    theirs = F.cross_entropy(F.linear(hidden, weight), targets, reduction="sum")
    torch.testing.assert_close(ours, theirs, rtol=1e-6, atol=0)
    our_gradients = torch.autograd.grad(ours / 3, [hidden, weight])
    their_gradients = torch.autograd.grad(theirs / 3, [hidden, weight])
    torch.testing.assert_close(our_gradients, their_gradients, rtol=1e-5, atol=1e-5 * scale)


def test_bf16_stays_near_fp32() -> None:
    torch.manual_seed(0)
    hidden, weight = torch.randn(512, 64), torch.randn(1000, 64) * 0.2
    targets = torch.randint(0, 1000, (512,))
    exact = F.cross_entropy(hidden @ weight.T, targets, reduction="sum")
    low_hidden = hidden.bfloat16().requires_grad_()
    low_weight = weight.bfloat16().requires_grad_()
    loss = linear_cross_entropy(low_hidden, low_weight, targets)
    assert loss.dtype == torch.float32
    assert float(loss.detach()) == pytest.approx(float(exact), rel=1e-3)
    loss.backward()
    hidden.requires_grad_()
    F.cross_entropy(hidden @ weight.T, targets, reduction="sum").backward()
    assert hidden.grad is not None and low_hidden.grad is not None
    assert float((low_hidden.grad.float() - hidden.grad).norm() / hidden.grad.norm()) < 0.01
