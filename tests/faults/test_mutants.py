"""The program made wrong on purpose, in each of the ways it must not be: some test has to notice, or it is blind."""

from __future__ import annotations

import errno
import os
import re
import sqlite3
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from daemon.files import copying, renaming
from daemon.files.copying import sha256_of
from daemon.files.renaming import FileAt
from daemon.filing import recovery, transfer
from daemon.journal import labels, migrations, opening, records
from daemon.journal.journal import Journal
from daemon.journal.records import Filing
from daemon.journal.schema import VERSION
from tests.daemon.filing import test_copies, test_folders, test_open_writers, test_races, test_recovery, test_transfer
from tests.daemon.journal import test_labels
from tests.faults import test_kill, test_label_kill, test_machine, test_migration_kill
from tests.faults.order import MOVE_BY_COPY, RENAME, _every_step
from tests.faults.scenario import Scenario
from tests.faults.test_kill import kill_and_check
from tests.faults.test_migration_kill import Migration, all_points
from tests.faults.test_order import steps_of
from tests.faults.tracer import Point, need_strace, points, trace
from tests.filing_desk import Desk, far_folder, make_desk


@pytest.fixture
def near(tmp_path: Path) -> Desk:
    return make_desk(tmp_path)


@pytest.fixture
def far(tmp_path: Path) -> Iterator[Desk]:
    with far_folder() as folder:
        yield make_desk(tmp_path, folder)


def caught(check: Callable[[], object]) -> None:
    with pytest.raises(AssertionError):
        check()


def no_flush_of(pattern: str, monkeypatch: pytest.MonkeyPatch) -> None:
    real = os.fsync

    def fsync(descriptor: int) -> None:
        if not re.search(pattern, str(Path(f"/proc/self/fd/{descriptor}").readlink())):
            real(descriptor)

    monkeypatch.setattr(os, "fsync", fsync)


@pytest.mark.parametrize("what", [r"/\.part\.", "/sorted/cat$", "/inbox$"])
def test_something_is_not_flushed(far: Desk, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, what: str) -> None:
    need_strace()
    assert steps_of(far, tmp_path / "trace", "move") == MOVE_BY_COPY
    (far.output / "cat" / "cat.jpg").unlink()
    no_flush_of(what, monkeypatch)
    mutated = steps_of(far, tmp_path / "trace", "move")
    assert len(mutated) == len(MOVE_BY_COPY) - 1, "the mutant did nothing"
    caught(lambda: _equal(mutated, MOVE_BY_COPY))


def _equal(steps: tuple[str, ...], expected: tuple[str, ...]) -> None:
    assert steps == expected


