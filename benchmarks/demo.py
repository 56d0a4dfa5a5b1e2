"""The demo's claims, measured: how long it takes, and bits per byte beside gzip -9 and xz -9 on the same text.

python benchmarks/demo.py [RUN]        default: a temporary directory; RUN is done anew
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).parents[1]


def main(run: Path) -> None:
    subprocess.run([sys.executable, ROOT / "configs" / "demo_corpus.py"], check=True)
    started = time.monotonic()
    subprocess.run([sys.executable, "-m", "pipeline", "run", ROOT / "configs" / "demo.toml", "--run", run], check=True)
    wall = time.monotonic() - started
    model = re.search(r"model name\s*: (.*)", Path("/proc/cpuinfo").read_text())
    print(f"\n{model[1] if model else 'unknown CPU'}, {os.cpu_count()} cores; whole run {wall:.0f} s")
    results = json.loads((run / "evaluate" / "results.json").read_text())
    ours = results["bits_per_byte"]
    for peer in ("gzip", "xz"):
        theirs = results[f"{peer}_bits_per_byte"]
        print(f"{ours:.3f} bits per byte, {peer} -9 {theirs:.3f}: {theirs / ours:.2f}x")


if __name__ == "__main__":
    if len(sys.argv) > 1:
        main(Path(sys.argv[1]))
    else:
        with tempfile.TemporaryDirectory() as directory:
            main(Path(directory) / "run")
