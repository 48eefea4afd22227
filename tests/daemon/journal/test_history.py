"""What is asked of the journal is answered rightly, and from an index."""

from __future__ import annotations

import os
import sqlite3
import unicodedata
from datetime import timedelta, timezone
from pathlib import Path
from typing import Any

import pytest

from daemon.files.source import Identity
from daemon.journal import history as queries
from daemon.journal import pile, pruning, records
from daemon.journal.history import Wanted
from daemon.journal.journal import Journal
from daemon.journal.records import State
from tests.daemon.journal.conftest import DAY, filing, history, plans, search


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
    Journal(path).write([filing(1)])
    elsewhere = timezone(timedelta(hours=9))
    assert len(history(path, since=(DAY + timedelta(hours=1)).astimezone(elsewhere))) == 1
    assert history(path, since=(DAY + timedelta(hours=1, microseconds=1)).astimezone(elsewhere)) == []


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


@pytest.mark.parametrize("swapped", [False, True])
def test_a_file_is_found_however_its_letters_are_put_together(path: Path, swapped: bool) -> None:
    stored, typed = unicodedata.normalize("NFD", "/in/고양이.jpg"), unicodedata.normalize("NFC", "/in/고양이.jpg")
    stored, typed = (typed, stored) if swapped else (stored, typed)
    source = Path(stored)
    Journal(path).write([filing(1, source=source, folder=Path("/sorted/cat"), filed_name=f"{source.stem}_2.jpg")])
    for wanted in (typed, Path(typed).name, f"{Path(typed).stem}_2.jpg", f"/sorted/cat/{Path(typed).stem}_2.jpg"):
        assert [row.identity.ino for row in history(path, name=wanted)] == [1]
    assert history(path, name=f"/elsewhere/{Path(typed).name}") == []


def test_what_rows_have_in_common_is_written_once(path: Path) -> None:
    journal = Journal(path)
    for number in range(3):
        journal.write([filing(number, folder=Path("/sorted/cat"), filed_name="x.jpg", model_digest="ab")])
    with sqlite3.connect(path) as db:
        assert {text for (text,) in db.execute("SELECT text FROM texts")} == {
            journal.run, "/inbox", "/sorted/cat", "ab"
        }  # fmt: skip
    db.close()


def test_the_root_is_a_folder_like_others(path: Path) -> None:
    row = filing(1, source=Path("/1.jpg"), folder=Path("/"), filed_name="1_2.jpg")
    Journal(path).write([row])
    assert history(path, name="/1.jpg") == history(path, name="/1_2.jpg") == [row]


def test_several_checkpoints_may_begin_alike(path: Path) -> None:
    Journal(path).write([filing(n, model_digest=digest) for n, digest in enumerate(["abc1", "abc2", "abd", None])])
    assert [row.identity.ino for row in history(path, model_digest="abc")] == [1, 0]
    assert [row.identity.ino for row in history(path, model_digest="abc2")] == [1]
    assert history(path, model_digest="abe") == []


def look_up(terms: str) -> str:
    return f"SEARCH texts USING COVERING INDEX sqlite_autoindex_texts_1 ({terms})"


#: Whether there are classes in the folder of one is looked up first, so that the rows of most need not be sorted.
INSIDE = search("label", "label>? AND label<?").replace("INDEX", "COVERING INDEX")


@pytest.mark.parametrize(
    ("filters", "expected"),
    [
        ({}, ["SCAN filings USING INDEX filings_history"]),
        ({"max_confidence": 0.1}, ["SCAN filings USING INDEX filings_history"]),
        ({"since": DAY}, [search("history", "time>?")]),
        ({"since": DAY, "until": DAY}, [search("history", "time>? AND time<?")]),
        ({"label": "x"}, [INSIDE, search("label", "label=?")]),
        ({"label": "x", "since": DAY}, [INSIDE, search("label", "label=? AND time>?")]),
        ({"run": "x"}, ["SCAN filings USING INDEX filings_history", look_up("text=?")]),
        ({"reasons": ()}, ["SCAN filings USING INDEX filings_reason"]),
        ({"reasons": ("x",), "states": [State.DONE]}, ["SCAN filings USING INDEX filings_reason"]),
        ({"name": "x"}, [search("name", "name=?"), search("renamed", "filed_name=?"), "USE TEMP B-TREE FOR ORDER BY"]),
        ({"name": "/in/x"}, [search("name", "name=?"), search("renamed", "filed_name=?"), *2 * [look_up("text=?")],
                             "USE TEMP B-TREE FOR ORDER BY"]),
        ({"model_digest": "a"}, [look_up("text>? AND text<?"), "SCAN filings USING INDEX filings_history"]),
    ],
)  # fmt: skip
def test_every_history_has_an_index_in_its_order(path: Path, filters: dict[str, Any], expected: list[str]) -> None:
    journal = Journal(path)
    journal.write([filing(model_digest="ab")])
    journal.close()
    assert plans(path, lambda db: list(queries.history(db, Wanted(**filters), 10))) == expected


def test_what_the_review_page_asks_is_answered_by_the_index_of_folders(path: Path) -> None:
    journal = Journal(path)
    journal.write([filing()])
    journal.close()
    counts = plans(path, pile.counts_by_class)
    assert search("folder", "folder>?") in counts
    assert not [plan for plan in counts if plan.startswith("USE TEMP")]
    assert search("folder", "folder=?") in plans(path, lambda db: pile.undecided(db, "/sorted/others"))
    of_class = plans(path, lambda db: pile.of_class(db, "cat", "/sorted/cat", after=None, least_sure=True, limit=10))
    assert {search("folder", "folder=? AND label=?"), search("tagged", "label=? AND folder>?")} <= {*of_class}
    assert "filings_tagged" in str(plans(path, pile.counts_of_tagged))


def test_what_is_asked_for_each_image_has_an_index(path: Path) -> None:
    journal = Journal(path)
    journal.write([filing()])
    journal.close()
    assert "filings_identity" in str(
        plans(path, lambda db: records.filed_before(db, Identity(1, 2, 3, 4), Path("x"), ""))
    )
    assert "filings_name" in str(plans(path, lambda db: records.last_filed_from(db, [Path("/x"), Path("/y")], DAY)))
    assert plans(path, lambda db: records.filed_with_content(db, "ab" * 32, 9))[0] == search("content", "<expr>=?")
    assert "filings_image" in str(plans(path, lambda db: records.sidecars(db, 1)))
    assert plans(path, records.interrupted) == ["SCAN filings USING INDEX filings_interrupted"]
    order = search("history", "time>? AND time<?")
    assert plans(path, lambda db: pruning.prune(db, DAY, pruning.BEGINNING, 10))[:1] == [order]


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
