"""Scenarios: the checkpoints of a training on two ranks, as their files are saved and as a resume looks for them."""

from __future__ import annotations

from pathlib import Path

from pretrain.architecture import ModelSettings
from pretrain.checkpoint import MANIFEST, CheckpointStore, Entry
from pretrain.settings import CheckpointSettings, TrainingJob, TrainSettings, WandbSettings
from tests.faults.scenario import Ending

RANKS = range(2)
BEST = 10  # the step with the lowest validation loss; one in two was not validated


def parts(step: int, rank: int) -> list[bytes]:
    return [f"header of {step} {rank} ".encode() * 9, f"values of {step} {rank} ".encode() * 50]


def save(store: CheckpointStore, step: int) -> None:
    """As all ranks save together: each writes its part, and then the first publishes, or gives it up."""
    entries: list[Entry] = []
    failed: OSError | None = None
    for rank in RANKS:
        try:
            entries.append(store.write(step, rank, parts(step, rank)))
        except OSError as error:
            failed = error
    try:
        if failed:
            raise failed
        store.publish(step, {"val_loss": (1.0 if step == BEST else 2.0) if step % 20 else None}, entries)
    except OSError as error:
        try:
            store.abandon(step)
        except OSError:
            raise AssertionError("giving up a save raises: the training would end") from None
        raise error from None


class Training:
    """Checkpoints of `steps` are there, and perhaps what became of others, set aside."""

    def __init__(self, *steps: int, keep: CheckpointSettings, aside: bool = False) -> None:
        self.steps, self.keep, self.aside = steps, keep, aside
        self.newest = max(steps, default=0)
        self.next = self.newest + 10

    def store(self, root: Path) -> CheckpointStore:
        """As a new process makes it."""
        train, model = TrainSettings(), ModelSettings()
        job = TrainingJob("k", 1, len(RANKS), 99, 0, {"a": 1.0}, "data", model, train, self.keep, WandbSettings(), {})
        return CheckpointStore(root / "pretrain" / "checkpoints", job)

    def prepare(self, root: Path) -> None:
        (root / "pretrain").mkdir()
        for step in self.steps:
            save(self.store(root), step)
        if self.aside:
            for name in ("step-00000025.bad-1", "step-00000025.bad-2", "step-00000015.bad-1"):
                (self.store(root).directory / name).mkdir()
                (self.store(root).directory / name / "rank-00000.safetensors").write_bytes(b"part")
            (self.store(root).directory / name / MANIFEST).write_text("{}")

    def kept(self, *steps: int) -> set[int]:
        """Which of these retention leaves."""
        every = {step for step in steps if self.keep.keep_every and step % self.keep.keep_every == 0}
        best = {BEST} & set(steps) if self.keep.keep_best else set()
        return set(sorted(steps)[-self.keep.keep_last :]) | every | best

    def good(self, root: Path) -> set[int]:
        """Steps whose every file is there with its bytes, by nobody's word."""
        found = set()
        for path in self.store(root).directory.glob("step-????????"):
            step = int(path.name[5:])
            files = {path / f"rank-{rank:05d}.safetensors": b"".join(parts(step, rank)) for rank in RANKS}
            if (path / MANIFEST).exists() and all(file.exists() and file.read_bytes() == files[file] for file in files):
                found.add(step)
        return found

    def find(self, root: Path) -> tuple[int, list[str]]:
        """What a reader finds, which must be as it was saved (0: nothing), and what it skips."""
        said: list[str] = []
        found = self.store(root).newest_good(said.append)
        assert found is None or found.step in self.good(root)
        return found.step if found else 0, said

    def settled(self, root: Path, last: int, before: set[int]) -> None:
        """After a finished save of `last` there is what shall stay, and nothing else."""
        directory = self.store(root).directory
        assert self.find(root) == (last, [])
        wanted = {f"step-{step:08d}" for step in self.kept(*before, last)} | {"latest"}
        names = {path.name for path in directory.iterdir() if "bad" not in path.name}
        names -= {path.name for path in directory.glob(".latest.*.tmp")}  # of a kill; the seal of the stage removes it
        assert names == wanted
        assert (directory / "latest").read_text() == f"step-{last:08d}\n"
        if self.aside:  # what was damaged is the user's
            assert (directory / "step-00000015.bad-1" / MANIFEST).exists()
        unfinished = [path for path in directory.glob("step-*.bad-*") if not (path / MANIFEST).exists()]
        assert len(unfinished) <= 1


