"""Kill ``undo`` and ``release`` at every system call.

Each image is filed or back, once; what is back is held, and not filed again by itself; the next undo brings back the
rest.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest

from daemon import config
from daemon.files.roots import Roots
from daemon.files.source import Identity
from daemon.filing.filer import Filer, Status
from daemon.filing.held import HeldImages
from daemon.journal.journal import Journal
from daemon.operations.desk import Desk as OperationDesk
from daemon.operations.release import ReleaseParams, release
from daemon.operations.undo import UndoParams, undo
from tests.faults.scenario import Scenario
from tests.faults.test_kill import all_points, sample
from tests.faults.tracer import Point, kill_at, need_strace
from tests.filing_desk import far_folder, images

pytestmark = pytest.mark.timeout(2 * 3600)

ALL = UndoParams(since=datetime(2001, 1, 1, tzinfo=UTC))


class Undoing(Scenario):
    """All that a scenario files, on its way back: by a running daemon, or by a command where none runs."""

    is_running = False

    def prepare(self) -> None:
        super().prepare()
        super().work()
        self.settings = config.load({"output": str(self.desk.output), "watch": [str(self.desk.inbox)]}, None)

    def work(self) -> None:
        journal = self.desk.journal()
        list(undo(self._desk(journal), ALL))
        journal.close()

    def check_nothing_is_filed_again(self) -> None:
        """A daemon that starts now leaves in the inbox what is back there, and knows it for held."""
        journal = self.desk.journal()
        before, filed = images(self.desk.inbox), self.desk.filed()
        held = HeldImages(journal, self.desk.output, [self.desk.inbox])
        decisions = [self.desk.decide(path) for path in before if path.suffix == ".jpg"]
        results = Filer(self.desk.output, action=self.action, journal=journal, held=held).file(decisions)
        assert {result.status for result in results} <= {Status.HELD, Status.ALREADY}
        if self.action == "move":
            assert {result.status for result in results} <= {Status.HELD}
        assert (images(self.desk.inbox), self.desk.filed()) == (before, filed)
        for image in journal.held():
            assert image.path in before, "what is not back is not held"
            assert held.holds(image.path, Identity.from_stat(image.path.stat()))
        journal.close()

    def check_all_is_back(self) -> None:
        """Recovery finished what was on its way, so that a second undo finds the rest where it was filed."""
        self.work()
        self.check_after_recovery()
        self.check_nothing_is_filed_again()
        assert images(self.desk.output) == []

    def _desk(self, journal: Journal) -> OperationDesk:
        inbox, output = self.desk.inbox, self.desk.output
        return OperationDesk(
            settings=self.settings,
            journal=journal,
            roots=Roots([inbox, output]),
            held=HeldImages(journal, output, [inbox]),
            is_running=self.is_running,
        )


class UndoingBesideADaemon(Undoing):
    is_running = True


class Releasing(Undoing):
    """All that an undo has brought back, released."""

    def prepare(self) -> None:
        super().prepare()
        super().work()

    def work(self) -> None:
        journal = self.desk.journal()
        list(release(self._desk(journal), ReleaseParams(all=True)))
        journal.close()

    def check_all_is_filed_again(self) -> None:
        """A daemon that starts now files all of them."""
        journal = self.desk.journal()
        assert journal.held() == []
        held = HeldImages(journal, self.desk.output, [self.desk.inbox])
        decisions = [self.desk.decide(path) for path in images(self.desk.inbox) if path.suffix == ".jpg"]
        results = Filer(self.desk.output, journal=journal, held=held).file(decisions)
        assert {result.status for result in results} == {Status.FILED}
        journal.close()
        self.check_after_recovery()


@pytest.fixture(params=["one file system", "two file systems"])
def places(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[tuple[Path, Path | None]]:
    need_strace()
    with far_folder() as quick:
        yield quick, None if request.param == "one file system" else tmp_path


@pytest.fixture
def undoing(places: tuple[Path, Path | None]) -> Undoing:
    return Undoing(*places)


def kill_and_check(undoing: Undoing, point: Point) -> None:
    undoing.prepare()
    assert kill_at(point, undoing.work), f"{point} was not reached"
    undoing.check_nothing_lost()
    undoing.recover()
    undoing.check_after_recovery()
    undoing.check_nothing_is_filed_again()
    undoing.check_all_is_back()


def kill_release_and_check(releasing: Releasing, point: Point) -> None:
    releasing.prepare()
    assert kill_at(point, releasing.work), f"{point} was not reached"
    releasing.recover()
    releasing.check_after_recovery()
    journal = releasing.desk.journal()
    held = {image.path for image in journal.held()}
    there = {path for path in images(releasing.desk.inbox) if path.suffix == ".jpg"}
    assert held in (there, set()), "one step releases all of its images or none"
    journal.close()
    releasing.work()
    releasing.check_all_is_filed_again()


def test_a_killed_undo_loses_nothing(undoing: Undoing, tmp_path: Path) -> None:
    for point in sample(all_points(undoing, tmp_path / "trace"), 4):
        kill_and_check(undoing, point)


def test_a_killed_release_releases_all_or_nothing(places: tuple[Path, Path | None], tmp_path: Path) -> None:
    releasing = Releasing(*places)
    for point in sample(all_points(releasing, tmp_path / "trace"), 4):
        kill_release_and_check(releasing, point)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("kind", "action"), [(Undoing, "move"), (Undoing, "copy"), (Undoing, "link"), (UndoingBesideADaemon, "move")]
)
def test_an_undo_killed_at_every_call_loses_nothing(
    places: tuple[Path, Path | None], tmp_path: Path, kind: type[Undoing], action: str
) -> None:
    undoing = kind(*places, action)  # type: ignore[arg-type]
    population = all_points(undoing, tmp_path / "trace")
    for point in population:
        kill_and_check(undoing, point)
    print(f"{len(population)} kill points")


@pytest.mark.slow
def test_a_release_killed_at_every_call_releases_all_or_nothing(
    places: tuple[Path, Path | None], tmp_path: Path
) -> None:
    releasing = Releasing(*places)
    population = all_points(releasing, tmp_path / "trace")
    for point in population:
        kill_release_and_check(releasing, point)
    print(f"{len(population)} kill points")
