"""What test_memory.py launches as ranks: the bytes of all tensors between two micro-batches of a step, as JSON.

usage: memory_cases.py FILE CASE...   (rank variables in the environment; a case is precision,stage,offload)
"""

from __future__ import annotations

import gc
import json
import os
import sys
from pathlib import Path

import tiny_run
import torch

from pretrain.engine import Engine, connect, disconnect
from pretrain.model import build_model

MODEL = {"n_layers": 3, "d_model": 256, "n_heads": 4}  # 2.5 million parameters
BUCKET = 300_000  # no parameter is larger


def storages() -> dict[int, torch.UntypedStorage]:
    """What all tensors that this process can reach are stored in, by address."""
    gc.collect()
    found = [item for item in gc.get_objects() if isinstance(item, torch.Tensor)]
    found += [tensor.grad for tensor in found if tensor.is_leaf and tensor.grad is not None]
    return {tensor.untyped_storage().data_ptr(): tensor.untyped_storage() for tensor in found}


def measure(precision: str, stage: str, offload: str) -> int:
    """Bytes when the second micro-batch of the second step begins: all states are there, and no activations."""
    before = storages()  # held, so that no address is given out again
    zero = {"reduce_bucket_size": BUCKET, "stage3_param_persistence_threshold": 0}
    job = tiny_run.job(
        model=MODEL,
        precision=precision,
        zero_stage=int(stage),
        offload=offload,
        deepspeed={"zero_optimization": zero},
    )
    engine = Engine(build_model(job), job, torch.device("cpu"))
    tokens = torch.zeros(1, tiny_run.CONTEXT, dtype=torch.int64)
    sizes: list[int] = []

    def measure_now(module: torch.nn.Module, inputs: object) -> None:
        sizes.append(sum(storage.nbytes() for address, storage in storages().items() if address not in before))

    engine.model.register_forward_pre_hook(measure_now, prepend=True)  # before stage 3 gathers weights
    for _ in range(2):
        engine.train_step([(tokens, tokens, None, None)] * 2, lr=0.001, targets=engine.ranks * 2 * tokens.numel())
    return sizes[-1]


if __name__ == "__main__":
    torch.set_num_threads(1)
    out, rank, world_size = Path(sys.argv[1]), int(os.environ["RANK"]), int(os.environ["WORLD_SIZE"])
    connect(rank=rank, local_rank=rank, world_size=world_size, timeout_minutes=10)
    results = {case: measure(*case.split(",")) for case in sys.argv[2:]}
    if rank == 0:
        out.write_text(json.dumps(results))
    disconnect()
