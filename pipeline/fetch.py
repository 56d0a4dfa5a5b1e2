"""`text2lm fetch`: brings what a run reads from the internet, where there is one, so that its jobs need none.

A hub dataset comes to lie beside the config, in a folder of its name, and a config takes such a folder before the hub.
"""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
import tomllib
from dataclasses import replace
from pathlib import Path

import pipeline
from data_prep.files import UserError, make_directory, sync
from data_prep.finding import find_inputs
from data_prep.sources import download_hub
from pipeline.config import RunConfig
from pipeline.plan import readable
from pipeline.progress import ProgressDisplay

HUB_NAME = re.compile(r"[A-Za-z0-9][\w.-]*(/[A-Za-z0-9][\w.-]*)?", re.ASCII)
CHECKOUT = Path(pipeline.__file__).parents[1]


def fetch_sources(config: RunConfig, beside: Path, display: ProgressDisplay) -> None:
    """Every hub dataset into the directory `beside`, unless it is there; says what each source has."""
    for source in config.source:
        if source.hub and not Path(source.hub).is_dir():
            if not HUB_NAME.fullmatch(source.hub):
                raise UserError(
                    f"source '{source.name}': hub = '{source.hub}' is neither a folder that is there nor owner/name of "
                    "a dataset; correct source.hub"
                )
            fetch_dataset(source.hub, beside / source.hub, display)
            source = replace(source, hub=str(beside / source.hub))
        inputs = find_inputs(source)
        size = readable(sum(item["bytes"] for item in inputs))
        display.say(
            f"source '{source.name}': {len(inputs):,} files, {size}, in {source.hub or ', '.join(source.paths)}"
        )


def fetch_dataset(name: str, folder: Path, display: ProgressDisplay) -> None:
    """All or nothing: the folder appears when it is whole. What was cut short goes on where it stopped."""
    unfinished = folder.with_name(f".{folder.name}.fetching")
    make_directory(unfinished)
    display.begin(name, 1.0)
    try:
        download_hub(
            name, unfinished, lambda done, total: display.update(done / total, f"{done:,} of {total:,} files of {name}")
        )
    finally:
        display.end()
    shutil.rmtree(unfinished / ".cache", ignore_errors=True)  # the hub library's notes of what it has done
    for path in unfinished.rglob("*"):
        sync(path)
    unfinished.rename(folder)
    sync(folder.parent)


def fetch_wheels(directory: Path, display: ProgressDisplay) -> None:
    """The packages that this checkout is tested with, for `pip install --no-index --find-links DIRECTORY`.

    For the Python and the kind of machine that this is typed on.
    """
    display.say(f"packages for Python {sys.version_info.major}.{sys.version_info.minor} go to {directory}")
    done = subprocess.run(pip_command(directory), capture_output=True, text=True)
    if done.returncode:
        errors = [line.removeprefix("ERROR: ") for line in done.stderr.splitlines() if line.startswith("ERROR: ")]
        said = errors[0] if errors else f"pip ended with {done.returncode}"
        raise UserError(f"the packages cannot be fetched ({said}); see pip config list")
    wheels = list(directory.iterdir())
    display.say(f"{len(wheels)} packages, {readable(sum(path.stat().st_size for path in wheels))}, in {directory}")


def pip_command(directory: Path) -> list[str]:
    """What fetches the requirements of the checkout, and those of building it."""
    project = tomllib.loads((CHECKOUT / "pyproject.toml").read_text())
    wanted = [*project["build-system"]["requires"], *project["project"]["dependencies"]]
    # `wheel`, not `download`: what comes as source only (DeepSpeed) is built here, where its own tools can be had
    pip = [sys.executable, "-m", "pip", "wheel", "--quiet", "--disable-pip-version-check"]
    return [*pip, "--wheel-dir", str(directory), "--constraint", str(CHECKOUT / "constraints.txt"), *wanted]
