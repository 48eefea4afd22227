"""Kill ``relabel`` at every system call: each image is in one folder, and labelled if it was moved, only then."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from daemon.config import Settings
from daemon.files import renaming
from daemon.files.renaming import FileAt
from daemon.files.roots import Roots
from daemon.filing.held import HeldImages
from daemon.filing.undo import undo
from daemon.journal import labels as label_rows
from daemon.journal.history import Wanted
from daemon.journal.journal import Journal
from daemon.journal.records import State
from daemon.operations.desk import Desk
from daemon.operations.relabel import RelabelParams, relabel
from daemon.operations.selection import GivenName
from tests.faults.scenario import Scenario
from tests.faults.test_kill import all_points, sample
from tests.faults.tracer import Point, kill_at, need_strace
from tests.filing_desk import far_folder, images

pytestmark = pytest.mark.timeout(2 * 3600)

#: Those of the scenario that are filed as cats.
_IMAGES = 4


class Relabelling(Scenario):
    """All cats that a scenario files, on their way to the dogs."""

    def prepare(self) -> None:
        super().prepare()
        super().work()
        (self.desk.output / "dog").mkdir()
        self.names = tuple(GivenName(name=str(path), path=str(path)) for path in self.lying_in("cat"))

    def work(self) -> None:
        journal = self.desk.journal()
        for _ in relabel(self.office(journal), RelabelParams(files=self.names, to="dog")):
            pass
        journal.close()

    def office(self, journal: Journal) -> Desk:
        desk = self.desk
        settings = Settings(watch=[desk.inbox], output=desk.output, state_dir=desk.journal_path.parent)
        return Desk(
            settings=settings,
            journal=journal,
            roots=Roots([desk.inbox, desk.output]),
            held=HeldImages(journal),
        )

    def lying_in(self, folder: str) -> list[Path]:
        return sorted(path for path in (self.desk.output / folder).iterdir() if path.suffix == ".jpg")

    def check_labels(self) -> None:
        """A label is there if the person's move is, and only then."""
        journal = self.desk.journal()
        labelled = {label.path for label in journal.labels()}
        assert {label.label for label in journal.labels()} <= {"dog"}
        journal.close()
        assert labelled == set(self.lying_in("dog"))

    def check_to_the_end(self) -> None:
        """The same command moves the rest; undone, all is back and nothing was said."""
        self.work()
        self.check_after_recovery()
        self.check_labels()
        assert len(self.lying_in("dog")) == _IMAGES
        assert [path.name for path in images(self.desk.output / "cat")] == [], "sidecars go with their images"
        journal = self.desk.journal()
        rows = [row for row in journal.history(Wanted(states=[State.DONE])) if row.folder == self.desk.output / "dog"]
        assert {undone.status for undone in undo(journal, rows)} == {"undone"}
        journal.close()
        self.check_after_recovery()
        self.check_labels()
        assert len(self.lying_in("cat")) == _IMAGES


def kill_and_check(relabelling: Relabelling, point: Point) -> None:
    relabelling.prepare()
    assert kill_at(point, relabelling.work), f"{point} was not reached"
    relabelling.check_nothing_lost()
    relabelling.recover()
    relabelling.check_after_recovery()
    relabelling.check_labels()
    relabelling.check_to_the_end()


def copying_between_folders(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let every class folder be a drive of its own, as far as moves can tell."""
    rename, link = renaming.rename_noreplace, renaming.link

    def only_inside(real: Any) -> Any:
        def call(old: FileAt, new: FileAt) -> None:
            if not os.path.samestat(os.fstat(old.folder), os.fstat(new.folder)):
                raise OSError(errno.EXDEV, os.strerror(errno.EXDEV))
            real(old, new)

        return call

    monkeypatch.setattr(renaming, "rename_noreplace", only_inside(rename))
    monkeypatch.setattr(renaming, "link", only_inside(link))


@pytest.fixture(params=["renamed", "copied"])
def relabelling(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[Relabelling]:
    need_strace()
    if request.param == "copied":
        copying_between_folders(monkeypatch)
    with far_folder() as quick:
        relabelling = Relabelling(quick, None)
        relabelling.prepare()
        relabelling.work()  # what it imports late is imported, and no child reads it again
        yield relabelling


def test_a_killed_relabel_loses_neither_an_image_nor_what_was_said(relabelling: Relabelling, tmp_path: Path) -> None:
    population = all_points(relabelling, tmp_path / "trace")
    assert len(population) > 50
    for point in sample(population, 4):
        kill_and_check(relabelling, point)


@pytest.mark.slow
def test_a_relabel_killed_at_every_call(relabelling: Relabelling, tmp_path: Path) -> None:
    population = all_points(relabelling, tmp_path / "trace")
    for point in population:
        kill_and_check(relabelling, point)
    print(f"{len(population)} kill points")


# --- made wrong on purpose


def caught(relabelling: Relabelling, log: Path) -> None:
    """Some kill point notices."""
    population = all_points(relabelling, log)
    for point in population:
        try:
            kill_and_check(relabelling, point)
        except AssertionError as error:
            if "was not reached" not in str(error):
                return
    pytest.fail("no kill point has noticed")


@pytest.mark.slow
def test_a_label_that_is_written_after_the_move_is_caught(
    relabelling: Relabelling, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write, write_later = Journal.write, Journal.write_later
    late: list[Any] = []

    def without_labels(self: Journal, filings: Any, *, labels: Any = (), held: Any = ()) -> None:
        late.extend(labels)
        write(self, filings, held=held)

    def then_the_labels(self: Journal, filings: Any) -> None:
        write_later(self, filings)
        write(self, [], labels=late)
        late.clear()

    monkeypatch.setattr(Journal, "write", without_labels)
    monkeypatch.setattr(Journal, "write_later", then_the_labels)
    caught(relabelling, tmp_path / "trace")


@pytest.mark.slow
@pytest.mark.parametrize("mutant", ["follow"])
def test_a_label_that_outlives_the_move_that_came_to_nothing_is_caught(
    relabelling: Relabelling, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, mutant: str
) -> None:
    monkeypatch.setattr(label_rows, mutant, lambda *_: None)
    caught(relabelling, tmp_path / "trace")
