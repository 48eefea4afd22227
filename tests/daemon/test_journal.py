from __future__ import annotations

import os
import shutil
import sqlite3
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from loguru import logger

from daemon import filing as filing_module
from daemon import moves, rows
from daemon.filing import Filer, Status
from daemon.journal import Journal, JournalBusy, read_history
from daemon.moves import Entry
from daemon.rows import Filing, State, Wanted
from daemon.source import Identity
from models.errors import UserError
from tests.filing_desk import Desk, bound_by_modes, make_desk

DAY = datetime(2026, 1, 1, tzinfo=UTC)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "state" / "journal.db"


@pytest.fixture
def log() -> Iterator[list[str]]:
    """What is logged as an error."""
    lines: list[str] = []
    handler = logger.add(lambda message: lines.append(message.record["message"]), level="ERROR")
    yield lines
    logger.remove(handler)


def filing(number: int = 0, **more: Any) -> Filing:
    values: dict[str, Any] = {
        "state": State.DONE,
        "action": "move",
        "source": Path(f"/inbox/{number}.jpg"),
        "identity": Identity(1, number, 3, 4),
        "time": DAY + timedelta(hours=number),
    }
    return Filing(**(values | more))


def busy(*_: object) -> None:
    raise JournalBusy("database or disk is full")


def history(path: Path, *, limit: int | None = None, **filters: Any) -> list[Filing]:
    return list(read_history(path, Wanted(**filters), limit))


def set_aside(path: Path) -> list[Path]:
    return sorted(path.parent.glob("*.damaged-*"))


def test_a_row_comes_back_as_it_was_written(path: Path) -> None:
    journal = Journal(path)
    row = filing(
        source=Path(os.fsdecode(b"/in\nbox/\xff\xfe.jpg")),
        identity=Identity(2**64 - 1, 2**63, 2**40, -1),
        sha256="ab" * 32,
        folder=Path("/sorted/\u1112\u1161\u11ab"),
        filed_name="cat.jpg",
        copy_ino=2**64 - 2,
        label="cat",
        confidence=0.75,
        model_digest="cd" * 32,
        reason="truncated",
        detail='It\'s "odd"; DROP TABLE filings',
    )
    journal.write([row])
    assert row.id is not None
    assert row.run == journal.run
    assert history(path) == [row]


def test_numbers_and_texts_of_other_kinds_are_written_too(path: Path) -> None:
    Journal(path).write([filing(confidence=np.float32(0.5), detail="\udcff is no text")])
    (row,) = history(path)
    assert row.confidence == 0.5
    assert row.detail == "\\udcff is no text"


def test_writing_again_changes_the_row_and_void_takes_it_away(path: Path) -> None:
    journal = Journal(path)
    first, second = filing(1, state=State.INTENT), filing(2, state=State.INTENT)
    journal.write([first, second])
    assert journal.unfinished() == [first, second]
    first.state, second.state = State.COPIED, State.VOID
    journal.write([first, second])
    assert journal.unfinished() == [first]
    assert second.id is None


def test_each_journal_object_has_its_own_run(path: Path) -> None:
    for number in range(2):
        journal = Journal(path)
        journal.write([filing(number)])
        journal.close()
    assert len({row.run for row in history(path)}) == 2


def test_history_is_newest_first_and_filtered(path: Path) -> None:
    journal = Journal(path)
    journal.write([filing(n, label="cat" if n % 2 else "dog", model_digest=f"m{n % 3}") for n in range(12)])
    journal.write([filing(20, state=State.INTENT), filing(21, state=State.ORPHAN)])

    def numbers(**filters: Any) -> list[int]:
        return [row.identity.ino for row in history(path, **filters)]

    assert numbers() == [21, *range(11, -1, -1)]
    assert numbers(limit=2) == [21, 11]
    assert numbers(label="cat") == [11, 9, 7, 5, 3, 1]
    assert numbers(label="cat", model_digest="m1") == [7, 1]
    assert numbers(since=DAY + timedelta(hours=9)) == [21, 11, 10, 9]
    assert numbers(name="3.jpg") == [3]
    assert numbers(run="another") == []
    assert numbers(states=[State.INTENT]) == [20]


def test_times_of_other_zones_are_the_same_times(path: Path) -> None:
    from datetime import timezone

    Journal(path).write([filing(1)])
    elsewhere = timezone(timedelta(hours=9))
    assert len(history(path, since=(DAY + timedelta(hours=1)).astimezone(elsewhere))) == 1
    assert history(path, since=(DAY + timedelta(hours=1, microseconds=1)).astimezone(elsewhere)) == []


