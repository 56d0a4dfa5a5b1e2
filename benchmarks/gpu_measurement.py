"""One measurement of gpu_training.py, in a process of its own: DeepSpeed changes globals, and memory is to be fresh.

usage: gpu_measurement.py MEASUREMENT MICRO_BATCH full|smoke   (a Measurement as JSON; the answer, too, is a line of it)
"""

from __future__ import annotations

import gc
import json
import os
import statistics
import sys
import tempfile
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from gpu_training import Measurement, training_job
from plain_loop import PlainLoop
from training_speed import STEPS, WARM, make_run

from pretrain.batches import Loader, TrainingData
from pretrain.checkpoint import CheckpointStore
from pretrain.cost import flops_per_token
from pretrain.engine import Engine, connect
from pretrain.fragments import header, values
from pretrain.loop import on_device
from pretrain.model import build_model
from pretrain.peak import peak_flops
from pretrain.settings import TrainingJob
from pretrain.snapshot import live

MOST_SAMPLES, MEMORY_SHARE = 128, 0.9  # the micro-batch that fits leaves room for the contenders' differences
SAVED_AT, RESUMED_STEPS = 2, 3


def answer(asked: Measurement, micro_batch: int, smoke: bool) -> dict[str, Any]:
    training = training_job(asked, micro_batch, smoke)
    os.environ["LOCAL_RANK"] = "0"  # DeepSpeed looks for it there
    device = connect(rank=0, local_rank=0, world_size=1, timeout_minutes=10)
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else "cpu"
    with tempfile.TemporaryDirectory() as directory:
        make_run(Path(directory), training)
        try:
            if asked.contender == "search":
                found = search(training, device)
            elif asked.contender == "resume":
                found = resume(training, device, Path(directory))
            else:
                found = speed(asked, training, device, Path(directory))
        except torch.OutOfMemoryError:
            found = {"out_of_memory": True}
    return {"device": name, "micro_batch": micro_batch} | found


def speed(asked: Measurement, training: TrainingJob, device: torch.device, run: Path) -> dict[str, Any]:
    """The median step of one contender, batches read and staged as `text2lm run` does it."""
    peak = peak_flops(device, "bf16")
    contender: Any
    if asked.contender == "ours":
        contender = Engine(build_model(training), training, device)
    else:
        contender = PlainLoop(training, device)
        if asked.compile == "parts":
            contender.model.compile_parts()
        elif asked.compile == "whole":
            contender.model.compile()
    gc.collect()
    gc.disable()  # as the training loop does
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
    seconds = []
    with Loader(TrainingData(training, run / "tokens" / "train"), 0, 1, 0, STEPS) as loader:
        start = time.perf_counter()
        for _, batches in loader:
            targets = training.train.global_batch_tokens
            result = contender.train_step(on_device(batches, device), lr=1e-4, targets=targets)  # waits for the device
            seconds.append(time.perf_counter() - start)
            start = time.perf_counter()
    tokens, median = training.train.global_batch_tokens, statistics.median(seconds[WARM:])
    return {
        "seconds": median,
        "tokens": tokens,
        "tokens_per_second": tokens / median,
        "mfu": peak and tokens / median * flops_per_token(training.model, training.vocab_size) / peak,
        "peak_bytes": torch.cuda.max_memory_allocated(device) if device.type == "cuda" else None,
        "first_step_seconds": seconds[0],  # compiling, mostly
        "loss": result.loss if asked.contender == "ours" else result,
    }


def search(training: TrainingJob, device: torch.device) -> dict[str, Any]:
    """The largest micro-batch, a power of two, that fits without torch.compile (which saves memory) at this stage."""
    engine = Engine(build_model(training), training, device)
    on_gpu = device.type == "cuda"
    room = MEMORY_SHARE * torch.cuda.get_device_properties(device).total_memory if on_gpu else float("inf")
    size, fits = 1, 0
    while size <= (MOST_SAMPLES if on_gpu else 4):
        tokens = torch.zeros(size, training.model.context_length, dtype=torch.int64, device=device)
        try:
            engine.train_step([(tokens, tokens, None, None)], lr=0.0, targets=tokens.numel())
        except torch.OutOfMemoryError:
            break
        if on_gpu and torch.cuda.max_memory_allocated(device) > room:
            break
        size, fits = 2 * size, size
    if fits == 0:
        raise torch.OutOfMemoryError("not even one sample fits")
    return {"micro_batch": fits}


def resume(training: TrainingJob, device: torch.device, run: Path) -> dict[str, Any]:
    """Whether a fresh engine that loads a checkpoint has the next losses and gradient norms of the one that saved it.

    With deterministic kernels: flash attention's backward pass adds up in any order else, in every run anew.
    """
    os.environ["CUBLAS_WORKSPACE_CONFIG"] = ":4096:8"  # what cuBLAS wants for it
    torch.use_deterministic_algorithms(True, warn_only=True)
    data, targets = TrainingData(training, run / "tokens" / "train"), training.train.global_batch_tokens

    def steps(engine: Engine, first: int, count: int) -> list[tuple[float, float]]:
        results = [
            engine.train_step(on_device(data.micro_batches(step), device), lr=1e-4, targets=targets)
            for step in range(first, first + count)
        ]
        return [(result.loss, result.grad_norm) for result in results]

    engine = Engine(build_model(training), training, device)
    steps(engine, 0, SAVED_AT)
    store = CheckpointStore(run / "checkpoints", training)
    share = engine.share()
    store.write(SAVED_AT, 0, [header(share, engine.shapes), *live(values(share))])
    state = engine.state()
    wanted = steps(engine, SAVED_AT, RESUMED_STEPS)
    del engine
    fresh = Engine(build_model(replace(training, seed=training.seed + 1)), training, device)
    fresh.load([store.rank_file(SAVED_AT, 0)], state)
    found = steps(fresh, SAVED_AT, RESUMED_STEPS)
    return {"equal": found == wanted, "wanted": wanted, "found": found}


if __name__ == "__main__":
    measurement = Measurement(**json.loads(sys.argv[1]))
    print(json.dumps(answer(measurement, int(sys.argv[2]), smoke=sys.argv[3] == "smoke")))
