"""Kill a migration of the journal at every system call, cut the power, let calls fail: no row is ever lost.

At every instant the journal is either the old one, whole, or the new one with the old one kept beside it, and the next
start completes what was begun.
"""

from __future__ import annotations

import re
import sqlite3
import tempfile
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from daemon.journal.journal import Journal, JournalBusy
from daemon.journal.schema import VERSION
from models.errors import UserError
from tests.daemon.journal.conftest import set_aside
from tests.daemon.journal.eras import VERSIONS, Era, dump, rows_in, settle
from tests.faults.disks import disks
from tests.faults.test_kill import sample
from tests.faults.test_power import restart
from tests.faults.tracer import Point, fail_at, kill_at, need_strace, points, trace
from tests.filing_desk import far_folder

pytestmark = pytest.mark.timeout(2 * 3600)


class Migration:
    """A stored journal of a version that a start migrates; each ``prepare`` settles it in a new folder."""

    def __init__(self, version: int, place: Path) -> None:
        self.version = version
        self._place = place
        self.era: Era
        self._before: list[str] = []

    def prepare(self) -> None:
        self.era = settle(self.version, Path(tempfile.mkdtemp(dir=self._place)))
        self._before = dump(self.era.path)

    def work(self) -> None:
        """What a start does first."""
        journal = Journal(self.era.path)
        journal.prepare()
        journal.close()

    def check_nothing_lost(self) -> None:
        """True at every instant, also right after a kill."""
        copy = self.era.copy
        assert not copy.exists() or self._is_as_before(copy), "a copy is whole or has another name"
        assert self._is_as_before(self.era.path) or (copy.exists() and self._reads_as_migrated())
        assert set_aside(self.era.path) == []

    def check_to_the_end(self) -> None:
        """The next start completes it."""
        self.work()
        assert self._reads_as_migrated()
        assert self._is_as_before(self.era.copy)
        names = {path.name for path in self.era.path.parent.iterdir()}
        assert {name for name in names if not name.endswith(("-wal", "-shm"))} == {
            self.era.path.name,
            self.era.copy.name,
        }
        assert dump(self.era.path)[0] == f"version {VERSION}"

    def _is_as_before(self, path: Path) -> bool:
        try:
            return dump(path) == self._before
        except sqlite3.Error:
            return False

    def _reads_as_migrated(self) -> bool:
        try:
            return rows_in(self.era.path) == self.era.rows
        except sqlite3.Error:
            return False


@pytest.fixture(params=VERSIONS)
def migration(request: pytest.FixtureRequest) -> Iterator[Migration]:
    need_strace()
    with far_folder() as quick:
        yield Migration(request.param, quick)


def all_points(migration: Migration, log: Path) -> list[Point]:
    migration.prepare()
    return points(trace(migration.work, log))


def kill_and_check(migration: Migration, point: Point) -> None:
    migration.prepare()
    assert kill_at(point, migration.work), f"{point} was not reached"
    migration.check_nothing_lost()
    migration.check_to_the_end()


def test_a_killed_migration_loses_nothing(migration: Migration, tmp_path: Path) -> None:
    population = all_points(migration, tmp_path / "trace")
    assert len(population) > 50
    for point in sample(population, 3):
        kill_and_check(migration, point)


@pytest.mark.slow
def test_a_migration_killed_at_every_call_loses_nothing(migration: Migration, tmp_path: Path) -> None:
    population = all_points(migration, tmp_path / "trace")
    for point in population:
        kill_and_check(migration, point)
    print(f"{len(population)} kill points of a migration from version {migration.version}")


@pytest.mark.slow
def test_a_migration_killed_twice_loses_nothing(migration: Migration, tmp_path: Path) -> None:
    firsts = sample(all_points(migration, tmp_path / "trace"), 10)
    count = 0
    for first in firsts:
        migration.prepare()
        kill_at(first, migration.work)
        for second in sample(points(trace(migration.work, tmp_path / "trace")), 10):
            migration.prepare()
            kill_at(first, migration.work)
            assert kill_at(second, migration.work), f"{second} was not reached"
            migration.check_nothing_lost()
            migration.check_to_the_end()
            count += 1
    print(f"{count} double kills of a migration from version {migration.version}")


def fail_and_check(migration: Migration, point: Point, error: str) -> None:
    def bearing() -> None:
        with suppress(JournalBusy, UserError):
            migration.work()

    migration.prepare()
    fail_at(point, error, bearing)
    migration.check_nothing_lost()
    migration.check_to_the_end()


@pytest.mark.parametrize("error", ["EIO", "ENOSPC"])
def test_a_call_that_fails_loses_nothing(migration: Migration, tmp_path: Path, error: str) -> None:
    for point in sample(all_points(migration, tmp_path / "trace"), 3):
        fail_and_check(migration, point, error)


@pytest.mark.slow
@pytest.mark.parametrize("error", ["EIO", "ENOSPC"])
def test_no_call_that_fails_loses_anything(migration: Migration, tmp_path: Path, error: str) -> None:
    population = all_points(migration, tmp_path / "trace")
    for point in population:
        fail_and_check(migration, point, error)
    print(f"{len(population)} times {error} in a migration from version {migration.version}")


@pytest.mark.slow
@pytest.mark.parametrize("version", [1, 4, 5])
def test_a_power_cut_during_a_migration_loses_nothing(tmp_path: Path, version: int) -> None:
    need_strace()
    with far_folder() as memory, disks(memory, 1) as machine:
        migration = Migration(version, machine[0].folder)
        population = [*all_points(migration, tmp_path / "trace"), Point("close", 10_000)]
        for point in population:
            migration.prepare()
            machine[0].sync()
            kill_at(point, migration.work)
            restart(machine)
            migration.check_nothing_lost()
            migration.check_to_the_end()
    print(f"{len(population)} power cuts in a migration from version {version}")


_STEPS = {
    "flush the copy": r"fsync\(\d+<[^>]*/\.[^>/]*\.part>\) = 0",
    "name the copy": r"rename(at)?\(.*\.part\", .*\.version-\d\"\) = 0",
    "flush the folder": r"fsync\(\d+<[^>]*/state>\) = 0",
    "flush the journal": r"fdatasync\(\d+<[^>]*journal\.db-wal>\) = 0",
}


def steps(lines: list[str]) -> list[str]:
    """What is asked of the disk, in order, up to the transaction's end."""
    found = [step for line in lines for step, pattern in _STEPS.items() if re.search(pattern, line)]
    return found[: found.index("flush the journal") + 1]


def check_order(migration: Migration, log: Path) -> None:
    migration.prepare()
    assert steps(trace(migration.work, log)) == list(_STEPS)


def test_a_copy_is_on_the_disk_before_the_journal_changes(migration: Migration, tmp_path: Path) -> None:
    check_order(migration, tmp_path / "trace")
