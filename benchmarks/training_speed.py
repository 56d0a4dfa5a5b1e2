"""Training speed side by side: ours, a plain-torch loop of the same model, and HF Trainer with DeepSpeed.

python benchmarks/training_speed.py [--ranks 1] [--rounds 3] [--precision fp32 bf16] [--zero-stage 1]

Same model (6 layers of width 256, 8,192 ids), same batch (8,192 tokens, 8 samples of 256 at a time), same precision,
same number of processes; each contender is a program of its own and they take turns. Prints each one's median step and
the ratios. Needs `pip install accelerate transformers`.
"""

from __future__ import annotations

import argparse
import json
import os
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from data_prep.files import read_json_lines, write_json
from data_prep.tokens import DocumentRow, TokenWriter
from pretrain.architecture import ModelSettings
from pretrain.settings import CheckpointSettings, TrainingJob, TrainSettings, WandbSettings

ROOT = Path(__file__).parents[1]
VOCAB, CONTEXT, MICRO, BATCH = 8192, 256, 8, 8192
STEPS, WARM = 14, 4  # the first steps are not counted
PLAIN_RANKS = 1  # a plain loop is one process


def job(precision: str, ranks: int, zero_stage: int) -> TrainingJob:
    return TrainingJob(
        key="benchmark",
        seed=1,
        ranks=ranks,
        vocab_size=VOCAB,
        end_of_text=0,
        sources={"text": 1.0},
        dataset="random",
        model=ModelSettings(context_length=CONTEXT, n_layers=6, n_heads=4, d_model=256),
        train=TrainSettings(
            tokens=STEPS * BATCH,
            global_batch_tokens=BATCH,
            micro_batch_size=MICRO,
            warmup_steps=4,
            precision=precision,
            zero_stage=zero_stage,
            validate_every_steps=10**9,
            sample_tokens=0,
        ),
        checkpoint=CheckpointSettings(every_steps=10**9),
        wandb=WandbSettings(mode="disabled"),
        deepspeed={},
    )


def make_run(run: Path, training: TrainingJob) -> None:
    random = np.random.default_rng(0)
    for side, documents in (("train", 400), ("val", 1)):
        (run / "tokens" / side).mkdir(parents=True)
        with TokenWriter(run / "tokens" / side / "text-00000", training.vocab_size) as writer:
            for number in range(documents):
                text = random.integers(1, training.vocab_size, 999)
                writer.add(np.append(text, training.end_of_text), DocumentRow(f"text:{number}", 4000))
    write_json(run / "pretrain" / "started.json", training.to_json())


def report(seconds: list[float], **facts: float) -> None:
    """What a contender leaves: the median of its steps' seconds, the first left out, and what else it knows."""
    if int(os.environ.get("RANK", 0)) == 0:
        print(json.dumps({"seconds": statistics.median(seconds[WARM:])} | facts))


def ours(run: Path, training: TrainingJob) -> None:
    """The worker, as `text2lm run` starts it."""
    from pretrain.worker import main

    code = main(["--run", str(run)])
    assert code == 0
    rows = read_json_lines(run / "pretrain" / "metrics.jsonl")[WARM:]
    seconds = [row["step_seconds"] for row in rows]
    waited = sum(row["data_seconds"] for row in rows) / sum(seconds)
    report([0.0] * WARM + seconds, mfu=statistics.median(row["mfu"] for row in rows), waited=waited)


def plain(run: Path, training: TrainingJob) -> None:
    """No DeepSpeed."""
    import torch
    from plain_loop import PlainLoop

    from pretrain.batches import TrainingData
    from pretrain.loop import on_device

    torch.set_flush_denormal(True)
    device = torch.device("cpu")
    loop, data, seconds = PlainLoop(training, device), TrainingData(training, run / "tokens" / "train"), []
    for step in range(STEPS):
        start = time.perf_counter()
        batches = on_device(data.micro_batches(step), device)
        loop.train_step(batches, lr=1e-4, targets=training.train.global_batch_tokens)
        seconds.append(time.perf_counter() - start)
    report(seconds)


