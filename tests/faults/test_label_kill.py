"""Kill ``undo`` at every system call: a label is forgotten if its filing is undone, and otherwise holds."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from daemon.journal.history import Wanted
from daemon.journal.journal import read_history, read_labels
from daemon.journal.labels import How, Label, WantedLabels
from daemon.journal.records import State
from tests.faults.test_kill import all_points, sample
from tests.faults.test_undo_kill import Undoing
from tests.faults.tracer import Point, kill_at, need_strace
from tests.filing_desk import far_folder

pytestmark = pytest.mark.timeout(2 * 3600)


class Labelled(Undoing):
    """All that a scenario files, with what a person said of each image, on its way back."""

    def prepare(self) -> None:
        super().prepare()
        journal = self.desk.journal()
        labels = []
        for number, row in enumerate(read_history(self.desk.journal_path)):
            assert row.destination is not None
            labels.append(
                Label(
                    sha256=f"{number:064}",
                    label="wolf",
                    how=How.MOVED,
                    path=row.destination,
                    identity=row.identity,
                    filing_id=row.id,
                )
            )
        journal.write([], labels=labels)
        journal.close()

    def check_labels(self) -> None:
        """True at every instant."""
        rows = {row.id: row.state for row in read_history(self.desk.journal_path, Wanted(states=tuple(State)))}
        labels = list(read_labels(self.desk.journal_path, WantedLabels(every=True)))
        assert len(labels) == 5
        for label in labels:
            assert label.forgotten == (rows[label.filing_id] is State.UNDONE)


@pytest.fixture(params=["one file system", "two file systems"])
def labelled(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Labelled]:
    need_strace()
    with far_folder() as quick:
        labelled = Labelled(quick, None if request.param == "one file system" else tmp_path)
        labelled.prepare()
        labelled.work()  # what it imports late is imported, and no child reads it again
        yield labelled


def kill_and_check(labelled: Labelled, point: Point) -> None:
    labelled.prepare()
    assert kill_at(point, labelled.work), f"{point} was not reached"
    labelled.check_labels()
    labelled.recover()
    labelled.check_labels()
    labelled.check_all_is_back()
    labelled.check_labels()


def test_a_killed_undo_forgets_no_other_label(labelled: Labelled, tmp_path: Path) -> None:
    for point in sample(all_points(labelled, tmp_path / "trace"), 4):
        kill_and_check(labelled, point)


@pytest.mark.slow
def test_an_undo_killed_at_every_call_forgets_the_labels_of_what_is_undone(labelled: Labelled, tmp_path: Path) -> None:
    population = all_points(labelled, tmp_path / "trace")
    for point in population:
        kill_and_check(labelled, point)
    print(f"{len(population)} kill points of an undo with labels")
