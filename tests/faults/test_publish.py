"""Kill the publisher at every system call: what is published is the old run or the new one, and whole."""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

import trainer.runs.publish
from daemon.reloading.checkpoint_source import CheckpointSource
from models.checkpoints.checkpoint import FILE_NAME
from models.weights.store import WeightsStore
from tests.faults.tracer import Point, kill_at, need_strace, points, trace
from tests.filing_desk import far_folder
from trainer.runs.folder import METRICS
from trainer.runs.publish import publish

pytestmark = pytest.mark.timeout(2 * 3600)


@dataclass
class Proved:
    """What `publish` asks of a run that was proved: that is not what is killed here."""

    digest: str
    classes: tuple[str, ...] = ()


@dataclass
class Scenario:
    """Runs a to d; c is published, a was before. Publishing d lets go of a and b, which nobody needs then."""

    folder: Path

    def prepare(self) -> None:
        shutil.rmtree(self.folder, ignore_errors=True)
        for name in "abcd":
            run = self.folder / name
            run.mkdir(parents=True)
            (run / FILE_NAME).write_bytes(name.encode())
            (run / METRICS).write_text("{}")
        for name in "ac":
            self.publish(name, keep=0)

    def publish(self, name: str, *, keep: int = 1) -> None:
        publish(self.folder / name, WeightsStore(self.folder), keep=keep)

    def work(self) -> None:
        self.publish("d")

    def served(self) -> str:
        """The run that a daemon sees, which is there as it was made."""
        found = CheckpointSource(self.folder).find()
        assert found is not None
        assert hashlib.sha256(found.path.read_bytes()).hexdigest() == found.digest
        return found.name

    def check(self, *, complete: bool) -> None:
        served = self.served()
        runs = {path.name: path for path in self.folder.iterdir() if path.is_dir() and path.name[0] != "."}
        assert all((path / FILE_NAME).read_bytes() == name.encode() for name, path in runs.items())
        if complete:
            assert served == "d"
            assert set(runs) == {"c", "d"}
            assert [path for path in self.folder.iterdir() if path.name[0] == "."] == []
            assert trainer.runs.publish.runs_to_keep(self.folder, "d") == {"c", "d"}
        else:
            assert served in "cd"
            assert set(runs) >= {"c", "d"}


@pytest.fixture
def scenario(monkeypatch: pytest.MonkeyPatch) -> Iterator[Scenario]:
    need_strace()

    def proved(run: Path, store: WeightsStore) -> Proved:
        return Proved(hashlib.sha256((run / FILE_NAME).read_bytes()).hexdigest())

    monkeypatch.setattr(trainer.runs.publish, "prove", proved)
    with far_folder() as quick:
        yield Scenario(quick / "checkpoints")


def population(scenario: Scenario, log: Path) -> list[Point]:
    scenario.prepare()
    return points(trace(scenario.work, log))


def kill_and_check(scenario: Scenario, point: Point) -> None:
    scenario.prepare()
    assert kill_at(point, scenario.work), f"{point} was not reached"
    scenario.check(complete=False)
    scenario.publish("d")
    scenario.check(complete=True)


def test_killed_at_every_call_a_publisher_leaves_a_whole_publication(scenario: Scenario, tmp_path: Path) -> None:
    every = population(scenario, tmp_path / "trace")
    assert len(every) > 20
    for point in every:
        kill_and_check(scenario, point)
    print(f"{len(every)} kill points")
