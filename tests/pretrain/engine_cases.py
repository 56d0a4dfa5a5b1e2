"""What test_engine.py launches as ranks: several trainings in one process group, their numbers written as JSON.

usage: engine_cases.py DIRECTORY LAUNCH CASE...   (rank variables in the environment)

A case is `function,argument,...`. A `setup` among its arguments is PRECISION-STAGE or PRECISION-STAGE-OPTION. After
its cases a rank writes what they found as results-LAUNCH-RANK.json and waits to be killed: nothing shuts down in order.
"""

from __future__ import annotations

import json
import os
import signal
import sys
from pathlib import Path
from typing import Any

import tiny_run
import torch

from data_prep.files import write_json
from pretrain.engine import Engine, MicroBatch, StepResult, connect
from pretrain.fragments import header, values
from pretrain.model import build_model
from pretrain.settings import TrainingJob

STEPS, SAVED_AT = 20, 10
SMOOTHING, Z_LOSS, CLIP = 0.1, 1e-3, 0.5
OPTIONS = {
    "": {},
    "offload": {"offload": "optimizer"},
    "offload_all": {"offload": "parameters"},
    "checkpointing": {"activation_checkpointing": True},
    "compile": {"compile": True},
}
# Stage 3 keeps small parameters whole on every rank and makes one tensor of a group: not in a model this small
DEEPSPEED: dict[str, Any] = {
    "zero_optimization": {"stage3_param_persistence_threshold": 0, "sub_group_size": 20_000},
    "fp16": {"initial_scale_power": 20, "loss_scale_window": 4},  # goes down, and up again, within a few steps
}


def batch_of(step: int, documents: bool = False) -> MicroBatch:
    """The global batch of a step: 6 or 12 rows of 64. Most ids are rare, so that there is much to learn.

    Some targets are ignored, most of them on the first rank.
    """
    generator = torch.Generator().manual_seed(step)
    rows = (torch.rand(6 * (1 + step % 2), tiny_run.CONTEXT + 1, generator=generator) ** 4 * tiny_run.VOCAB).long()
    tokens, targets = rows[:, :-1], rows[:, 1:].clone()
    targets[0, : 5 * step] = targets[1:, :3] = -100
    positions = torch.cat([torch.arange(40), torch.arange(24)]).repeat(len(tokens), 1) if documents else None
    return tokens, targets, positions, None


def lr_of(step: int) -> float:
    return 0.0005 * (1 + step % 3)  # gentle: a high one makes the last digits of the gradients chaotic


def job_of(ranks: int, setup: str = "fp32-1") -> TrainingJob:
    precision, stage, option = (*setup.split("-"), "")[:3]
    deepspeed = DEEPSPEED if precision == "fp16" else {"zero_optimization": DEEPSPEED["zero_optimization"]}
    return tiny_run.job(
        ranks=ranks,
        deepspeed=deepspeed,
        precision=precision,
        zero_stage=int(stage),
        grad_clip=CLIP,
        label_smoothing=SMOOTHING,
        z_loss=Z_LOSS,
        **OPTIONS[option],
    )


def build(ranks: int, setup: str) -> Engine:
    job = job_of(ranks, setup)
    return Engine(build_model(job), job, torch.device("cpu"))


