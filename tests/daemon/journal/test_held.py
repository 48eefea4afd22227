"""Images that were brought back are held, across restarts, until they are released."""

from __future__ import annotations

import os
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from daemon.files.source import Identity
from daemon.journal import held as held_rows
from daemon.journal import pruning, records
from daemon.journal.held import Held
from daemon.journal.journal import Journal, read_held
from daemon.journal.pruning import BEGINNING
from daemon.journal.records import State
from tests.daemon.journal.conftest import DAY, filing, plans, search


def held(number: int = 1, **more: Any) -> Held:
    values: dict[str, Any] = {
        "path": Path(f"/inbox/{number}.jpg"),
        "identity": Identity(1, number, 3, 4),
        "time": DAY,
    }
    return Held(**(values | more))


def test_what_is_held_comes_back_as_it_was_written(path: Path) -> None:
    journal = Journal(path)
    images = [
        held(path=Path(os.fsdecode(b"/in\nbox/\xff.jpg")), identity=Identity(2**64 - 1, 2**63, 2**40, -1), filing_id=9),
        held(path=Path("/가/나.jpg")),
    ]
    returning = filing(5, state=State.INTENT)
    journal.write([returning], held=images)
    journal.close()
    assert Journal(path).held() == read_held(path) == images
    assert journal.interrupted() == [returning]


def test_a_path_is_held_once(path: Path) -> None:
    journal = Journal(path)
    journal.write([], held=[held(1), held(2)])
    again = held(1, identity=Identity(1, 7, 3, 4))
    journal.write([], held=[again])
    assert journal.held() == [held(2), again]
    journal.release([held(1)])
    assert journal.held() == [held(2), again], "that is another file than the one that is to be released"
    journal.release([again, held(5)])
    assert journal.held() == [held(2)]


def test_what_is_held_outlives_pruned_filings(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pruning, "FEW_TEXTS", 1)
    journal = Journal(path)
    filings = [filing(n, source=Path(f"/inbox/{n}/{n}.jpg")) for n in range(10)]
    journal.write(filings, held=[held(path=Path("/inbox/only here/1.jpg"))])
    journal.write([], held=[held(2, filing_id=filings[2].id)])
    journal.prune(DAY + timedelta(days=9), BEGINNING, 100)
    assert journal.held() == [held(path=Path("/inbox/only here/1.jpg")), held(2)]


def test_filings_are_found_by_the_inode_of_what_was_put_there(path: Path) -> None:
    journal = Journal(path)
    rows = [
        filing(1),
        filing(2, copy_ino=12),
        filing(3, state=State.UNDONE),
        filing(4, state=State.INTENT),
        filing(5, action="copy", copy_ino=2**64 - 2),
        filing(6, image_id=1),
        filing(7, identity=Identity(9, 1, 3, 4)),
    ]
    journal.write(rows)
    assert [row.id for row in journal.filed_with_inode([1, 2, 3, 4, 5, 6])] == [7, 6, 1]
    assert [row.id for row in journal.filed_with_inode({12, 2**64 - 2})] == [5, 2]
    assert journal.filed_with_inode([]) == []
    rows[3].state = State.DONE
    journal.write_later([rows[3]])
    assert [row.id for row in journal.filed_with_inode([4])] == [4]
    found = plans(path, lambda db: records.filed_with_inode(db, [1]))
    assert found[0] == search("inode", "<expr>=?")


def test_held_images_are_released_by_an_index(path: Path) -> None:
    Journal(path).write([], held=[held()])
    (found,) = (plan for plan in plans(path, lambda db: held_rows.release(db, [held()])) if "held" in plan)
    assert "USING INDEX sqlite_autoindex_held_1 (name=? AND folder=?)" in found
    (found,) = (plan for plan in plans(path, lambda db: held_rows.detach(db, [1])) if "held" in plan)
    assert "INDEX held_filing (filing=?)" in found
