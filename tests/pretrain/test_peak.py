"""Proves that a GPU's name finds its own data sheet, and that what a CPU can do is found by doing it."""

from __future__ import annotations

import pytest
import torch

from pretrain.peak import gpu_peak, peak_flops


@pytest.mark.parametrize(
    ("name", "bf16", "fp32"),
    [
        ("NVIDIA H200", 989e12, 67e12),
        ("NVIDIA H200 NVL", 835e12, 60e12),
        ("NVIDIA H100 80GB HBM3", 989e12, 67e12),
        ("NVIDIA H100 PCIe", 756e12, 51e12),
        ("NVIDIA GH200 480GB", 989e12, 67e12),
        ("NVIDIA A100-SXM4-80GB", 312e12, 19.5e12),
        ("NVIDIA A100 80GB PCIe", 312e12, 19.5e12),
        ("NVIDIA A10", 125e12, 31.2e12),
        ("Tesla V100-SXM2-16GB", 125e12, 15.7e12),
        ("NVIDIA RTX A1000", None, None),  # neither an A10 nor an A100
        ("NVIDIA H20", None, None),
    ],
)
def test_names_as_cuda_gives_them(name: str, bf16: float | None, fp32: float | None) -> None:
    assert gpu_peak(name, "bf16") == gpu_peak(name, "fp16") == bf16
    assert gpu_peak(name, "fp32") == fp32


def test_a_cpus_peak_is_a_number_that_a_cpu_can_have() -> None:
    found = peak_flops(torch.device("cpu"), "fp32")
    assert found is not None and 1e8 < found < 1e15