def test_the_journal_is_not_flushed(near: Desk, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    need_strace()
    monkeypatch.setattr(opening, "DURABLY", "OFF")
    caught(lambda: _equal(steps_of(near, tmp_path / "trace", "move"), RENAME))


def test_the_intent_is_written_after_the_deed(near: Desk, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    need_strace()
    monkeypatch.setattr(transfer.TransferBatch, "record", lambda self, transfers: None)
    caught(lambda: _equal(steps_of(near, tmp_path / "trace", "move"), RENAME))


def test_the_copys_inode_is_not_journaled(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    need_strace()
    with far_folder() as folder:
        scenario = Scenario(tmp_path, folder)
        scenario.prepare()
        lines = trace(scenario.work, tmp_path / "trace")
        claims = [index for index, line in enumerate(lines) if "claim the original" in _every_step([line])]
        claim = points(lines[: claims[0] + 1])[-1]
        kill_and_check(scenario, claim)
        write = records.write_one

        def forgetful(db: sqlite3.Connection, filing: Filing) -> int | None:
            inode, filing.copy_ino = filing.copy_ino, None
            number = write(db, filing)
            filing.copy_ino = inode
            return number

        monkeypatch.setattr(records, "write_one", forgetful)
        caught(lambda: kill_and_check(scenario, claim))


def test_equal_content_is_taken_for_our_copy(near: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    def by_content(self: recovery.InterruptedFiling, entry: FileAt | None) -> bool:
        if entry is None or not entry.exists():
            return False
        return self._row.sha256 == sha256_of(entry)

    monkeypatch.setattr(recovery.InterruptedFiling, "is_ours", by_content)
    caught(lambda: test_recovery.test_a_stranger_in_the_place_of_a_copy_is_a_stranger(near))


def test_a_name_is_replaced(near: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    def replacing(old: FileAt, new: FileAt) -> None:
        os.rename(old.name, new.name, src_dir_fd=old.folder, dst_dir_fd=new.folder)

    monkeypatch.setattr(renaming, "rename_noreplace", replacing)
    caught(lambda: test_races.test_the_kernel_decides_who_gets_a_name(near, monkeypatch, "move"))


def test_a_name_is_replaced_after_a_look(near: Desk, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    need_strace()

    def looking(old: FileAt, new: FileAt) -> None:
        if new.exists():
            raise FileExistsError(errno.EEXIST, "File exists")
        os.rename(old.name, new.name, src_dir_fd=old.folder, dst_dir_fd=new.folder)

    monkeypatch.setattr(renaming, "rename_noreplace", looking)
    caught(lambda: _equal(steps_of(near, tmp_path / "trace", "move"), RENAME))


def test_the_original_goes_by_its_name(far: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    def by_name(entry: FileAt, *_: object) -> bool:
        entry.unlink()
        return True

    monkeypatch.setattr(renaming, "drop", by_name)
    caught(lambda: test_transfer.test_a_new_image_of_the_same_name_is_not_dropped_for_the_old_one(far, monkeypatch))


def test_an_original_is_unlinked_although_it_is_open(far: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(transfer, "unlink_closed", renaming.unlink_meant)
    caught(lambda: test_open_writers.test_an_image_whose_writer_pauses_stays(far, None))
    caught(test_machine.one_writer_that_pauses)


def test_an_image_is_renamed_although_it_is_open(near: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(transfer, "is_being_written", lambda _: False)
    caught(lambda: test_open_writers.test_an_image_whose_writer_pauses_stays(near, None))


def test_a_recovery_unlinks_an_original_although_it_is_open(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(recovery, "unlink_closed", renaming.unlink_meant)
    with far_folder() as folder:
        desk = make_desk(tmp_path, folder)
        caught(
            lambda: test_open_writers.test_a_recovery_takes_nothing_from_a_writer(
                desk, monkeypatch, "rename", "after the restart"
            )
        )


def test_nobody_looks_again_before_the_move(near: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(transfer, "check_source", lambda *_: None)
    monkeypatch.setattr(transfer.TransferBatch, "verify", lambda *_: None)
    caught(lambda: test_races.test_a_file_that_changed_after_the_decision_stays(near, "move"))


def test_nobody_looks_after_the_move(near: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(transfer.TransferBatch, "verify", lambda *_: None)
    caught(
        lambda: test_races.test_a_file_replaced_at_the_very_moment_of_the_move_is_put_back(near, monkeypatch, "move")
    )


def test_copies_are_forgotten(near: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Journal, "filed_before", lambda *_, **__: False)
    monkeypatch.setattr(Journal, "same_filed", lambda *_: None)
    caught(lambda: test_copies.test_copies_and_links_are_made_once(near, "copy"))


def test_a_copy_is_not_verified(far: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    real = copying.copy_into

    def trusting(target: int, source: FileAt, identity: Any, sha256: str | None) -> str:
        return real(target, source, identity, None)

    monkeypatch.setattr(copying, "copy_into", trusting)
    caught(lambda: test_transfer.test_a_file_written_to_while_it_is_copied_stays(far, monkeypatch, "move"))


def test_a_destination_is_followed_out_of_the_output(
    near: Desk, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "O_NOFOLLOW", 0)
    caught(
        lambda: test_folders.test_a_class_folder_is_a_folder_of_the_output_or_nothing_is_filed(
            near, tmp_path, "link outside"
        )
    )


@pytest.fixture(params=[1, 4])
def migration(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Migration]:
    need_strace()
    with far_folder() as quick:
        yield Migration(request.param, quick)


def some_kill_is_noticed(population: list[Point], kill_and_check: Callable[[Point], None]) -> None:
    """Kill at the writes of databases, in an order of chance, until it is noticed."""

    def kill_at_every_write() -> None:
        for point in test_kill.sample([point for point in population if point.call == "pwrite64"], len(population)):
            kill_and_check(point)

    caught(kill_at_every_write)


def some_kill_of_a_migration_is_noticed(migration: Migration, log: Path) -> None:
    some_kill_is_noticed(all_points(migration, log), partial(test_migration_kill.kill_and_check, migration))


def test_a_journal_is_migrated_without_a_copy(
    migration: Migration, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(migrations, "keep_copy", lambda *_: None)
    population = all_points(migration, tmp_path / "trace")
    caught(lambda: test_migration_kill.kill_and_check(migration, population[-1]))


def test_a_copy_has_its_name_before_it_is_whole(
    migration: Migration, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def at_once(db: sqlite3.Connection, path: Path, version: int) -> None:
        with closing(sqlite3.connect(migrations.copy_of(path, version))) as target:
            db.backup(target)

    monkeypatch.setattr(migrations, "keep_copy", at_once)
    some_kill_of_a_migration_is_noticed(migration, tmp_path / "trace")


def test_a_copy_is_not_flushed(migration: Migration, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    no_flush_of(r"\.part$", monkeypatch)
    caught(lambda: test_migration_kill.check_order(migration, tmp_path / "trace"))


def test_the_version_is_written_before_the_tables(
    migration: Migration, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = opening.in_transaction

    def version_first(db: sqlite3.Connection, work: Callable[[], Any], **more: Any) -> Any:
        (version,) = db.execute("PRAGMA user_version").fetchone()
        if version == migration.version:
            db.execute(f"PRAGMA user_version = {VERSION}")
            monkeypatch.setattr(migrations, "version_of", lambda _: version)
        return real(db, work, **more)

    monkeypatch.setattr(opening, "in_transaction", version_first)
    some_kill_of_a_migration_is_noticed(migration, tmp_path / "trace")


def test_a_migration_is_no_transaction(migration: Migration, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(opening, "in_transaction", lambda _, work, **__: work())
    some_kill_of_a_migration_is_noticed(migration, tmp_path / "trace")


def test_a_label_is_forgotten_before_its_filing_is_undone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    need_strace()
    real = labels.follow

    def apart(db: sqlite3.Connection, filings: Sequence[Filing]) -> None:
        real(db, filings)
        db.execute("COMMIT")
        db.execute("BEGIN IMMEDIATE")

    with far_folder() as quick:
        labelled = test_label_kill.Labelled(quick, None)
        monkeypatch.setattr(labels, "follow", apart)
        population = test_kill.all_points(labelled, tmp_path / "trace")
        some_kill_is_noticed(population, partial(test_label_kill.kill_and_check, labelled))


def test_a_label_outlives_the_undo_of_its_filing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(labels, "follow", lambda *_: None)
    caught(lambda: test_labels.test_the_label_of_an_undone_filing_is_forgotten_with_it(tmp_path / "journal.db"))
