"""Proves of every kind of model: who sees whom, packed as if alone, cached as if whole, padded as if not."""

from __future__ import annotations

import math

import pytest
import tiny_run
import torch
from tiny_models import FAMILY, TINY, VOCAB, assert_same, gradients, needs_compiler, random_model, random_tokens
from torch import Tensor

from pretrain.architecture import ModelSettings
from pretrain.attention import KeyValueCache
from pretrain.model import GPT, build_model, sinusoids

every_kind = pytest.mark.parametrize("kind", FAMILY)


@every_kind
def test_a_later_token_cannot_change_an_earlier_logit(kind: str) -> None:
    model = random_model(**FAMILY[kind])
    tokens, _ = random_tokens()
    changed = tokens.clone()
    changed[:, 20:] = (changed[:, 20:] + 1) % VOCAB
    before, after = model(tokens), model(changed)
    assert torch.equal(before[:, :20], after[:, :20])
    assert not torch.equal(before[:, 20:], after[:, 20:])


@every_kind
def test_packed_documents_train_as_if_each_stood_alone(kind: str) -> None:
    """Two rows of documents, the second filled up with padding; the gradients are the documents' sum."""
    model = random_model(**FAMILY[kind])
    lengths, padding = ((10, 1, 21), (7, 20)), 5
    tokens, targets = (x.clone() for x in random_tokens(rows=2))
    targets[1, -padding:] = -100
    counts = (lengths[0], (*lengths[1], padding))
    positions = torch.stack([torch.cat([torch.arange(n) for n in row]) for row in counts])
    losses, packed = gradients(model, tokens=tokens, targets=targets, positions=positions)

    alone = {name: torch.zeros_like(tensor) for name, tensor in packed.items()}
    nll = 0.0
    for row, row_lengths in enumerate(lengths):
        ends = torch.tensor(row_lengths).cumsum(0).tolist()
        for end, length in zip(ends, row_lengths, strict=True):
            piece = slice(end - length, end)
            one, gradient = gradients(model, tokens=tokens[row : row + 1, piece], targets=targets[row : row + 1, piece])
            nll += float(one.nll)
            alone = {name: tensor + gradient[name] for name, tensor in alone.items()}
    assert float(losses.nll) == pytest.approx(nll, rel=1e-6)
    count = sum(map(sum, lengths))
    assert_same({name: t / count for name, t in packed.items()}, {name: t / count for name, t in alone.items()})


def test_a_prefix_is_read_both_ways_and_the_rest_is_not() -> None:
    model = random_model()
    tokens, _ = random_tokens(rows=2)
    prefix = torch.tensor([10, 0])
    before = model(tokens, prefix=prefix)
    for changed_at, seen_from in ((9, 0), (10, 10)):  # the last token of the first row's prefix, and the next one
        changed = tokens.clone()
        changed[0, changed_at] = (changed[0, changed_at] + 1) % VOCAB
        after = model(changed, prefix=prefix)
        same = (before == after).all(-1)[0].tolist()
        assert same == [at < seen_from for at in range(32)]
        assert torch.equal(before[1], after[1])
    torch.testing.assert_close(before[1], model(tokens)[1])  # no prefix: plain causal


