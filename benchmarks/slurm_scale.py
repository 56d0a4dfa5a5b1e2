"""A stage of 10,000 shards through a real Slurm: what it asks of the controller, and how many files it leaves.

python benchmarks/slurm_scale.py [--shards 10000] [--elements 16]

Shards of one document each, so that what is measured is the handling and not the work. The cluster is that of the
tests (two nodes on this machine); the controller's own count of messages is read before and after with `sdiag`.
"""

from __future__ import annotations

import argparse
import json
import pydoc_data.topics
import re
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))

from data_prep import shards  # noqa: E402
from launch.local import LocalLauncher  # noqa: E402
from pipeline.config import load_config, save_config  # noqa: E402
from pipeline.progress import ProgressDisplay  # noqa: E402
from pipeline.run_dir import RunDir  # noqa: E402
from pipeline.runner import Runner  # noqa: E402
from pipeline.sealing import seal  # noqa: E402
from pipeline.stage import begin, is_done, run_task  # noqa: E402
from pipeline.stages import stage_named  # noqa: E402
from tests.slurm.cluster import running_cluster  # noqa: E402

WORDS, OF_A_FILE = 100, 100  # of a document; documents

CONFIG = """
[[source]]
name = "docs"
paths = ["docs-*.jsonl"]
id_field = "id"
[clean]
rules = []
[model]
preset = "gpt2-small"
[train]
tokens = 1_048_576
[launch]
on = "slurm"
[slurm]
elements = {elements}
cpus = 1
poll_seconds = 30
"""


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--shards", type=int, default=10_000)
    options.add_argument("--elements", type=int, default=16)
    arguments = options.parse_args()
    with tempfile.TemporaryDirectory(prefix="scale-") as name, running_cluster():
        directory = Path(name)
        run = ingested(directory, arguments.shards, arguments.elements)
        before, seconds = controller_messages(), -time.monotonic()
        most_files = through_the_queue(directory)
        seconds += time.monotonic()
        asked = controller_messages() - before
        clean = run.stage("clean")
        manifest = json.loads(run.manifest("clean").read_text())
        documents = manifest["documents_in"]
        print(f"{arguments.shards:,} shards of {documents:,} documents, {arguments.elements} elements on 2 nodes")
        print(f"  {seconds:.0f} s from the command to the seal, {manifest['seconds']:.0f} s of work in it")
        print(f"  files of the stage: {most_files:,} at most, {count(clean):,} sealed; logs {count(run.logs):,}")
        print(f"  asked of the controller: {sum(asked.values()):,} messages in all")
        for kind, number in asked.most_common(12):
            print(f"    {number:>6,}  {kind}")


def ingested(directory: Path, documents: int, elements: int) -> RunDir:
    """A run whose ingest is sealed, a row group a document, so that clean has a shard for each."""
    words = " ".join(text for _, text in sorted(pydoc_data.topics.topics.items())).split()
    rows = []
    for number in range(documents):
        start = number * 7 % (len(words) - WORDS)
        rows.append(json.dumps({"id": str(number), "text": " ".join(words[start : start + WORDS])}) + "\n")
    for first in range(0, documents, OF_A_FILE):
        (directory / f"docs-{first:08d}.jsonl").write_text("".join(rows[first : first + OF_A_FILE]))
    config = directory / "scale.toml"
    config.write_text(CONFIG.format(elements=elements))
    shards.ROW_GROUP_DOCUMENTS, shards.shard_bytes = 1, lambda group, total: 1
    run = RunDir(directory / "run")
    runner = Runner(load_config(config), run, LocalLauncher(), ProgressDisplay())
    save_config(runner.config, run.config)
    ingest = runner.context(stage_named("ingest"))
    begin(ingest)
    for step in ingest.stage.steps:
        for task in range(ingest.tasks(step)):
            if not is_done(ingest, step, task):
                run_task(ingest, step, task)
    seal(ingest)
    begin(runner.context(stage_named("clean")))  # the plan is followed by whoever finds it
    return run


def through_the_queue(directory: Path) -> int:
    """Until clean is sealed; the most files that the stage had meanwhile."""
    command = [sys.executable, "-m", "pipeline", "run", "scale.toml", "--run", "run", "--until", "clean"]
    process = subprocess.Popen(command, cwd=directory)
    most = 0
    while process.poll() is None:
        most = max(most, count(directory / "run/clean"))
        time.sleep(5)
    assert process.returncode == 0
    return most


def controller_messages() -> Counter[str]:
    """How many messages of each kind the controller has had, but for those of this count."""
    text = subprocess.run(["sdiag"], capture_output=True, text=True, check=True).stdout
    by_type = text.partition("Remote Procedure Call statistics by message type")[2].partition("by user")[0]
    found = re.findall(r"^\s*([A-Z_]+)\s*\(.*?count:(\d+)", by_type, re.MULTILINE)
    return Counter({kind: int(number) for kind, number in found if kind != "REQUEST_STATS_INFO"})


def count(directory: Path) -> int:
    return sum(path.is_file() for path in directory.rglob("*"))


if __name__ == "__main__":
    main()
