"""Model after model is published while images keep coming, and none of them is lost, left or sorted by half a model."""

from __future__ import annotations

import shutil
import threading
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import cycle, islice
from pathlib import Path

import pytest

from daemon.journal import read_history
from daemon.state import journal_path
from models import registry
from models.runtime import open_extractor
from models.weights import WeightsStore
from tests.pictures import KINDS, save
from tests.processes import Daemon, daemon, wait_for
from tests.publishing import Heads, point_at

#: Different class sets, so that every publication changes what an image may be called.
CLASSES = (("줄무늬", "discs"), ("stripes", "discs", "checks"), ("a", "b", "c", "d"), ("one", "two"))


@dataclass(frozen=True)
class Run:
    """A checkpoint to publish."""

    folder: Path
    digest: str
    classes: Sequence[str]


class Stream(threading.Thread):
    """Puts pictures into the inbox, one every ``seconds``, until it is told to stop."""

    def __init__(self, inbox: Path, spare: Path, seconds: float) -> None:
        super().__init__()
        self._pictures = [save(kind, seed, spare / f"{kind}{seed}.png") for kind in KINDS for seed in range(4)]
        self._inbox, self._spare, self._seconds = inbox, spare, seconds
        self._stop_now = threading.Event()
        self.names: list[str] = []

    def run(self) -> None:
        for number, picture in enumerate(cycle(self._pictures)):
            if self._stop_now.wait(self._seconds):
                return
            name = f"{number:06}.png"
            shutil.copyfile(picture, self._spare / name)
            (self._spare / name).rename(self._inbox / name)
            self.names.append(name)

    def stop(self) -> None:
        self._stop_now.set()
        self.join()


def make_runs(folder: Path, heads: Sequence[Heads], names: str) -> list[Run]:
    """A run of each class set over each extractor, so that neighbours differ in both."""
    runs = []
    for number, classes in enumerate(CLASSES):
        for at, each in enumerate(heads):
            run = folder / f"{names}-{number}-{at}"
            runs.append(Run(run, each.write(run, classes, threshold=0.05 * number), classes))
    return runs


def resident(running: Daemon) -> int:
    """The memory of the daemon itself, in MB."""
    status = Path(f"/proc/{running.process.pid}/status").read_text()
    return int(status.split("VmRSS:")[1].split()[0]) >> 10


def publish_all(tmp_path: Path, runs: Sequence[Run], count: int, seconds: float) -> list[int]:
    """Publish so many times, under a stream of images; returns the memory after each publication."""
    inbox, output, state = tmp_path / "inbox", tmp_path / "sorted", tmp_path / "state"
    sizes = []
    first = runs[0]
    point_at(first.folder, first.digest)
    with daemon(tmp_path, "--threshold", "0", "--state-dir", str(state)) as running:
        stream = Stream(inbox, tmp_path / "spare", seconds)
        stream.start()
        try:
            wait_for(lambda: len(stream.names) > 5, "the first images")
            for number, run in enumerate(islice(cycle([*runs[1:], first]), count), 1):
                point_at(run.folder, run.digest)
                taken = f"took over checkpoint {run.digest[:12]}"
                wait_for(lambda number=number: running.log().count("took over") >= number, taken)  # type: ignore[misc]
                sizes.append(resident(running))
        finally:
            stream.stop()
        wait_for(lambda: not any(inbox.iterdir()), "an empty inbox")
        assert "ERROR" not in running.log()
        assert running.terminate() == 0

    rows = list(read_history(journal_path(state, output)))
    assert Counter(row.source.name for row in rows) == Counter(stream.names), "lost, or filed twice"
    filed = {path.name for path in output.rglob("*.png")}
    assert filed == set(stream.names)
    classes = {run.digest: run.classes for run in runs}
    for row in rows:
        assert row.destination is not None
        assert row.label in classes[row.model_digest or ""]
        assert row.destination.parent.name == row.label
    assert running.log().count("took over checkpoint") == count
    return sizes


def test_ten_publications_in_a_row(tmp_path: Path, store: WeightsStore) -> None:
    backbone = registry.locate(registry.EMBEDDED, None, store)
    heads = Heads(open_extractor([backbone], store), tmp_path / "examples")
    publish_all(tmp_path, make_runs(tmp_path / "checkpoints", [heads], "run"), 10, 0.1)


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_two_hundred_publications_of_changing_modes(
    tmp_path: Path, store: WeightsStore, tiny_mobilenet_small: Path
) -> None:
    lite = registry.locate(registry.EMBEDDED, None, store)
    small = registry.locate("mobilenet_small", str(tiny_mobilenet_small), store)
    heads = [Heads(open_extractor(parts, store), tmp_path / "examples") for parts in ([lite], [small], [lite, small])]
    sizes = publish_all(tmp_path, make_runs(tmp_path / "checkpoints", heads, "run"), 200, 0.1)
    print(f"MB after 20, 100 and 200 publications: {sizes[19]}, {sizes[99]}, {sizes[199]}; at most {max(sizes)}")
    early, late = max(sizes[15:45]), max(sizes[170:])
    assert late <= early * 1.1, "memory grows"
