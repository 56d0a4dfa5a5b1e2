"""One contender of benchmarks/dedup.py in a process of its own, under the interpreter that has its library.

python benchmarks/dedup_contenders.py NAME ARGUMENT...

Prints one JSON object. What is timed begins when everything is imported and has worked once on a little text, and is in
CPU-seconds of this process and of its children; it begins with parquet files, for the peers as for ours. Peers get
shingles from Python: they have no other.
"""

from __future__ import annotations

import json
import re
import resource
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

ROOT = Path(__file__).parents[1]
PERMUTATIONS, BANDS, ROWS = 112, 14, 8
SHINGLE_WORDS = 5
WORD = re.compile(r"\w+")
LITTLE = " ".join(f"word{number}" for number in range(100))

Signer = Callable[[Iterator[pa.Array]], None]


def main(name: str, *arguments: str) -> None:
    print(json.dumps(CONTENDERS[name](*arguments)))


def cpu_seconds() -> float:
    usages = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(usage.ru_utime + usage.ru_stime for usage in usages)


class Peak:
    """Memory (bytes) that a process came to hold above what it held before."""

    def __init__(self) -> None:
        Path("/proc/self/clear_refs").write_text("5")  # the high-water mark begins anew: proc(5)
        self.before = self.status("VmRSS")

    def bytes(self) -> int:
        return self.status("VmHWM") - self.before

    @staticmethod
    def status(name: str) -> int:
        found = re.search(rf"{name}:\s+(\d+) kB", Path("/proc/self/status").read_text())
        assert found
        return 1024 * int(found[1])


def texts(corpus: str) -> Iterator[pa.Array]:
    """The text column, a row group at a time."""
    for path in sorted(Path(corpus).glob("*.parquet")):
        with pq.ParquetFile(path) as file:
            for group in range(file.num_row_groups):
                yield file.read_row_group(group, columns=["text"], use_threads=False)["text"].combine_chunks()


def timed(sign: Signer, corpus: str, times: int = 1) -> dict[str, Any]:
    sign(iter([next(texts(corpus)).slice(0, 10)]))
    seconds = -cpu_seconds()
    for _ in range(times):
        sign(texts(corpus))
    seconds += cpu_seconds()
    size = sum(pc.sum(pc.binary_length(text)).as_py() for text in texts(corpus))
    return {"seconds": seconds, "bytes": size * times}


def shingles(text: str) -> set[str]:
    words = WORD.findall(text.lower())
    return {" ".join(words[start : start + SHINGLE_WORDS]) for start in range(max(len(words) - SHINGLE_WORDS, 0) + 1)}


def sign_shingling(corpus: str) -> dict[str, Any]:
    """Python's share of what the peers take."""

    def sign(columns: Iterator[pa.Array]) -> None:
        for column in columns:
            for text in column.to_pylist():
                shingles(text)

    return timed(sign, corpus)


def sign_datasketch(corpus: str) -> dict[str, Any]:
    """Its defaults: affine32, SHA-1; in bulk, which is the fastest that it offers."""
    from datasketch import MinHash

    def sign(columns: Iterator[pa.Array]) -> None:
        for column in columns:
            sets = ([shingle.encode() for shingle in shingles(text)] for text in column.to_pylist())
            for sketch in MinHash.generator(sets, num_perm=PERMUTATIONS):
                sketch.digest()

    return timed(sign, corpus)


def sign_rensa(corpus: str) -> dict[str, Any]:
    from rensa import RMinHash

    def sign(columns: Iterator[pa.Array]) -> None:
        for column in columns:
            for text in column.to_pylist():
                sketch = RMinHash(num_perm=PERMUTATIONS, seed=1)
                sketch.update(list(shingles(text)))
                sketch.digest()

    return timed(sign, corpus)


def sign_datatrove(corpus: str) -> dict[str, Any]:
    """Its signature stage as it comes: 14 x 8, shingles of five words, which spaCy finds."""
    from datatrove.data import Document
    from datatrove.pipeline.dedup import MinhashDedupSignature
    from datatrove.pipeline.dedup.minhash import MinhashConfig
    from loguru import logger

    logger.remove()

    def sign(columns: Iterator[pa.Array]) -> None:
        documents = (Document(text=text, id="") for column in columns for text in column.to_pylist())
        config = MinhashConfig(n_grams=SHINGLE_WORDS, num_buckets=BANDS, hashes_per_bucket=ROWS)
        with tempfile.TemporaryDirectory() as directory:
            MinhashDedupSignature(directory, config=config).run(documents)

    return timed(sign, corpus)


