"""What this rank's device could multiply at best: the denominator of model FLOPs utilisation (MFU)."""

from __future__ import annotations

import time

import torch

# Dense bf16 tensor-core FLOP/s, from NVIDIA's data sheets
GPU_PEAKS = {"H200": 989e12, "H100": 989e12, "A100": 312e12, "L40S": 362e12, "A10": 125e12}
MATRIX = 1024
REPEATS = 8


def peak_flops(device: torch.device, precision: str) -> float | None:
    """FLOP/s of matrix products in `precision`; None where it is not known.

    On a CPU nobody states it, so it is measured: the best of a few products of 1024 x 1024 matrices (<0.5 s).
    """
    if device.type == "cuda":
        name = torch.cuda.get_device_name(device)
        known = [peak for key, peak in GPU_PEAKS.items() if key in name]
        return known[0] if known and precision == "bf16" else None
    a = torch.ones(MATRIX, MATRIX, dtype=torch.bfloat16 if precision == "bf16" else torch.float32)
    seconds = []
    for _ in range(REPEATS):
        start = time.perf_counter()
        a @ a
        seconds.append(time.perf_counter() - start)
    return 2 * MATRIX**3 / min(seconds)
