"""A journal of an earlier version goes on as one of this version, or stays as it is; a newer one is refused."""

from __future__ import annotations

import errno
import os
import re
import shutil
import sqlite3
from collections import Counter
from collections.abc import Callable
from contextlib import closing
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from daemon.files import copying
from daemon.filing.recovery import recover
from daemon.filing.undo import undo
from daemon.journal import migrations, opening
from daemon.journal.journal import Journal, JournalBusy, read_held, read_history, read_labels
from daemon.journal.labels import How, Label
from daemon.journal.records import State
from daemon.journal.schema import VERSION
from daemon.service import open_journal
from daemon.state import journal_path
from models.errors import UserError
from tests.command_desk import make_office
from tests.daemon.journal.conftest import filing, history, set_aside
from tests.daemon.journal.eras import VERSIONS, Era, dump, rows_in, settle
from tests.filing_desk import failing, images
from tests.processes import run


@pytest.fixture(params=VERSIONS)
def era(request: pytest.FixtureRequest, tmp_path: Path) -> Era:
    """A journal of each earlier version."""
    return settle(request.param, tmp_path)


def migrate(path: Path) -> None:
    journal = Journal(path)
    journal.interrupted()
    journal.close()


def names(rows: list[Any]) -> list[str]:
    return [row.source.name for row in rows]


def test_every_earlier_version_has_a_journal_here() -> None:
    assert tuple(range(1, VERSION)) == VERSIONS


def test_every_row_and_note_is_as_it_was(era: Era, logged: list[str]) -> None:
    migrate(era.path)
    assert rows_in(era.path) == era.rows
    journal = Journal(era.path)
    assert {key: journal.noted(key) for key in era.notes} == era.notes
    begun, done = logged
    assert f"from version {era.version} to {VERSION}" in begun
    assert f"as it was it is kept as {era.copy}" in done
    assert set_aside(era.path) == []


def test_a_migrated_journal_has_the_tables_and_indexes_of_a_new_one(era: Era, tmp_path: Path) -> None:
    migrate(era.path)
    migrate(tmp_path / "new.db")

    def schema(path: Path) -> set[str]:
        with closing(sqlite3.connect(path)) as db:
            return {re.sub(r'["\s]', "", str(sql)) for (sql,) in db.execute("SELECT sql FROM sqlite_master")}

    assert schema(era.path) == schema(tmp_path / "new.db")


def test_a_copy_is_kept_until_the_next_migration(era: Era) -> None:
    before = dump(era.path)
    earlier = era.path.with_name(f"{era.path.name}.version-0")
    earlier.write_bytes(b"of the last migration")
    era.path.chmod(0o640)
    migrate(era.path)
    assert not earlier.exists()
    assert dump(era.copy) == before
    assert era.copy.stat().st_mode == era.path.stat().st_mode
    times = era.copy.stat().st_mtime_ns
    migrate(era.path)
    assert era.copy.stat().st_mtime_ns == times
    assert [path.name for path in era.path.parent.iterdir() if path.name[0] == "."] == []


@pytest.mark.skipif(os.geteuid() != 0, reason="only root may give files away")
def test_what_root_migrates_belongs_to_the_service(era: Era) -> None:
    for path in (era.path.parent, era.path):
        os.chown(path, 4242, 4243)
    migrate(era.path)
    for path in (era.path, era.copy):
        assert (path.stat().st_uid, path.stat().st_gid) == (4242, 4243)


def test_a_journal_that_was_put_back_is_migrated_again(era: Era) -> None:
    migrate(era.path)
    shutil.copyfile(era.copy, era.path)
    migrate(era.path)
    assert rows_in(era.path) == era.rows


def test_what_was_interrupted_is_recovered(era: Era) -> None:
    journal = Journal(era.path)
    before = Counter(era.contents.values())
    assert recover(journal) == {State.VOID: 1, State.DONE: 2}
    journal.close()
    states = {row.source.name: row.state for row in rows_in(era.path)}
    assert (states["renamed.jpg"], states["copied.jpg"]) == (State.DONE, State.DONE)
    assert "not begun.jpg" not in states
    folder = era.path.parent.parent
    after = Counter(path.read_bytes() for path in images(folder) if path.suffix in (".jpg", ".xmp"))
    assert before - after == Counter([b"copied.jpg"]), "the original of a copy that is complete"
    assert after - before == Counter()


def test_everything_that_was_filed_can_be_undone(era: Era) -> None:
    journal = Journal(era.path)
    recover(journal)
    undone = list(undo(journal, history(era.path, states=[State.DONE])))
    assert Counter(each.status.value for each in undone) == {"undone": len(undone)}
    journal.close()
    folder = era.path.parent.parent
    assert [path for root in ("sorted", "far") for path in images(folder / root) if path.suffix != ".json"] == []
    contents = Counter(path.read_bytes() for path in images(era.desk.inbox))
    assert contents == Counter(set(era.contents.values()))
    strange = os.fsdecode(b"\xff\xfe\n.jpg")
    assert (era.desk.inbox / strange).read_bytes() == os.fsencode(strange)
    assert (era.desk.inbox / os.fsdecode(b"\xe9t\xe9") / "inside.jpg").exists()
    assert (era.desk.inbox / "고양이 사진.jpg").exists()


