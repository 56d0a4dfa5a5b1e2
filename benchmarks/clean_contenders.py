"""What benchmarks/clean.py times, in a process of its own.

python benchmarks/clean_contenders.py NAME ARGUMENT...

Prints one JSON object. Times are CPU-seconds of this process and of its children, sizes are UTF-8 bytes of text.
"""

from __future__ import annotations

import json
import resource
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "benchmarks")]

import pyarrow.parquet as pq  # noqa: E402
from dedup_contenders import cpu_seconds  # noqa: E402

from data_prep.document import Document  # noqa: E402
from data_prep.settings import CleanSettings, SourceSettings  # noqa: E402

FAMILIES = ("c4", "gopher-quality", "gopher-repetition", "fineweb")  # the order of a series
LITTLE = 50  # documents looked at before it is timed


def main(name: str, *arguments: str) -> None:
    print(json.dumps(CONTENDERS[name](*arguments)))


def row_groups(corpus: str | Path) -> Iterator[list[Document]]:
    for path in sorted(Path(corpus).glob("*.parquet")):
        with pq.ParquetFile(path) as file:
            for group in range(file.num_row_groups):
                yield [Document(**row) for row in file.read_row_group(group).to_pylist()]


def cleaner_of(corpus: str | Path, rules: list[str], **settings: Any) -> Any:
    """One for the sources of a corpus whose text is to be looked at as it stands."""
    from data_prep.cleaning import Cleaner

    names = {document.source for documents in row_groups(corpus) for document in documents}
    language = settings.pop("language", "en")
    sources = {name: SourceSettings(name, ["-"], format="text", language=language) for name in names}
    return Cleaner(CleanSettings(repair=[], rules=rules, **settings), sources)


def families(corpus: str, rules: str) -> dict[str, Any]:
    """From parquet to reasons."""
    cleaner = cleaner_of(corpus, rules.split(","))
    cleaner.look(next(row_groups(corpus))[:LITTLE])
    seconds = -cpu_seconds()
    for documents in row_groups(corpus):
        cleaner.look(documents)
    seconds += cpu_seconds()
    size = sum(len(document.text.encode()) for documents in row_groups(corpus) for document in documents)
    return {"seconds": seconds, "bytes": size}


def stage(run: str, little: str) -> dict[str, Any]:
    """All tasks of clean, the files before and behind it included. `little` is a run of little text."""
    from launch.local import LocalLauncher
    from pipeline.config import load_config
    from pipeline.progress import ProgressDisplay
    from pipeline.run_dir import RunDir
    from pipeline.runner import Runner
    from pipeline.stage import begin, run_task
    from pipeline.stages import stage_named

    def work(directory: str) -> None:
        place = RunDir(Path(directory))
        runner = Runner(load_config(place.config), place, LocalLauncher(), ProgressDisplay())
        context = runner.context(stage_named("clean"))
        begin(context)
        (step,) = context.stage.steps
        for task in range(context.tasks(step)):
            run_task(context, step, task)

    work(little)
    seconds = -cpu_seconds()
    work(run)
    seconds += cpu_seconds()
    sizes = [len(document.text.encode()) for documents in row_groups(Path(run, "ingest")) for document in documents]
    return {"seconds": seconds, "documents": len(sizes), "bytes": sum(sizes)}


def command(*arguments: str) -> dict[str, Any]:
    """What a command and all that it starts take: CPU-seconds, and the largest of its processes in bytes."""
    subprocess.run([sys.executable, "-m", "pipeline", *arguments], cwd=ROOT, stdout=subprocess.DEVNULL, check=True)
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return {"seconds": usage.ru_utime + usage.ru_stime, "peak": 1024 * usage.ru_maxrss}


CONTENDERS: dict[str, Callable[..., dict[str, Any]]] = {"families": families, "stage": stage, "command": command}

if __name__ == "__main__":
    main(*sys.argv[1:])
