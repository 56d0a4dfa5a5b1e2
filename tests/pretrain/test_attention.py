"""Proves who sees whom: every kernel equals attention written out by hand, and rotary positions are relative."""

from __future__ import annotations

import math

import pytest
import torch
from tiny_models import needs_compiler
from torch import Tensor
from torch.nn.attention.flex_attention import BlockMask, create_block_mask, flex_attention

from pretrain.attention import KeyValueCache, Pieces, attend, make_mask, rotate, rotation, sees

B, H, T, D = 2, 4, 48, 8
LENGTHS = ((20, 1, 27), (3, 45))  # of the documents in each row
POSITIONS = torch.stack([torch.cat([torch.arange(n) for n in row]) for row in LENGTHS])
PREFIX = torch.tensor([30, 0])  # reaches into the third document of the first row
CASES = {"document": (POSITIONS, None), "prefix": (None, PREFIX), "both": (POSITIONS, PREFIX)}


@pytest.fixture(params=CASES)
def case(request: pytest.FixtureRequest) -> tuple[Tensor | None, Tensor | None]:
    return CASES[request.param]


def allowed(row: int, query: int, key: int, *, documents: bool, prefix: bool) -> bool:
    """The rule in plain words."""
    document = [number for number, length in enumerate(LENGTHS[row]) for _ in range(length)]
    same = document[query] == document[key] or not documents
    return same and (key <= query or (prefix and key < PREFIX[row]))


def by_hand(q: Tensor, k: Tensor, v: Tensor, *, documents: bool, prefix: bool) -> Tensor:
    """softmax(q k / sqrt(D)) v, head by head."""
    mask = torch.tensor(
        [[[allowed(b, i, j, documents=documents, prefix=prefix) for j in range(T)] for i in range(T)] for b in range(B)]
    )
    out = []
    for head in range(H):
        key_head = head // (H // k.shape[1])
        scores = q[:, head] @ k[:, key_head].mT / math.sqrt(D)
        out.append(scores.masked_fill(~mask, -torch.inf).softmax(-1) @ v[:, key_head])
    return torch.stack(out, 1)


def random_qkv(kv_heads: int, *, gradients: bool = False) -> list[Tensor]:
    random = torch.Generator().manual_seed(0)
    return [torch.randn(B, n, T, D, generator=random, requires_grad=gradients) for n in (H, kv_heads, kv_heads)]


@pytest.mark.parametrize("kv_heads", [H, 2])
def test_each_mask_and_its_gradients_equal_attention_by_hand(
    case: tuple[Tensor | None, Tensor | None], kv_heads: int
) -> None:
    positions, prefix = case
    mask = make_mask(positions, prefix, T, dropout=False)
    assert isinstance(mask, Pieces if prefix is None else Tensor)
    qkv = random_qkv(kv_heads, gradients=True)
    ours = attend(*qkv, mask)
    wanted = by_hand(*qkv, documents=positions is not None, prefix=prefix is not None)
    torch.testing.assert_close(ours, wanted, atol=1e-5, rtol=0)
    direction = torch.randn_like(ours)
    for mine, theirs in zip(
        torch.autograd.grad((ours * direction).sum(), qkv),
        torch.autograd.grad((wanted * direction).sum(), qkv),
        strict=True,
    ):
        torch.testing.assert_close(mine, theirs, atol=1e-5, rtol=0)


def block_mask(positions: Tensor | None, prefix: Tensor | None) -> BlockMask:
    """What `make_mask` makes on a GPU."""
    return create_block_mask(sees(positions, prefix), B, None, T, T, device="cpu", BLOCK_SIZE=16)


@pytest.mark.filterwarnings("ignore:flex_attention called without torch.compile")
@pytest.mark.parametrize("kv_heads", [H, 2])
def test_the_rule_that_runs_on_gpus_gives_the_same(case: tuple[Tensor | None, Tensor | None], kv_heads: int) -> None:
    """Flex attention, here not compiled and without gradients, which it has on GPUs only."""
    qkv = random_qkv(kv_heads)
    theirs = flex_attention(*qkv, block_mask=block_mask(*case), enable_gqa=kv_heads != H)
    torch.testing.assert_close(attend(*qkv, make_mask(*case, T, dropout=False)), theirs, atol=1e-5, rtol=0)


@needs_compiler
@pytest.mark.filterwarnings("ignore")  # of the compiler
def test_a_block_mask_is_attended_to_by_the_compiled_kernel() -> None:
    qkv = random_qkv(2)
    ours = attend(*qkv, block_mask(POSITIONS, PREFIX))
    torch.testing.assert_close(ours, by_hand(*qkv, documents=True, prefix=True), atol=1e-5, rtol=0)


def test_rotary_turns_each_pair_by_position_times_frequency() -> None:
    """By hand for width 4 and base 100: pairs (0, 2) and (1, 3) turn by 1 and by 100^-0.5 = 0.1 a position."""
    cos, sin = rotation(torch.tensor([0, 3]), 4, 100.0)
    turned = rotate(torch.tensor([1.0, 1.0, 0.0, 0.0]).expand(1, 1, 2, 4), cos, sin)[0, 0]
    wanted = [[1, 1, 0, 0], [math.cos(3), math.cos(0.3), math.sin(3), math.sin(0.3)]]
    torch.testing.assert_close(turned, torch.tensor(wanted))


def test_rotary_scores_know_distances_only_even_in_bf16() -> None:
    q, k = torch.randn(2, 64, generator=torch.Generator().manual_seed(0)).bfloat16()

    def score(query: int, key: int) -> float:
        cos, sin = rotation(torch.tensor([query, key]), 64, 10_000.0)
        turned = rotate(torch.stack((q, k))[None, None], cos, sin)[0, 0]
        return float(turned[0].float() @ turned[1].float())

    near, far, other = score(7, 2), score(4007, 4002), score(4007, 4000)
    assert far == pytest.approx(near, abs=0.1)
    assert abs(other - near) > 1


def test_a_cache_grows_and_follows_the_rows_of_a_beam() -> None:
    cache = KeyValueCache()
    assert (cache.length, cache.mask(3)) == (0, None)
    first, second = torch.randn(2, 2, 1, 3, D)
    cache.append(0, first, first)
    keys, values = cache.append(0, second[:, :, :2], second[:, :, :2])
    assert torch.equal(keys, torch.cat((first, second[:, :, :2]), 2))
    assert torch.equal(keys, values)
    assert cache.length == 5
    mask = cache.mask(2)
    assert mask is not None
    assert mask.tolist() == [[True] * 6 + [False], [True] * 7]
    cache.select(torch.tensor([1, 1, 0]))
    assert torch.equal(cache.layers[0][0], keys[[1, 1, 0]])