def test_what_was_copied_linked_or_refused_is_not_filed_again(era: Era) -> None:
    journal = Journal(era.path)
    for name in ("copy.jpg", "link.jpg", "refused.jpg"):
        row = era.row(name)
        assert journal.filed_before(row.identity, row.source, None), "by its inode"
        assert journal.filed_before(row.identity._replace(ino=1), row.source, row.sha256), "by its content"
        assert journal.same_filed(row.source, row.identity.size, partial(getattr, row, "sha256")) == row.id
    row = era.row("moved.jpg")
    assert not journal.filed_before(row.identity, row.source, row.sha256)


def test_rows_are_found_by_everything_that_people_ask_for(era: Era) -> None:
    for _ in ("beside the daemon of that version", "migrated"):
        assert names(history(era.path, name="고양이 사진.jpg")) == ["고양이 사진.jpg"]
        assert names(history(era.path, name="twice_2.jpg")) == ["twice.jpg"]
        assert names(history(era.path, name=str(era.desk.output / "dog" / "sorted again.jpg"))) == ["sorted again.jpg"]
        assert names(history(era.path, name=os.fsdecode(b"\xe9t\xe9/inside.jpg"))) == ["inside.jpg"]
        assert names(history(era.path, label="고양이")) == ["고양이 사진.jpg"]
        assert names(history(era.path, model_digest="cdcd")) == ["moved.jpg"]
        assert names(history(era.path, reasons=["corrupt"])) == ["quarantined.jpg"]
        assert names(history(era.path, min_confidence=0.6)) == ["moved.jpg"]
        assert names(history(era.path, since=era.row("link.jpg").time, limit=100))[-1] == "link.jpg"
        assert names(history(era.path, run=era.row("undone.jpg").run)) == ["undone.jpg"]
        migrate(era.path)


def test_it_is_read_without_a_change_beside_the_daemon_of_its_version(era: Era) -> None:
    before = era.path.read_bytes()
    assert rows_in(era.path) == era.rows
    assert (list(read_labels(era.path)), read_held(era.path)) == ([], [])
    beside = open_journal(era.path, dry_run=True)
    row = era.row("copy.jpg")
    assert beside.filed_before(row.identity, row.source, None)
    assert beside.filed_with_inode([era.row("moved.jpg").identity.ino]) == [era.row("moved.jpg")]
    assert (list(beside.labels()), beside.held()) == ([], [])
    beside.close()
    assert era.path.read_bytes() == before
    assert not era.copy.exists()


def test_what_that_daemon_writes_meanwhile_is_seen(tmp_path: Path) -> None:
    """Of the last version: a journal of a million rows is not copied to be read."""
    era = settle(VERSION - 1, tmp_path)
    beside = open_journal(era.path, dry_run=True)
    row = era.row("undone.jpg")
    assert beside.filed_with_inode([row.identity.ino]) == []
    with closing(sqlite3.connect(era.path)) as daemon:
        daemon.execute("UPDATE filings SET state = 'done' WHERE id = ?", (row.id,))
        daemon.commit()
    assert [each.id for each in beside.filed_with_inode([row.identity.ino])] == [row.id]


def test_labels_of_migrated_filings(era: Era) -> None:
    row = era.row("moved.jpg")
    assert row.sha256 is not None
    assert row.destination is not None
    said = Label(
        sha256=row.sha256,
        label="wolf",
        how=How.MOVED,
        path=row.destination,
        identity=row.identity,
        filing_id=row.id,
    )
    journal = Journal(era.path)
    journal.write([], labels=[said])
    assert list(journal.labels()) == [said]
    row.state = State.UNDONE
    journal.write([row])
    assert list(journal.labels()) == []


@pytest.fixture
def newer(path: Path) -> Path:
    Journal(path).write([filing(1, action="copy")])
    with closing(sqlite3.connect(path)) as db:
        db.execute("PRAGMA user_version = 99")
    return path


def test_a_newer_journal_is_refused_and_stays(newer: Path, log: list[str]) -> None:
    before = newer.read_bytes()
    journal = Journal(newer)
    uses: list[Callable[[], object]] = [
        lambda: journal.write([filing(2)]),
        lambda: journal.write_later([filing(2)]),
        journal.interrupted,
        lambda: open_journal(newer, dry_run=True).filed_before(filing(1).identity, filing(1).source, None),
        lambda: next(read_history(newer)),
        lambda: next(read_labels(newer)),
    ]
    for use in uses:
        with pytest.raises(UserError, match=r"of a newer version .*version 99, this program knows 6.*: install that"):
            use()
    assert newer.read_bytes() == before
    assert set_aside(newer) == []
    assert log == []