def step_of(engine: Engine, step: int, documents: bool = False) -> StepResult:
    """One step on this rank's rows of the global batch, at most 4 at a time."""
    batch = batch_of(step, documents)
    share = len(batch[0]) // engine.ranks
    parts = [None if field is None else field[engine.rank * share :][:share].split(4) for field in batch]
    micro_batches = [tuple(part and part[i] for part in parts) for i in range(-(-share // 4))]
    targets = sum(int((wanted >= 0).sum()) for _, wanted, _, _ in micro_batches)
    return engine.train_step(micro_batches, lr=lr_of(step), targets=engine.sum_over_ranks([targets])[0])


def train(engine: Engine, first: int, last: int, documents: bool = False) -> list[StepResult]:
    return [step_of(engine, step, documents) for step in range(first, last)]


def save(engine: Engine, directory: Path) -> None:
    directory.mkdir(exist_ok=True)
    share = engine.share()
    contents = header(share, engine.shapes) + b"".join(view.numpy().tobytes() for view in values(share))
    (directory / f"rank-{engine.rank:05d}.safetensors").write_bytes(contents)
    (directory / "state.json").write_text(json.dumps(engine.state()))
    engine.barrier()


def load(engine: Engine, directory: Path) -> None:
    engine.load(sorted(directory.glob("*.safetensors")), json.loads((directory / "state.json").read_text()))


def fresh(directory: Path, ranks: int, setup: str) -> None:
    """A checkpoint before the first step."""
    save(build(ranks, setup), directory / f"fresh-{setup}")


def from_scratch(directory: Path, ranks: int, setup: str) -> Any:
    engine = build(ranks, setup)
    name = f"{setup}-of-{ranks}"
    results = train(engine, 0, SAVED_AT)
    save(engine, directory / name)
    results += train(engine, SAVED_AT, STEPS)
    save(engine, directory / f"{name}-end")
    return results


def resumed(directory: Path, ranks: int, setup: str, saved: str) -> Any:
    """Go on from the checkpoint `saved`. What was loaded is saved at once, to be compared, and what comes of it too."""
    engine = build(ranks, setup)
    name = f"{setup}-of-{ranks}-from-{saved}"
    load(engine, directory / saved)
    save(engine, directory / name)
    results = train(engine, SAVED_AT, STEPS)
    save(engine, directory / f"{name}-end")
    return results


def optimizer(directory: Path, ranks: int, setup: str, saved: str) -> Any:
    """What AdamW has after a load: the memory of every master's `step`, and every group's weight decay."""
    engine = build(ranks, setup)
    load(engine, directory / saved)
    steps = [engine._adamw.state[master]["step"] for master in engine._layout.masters()]
    return {
        "steps": [step.item() for step in steps],
        "memory": [step.data_ptr() for step in steps],
        "weight_decay": [group["weight_decay"] for group in engine._adamw.param_groups],
    }


def planted(directory: Path, ranks: int, setup: str, saved: str, bug: str) -> Any:
    """Go on from a checkpoint as DeepSpeed's own loading does at stage 3."""
    engine = build(ranks, setup)
    load(engine, directory / saved)
    if bug == "shared_step":
        masters = engine._layout.masters()
        for master in masters:
            engine._adamw.state[master]["step"] = engine._adamw.state[masters[0]]["step"]
    else:  # "first_weight_decay"
        for group in engine._adamw.param_groups:
            group["weight_decay"] = engine._adamw.param_groups[0]["weight_decay"]
    return train(engine, SAVED_AT, STEPS)


def with_documents(directory: Path, ranks: int, setup: str) -> Any:
    return train(build(ranks, setup), 0, SAVED_AT, documents=True)


def poisoned(directory: Path, ranks: int, setup: str) -> Any:
    """Two bad steps between the third and the fourth: on rank 0 activations turn to nan, then the loss alone to inf."""
    engine = build(ranks, setup)
    results = train(engine, 0, 3)
    save(engine, directory / f"before-{setup}")
    skipped = []
    for module, poison in (
        (engine.model.blocks[1], lambda module, inputs, output: output * float("nan")),
        (engine.model, lambda module, inputs, output: output._replace(objective=output.objective + float("inf"))),
    ):
        hook = module.register_forward_hook(poison) if engine.rank == 0 else None
        skipped.append(step_of(engine, 3))
        if hook:
            hook.remove()
    save(engine, directory / f"after-{setup}")
    return {"skipped": skipped, "others": results + train(engine, 3, 8)}


def looked_at(directory: Path, ranks: int, setup: str) -> Any:
    """The validation loss in the middle of a training, and what comes after it."""
    engine = build(ranks, setup)
    results = train(engine, 0, 4)
    tokens, targets, _, _ = batch_of(100)
    engine.model.eval()
    with torch.no_grad():
        nats = engine.model(tokens, targets).nll.item()
        logits = engine.model(tokens)
    engine.model.train()
    from_logits = torch.nn.functional.cross_entropy(logits.flatten(0, 1).float(), targets.flatten(), reduction="sum")
    return {"nats": nats, "from_logits": from_logits.item(), "others": results + train(engine, 4, 8)}


def memory(directory: Path, ranks: int) -> Any:
    """What the engine says of this process's peak, and what it holds plus a gigabyte that came and went, in bytes."""
    engine = build(ranks, "fp32-1")
    pages = int(Path("/proc/self/statm").read_text().split()[1])  # in memory now
    torch.ones(250_000_000)
    return [engine.memory_bytes(), pages * os.sysconf("SC_PAGE_SIZE") + 1_000_000_000]


if __name__ == "__main__":
    torch.set_num_threads(1)
    out, rank, world_size = Path(sys.argv[1]), int(os.environ["RANK"]), int(os.environ["WORLD_SIZE"])
    connect(rank=rank, local_rank=rank, world_size=world_size, timeout_minutes=10)
    results = {}
    for case in sys.argv[3:]:
        name, *arguments = case.split(",")
        results[case] = globals()[name](out, world_size, *arguments)
    write_json(out / f"results-{sys.argv[2]}-{rank}.json", results)
    signal.pause()
