"""What one rank keeps in memory, by the bytes of its tensors, for every ZeRO stage. Standard library only.

Counted in the tensors of DeepSpeed 0.19.8 (tests/pretrain/test_memory.py does it again). N is all parameters, with
the rows that pad the vocabulary; ZeRO's own padding to equal shares, a few numbers a rank, is left out.
"""

from __future__ import annotations

REDUCE_BUCKET = 500_000_000  # gradients gathered before they are summed over ranks, at most: DeepSpeed's default
FRAGMENT_BYTES = 12  # a parameter in a checkpoint: fp32 weight and two moments
GATHERED = 500_000_000  # weights stage 3 holds whole at most: half of its default stage3_max_reuse_distance
WEIGHT_BYTES = {"fp32": 4, "bf16": 2, "fp16": 2}


def reduce_bucket(parameters: int) -> int:
    """DeepSpeed's `reduce_bucket_size`: its default would hold 2 GB for the smallest model."""
    return min(REDUCE_BUCKET, parameters)


def state_bytes(
    parameters: int, *, precision: str, zero_stage: int, ranks: int, offload: str = "none"
) -> dict[str, int]:
    """Bytes of weights, gradients and optimizer states on a rank's device, and of what it offloads to the "host".

    - Weights take 4 bytes in fp32, else 2; stage 3 keeps 1 / ranks of them.
    - AdamW keeps two fp32 moments, 8 bytes. Stages 1 to 3 add an fp32 copy of the weights, 4 bytes, in fp32 too; all
      12 are shared by the ranks.
    - Gradients are what one micro-batch leaves to the next: sums in fp32, of which stages 2 and 3 keep 1 / ranks.
      Stage 1 in bf16 (DeepSpeed's BF16_Optimizer) keeps the bf16 ones beside.

    GPT-2 small on 8 ranks, 2 + 6 + 12 / 8 bytes a parameter:

    >>> state_bytes(124_475_904, precision="bf16", zero_stage=1, ranks=8)
    {'weights': 248951808, 'gradients': 746855424, 'optimizer': 186713856, 'host': 0}
    """
    share, weight = parameters / ranks, WEIGHT_BYTES[precision]
    weights = weight * (share if zero_stage == 3 else parameters)
    gradients = 4 * (share if zero_stage >= 2 else parameters)
    optimizer = 12 * share if zero_stage else 8.0 * parameters
    host = 0.0
    if is_bf16_optimizer(precision, zero_stage, offload):
        gradients += weight * parameters
    if offload != "none":
        # the optimizer also wants gradients and, at stages 1 and 2, a place to make 16-bit weights
        host, optimizer = optimizer + 4 * share + (0 if zero_stage == 3 else weight * share), 0.0
        if zero_stage >= 2:
            host, gradients = host + gradients, 0.0
    if offload == "parameters":
        host, weights = host + weights, 0.0
    sizes = {"weights": weights, "gradients": gradients, "optimizer": optimizer, "host": host}
    return {name: round(size) for name, size in sizes.items()}


def is_bf16_optimizer(precision: str, zero_stage: int, offload: str) -> bool:
    """Whether DeepSpeed takes its BF16_Optimizer, which shares nothing but the optimizer's states."""
    return precision == "bf16" and zero_stage == 1 and offload == "none"


def buffer_bytes(
    parameters: int, *, precision: str, zero_stage: int, offload: str = "none", bucket: int | None = None
) -> int:
    """Bytes of DeepSpeed's own buffers on a rank's device.

    The bucket of `bucket` gradients (None: `reduce_bucket`) in which they travel to the other ranks; and at stage 3 the
    whole weights of the layers at work, which it does not let go before the backward pass wants them again when that is
    near.
    """
    if zero_stage == 0 or is_bf16_optimizer(precision, zero_stage, offload):
        return 0
    weight = WEIGHT_BYTES[precision]
    size = (4 if zero_stage == 1 else weight) * (reduce_bucket(parameters) if bucket is None else bucket)
    return size + (weight * min(parameters, GATHERED) if zero_stage == 3 else 0)


def snapshot_bytes(parameters: int, *, ranks: int) -> int:
    """Bytes of a rank's host memory for the copy of its part that is saved while training goes on."""
    return round(FRAGMENT_BYTES * parameters / ranks)