def test_a_newer_journal_is_refused_by_commands(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    office = make_office(tmp_path, capsys)
    Journal(office.desk.journal_path).write([filing(1)])
    with closing(sqlite3.connect(office.desk.journal_path)) as db:
        db.execute("PRAGMA user_version = 99")
    for command in ("history", "undo", "retry"):
        with pytest.raises(UserError, match="newer version") as refused:
            office.run(command, *(["--last", "1"] if command == "undo" else []))
        assert refused.value.exit_code == 2


@pytest.mark.parametrize("dry", [[], ["--dry-run"]])
def test_a_newer_journal_is_refused_by_the_daemon(tmp_path: Path, dry: list[str]) -> None:
    for name in ("inbox", "sorted"):
        (tmp_path / name).mkdir()
    path = journal_path(tmp_path / "state", tmp_path / "sorted")
    Journal(path).write([filing(1)])
    with closing(sqlite3.connect(path)) as db:
        db.execute("PRAGMA user_version = 99")
    place = ("--watch", "inbox", "--output", "sorted", "--state-dir", "state")
    done = run("daemon", *place, "--once", *dry, cwd=tmp_path)
    assert done.returncode == 2
    assert "install that version of imagesortd again" in done.stderr
    assert "Traceback" not in done.stderr
    assert set_aside(path) == []


def test_where_there_is_no_room_nothing_changes(era: Era, monkeypatch: pytest.MonkeyPatch) -> None:
    before = dump(era.path)
    real = os.statvfs
    with monkeypatch.context() as patch:
        patch.setattr(os, "statvfs", lambda path: _with_free(real(path), 3))
        with pytest.raises(UserError, match=r"no room to migrate it: make \d MB free in its folder, where 0 MB are"):
            migrate(era.path)
    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", failing(errno.EDQUOT))
        with pytest.raises(UserError, match="no room to migrate it"):
            migrate(era.path)
    assert dump(era.path) == before
    assert [path.name for path in era.path.parent.iterdir() if "version" in path.name] == []
    migrate(era.path)
    assert rows_in(era.path) == era.rows


def _with_free(status: os.statvfs_result, blocks: int) -> os.statvfs_result:
    fields = list(status)
    fields[4] = blocks
    return os.statvfs_result(fields)


def test_a_disk_that_fills_up_in_the_midst_changes_nothing(era: Era, monkeypatch: pytest.MonkeyPatch) -> None:
    before = dump(era.path)
    real = sqlite3.connect

    def full(where: Path, *arguments: Any, **more: Any) -> sqlite3.Connection:
        db: sqlite3.Connection = real(where, *arguments, **more)
        if where == era.path:
            (pages,) = db.execute("PRAGMA page_count").fetchone()
            db.execute(f"PRAGMA max_page_count = {pages}")
        return db

    with monkeypatch.context() as patch:
        patch.setattr(sqlite3, "connect", full)
        with pytest.raises(UserError, match="no room to migrate it"):
            migrate(era.path)
    assert dump(era.path) == dump(era.copy) == before
    migrate(era.path)
    assert rows_in(era.path) == era.rows


def test_where_no_copy_can_be_made_nothing_changes(era: Era, monkeypatch: pytest.MonkeyPatch) -> None:
    before = dump(era.path)
    with monkeypatch.context() as patch:
        patch.setattr(migrations, "sync_folder", failing(errno.EROFS))
        with pytest.raises(UserError, match=r"no copy of it can be made beside it \(Read-only file system\)"):
            migrate(era.path)
    assert dump(era.path) == before


def test_a_migration_waits_for_whoever_holds_the_journal(era: Era) -> None:
    other = sqlite3.connect(era.path, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    journal = Journal(era.path, timeout=0.01)
    with pytest.raises(JournalBusy, match="locked"):
        journal.interrupted()
    other.execute("ROLLBACK")
    other.close()
    assert len(journal.interrupted()) == 3
    assert set_aside(era.path) == []


def test_an_old_journal_that_is_damaged_is_set_aside(era: Era, log: list[str]) -> None:
    with era.path.open("r+b") as file:
        file.truncate(era.path.stat().st_size // 2)
    journal = Journal(era.path)
    journal.write([filing(1)])
    assert len(rows_in(era.path)) == 1
    assert len(set_aside(era.path)) == len(log) == 1


def test_a_long_migration_reports_progress(era: Era, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(migrations, "STEPS", 10)
    reports: list[bool] = []
    with copying.reporting_to(lambda: reports.append(True)):
        migrate(era.path)
    assert len(reports) > 2
    reports.clear()
    with closing(opening.connect(era.path, 1.0)) as db:
        db.execute("SELECT count(*) FROM filings, filings AS others").fetchone()
    assert reports == [], "and none afterwards"
