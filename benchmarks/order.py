"""What the data order costs: a sample's place, the batches of a step, the index of windows.

python benchmarks/order.py

A trillion samples must cost what a thousand do, and a step must not wait for its text. The peer of the loader is the
shortest one there is, nanoGPT's: slices of a memory-mapped file, stacked and cast to int64.
"""

from __future__ import annotations

import sys
import tempfile
import time
import tracemalloc
from pathlib import Path

import numpy as np

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))

from data_prep.tokens import DocumentRow, TokenStream, TokenWriter  # noqa: E402
from pretrain.architecture import ModelSettings  # noqa: E402
from pretrain.batches import Loader, TrainingData  # noqa: E402
from pretrain.order import Order, Phase  # noqa: E402
from pretrain.settings import CheckpointSettings, TrainingJob, TrainSettings, WandbSettings  # noqa: E402
from pretrain.windows import write_indexes  # noqa: E402

VOCAB, END_OF_TEXT = 50_257, 50_256
CONTEXT, BATCH, STEPS = 1024, 64, 40  # samples a step
WEIGHTS = {"web": 0.6, "code": 0.2, "papers": 0.1, "books": 0.07, "talk": 0.03}
TOKENS = 20_000_000  # a source; web has all of them, the others a fifth
TRAINING_SPEED = 100_000  # tokens/s of a model that trains fast


def main() -> None:
    order_costs()
    with tempfile.TemporaryDirectory() as name:
        directory = Path(name)
        for number, source in enumerate(WEIGHTS):
            write_source(directory, source, TOKENS if source == "web" else TOKENS // 5, number)
        index_costs(directory)
        loader_costs(directory)


def order_costs() -> None:
    print(f"\na sample's place in a mix of {len(WEIGHTS)} sources")
    for first in (10**3, 10**12):
        tracemalloc.start()
        order = Order([Phase(10**13, WEIGHTS)])
        order.sample(first)
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        order = Order([Phase(10**13, WEIGHTS)])
        start = time.perf_counter()
        order.sample(first)
        cold = time.perf_counter() - start
        start = time.perf_counter()
        for index in range(first, first + 20_000):
            order.sample(index)
        each = (time.perf_counter() - start) / 20_000
        print(f"  from sample {first:.0e} on: {1e6 * each:.2f} us each, the first {1e3 * cold:.1f} ms; {peak:,} bytes")


def index_costs(directory: Path) -> None:
    print(f"\nthe index of windows of {CONTEXT}, of documents of 1,000 tokens on average")
    stream = TokenStream(directory, "web")
    for kind in ("sentence", "document"):
        start = time.perf_counter()
        write_indexes(job(windows=kind), directory, directory / kind, list(range(0, VOCAB, 25)))
        seconds = time.perf_counter() - start
        data = TrainingData(job(windows=kind), directory, directory / kind)
        tokens = sum(len(TokenStream(directory, source)) for source in WEIGHTS)
        windows = data.windows["web"].samples_per_epoch
        padded = 1 - len(stream) / (windows * CONTEXT)
        print(f"  {kind}: {tokens / seconds / 1e6:.0f} million tokens/s, {100 * padded:.2f} % padded")


def loader_costs(directory: Path) -> None:
    print(f"\nthe loader, steps of {BATCH} samples of {CONTEXT} tokens in batches of 8")
    ids = np.memmap(directory / "web-00000.bin", np.uint16, "r")
    random = np.random.default_rng(1)
    start = time.perf_counter()
    for _ in range(STEPS * BATCH // 8):
        places = random.integers(0, len(ids) - CONTEXT, 8)
        for offset in (0, 1):
            np.stack([ids[place + offset : place + offset + CONTEXT].astype(np.int64) for place in places])
    peer = (time.perf_counter() - start) / STEPS
    print(f"  nanoGPT's slices: {BATCH * CONTEXT / peer / 1e6:.1f} million tokens/s")
    for cut in (
        {"windows": "contiguous"},
        {"windows": "contiguous", "document_mask": True},
        {"windows": "sentence", "document_mask": True},
        {"windows": "document", "document_mask": True},
        {"windows": "contiguous", "objective": "prefix"},
    ):
        training = job(**cut)
        data = TrainingData(training, directory, directory / str(cut["windows"]))
        with Loader(data, 0, 1, 0, STEPS) as loader:
            start = time.perf_counter()
            for _ in loader:
                pass
            seconds = (time.perf_counter() - start) / STEPS
        step = BATCH * CONTEXT / TRAINING_SPEED
        with Loader(data, 0, 1, 0, 4) as loader:  # the wait that is left when the step computes meanwhile
            waits, since = [], time.perf_counter()
            for _ in loader:
                waits.append(time.perf_counter() - since)
                time.sleep(step)
                since = time.perf_counter()
        named = ", ".join(f"{key} = {value}" for key, value in cut.items())
        print(
            f"  {named}: {BATCH * CONTEXT / seconds / 1e6:.1f} million tokens/s, "
            f"{seconds / peer:.1f}x nanoGPT's time; {100 * seconds / step:.2f} % of a step at {TRAINING_SPEED:,} "
            f"tokens/s, of which the loop waits for {100 * np.mean(waits[1:]) / step:.3f} %"
        )


def write_source(directory: Path, source: str, tokens: int, seed: int) -> None:
    random = np.random.default_rng(seed)
    with TokenWriter(directory / f"{source}-00000", VOCAB) as writer:
        while tokens > 0:
            length = min(tokens, 1 + int(random.lognormal(6.4, 1.0)))  # mean about 1,000, median 600
            ids = random.integers(0, END_OF_TEXT, length)
            ids[-1] = END_OF_TEXT
            writer.add(ids, DocumentRow(f"{source}:{tokens}", 4 * length))
            tokens -= length


def job(**train: object) -> TrainingJob:
    settings = {"tokens": STEPS * BATCH * CONTEXT, "global_batch_tokens": BATCH * CONTEXT, "micro_batch_size": 8}
    return TrainingJob(
        key="",
        seed=1,
        ranks=1,
        vocab_size=VOCAB,
        end_of_text=END_OF_TEXT,
        sources=WEIGHTS,
        dataset="",
        model=ModelSettings(context_length=CONTEXT),
        train=TrainSettings(**(settings | train)),  # type: ignore[arg-type]
        checkpoint=CheckpointSettings(),
        wandb=WandbSettings(),
        deepspeed={},
    )


if __name__ == "__main__":
    main()