def sign_ours(corpus: str, count: str, times: str = "1") -> dict[str, Any]:
    from data_prep.dedup import permutations
    from data_prep.minhash import sign

    def sign_all(columns: Iterator[pa.Array]) -> None:
        for column in columns:
            sign(column, permutations(int(count)))

    return timed(sign_all, corpus, int(times))


def first_call(*_: str) -> dict[str, Any]:
    """What it takes until a first text is signed, imports aside: compiling, or loading what was compiled."""
    from data_prep.dedup import permutations
    from data_prep.minhash import sign

    permutations(PERMUTATIONS)
    seconds = -cpu_seconds()
    sign(pa.array([LITTLE]), permutations(PERMUTATIONS))
    return {"seconds": seconds + cpu_seconds()}


def save_signatures(corpus: str, path: str) -> dict[str, Any]:
    from data_prep.dedup import permutations
    from data_prep.minhash import sign

    signatures = np.concatenate([sign(text, permutations(PERMUTATIONS)).signatures for text in texts(corpus)])
    np.save(path, signatures)
    return {"documents": len(signatures)}


def match_datasketch(path: str) -> dict[str, Any]:
    """MinHashLSH, 14 x 8: every document is looked up, then added."""
    from datasketch import LeanMinHash, MinHashLSH

    signatures = np.load(path)
    MinHashLSH(num_perm=PERMUTATIONS, params=(BANDS, ROWS)).insert(
        0, LeanMinHash(seed=1, hashvalues=signatures[0], scheme="affine32")
    )
    peak, seconds, found = Peak(), -cpu_seconds(), 0
    index = MinHashLSH(num_perm=PERMUTATIONS, params=(BANDS, ROWS))
    for row, values in enumerate(signatures):
        sketch = LeanMinHash(seed=1, hashvalues=values, scheme="affine32")
        found += len(index.query(sketch))
        index.insert(row, sketch, check_duplication=False)
    seconds += cpu_seconds()
    return {"documents": len(signatures), "seconds": seconds, "peak": peak.bytes(), "pairs": found}


def match_ours(path: str) -> dict[str, Any]:
    """The kernels alone, from signatures in memory as MinHashLSH has them: links of every band, and their union."""
    from data_prep.clusters import connect
    from data_prep.lsh import band_keys, bucket_links

    def cluster(signatures: Any) -> Any:
        rows, sets = np.arange(len(signatures)), np.arange(len(signatures), dtype=np.uint32)
        for band in range(BANDS):
            links = bucket_links(band_keys(signatures[:, band * ROWS : (band + 1) * ROWS]), rows)
            left, right = (links >> np.uint64(32)).astype(np.uint32), links.astype(np.uint32)
            connect(sets, left[left < right], right[left < right])
        return sets

    signatures = np.asfortranarray(np.load(path))
    cluster(signatures[:100])
    peak, seconds = Peak(), -cpu_seconds()
    cluster(signatures)
    seconds += cpu_seconds()
    return {"documents": len(signatures), "seconds": seconds, "peak": peak.bytes()}


def steps_ours(step: str, run: str, little: str) -> dict[str, Any]:
    """All tasks of a step of dedup, the files before and behind it included. `little` is a run of little text."""
    from launch.local import LocalLauncher
    from pipeline.config import load_config
    from pipeline.progress import ProgressDisplay
    from pipeline.run_dir import RunDir
    from pipeline.runner import Runner
    from pipeline.stage import begin, run_task
    from pipeline.stages import stage_named

    def work(directory: str) -> int:
        place = RunDir(Path(directory))
        runner = Runner(load_config(place.config), place, LocalLauncher(), ProgressDisplay())
        context = runner.context(stage_named("dedup"))
        begin(context)
        (chosen,) = (found for found in context.stage.steps if found.name == step)
        for task in range(context.tasks(chosen)):
            run_task(context, chosen, task)
        return sum(piece["rows"] for shard in context.plan().shards for piece in shard)

    work(little)
    peak, seconds = Peak(), -cpu_seconds()
    documents = work(run)
    seconds += cpu_seconds()
    return {"documents": documents, "seconds": seconds, "peak": peak.bytes()}


CONTENDERS: dict[str, Callable[..., dict[str, Any]]] = {
    "shingling": sign_shingling,
    "datasketch": sign_datasketch,
    "rensa": sign_rensa,
    "datatrove": sign_datatrove,
    "ours": sign_ours,
    "first-call": first_call,
    "save-signatures": save_signatures,
    "match-datasketch": match_datasketch,
    "match-ours": match_ours,
    "steps-ours": steps_ours,
}

if __name__ == "__main__":
    sys.path.insert(0, str(ROOT))
    main(*sys.argv[1:])
