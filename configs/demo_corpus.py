"""Writes the demo's corpus: the API documentation inside the botocore wheel (Apache-2.0), one document an operation.

pip fetches the wheel (its version and digest are pinned); the documentation is read straight from it and written as
ordinary `corpus/botocore-VERSION-NN.jsonl.gz` beside this file. The same bytes come out every time; running it again
does nothing.

    python configs/demo_corpus.py
"""

from __future__ import annotations

import gzip
import json
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from data_prep.files import atomic_file, digest_file

VERSION = "1.44.5"
DIGEST = "sha256:8f16a56d1dff125dd65322ae021efa7ba5195a6db5102b96862566055b748921"
FILES = 16
CORPUS = Path(__file__).parent / "corpus"


def fetch_wheel(directory: Path) -> Path:
    """Download the pinned wheel with pip and check its digest."""
    pip = [sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check", "--no-deps"]
    subprocess.run([*pip, "--dest", str(directory), f"botocore=={VERSION}"], check=True)
    (wheel,) = directory.glob("botocore-*.whl")
    if digest_file(wheel) != DIGEST:
        sys.exit(
            f"{wheel.name}: its digest is {digest_file(wheel)}, wanted {DIGEST}; the package index gave another file"
        )
    return wheel


def operations(wheel: Path) -> Iterator[dict[str, str]]:
    """One row per API operation, in a fixed order: its own HTML text, then that of each input and output member."""
    with zipfile.ZipFile(wheel) as archive:
        for name in sorted(name for name in archive.namelist() if name.endswith("/service-2.json.gz")):
            service = json.loads(gzip.decompress(archive.read(name)))
            version = "/".join(name.split("/")[2:4])
            for operation, definition in sorted(service["operations"].items()):
                text = definition.get("documentation", "")
                for side in ("input", "output"):
                    shape = service["shapes"].get(definition.get(side, {}).get("shape"), {})
                    text += "".join(members(shape, service["shapes"]))
                if text:
                    yield {"id": f"{version}/{operation}", "text": f"<h1>{operation}</h1>{text}"}


def members(shape: dict[str, Any], shapes: dict[str, Any]) -> Iterator[str]:
    for name, member in shape.get("members", {}).items():
        text = member.get("documentation") or shapes[member["shape"]].get("documentation", "")
        if text:
            yield f"<h2>{name}</h2>{text}"


def main() -> None:
    if len(list(CORPUS.glob(f"botocore-{VERSION}-*.jsonl.gz"))) == FILES:
        return
    with tempfile.TemporaryDirectory() as directory:
        rows = list(operations(fetch_wheel(Path(directory))))
    size = -(-len(rows) // FILES)
    for number in range(FILES):
        lines = [json.dumps(row, ensure_ascii=False) + "\n" for row in rows[number * size : (number + 1) * size]]
        with atomic_file(CORPUS / f"botocore-{VERSION}-{number:02d}.jsonl.gz") as file:
            file.write(gzip.compress("".join(lines).encode(), 6, mtime=0))
    size_mb = sum(len(row["text"].encode()) for row in rows) / 1e6
    print(f"demo corpus: {len(rows):,} documents, {size_mb:.1f} MB of HTML in {CORPUS}")


if __name__ == "__main__":
    main()
