"""A run directory small enough to train in seconds: two sources of synthetic documents, a 2-layer model."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
from tokenizer_file import write_tokenizer

from data_prep.files import write_json
from data_prep.tokens import DocumentRow, TokenWriter
from pretrain.architecture import ModelSettings
from pretrain.settings import CheckpointSettings, TrainingJob, TrainSettings, WandbSettings

ROOT = Path(__file__).resolve().parents[2]
VOCAB, END_OF_TEXT, CONTEXT = 300, 299, 64


def job(
    *,
    ranks: int = 2,
    every_steps: int = 5,
    wandb: str = "disabled",
    key: str = "k",
    model: dict[str, Any] | None = None,
    deepspeed: dict[str, Any] | None = None,
    checkpoint: dict[str, Any] | None = None,
    **train: Any,
) -> TrainingJob:
    """20 steps of 16 samples of 64 tokens; `model`, `checkpoint` and the keywords change the
    `[model]`, `[checkpoint]` and `[train]` tables."""
    shape: dict[str, Any] = {"context_length": CONTEXT, "n_layers": 2, "n_heads": 2, "d_model": 64}
    settings: dict[str, Any] = {
        "tokens": 20 * 1024,
        "global_batch_tokens": 1024,
        "micro_batch_size": 4,
        "lr": 3e-3,
        "warmup_steps": 4,
        "precision": "fp32",
        "validate_every_steps": 10,
    }
    return TrainingJob(
        key=key,
        seed=1,
        ranks=ranks,
        vocab_size=VOCAB,
        end_of_text=END_OF_TEXT,
        sources={"web": 3.0, "papers": 1.0},
        dataset="synthetic",
        model=ModelSettings(**(shape | (model or {}))),
        train=TrainSettings(**(settings | train)),
        checkpoint=CheckpointSettings(**({"every_steps": every_steps} | (checkpoint or {}))),
        wandb=WandbSettings(mode=wandb),
        deepspeed=deepspeed or {},
    )


def write_tokens(directory: Path, source: str, documents: int, seed: int) -> None:
    """Documents with something to learn: each counts upwards from a random id, with some noise."""
    directory.mkdir(parents=True, exist_ok=True)
    random = np.random.default_rng(seed)
    with TokenWriter(directory / f"{source}-00000", VOCAB) as writer:
        for number in range(documents):
            length = int(random.integers(5, 150))
            ids = (random.integers(0, 299) + np.arange(length) + (random.random(length) < 0.1)) % 299
            ids = np.append(ids, END_OF_TEXT)
            writer.add(ids, DocumentRow(f"{source}:{number}", size_bytes=4 * length))


def make_run(run: Path, training: TrainingJob) -> Path:
    for split, documents in (("train", 300), ("val", 40)):
        write_tokens(run / "tokens" / split, "web", documents, seed=len(split))
        write_tokens(run / "tokens" / split, "papers", documents // 2, seed=len(split) + 10)
    (run / "tokenizer").mkdir()
    write_tokenizer(run / "tokenizer" / "tokenizer.json")
    write_json(run / "pretrain" / "started.json", training.to_json())
    return run


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


TORCHRUN = ("RANK", "LOCAL_RANK", "WORLD_SIZE", "LOCAL_WORLD_SIZE")
SRUN = ("SLURM_PROCID", "SLURM_LOCALID", "SLURM_NTASKS", "SLURM_NTASKS_PER_NODE")


class Ranks:
    """Processes that run `python ARGUMENTS` as ranks 0 .. count - 1, told so by `variables` (none: by nothing)."""

    def __init__(self, count: int, *arguments: str, variables: tuple[str, ...] = TORCHRUN) -> None:
        common = os.environ | {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(free_port()), "OMP_NUM_THREADS": "1"}
        self.processes = [
            subprocess.Popen(
                [sys.executable, *arguments],
                cwd=ROOT,
                env=common | dict(zip(variables, map(str, (rank, rank, count, count)), strict=False)),
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                text=True,
            )
            for rank in range(count)
        ]

    def send(self, number: signal.Signals) -> None:
        for process in self.processes:
            process.send_signal(number)

    def wait(self, timeout: float = 180) -> list[tuple[int, str, str]]:
        """(exit code, standard output, standard error) of each."""
        results = []
        for process in self.processes:
            out, err = process.communicate(timeout=timeout)
            results.append((process.returncode, out, err))
        return results