def plans(path: Path, ask: Callable[[sqlite3.Connection], object]) -> list[str]:
    """How SQLite finds the answers to what is asked."""
    with sqlite3.connect(path) as db:
        asked: list[str] = []
        db.set_trace_callback(asked.append)
        ask(db)
        db.set_trace_callback(None)
        found = [str(plan) for query in asked for *_, plan in db.execute(f"EXPLAIN QUERY PLAN {query}")]
    db.close()
    return [plan for plan in found if plan.startswith(("SEARCH", "SCAN", "USE TEMP"))]


def search(index: str, terms: str) -> str:
    return f"SEARCH filings USING INDEX filings_{index} ({terms})"


@pytest.mark.parametrize(
    ("filters", "expected"),
    [
        ({}, ["SCAN filings USING INDEX filings_order"]),
        ({"max_confidence": 0.1}, ["SCAN filings USING INDEX filings_order"]),
        ({"since": DAY}, [search("order", "time>?")]),
        ({"since": DAY, "until": DAY}, [search("order", "time>? AND time<?")]),
        ({"label": "x"}, [search("label", "label=?")]),
        ({"label": "x", "since": DAY}, [search("label", "label=? AND time>?")]),
        ({"run": "x"}, [search("run", "run=?")]),
        ({"reasons": ()}, ["SCAN filings USING INDEX filings_reason"]),
        ({"reasons": ("x",), "states": [State.DONE]}, ["SCAN filings USING INDEX filings_reason"]),
        ({"name": "x"}, [search("name", "name=?"), search("renamed", "<expr>=?"), "USE TEMP B-TREE FOR ORDER BY"]),
        ({"name": "/in/x"}, [search("name", "name=?"), search("renamed", "<expr>=?"), "USE TEMP B-TREE FOR ORDER BY"]),
        ({"model_digest": "a"}, [*2 * ["SEARCH filings USING COVERING INDEX filings_model (model_digest>? AND "
                                       "model_digest<?)"], search("model", "model_digest=?")]),
    ],
)  # fmt: skip
def test_every_history_has_an_index_in_its_order(path: Path, filters: dict[str, Any], expected: list[str]) -> None:
    journal = Journal(path)
    journal.write([filing(model_digest="ab")])
    journal.close()
    assert plans(path, lambda db: list(rows.history(db, Wanted(**filters), 10))) == expected


def test_what_is_asked_for_each_image_has_an_index(path: Path) -> None:
    journal = Journal(path)
    journal.write([filing()])
    journal.close()
    assert "filings_identity" in str(plans(path, lambda db: rows.filed_before(db, Identity(1, 2, 3, 4), Path("x"), "")))
    assert "filings_name" in str(plans(path, lambda db: rows.newest(db, [Path("/x"), Path("/y")], DAY)))
    assert "filings_image" in str(plans(path, lambda db: rows.sidecars(db, 1)))
    assert plans(path, rows.unfinished) == ["SCAN filings USING INDEX filings_unfinished"]
    order = search("order", "time>? AND time<?")
    assert plans(path, lambda db: rows.prune(db, DAY, rows.BEGINNING, 10))[:1] == [order]


def test_indexes_that_are_missing_are_made_and_old_ones_go(path: Path) -> None:
    Journal(path).write([filing(1)])
    with sqlite3.connect(path) as db:
        indexes = "SELECT name, sql FROM sqlite_master WHERE type = 'index' ORDER BY name"
        before = db.execute(indexes).fetchall()
        db.execute("DROP INDEX filings_label")
        db.execute("CREATE INDEX filings_time ON filings (time)")
    db.close()
    assert len(history(path, label=None)) == 1, "read as it is"
    Journal(path).write([filing(2)])
    with sqlite3.connect(path) as db:
        assert db.execute(indexes).fetchall() == before
    db.close()
    assert [row.identity.ino for row in history(path)] == [2, 1]