def trainer(run: Path, training: TrainingJob) -> None:
    """HF Trainer with DeepSpeed on the same GPT-2."""
    import deepspeed
    import torch
    import transformers.training_args
    from transformers import GPT2Config, GPT2LMHeadModel, Trainer, TrainerCallback, TrainingArguments

    # It wants a GPU for bf16, or use_cpu, with which it would quietly leave DeepSpeed out
    transformers.training_args.is_torch_bf16_gpu_available = lambda: True
    deepspeed.ops.__compatible_ops__["deepspeed_shm_comm"] = False  # would be compiled for minutes
    torch.set_flush_denormal(True)
    train, low = training.train, training.train.precision == "bf16"
    seconds: list[float] = []

    class Clock(TrainerCallback):  # type: ignore[misc]
        def on_step_begin(self, *arguments: Any, **options: Any) -> None:
            self.start = time.perf_counter()

        def on_step_end(self, *arguments: Any, **options: Any) -> None:
            seconds.append(time.perf_counter() - self.start)

    config = GPT2Config(
        vocab_size=VOCAB,
        n_positions=CONTEXT,
        n_embd=256,
        n_layer=6,
        n_head=4,
        use_cache=False,
        **dict.fromkeys(("attn_pdrop", "embd_pdrop", "resid_pdrop"), 0.0),
        bos_token_id=0,
        eos_token_id=0,
    )
    share = BATCH // CONTEXT // MICRO // training.ranks
    random = np.random.default_rng(0)
    rows = [{"input_ids": row, "labels": row} for row in random.integers(1, VOCAB, (STEPS * BATCH // CONTEXT, CONTEXT))]
    arguments = TrainingArguments(
        output_dir=str(run / "trainer"),
        max_steps=STEPS,
        per_device_train_batch_size=MICRO,
        gradient_accumulation_steps=share,
        learning_rate=1e-4,
        weight_decay=0.1,
        max_grad_norm=1.0,
        optim="adamw_torch_fused",
        bf16=low,
        report_to=[],
        save_strategy="no",
        logging_strategy="no",
        disable_tqdm=True,
        deepspeed={
            "train_micro_batch_size_per_gpu": "auto",
            "gradient_accumulation_steps": "auto",
            "gradient_clipping": "auto",
            "zero_optimization": {"stage": train.zero_stage},
            "zero_allow_untested_optimizer": True,
            "bf16": {"enabled": low},
            "steps_per_print": 2**62,
        },
    )
    Trainer(GPT2LMHeadModel(config), arguments, train_dataset=rows, callbacks=[Clock()]).train()
    report(seconds)


CONTENDERS: dict[str, Callable[[Path, TrainingJob], None]] = {"ours": ours, "plain": plain, "trainer": trainer}


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def measure(contender: str, precision: str, ranks: int, zero_stage: int) -> dict[str, float]:
    """What one program of `ranks` processes reports."""
    with tempfile.TemporaryDirectory() as directory:
        make_run(Path(directory), job(precision, ranks, zero_stage))
        port, threads = str(free_port()), str(max(1, len(os.sched_getaffinity(0)) // ranks))
        processes = []
        for rank in range(ranks):
            variables = {"RANK": rank, "LOCAL_RANK": rank, "WORLD_SIZE": ranks, "LOCAL_WORLD_SIZE": ranks}
            environment = {name: str(value) for name, value in variables.items()} | {
                "MASTER_ADDR": "127.0.0.1",
                "MASTER_PORT": port,
                "OMP_NUM_THREADS": threads,
                "HF_HUB_OFFLINE": "1",
                "PYTHONPATH": str(ROOT),
            }
            command = [sys.executable, __file__, "--as", contender, "--run", directory, "--precision", precision]
            command += ["--ranks", str(ranks), "--zero-stage", str(zero_stage)]
            processes.append(
                subprocess.Popen(
                    command, env=os.environ | environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
                )
            )
        results = [process.communicate() for process in processes]
        if any(process.returncode for process in processes):
            raise SystemExit(f"{contender} failed:\n{results[0][1][-3000:]}")
        found: dict[str, float] = json.loads(results[0][0].strip().splitlines()[-1])
        return found


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--ranks", type=int, default=1)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--zero-stage", type=int, default=1)
    parser.add_argument("--precision", nargs="+", default=["fp32", "bf16"])
    parser.add_argument("--as", dest="contender", choices=CONTENDERS)
    parser.add_argument("--run", type=Path)
    options = parser.parse_args()
    if options.contender:
        CONTENDERS[options.contender](options.run, job(options.precision[0], options.ranks, options.zero_stage))
        return
    names = [name for name in CONTENDERS if name != "plain" or options.ranks == PLAIN_RANKS]
    for precision in options.precision:
        steps: dict[str, list[float]] = {name: [] for name in names}
        facts: dict[str, list[float]] = {"mfu": [], "waited": []}
        for _ in range(options.rounds):
            for name in names:
                found = measure(name, precision, options.ranks, options.zero_stage)
                steps[name].append(found.pop("seconds"))
                for fact, value in found.items():
                    facts[fact].append(value)
        print(f"{precision}, {options.ranks} ranks, ZeRO {options.zero_stage}; medians of {options.rounds} rounds")
        medians = {name: statistics.median(values) for name, values in steps.items()}
        for name, values in steps.items():
            ratio = statistics.median(theirs / mine for theirs, mine in zip(values, steps["ours"], strict=True))
            print(
                f"  {name:8} {BATCH / medians[name]:8,.0f} tokens/s  step {medians[name]:.3f} s  "
                f"(rounds {min(values):.3f} to {max(values):.3f})  its step / ours {ratio:.2f}",
                flush=True,
            )
        print(
            f"  ours: {statistics.median(facts['mfu']):.1%} of the measured matmul peak, "
            f"{statistics.median(facts['waited']):.3%} of the time waiting for data"
        )


if __name__ == "__main__":
    main()
