"""What this rank's device could multiply at best: the denominator of model FLOPs utilisation (MFU)."""

from __future__ import annotations

import time
from typing import NamedTuple

import torch


class Peak(NamedTuple):
    """TFLOP/s of dense matrix products; data sheets like to print twice the first, for matrices half of zeros."""

    tensor_cores: float  # bf16 and fp16 alike, with sums in fp32
    fp32: float  # true fp32: torch leaves TF32 off


# By words of the device's name, from NVIDIA's data sheet of each. For Blackwell: of HGX B200, and of GB200 NVL72
GPU_PEAKS = {
    "GB200": Peak(2500, 80),
    "B200": Peak(2250, 75),
    "GH200": Peak(989, 67),
    "H200": Peak(989, 67),
    "H200 NVL": Peak(835, 60),
    "H100": Peak(989, 67),
    "H100 NVL": Peak(835, 60),
    "H100 PCIe": Peak(756, 51),
    "A100": Peak(312, 19.5),
    "A40": Peak(149.7, 37.4),
    "A30": Peak(165, 10.3),
    "A10": Peak(125, 31.2),
    "L40S": Peak(362, 91.6),
    "L40": Peak(181, 90.5),
    "L4": Peak(121, 30.3),
    "V100": Peak(125, 15.7),
    "T4": Peak(65, 8.1),
}
MATRIX = 1024
REPEATS = 8


def peak_flops(device: torch.device, precision: str) -> float | None:
    """FLOP/s of matrix products in `precision`; None where it is not known.

    On a CPU nobody states it, so it is measured: the best of a few products of 1024 x 1024 matrices (<0.5 s).
    """
    if device.type == "cuda":
        return gpu_peak(torch.cuda.get_device_name(device), precision)
    a = torch.ones(MATRIX, MATRIX, dtype=torch.bfloat16 if precision == "bf16" else torch.float32)
    seconds = []
    for _ in range(REPEATS):
        start = time.perf_counter()
        a @ a
        seconds.append(time.perf_counter() - start)
    return 2 * MATRIX**3 / min(seconds)


def gpu_peak(name: str, precision: str) -> float | None:
    """FLOP/s of a GPU by the name that CUDA gives it.

    >>> gpu_peak("NVIDIA H100 PCIe", "bf16"), gpu_peak("NVIDIA H100 80GB HBM3", "bf16"), gpu_peak("NVIDIA H20", "bf16")
    (756000000000000.0, 989000000000000.0, None)
    """
    words = set(name.replace("-", " ").split())
    known = [key for key in GPU_PEAKS if words.issuperset(key.split())]
    if not known:
        return None
    peak = GPU_PEAKS[max(known, key=len)]
    return 1e12 * (peak.fp32 if precision == "fp32" else peak.tensor_cores)


def gpu_here(precision: str) -> tuple[str, float] | None:
    """Name and FLOP/s of this machine's first GPU; None without one that is known."""
    if not torch.cuda.is_available():
        return None
    name = torch.cuda.get_device_name(0)
    peak = gpu_peak(name, precision)
    return (name, peak) if peak else None
