"""What a forward pass keeps for the backward pass, in bytes: counted in tensors that have a shape and no memory."""

from __future__ import annotations

import weakref
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.autograd.graph import saved_tensors_hooks
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from pretrain.architecture import ModelSettings
from pretrain.loss import linear_cross_entropy
from pretrain.model import GPT

DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}


def activation_bytes(
    model: ModelSettings, vocab_size: int, *, micro_batch_size: int, precision: str, checkpointing: bool = False
) -> dict[str, int]:
    """Bytes of "layers" (what all layers save) and "head" (the loss at its busiest, gradients of its two inputs too).

    Counted without torch.compile, which saves less, and with plain causal attention by the flash kernel: it saves
    queries, keys, values, the result and a number a row, never the square of scores. Every layer saves the same, so
    that two depths tell any. With `checkpointing` a layer saves its input, and one layer at a time the rest.
    """
    samples, T = micro_batch_size, model.context_length
    one, two = (saved_bytes(replace(model, n_layers=depth), vocab_size, samples, precision) for depth in (1, 2))
    stream = samples * T * model.d_model  # numbers in the residual stream
    layer, around = two - one, 2 * one - two
    if model.dropout:  # the masks, a byte a number; a CPU would keep scaled ones
        layer, around = layer + 2 * stream, around + stream
    kept = DTYPES[precision].itemsize * stream if checkpointing else layer
    head = head_bytes(model, vocab_size, samples * T, precision)
    return {"layers": around + model.n_layers * kept, "head": max(head, layer) if checkpointing else head}


def saved_bytes(model: ModelSettings, vocab_size: int, samples: int, precision: str) -> int:
    """Bytes that autograd saves in a forward pass up to the last layer's output, weights left out."""
    saved: dict[int, Any] = {}  # storages by address: a tensor saved twice counts once

    def save(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        saved[storage._cdata] = storage
        return tensor

    with FakeTensorMode(), sdpa_kernel(SDPBackend.FLASH_ATTENTION):
        network = GPT(replace(model, dropout=0.0), vocab_size)
        for parameter in network.parameters():
            parameter.data = parameter.data.to(DTYPES[precision])
        tokens = torch.zeros(samples, model.context_length, dtype=torch.int64)
        with saved_tensors_hooks(save, lambda tensor: tensor):
            network(tokens)
    weights = {parameter.untyped_storage()._cdata for parameter in network.parameters()}
    return sum(storage.nbytes() for address, storage in saved.items() if address not in weights)


def head_bytes(model: ModelSettings, vocab_size: int, tokens: int, precision: str) -> int:
    """The most bytes that the output head and its loss hold at once, beside hidden states and weights."""
    options: dict[str, Any] = {"dtype": DTYPES[precision], "device": "meta", "requires_grad": True}
    hidden = torch.empty(tokens, model.d_model, **options)
    weight = torch.empty(model.padded_vocab(vocab_size), model.d_model, **options)
    targets = torch.empty(tokens, dtype=torch.int64, device="meta")
    with LiveBytes() as live:
        linear_cross_entropy(hidden, weight, targets, vocab_size=vocab_size)
    return int(live.most)


class LiveBytes(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Counts the bytes of the tensors made under it: of those alive `now`, and the `most` that ever were."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.now = 0
        self.most = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        made = func(*args, **(kwargs or {}))
        given = {leaf.untyped_storage()._cdata for leaf in tree_leaves((args, kwargs)) if isinstance(leaf, Tensor)}
        for tensor in tree_leaves(made):
            if isinstance(tensor, Tensor) and tensor.untyped_storage()._cdata not in given:
                size = tensor.untyped_storage().nbytes()
                self.now += size
                self.most = max(self.most, self.now)
                weakref.finalize(tensor.untyped_storage(), self._gone, size)
        return made

    def _gone(self, size: int) -> None:
        self.now -= size