@pytest.mark.parametrize("output", [b"/sorted", b"/sor\xff"])
@pytest.mark.parametrize("name", [b"cat.jpg", b"\xff.jpg", "고양이.jpg".encode(), b"100%_.jpg"])
def test_a_file_is_found_by_the_name_it_was_filed_under(path: Path, output: bytes, name: bytes) -> None:
    source = Path(os.fsdecode(b"/in/" + name))
    filed = Path(os.fsdecode(output + b"/cat/" + name.replace(b".jpg", b"_2.jpg")))
    first = filing(1, source=source, folder=filed.parent, filed_name=filed.name)
    Journal(path).write([first, filing(2, folder=Path("/sorted/cat"), filed_name="2.jpg")])
    for wanted in (source, filed):
        assert [row.identity.ino for row in history(path, name=wanted.name)] == [1]
        assert [row.identity.ino for row in history(path, name=str(wanted))] == [1]
    assert history(path, name=str(source.with_name(filed.name))) == []


def test_several_checkpoints_may_begin_alike(path: Path) -> None:
    Journal(path).write([filing(n, model_digest=digest) for n, digest in enumerate(["abc1", "abc2", "abd", None])])
    assert [row.identity.ino for row in history(path, model_digest="abc")] == [1, 0]
    assert [row.identity.ino for row in history(path, model_digest="abc2")] == [1]
    assert history(path, model_digest="abe") == []


def test_notes_are_remembered_and_forgotten(path: Path) -> None:
    journal = Journal(path)
    assert journal.noted("bad model") is None
    journal.note("bad model", "abc")
    journal.note("bad model", "def")
    journal.close()
    assert Journal(path).noted("bad model") == "def"
    journal.note("bad model", None)
    assert journal.noted("bad model") is None


def test_another_process_reads_while_rows_are_written(path: Path) -> None:
    journal = Journal(path)
    journal.write([filing(0)])
    reader = read_history(path)
    assert next(reader).identity.ino == 0
    journal.write([filing(1)])
    assert len(history(path)) == 2
    assert list(reader) == [], "what it began to read it reads to the end"


def test_what_is_committed_is_flushed(path: Path) -> None:
    journal = Journal(path)
    journal.note("a", "b")
    assert journal._db is not None
    assert journal._db.execute("PRAGMA journal_mode").fetchone() == ("wal",)
    assert journal._db.execute("PRAGMA synchronous").fetchone() == (2,)


@pytest.mark.parametrize("version", [1, 99])
def test_a_journal_of_another_version_is_not_misread(path: Path, version: int) -> None:
    Journal(path).write([filing(1)])
    with sqlite3.connect(path) as db:
        db.execute(f"PRAGMA user_version = {version}")
    db.close()
    with pytest.raises(UserError, match=f"cannot be read: its tables are of version {version}"):
        history(path)


def test_no_journal_to_read_is_a_sentence(path: Path) -> None:
    with pytest.raises(UserError, match="cannot be read"):
        history(path)
    path.parent.mkdir()
    path.write_bytes(b"no database at all" * 100)
    with pytest.raises(UserError, match="cannot be read"):
        history(path)


def garbage(path: Path) -> None:
    path.write_bytes(b"no database at all" * 1000)