@every_kind
def test_cached_logits_equal_those_of_the_whole_text(kind: str) -> None:
    model = random_model(**FAMILY[kind])
    tokens, _ = random_tokens(rows=2)
    whole = model(tokens)
    cache = KeyValueCache()
    pieces = [model(piece, cache=cache) for piece in tokens.split([5, 1, 1, 4, *[1] * 21], dim=1)]
    assert cache.length == 32
    torch.testing.assert_close(torch.cat(pieces, 1), whole, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("tied", [True, False])
def test_rows_that_pad_the_vocabulary_change_nothing(tied: bool) -> None:
    padded, plain = (random_model(pad_vocab_to=pad, tied_embeddings=tied) for pad in (128, 1))
    matrices = ["embedding.weight"] if tied else ["embedding.weight", "head.weight"]
    state = padded.state_dict()
    assert all(len(state[name]) == 384 for name in matrices)
    plain.load_state_dict(state | {name: state[name][:VOCAB] for name in matrices})
    tokens, targets = random_tokens()
    assert padded(tokens).shape == (3, 32, VOCAB)
    torch.testing.assert_close(padded(tokens), plain(tokens))
    settings = {"tokens": tokens, "targets": targets, "label_smoothing": 0.1, "z_loss": 1e-2}
    (losses, ours), (wanted, theirs) = gradients(padded, **settings), gradients(plain, **settings)
    torch.testing.assert_close(losses, wanted)
    for name in matrices:
        assert not ours[name][VOCAB:].any()
        ours[name] = ours[name][:VOCAB]
    assert_same(ours, theirs)


@every_kind
def test_a_new_model_knows_nothing(kind: str) -> None:
    """The first loss is that of a guess among all ids."""
    torch.manual_seed(0)
    model = GPT(ModelSettings(**(TINY | FAMILY[kind] | {"embedding_scale": False})), VOCAB)
    tokens, targets = random_tokens()
    assert float(model(tokens, targets).nll) / targets.numel() == pytest.approx(math.log(VOCAB), abs=0.1)


def test_initial_weights_follow_gpt2() -> None:
    """Standard deviation 0.02, and 0.02 / sqrt(2 layers) where a layer writes into the residual stream."""
    state = build_model(tiny_run.job()).state_dict()
    assert float(state["blocks.0.mlp.up.weight"].std()) == pytest.approx(0.02, rel=0.05)
    assert float(state["blocks.1.mlp.out.weight"].std()) == pytest.approx(0.01, rel=0.05)
    assert float(state["blocks.1.attention.out.weight"].std()) == pytest.approx(0.01, rel=0.05)
    assert not state["blocks.0.mlp.up.bias"].any()
    state = build_model(tiny_run.job(model={"scaled_residual_init": False})).state_dict()
    assert float(state["blocks.1.mlp.out.weight"].std()) == pytest.approx(0.02, rel=0.05)


def test_dropout_is_for_training_only() -> None:
    model = random_model(dropout=0.5)
    tokens, _ = random_tokens()
    assert torch.equal(model(tokens), model(tokens))
    torch.testing.assert_close(model(tokens), random_model()(tokens))
    model.train()
    assert not torch.equal(model(tokens), model(tokens))


@every_kind
def test_checkpointing_changes_no_bit(kind: str) -> None:
    model = random_model(**FAMILY[kind], dropout=0.1).train()
    tokens, targets = random_tokens()
    positions = (torch.arange(32) % 12).expand(3, -1)
    results = []
    for model.checkpointing in (False, True):
        torch.manual_seed(5)
        results.append(gradients(model, tokens=tokens, targets=targets, positions=positions))
    assert torch.equal(results[0][0].objective, results[1][0].objective)
    assert all(torch.equal(tensor, results[1][1][name]) for name, tensor in results[0][1].items())


def test_sinusoids_by_hand() -> None:
    """Vaswani et al. 2017: PE(pos, 2i) = sin(pos / 10000^(2i/d)), PE(pos, 2i+1) the cosine of the same."""
    wanted = [[0, 1, 0, 1], [math.sin(3), math.cos(3), math.sin(0.03), math.cos(0.03)]]
    torch.testing.assert_close(sinusoids(torch.tensor([0, 3]), 4), torch.tensor(wanted))


def test_embeddings_are_scaled_before_positions_are_added() -> None:
    model = random_model(position="sinusoidal", embedding_scale=True)
    tokens, _ = random_tokens()
    seen: list[Tensor] = []
    model.blocks[0].register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
    model(tokens)
    wanted = model.embedding.weight[tokens] * 32**0.5 + sinusoids(torch.arange(32), 32)
    torch.testing.assert_close(seen[0], wanted)


@pytest.mark.filterwarnings("ignore")  # of the compiler
@pytest.mark.parametrize(
    ("kind", "backend"),
    [pytest.param("gpt2", "inductor", marks=needs_compiler), ("gpt1", "aot_eager"), ("qwen", "aot_eager")],
)
def test_a_model_compiles_into_one_graph(kind: str, backend: str) -> None:
    """`aot_eager` traces both passes as inductor does, and spares the C++ compiler."""
    model = random_model(**FAMILY[kind], n_layers=1)
    tokens, targets = random_tokens()
    count = targets.numel()
    _, eager = gradients(model, tokens=tokens, targets=targets)
    model.compile(fullgraph=True, backend=backend)
    _, compiled = gradients(model, tokens=tokens, targets=targets)
    assert_same({name: t / count for name, t in compiled.items()}, {name: t / count for name, t in eager.items()})
