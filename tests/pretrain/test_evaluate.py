"""Proves the scores of held-out text against transformers on the same windows."""

from __future__ import annotations

import math
from itertools import pairwise
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
import tiny_run
import torch
import torch.nn.functional as F
from tokenizer_file import write_tokenizer
from transformers import GPT2LMHeadModel

from data_prep.files import UserError
from pretrain.checkpoint import Checkpoint, CheckpointStore
from pretrain.evaluate import evaluate
from pretrain.export import export
from pretrain.fragments import WEIGHT, Piece, header, read_full, values
from pretrain.model import build_model
from pretrain.snapshot import live
from pretrain.weights import find_checkpoint, load_model


def save_initial_model(run: Path) -> Checkpoint:
    """A published checkpoint of the untrained model, written as one rank would."""
    job = tiny_run.job(ranks=1)
    store = CheckpointStore(run / "pretrain/checkpoints", job)
    state = build_model(job).state_dict()
    pieces = {name: Piece(0, {WEIGHT: tensor.flatten()}) for name, tensor in state.items()}
    parts = [header(pieces, {name: list(tensor.shape) for name, tensor in state.items()}), *live(values(pieces))]
    store.publish(5, {"val_loss": None}, [store.write(5, 0, parts)])
    return store.at(5)


def held_out(run: Path, source: str) -> tuple[npt.NDArray[np.int64], list[npt.NDArray[np.int64]]]:
    """A source's ids, and its windows of 64 inputs and the target after the last; an end-of-text is in front."""
    ids = np.fromfile(run / f"tokens/val/{source}-00000.bin", dtype=np.uint16).astype(np.int64)
    line = np.concatenate([[tiny_run.END_OF_TEXT], ids])
    return ids, [line[start : start + 65] for start in range(0, len(ids), 64)]


@torch.no_grad()
def nats_of(model: GPT2LMHeadModel, window: npt.NDArray[np.int64]) -> float:
    """Of all tokens but the first, each given those before it."""
    ids = torch.from_numpy(window)
    return float(F.cross_entropy(model(ids[None, :-1]).logits[0], ids[1:], reduction="sum"))


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_run.make_run(tmp_path_factory.mktemp("run"), tiny_run.job(ranks=1))


def test_bits_per_byte_is_the_loss_of_transformers_model_over_the_documents_bytes(run: Path) -> None:
    checkpoint = save_initial_model(run)
    job = tiny_run.job(ranks=1)
    model = load_model(job, find_checkpoint(job, run / "pretrain/checkpoints"))
    found = evaluate(job, model, run / "tokens/val")

    export(read_full(checkpoint.files), job, write_tokenizer(run / "tokenizer.json"), run / "hf")
    model = GPT2LMHeadModel.from_pretrained(run / "hf").eval()
    nats, tokens, size = 0.0, 0, 0
    for source in ("web", "papers"):
        ids, windows = held_out(run, source)
        nats += sum(nats_of(model, window) for window in windows)
        tokens += len(ids)
        # tiny_run gives every document 4 bytes a token, end-of-text aside
        size += 4 * int((ids != tiny_run.END_OF_TEXT).sum())
    assert found["tokens"] == tokens and found["bytes"] == size
    assert found["loss"] == pytest.approx(nats / tokens, rel=1e-6)
    assert found["perplexity"] == pytest.approx(math.exp(nats / tokens), rel=1e-5)
    assert found["bits_per_byte"] == pytest.approx(nats / math.log(2) / size, rel=1e-6)
    assert sum(scores["tokens"] for scores in found["sources"].values()) == tokens


def test_with_a_document_mask_each_document_is_scored_alone(run: Path) -> None:
    job = tiny_run.job(ranks=1, document_mask=True)
    ours = build_model(job).eval()
    found = evaluate(job, ours, run / "tokens/val")

    export(ours.state_dict(), job, write_tokenizer(run / "tokenizer.json"), run / "masked")
    model = GPT2LMHeadModel.from_pretrained(run / "masked").eval()
    for source in ("web", "papers"):
        ids, windows = held_out(run, source)
        nats = 0.0
        for window in windows:
            begins = [0, *(1 + np.flatnonzero(window[1:-1] == tiny_run.END_OF_TEXT)), len(window) - 1]
            nats += sum(nats_of(model, window[low : high + 1]) for low, high in pairwise(begins))
        assert found["sources"][source]["loss"] == pytest.approx(nats / len(ids), rel=1e-6)


def test_without_a_checkpoint_it_says_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"no checkpoint in .*; train first: text2lm run CONFIG"):
        find_checkpoint(tiny_run.job(), tmp_path)