def torn(path: Path) -> None:
    with path.open("r+b") as file:
        file.truncate(path.stat().st_size // 2)


def foreign(path: Path) -> None:
    path.unlink()
    with sqlite3.connect(path) as db:
        db.execute("CREATE TABLE recipes (name)")
    db.close()


def newer(path: Path) -> None:
    with sqlite3.connect(path) as db:
        db.execute("PRAGMA user_version = 99")
    db.close()


def table_gone(path: Path) -> None:
    with sqlite3.connect(path) as db:
        db.execute("DROP TABLE filings")
    db.close()


def a_folder(path: Path) -> None:
    path.unlink()
    path.mkdir()


@pytest.mark.parametrize("damage", [garbage, torn, foreign, newer, table_gone, a_folder])
def test_a_damaged_journal_is_set_aside_and_filing_goes_on(
    path: Path, log: list[str], damage: Callable[[Path], None]
) -> None:
    journal = Journal(path)
    journal.write([filing(n) for n in range(200)])
    journal.close()
    damage(path)
    before = path.read_bytes() if path.is_file() else b""
    journal = Journal(path)
    journal.write([filing(1000)])
    assert [row.identity.ino for row in history(path)] == [1000]
    (aside,) = set_aside(path)
    if before:
        assert aside.read_bytes() == before
    assert len(log) == 1
    assert aside.name in log[0]


def test_damage_while_the_journal_is_in_use(path: Path, log: list[str]) -> None:
    journal = Journal(path)
    row = filing(0, state=State.INTENT)
    journal.write([*(filing(n) for n in range(1, 500)), row])
    journal.close()
    journal.write([filing(501)])
    with path.open("r+b") as file:
        file.seek(4096)
        file.write(b"\xa5" * (path.stat().st_size - 4096))
    row.state = State.DONE
    for number in range(600, 620):
        journal.write([filing(number)])
    journal.write([row])
    assert len(set_aside(path)) == 1
    assert len(log) == 1
    assert history(path)[-1].id == row.id, "a row of the old journal goes on in the new one"


@pytest.mark.parametrize("how", ["deleted", "folder deleted", "replaced"])
def test_a_journal_taken_away_under_us(path: Path, log: list[str], how: str) -> None:
    journal = Journal(path)
    journal.write([filing(1)])
    if how == "folder deleted":
        shutil.rmtree(path.parent)
    else:
        for name in ("journal.db", "journal.db-wal", "journal.db-shm"):
            path.with_name(name).unlink(missing_ok=True)
    if how == "replaced":
        other = Journal(path)
        other.write([filing(2)])
        other.close()
    journal.write([filing(3)])
    assert [row.identity.ino for row in history(path)] == ([3, 2] if how == "replaced" else [3])
    assert len(log) == 1
    assert "taken away" in log[0]


def test_a_journal_that_may_not_be_written_is_set_aside(path: Path, log: list[str]) -> None:
    Journal(path).write([filing(1)])
    for name in ("journal.db", "journal.db-wal", "journal.db-shm"):
        path.with_name(name).chmod(0o444)
    with bound_by_modes():
        Journal(path).write([filing(2)])
    assert [row.identity.ino for row in history(path)] == [2]
    assert len(set_aside(path)) == 3
    assert len(log) == 1


@pytest.mark.parametrize("missing", [True, False])
def test_where_no_journal_can_be_kept_it_is_kept_in_memory(
    tmp_path: Path, path: Path, log: list[str], missing: bool
) -> None:
    if not missing:
        path.parent.mkdir()
        path.parent.chmod(0o555)
    else:
        tmp_path.chmod(0o555)
    journal = Journal(path)
    with bound_by_modes():
        journal.write([filing(1, state=State.INTENT)])
        journal.write([filing(2, state=State.INTENT)])
    tmp_path.chmod(0o755)
    assert [row.identity.ino for row in journal.unfinished()] == [1, 2]
    assert "kept in memory" in log[-1]
    assert len(log) == 2


@pytest.fixture
def locked(path: Path) -> Iterator[Callable[[], None]]:
    """Another program holds the journal, until the value is called."""
    Journal(path).write([filing(1)])
    other = sqlite3.connect(path, isolation_level=None)
    other.execute("BEGIN EXCLUSIVE")

    def release() -> None:
        other.execute("ROLLBACK")

    yield release
    other.close()


def test_a_journal_that_another_program_holds_is_not_damaged(path: Path, locked: Callable[[], None]) -> None:
    journal = Journal(path, timeout=0.01)
    with pytest.raises(JournalBusy, match="locked"):
        journal.write([filing(2)])
    with pytest.raises(JournalBusy):
        journal.note("a", "b")
    locked()
    journal.write([filing(3)])
    assert [row.identity.ino for row in history(path)] == [3, 1]
    assert set_aside(path) == []


def test_what_has_happened_is_written_when_the_journal_is_free(path: Path, locked: Callable[[], None]) -> None:
    journal = Journal(path, timeout=0.01)
    journal.write_later([filing(2)])
    journal.write_later([filing(3)])
    assert len(history(path)) == 1
    locked()
    journal.write([filing(4)])
    assert {row.identity.ino for row in history(path)} == {1, 2, 3, 4}
    journal.write([filing(5)])
    assert len(history(path)) == 5


def test_a_full_disk_is_waited_for(path: Path) -> None:
    journal = Journal(path)
    journal.write([filing(1)])
    assert journal._db is not None
    (pages,) = journal._db.execute("PRAGMA page_count").fetchone()
    journal._db.execute(f"PRAGMA max_page_count = {pages}")
    with pytest.raises(JournalBusy, match="full"):
        journal.write([filing(n, detail="x" * 10_000) for n in range(2, 100)])
    journal._db.execute("PRAGMA max_page_count = 1000000")
    journal.write([filing(200)])
    assert [row.identity.ino for row in history(path)] == [200, 1]
    assert set_aside(path) == []


def failing_disk(times: int) -> Callable[[Any, Any], Sequence[int | None]]:
    left = [times]
    real = rows.write

    def write(db: sqlite3.Connection, filings: list[Filing]) -> Sequence[int | None]:
        if left[0]:
            left[0] -= 1
            error = sqlite3.OperationalError("disk I/O error")
            error.sqlite_errorcode = sqlite3.SQLITE_IOERR_FSYNC
            raise error
        return real(db, filings)

    return write


def test_a_disk_with_the_hiccups_is_waited_for_and_a_dead_one_is_not(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    journal = Journal(path)
    journal.write([filing(1)])
    for _ in range(3):
        monkeypatch.setattr(rows, "write", failing_disk(2))
        for _ in range(2):
            with pytest.raises(JournalBusy):
                journal.write([filing(2)])
        journal.write([filing(3)])
    assert set_aside(path) == []
    monkeypatch.setattr(rows, "write", failing_disk(5))
    for _ in range(4):
        with pytest.raises(JournalBusy):
            journal.write([filing(4)])
    journal.write([filing(5)])
    assert len(set_aside(path)) > 0
    assert [row.identity.ino for row in history(path)] == [5]


def test_a_mistake_of_this_program_is_no_damage(path: Path) -> None:
    journal = Journal(path)
    with pytest.raises(sqlite3.Error):
        journal.write([filing(label=object())])
    journal.write([filing(1)])
    assert set_aside(path) == []


class TestFiling:
    """What the state of the journal means for the images."""

    @pytest.fixture
    def desk(self, tmp_path: Path) -> Desk:
        return make_desk(tmp_path)

    def test_a_damaged_journal_stops_no_image(self, desk: Desk) -> None:
        desk.journal_path.parent.mkdir()
        garbage(desk.journal_path)
        assert desk.file_one(desk.put()).status is Status.FILED

    def test_a_held_journal_leaves_the_images_in_the_inbox(self, desk: Desk, path: Path) -> None:
        desk.file_one(desk.put("first.jpg"))
        other = sqlite3.connect(path, isolation_level=None)
        other.execute("BEGIN EXCLUSIVE")
        filed = desk.file_one(desk.put("second.jpg"))
        assert filed.status is Status.RETRY
        assert filed.error is not None
        assert "journal" in filed.error
        assert (desk.inbox / "second.jpg").exists()
        other.close()
        assert desk.file_one(desk.inbox / "second.jpg").status is Status.FILED

    def test_a_journal_that_is_held_when_the_image_has_moved(
        self, desk: Desk, path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        desk.file_one(desk.put("first.jpg"))
        other = sqlite3.connect(path, isolation_level=None)
        rename = moves.rename_noreplace

        def hold(old: Entry, new: Entry) -> None:
            rename(old, new)
            other.execute("BEGIN IMMEDIATE")

        monkeypatch.setattr(moves, "rename_noreplace", hold)
        journal = desk.journal()
        assert Filer(desk.output, journal=journal).file([desk.decide(desk.put())])[0].status is Status.FILED
        assert [row.state for row in journal.unfinished()] == [State.INTENT]
        other.execute("ROLLBACK")
        other.close()
        journal.close()
        assert [row.state for row in read_history(path)] == [State.DONE, State.DONE]

    def test_what_was_left_unfinished_waits_for_a_journal_that_cannot_be_written(
        self, desk: Desk, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        path = desk.put()
        other = desk.put("other.jpg", b"another image")
        journal = desk.journal()
        decisions = [desk.decide(path), desk.decide(other)]
        row = filing(
            state=State.INTENT,
            source=path,
            identity=decisions[0].source.identity._replace(dev=99),
            folder=desk.output / "cat",
            filed_name="cat.jpg",
        )
        journal.write([row])
        filer = Filer(desk.output, journal=journal)
        with monkeypatch.context() as patch:
            patch.setattr(Journal, "unfinished", busy)
            assert filer.resume() == {}
            assert {filed.status for filed in filer.file(decisions)} == {Status.RETRY}
        with monkeypatch.context() as patch:
            patch.setattr(filing_module, "replay", busy)
            assert [filed.status for filed in filer.file(decisions)] == [Status.RETRY, Status.FILED]
        assert [filed.status for filed in filer.file(decisions[:1])] == [Status.FILED]
        assert sorted(desk.filed()) == ["cat/cat.jpg", "cat/other.jpg"]
        assert journal.unfinished() == []
        journal.close()