class Save(Training):
    """One more is saved.

    At any instant a reader finds the one before or the new one, with its bytes, nothing looks damaged, and there are
    as many good ones as are to be kept. After an error there is no trace of it, and the next save does its work.
    """

    def work(self, root: Path) -> None:
        save(self.store(root), self.next)

    def check(self, root: Path, ending: Ending) -> None:
        (found, said), good = self.find(root), self.good(root)
        expected = {Ending.DONE: {self.next}, Ending.FAILED: {self.newest}}
        assert found in expected.get(ending, {self.newest, self.next}), f"step {found} is found"
        assert not said, f"what was not finished looks damaged: {said}"
        assert self.kept(*self.steps, *({self.next} & good)) <= good, f"{sorted(good)} are good"
        if ending is Ending.FAILED:
            directory = self.store(root).directory
            assert not (directory / f"step-{self.next:08d}").exists()
            assert not list(directory.rglob("*.tmp"))
            named = (directory / "latest").read_text() if (directory / "latest").exists() else None
            assert named == (f"step-{self.newest:08d}\n" if self.steps else None)

    def again(self, root: Path, ending: Ending) -> None:
        """The same step's save after an error; after a kill a resume, and the next save; else the next save."""
        store, before = self.store(root), self.good(root)
        found = self.next
        if ending is Ending.CUT:
            checkpoint = store.newest(lambda line: None)
            found = checkpoint.step if checkpoint else 0
            assert found == max(before, default=0)
        elif ending is Ending.FAILED:
            found = self.newest
        save(store, found + 10)
        self.settled(root, found + 10, before)


class GivingUp(Training):
    """A save that was published, and then failed to reach the disk, is given up.

    At any instant it is there or not: half of it is no checkpoint, and does not look like a damaged one.
    """

    def prepare(self, root: Path) -> None:
        super().prepare(root)
        save(Training(keep=CheckpointSettings(keep_last=len(self.steps) + 1)).store(root), self.next)

    def work(self, root: Path) -> None:
        self.store(root).abandon(self.next)

    def check(self, root: Path, ending: Ending) -> None:
        found, said = self.find(root)
        assert found in (self.newest, self.next) and not said
        assert self.good(root) >= set(self.steps)

    def again(self, root: Path, ending: Ending) -> None:
        before = self.good(root)
        save(self.store(root), self.next + 10)
        self.settled(root, self.next + 10, before)


class Resume(Training):
    """The newest good one is looked for; above it there are a damaged one and one that was never finished.

    At any instant it is found, and whatever else was there is there, under whatever name.
    """

    def prepare(self, root: Path) -> None:
        super().prepare(root)
        store = self.store(root)
        for step in (self.newest + 10, self.newest + 20):
            for rank in RANKS:
                store.write(step, rank, parts(step, rank))
        (store.step_dir(self.newest + 10) / MANIFEST).write_text("{}")

    def work(self, root: Path) -> None:
        found = self.store(root).newest(lambda line: None)
        assert found and found.step == self.newest

    def check(self, root: Path, ending: Ending) -> None:
        assert self.find(root)[0] == self.newest
        assert self.good(root) >= set(self.steps)
        assert len(list(root.rglob("rank-*"))) == len(RANKS) * (len(self.steps) + 2)

    def again(self, root: Path, ending: Ending) -> None:
        self.work(root)
        save(self.store(root), self.next)
        self.settled(root, self.next, set(self.steps))


SCENARIOS = {
    "the first checkpoint": Save(keep=CheckpointSettings()),
    "a checkpoint over two": Save(10, 20, keep=CheckpointSettings()),
    "a checkpoint over some that stay": Save(
        10, 20, 30, 40, keep=CheckpointSettings(keep_every=20, keep_best=1), aside=True
    ),
    "a save given up": GivingUp(10, 20, keep=CheckpointSettings()),
    "a resume": Resume(10, 20, keep=CheckpointSettings()),
}
