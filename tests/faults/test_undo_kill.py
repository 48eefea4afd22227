"""Kill ``undo`` at every system call: each image is filed or back, once, and the next undo brings back the rest."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from daemon.filing.undo import undo
from daemon.journal.journal import read_history
from tests.faults.scenario import Scenario
from tests.faults.test_kill import all_points, sample
from tests.faults.tracer import Point, kill_at, need_strace
from tests.filing_desk import far_folder, images

pytestmark = pytest.mark.timeout(1800)


class Undoing(Scenario):
    """All that a scenario files, on its way back."""

    def prepare(self) -> None:
        super().prepare()
        super().work()

    def work(self) -> None:
        journal = self.desk.journal()
        list(undo(journal, list(read_history(self.desk.journal_path))))
        journal.close()

    def check_all_is_back(self) -> None:
        """Recovery finished what was on its way, so that a second undo finds the rest where it was filed."""
        self.work()
        self.check_after_recovery()
        assert images(self.desk.output) == []


@pytest.fixture(params=["one file system", "two file systems"])
def undoing(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Undoing]:
    need_strace()
    with far_folder() as quick:
        yield Undoing(quick, None if request.param == "one file system" else tmp_path)


def kill_and_check(undoing: Undoing, point: Point) -> None:
    undoing.prepare()
    assert kill_at(point, undoing.work), f"{point} was not reached"
    undoing.check_nothing_lost()
    undoing.recover()
    undoing.check_after_recovery()
    undoing.check_all_is_back()


def test_a_killed_undo_loses_nothing(undoing: Undoing, tmp_path: Path) -> None:
    for point in sample(all_points(undoing, tmp_path / "trace"), 8):
        kill_and_check(undoing, point)


@pytest.mark.slow
def test_an_undo_killed_at_every_call_loses_nothing(undoing: Undoing, tmp_path: Path) -> None:
    population = all_points(undoing, tmp_path / "trace")
    for point in population:
        kill_and_check(undoing, point)
    print(f"{len(population)} kill points")
