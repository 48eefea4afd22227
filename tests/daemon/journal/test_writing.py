"""What is written to the journal is flushed, and read as it was written, also by other processes."""

from __future__ import annotations

import os
import sqlite3
from pathlib import Path

import numpy as np
import pytest

from daemon.files.source import Identity
from daemon.journal.journal import Journal, read_history
from daemon.journal.records import State
from models.errors import UserError
from tests.daemon.journal.conftest import filing, history


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


@pytest.mark.parametrize("mtime_ns", [-(2**31) * 10**9, 2**63 - 1, 2**63, 2**64 - 2**31 * 10**9 - 1])
def test_files_have_times_from_1901_to_2486(path: Path, mtime_ns: int) -> None:
    """As XFS keeps them; a time beyond 64 bits is kept nowhere, but does no harm."""
    journal = Journal(path)
    row = filing(action="copy", identity=Identity(1, 2, 3, mtime_ns))
    beyond = filing(number=1, identity=Identity(1, 2, 3, mtime_ns + 2**64))
    journal.write([row, beyond])
    assert journal.filed_before(row.identity, row.source, None)
    assert not journal.filed_before(row.identity._replace(mtime_ns=mtime_ns + 1), row.source, None)
    assert history(path) == [filing(number=1, identity=row.identity, id=2, run=journal.run), row]


def test_numbers_and_texts_of_other_kinds_are_written_too(path: Path) -> None:
    Journal(path).write([filing(confidence=np.float32(0.5), detail="\udcff is no text")])
    (row,) = history(path)
    assert row.confidence == 0.5
    assert row.detail == "\\udcff is no text"


def test_writing_again_changes_the_row_and_void_takes_it_away(path: Path) -> None:
    journal = Journal(path)
    first, second = filing(1, state=State.INTENT), filing(2, state=State.INTENT)
    journal.write([first, second])
    assert journal.interrupted() == [first, second]
    first.state, second.state = State.COPIED, State.VOID
    journal.write([first, second])
    assert journal.interrupted() == [first]
    assert second.id is None


def test_each_journal_object_has_its_own_run(path: Path) -> None:
    for number in range(2):
        journal = Journal(path)
        journal.write([filing(number)])
        journal.close()
    assert len({row.run for row in history(path)}) == 2


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


def test_what_is_committed_is_flushed(path: Path, connections: list[sqlite3.Connection]) -> None:
    journal = Journal(path)
    journal.write([filing(0)])
    (db,) = connections
    assert db.execute("PRAGMA journal_mode").fetchone() == ("wal",)
    assert db.execute("PRAGMA synchronous").fetchone() == (2,)


def test_a_note_waits_for_the_disk_only_when_it_is_flushed(
    path: Path, connections: list[sqlite3.Connection], monkeypatch: pytest.MonkeyPatch
) -> None:
    flushed: list[str] = []
    monkeypatch.setattr(os, "fdatasync", lambda log: flushed.append(str(Path(f"/proc/self/fd/{log}").readlink())))
    journal = Journal(path)
    journal.note("a", "b")
    (db,) = connections
    assert db.execute("PRAGMA synchronous").fetchone() == (1,)
    journal.flush()
    assert flushed == [f"{path}-wal"]
    journal.close()
    Journal(None).flush()
    Journal(path).flush()  # which has no log
    assert len(flushed) == 1


def test_no_journal_to_read_is_a_sentence(path: Path) -> None:
    with pytest.raises(UserError, match="cannot be read"):
        history(path)
    path.parent.mkdir()
    path.write_bytes(b"no database at all" * 100)
    with pytest.raises(UserError, match="cannot be read"):
        history(path)


def test_filings_of_a_content_are_found(path: Path) -> None:
    journal = Journal(path)
    content, other = "ab" * 32, "ab" * 31 + "cd"
    first, second = filing(1, sha256=content), filing(2, sha256=content)
    more = [
        filing(3, sha256=other),
        filing(4, sha256=content, state=State.UNDONE),
        filing(5, sha256=content, image_id=1),
        filing(6, sha256=content, reason="truncated"),
    ]
    duplicate = filing(7, sha256=content, duplicate_of=1)
    journal.write([first, second, *more, duplicate])
    assert journal.filed_with_content(content, 9) == [duplicate, second, first]
    assert journal.filed_with_content(content, 1) == [duplicate]
    assert journal.filed_with_content(other, 9) == [more[0]]


def test_a_duplicate_that_was_left_counts_only_where_it_is_asked_for(path: Path) -> None:
    journal = Journal(path)
    left = filing(1, state=State.LEFT, action="leave", sha256="ab" * 32, duplicate_of=5)
    journal.write([left])
    assert journal.left_before(left.identity, left.source, None)
    assert not journal.filed_before(left.identity, left.source, left.sha256)
    assert journal.same_filed(left.source, left.identity.size, lambda: left.sha256) is None
    assert history(path) == [left]
