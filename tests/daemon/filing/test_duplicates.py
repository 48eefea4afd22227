"""The same bytes as an image that was filed before and is still there: filed again, set apart or left alone."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from daemon.filing.duplicates import DuplicatePolicy, Duplicates
from daemon.filing.filer import Action, Filer, FilingRequest, FilingResult, Status
from daemon.filing.undo import undo
from daemon.journal.history import Wanted
from daemon.journal.journal import read_history
from daemon.journal.labels import How, Label
from daemon.journal.records import Filing, State
from models.files.markers import read_kind
from tests.filing_desk import Desk

SAME = b"the same bytes"


def file(
    desk: Desk, *requests: FilingRequest, policy: DuplicatePolicy = "folder", action: Action = "move", **more: Any
) -> list[FilingResult]:
    """File a batch as a program does that starts for it and ends."""
    journal = desk.journal()
    try:
        filer = Filer(desk.output, journal=journal, action=action, duplicates=Duplicates(policy), **more)
        return filer.file(requests)
    finally:
        journal.close()


def put(desk: Desk, name: str, content: bytes = SAME, folder: str = "cat") -> FilingRequest:
    return desk.decide(desk.put(name, content), folder, confidence=0.9, model_digest="ab" * 32)


def original(desk: Desk, folder: str = "cat") -> Path:
    """An image that was filed before."""
    file(desk, put(desk, "first.jpg", folder=folder))
    return desk.output / folder / "first.jpg"


def newest(desk: Desk) -> Filing:
    return next(read_history(desk.journal_path, Wanted(as_written=True)))


def statuses(results: list[FilingResult]) -> list[Status]:
    return [result.status for result in results]


def test_they_are_filed_like_others_by_default(desk: Desk) -> None:
    original(desk)
    (result,) = file(desk, put(desk, "again.jpg"), policy="keep")
    assert (result.status, result.original) == (Status.FILED, None)
    assert desk.filed() == {"cat/first.jpg": SAME, "cat/again.jpg": SAME}


def test_they_go_to_a_folder_of_their_own_and_are_of_no_class(desk: Desk) -> None:
    first = original(desk)
    filed = newest(desk)
    (result,) = file(desk, put(desk, "again.jpg", folder="dog"))
    assert (result.status, result.original) == (Status.FILED, first)
    assert desk.filed() == {"cat/first.jpg": SAME, "duplicates/again.jpg": SAME}
    row = newest(desk)
    assert row.duplicate_of == filed.id
    assert (row.label, row.confidence, row.model_digest) == (None, None, None)
    assert row.detail == "the same as cat/first.jpg"
    assert read_kind(desk.output / "duplicates") == "duplicate"


def test_they_stay_where_they_are_and_are_not_looked_at_again(desk: Desk) -> None:
    original(desk)
    filed = newest(desk)
    request = put(desk, "again.jpg")
    (result,) = file(desk, request, policy="leave")
    assert (result.status, result.destination) == (Status.LEFT, None)
    assert desk.filed() == {"cat/first.jpg": SAME}
    row = newest(desk)
    assert (row.state, row.action, row.duplicate_of, row.destination) == (State.LEFT, "leave", filed.id, None)
    journal = desk.journal()
    filer = Filer(desk.output, journal=journal, duplicates=Duplicates("leave"))
    source = request.source
    assert filer.known_result(source.path, source.identity) is Status.ALREADY
    assert statuses(filer.file([request])) == [Status.ALREADY]
    assert filer.known_result(source.path, source.identity._replace(mtime_ns=1)) is None, "it was written to since"
    journal.close()


@pytest.mark.parametrize("policy", ["keep", "folder"])
@pytest.mark.parametrize("action", ["move", "copy", "link"])
def test_what_was_left_is_filed_once_they_are_not_left_any_more(
    desk: Desk, policy: DuplicatePolicy, action: Action
) -> None:
    original(desk)
    file(desk, put(desk, "again.jpg"), policy="leave", action=action)
    (result,) = file(desk, desk.decide(desk.inbox / "again.jpg"), policy=policy, action=action)
    assert result.status is Status.FILED


@pytest.mark.parametrize("action", ["copy", "link"])
def test_copies_and_links_have_originals_too(desk: Desk, action: Action) -> None:
    file(desk, put(desk, "first.jpg"), action=action)
    assert statuses(file(desk, put(desk, "again.jpg"), action=action)) == [Status.FILED]
    assert desk.filed() == {"cat/first.jpg": SAME, "duplicates/again.jpg": SAME}
    again = [desk.decide(desk.inbox / name) for name in ("first.jpg", "again.jpg")]
    assert statuses(file(desk, *again, action=action)) == [Status.ALREADY] * 2
    assert statuses(file(desk, put(desk, "third.jpg"), action=action, policy="leave")) == [Status.LEFT]
    assert statuses(file(desk, desk.decide(desk.inbox / "third.jpg"), action=action, policy="leave")) == [
        Status.ALREADY
    ]


@pytest.mark.parametrize("policy", ["folder", "leave"])
def test_of_two_in_one_batch_the_first_one_is_filed(desk: Desk, policy: DuplicatePolicy) -> None:
    batch = [put(desk, f"{name}.jpg") for name in "abc"] + [put(desk, "other.jpg", b"other bytes")]
    results = file(desk, *batch, policy=policy)
    assert [result.request.source.path.name for result in results] == ["a.jpg", "b.jpg", "c.jpg", "other.jpg"]
    first = desk.output / "cat/a.jpg"
    assert [result.original for result in results] == [None, first, first, None]
    set_apart = {"duplicates/b.jpg": SAME, "duplicates/c.jpg": SAME} if policy == "folder" else {}
    assert desk.filed() == {"cat/a.jpg": SAME, "cat/other.jpg": b"other bytes"} | set_apart


def test_the_second_one_is_filed_where_the_first_one_could_not_be(desk: Desk) -> None:
    first, second = put(desk, "a.jpg"), put(desk, "b.jpg")
    first.source.path.unlink()
    assert statuses(file(desk, first, second)) == [Status.GONE, Status.FILED]
    assert desk.filed() == {"cat/b.jpg": SAME}


@pytest.mark.parametrize("change", ["deleted", "edited", "replaced"])
def test_what_is_no_longer_there_is_no_original(desk: Desk, change: str) -> None:
    first = original(desk)
    if change == "edited":
        first.write_bytes(SAME + b" and more")
    else:
        first.unlink()
    if change == "replaced":
        first.write_bytes(b"others' bytes!")
        status = desk.put("same.time", b"").stat()
        os.utime(first, (status.st_mtime, status.st_mtime))
        (desk.inbox / "same.time").unlink()
    (result,) = file(desk, put(desk, "again.jpg"))
    assert (result.original, result.row.folder) == (None, desk.output / "cat")


def test_what_was_restored_is_known_by_its_content(desk: Desk) -> None:
    first = original(desk)
    first.unlink()
    first.write_bytes(SAME)
    os.utime(first, (1, 1))
    assert file(desk, put(desk, "again.jpg"))[0].original == first


def test_what_a_person_renamed_or_moved_is_still_there(desk: Desk) -> None:
    first = original(desk)
    renamed = first.rename(first.with_name("Tom.jpg"))
    assert file(desk, put(desk, "again.jpg"))[0].original == renamed
    moved = desk.output / "dog" / "Tom.jpg"
    moved.parent.mkdir()
    renamed.rename(moved)
    journal = desk.journal()
    row = journal.history(Wanted(label="cat"))[0]
    assert row.sha256 is not None
    journal.write(
        [],
        labels=[
            Label(sha256=row.sha256, label="dog", how=How.MOVED, path=moved, identity=row.identity, filing_id=row.id)
        ],
    )
    journal.close()
    (result,) = file(desk, put(desk, "third.jpg"))
    assert result.original == moved
    assert newest(desk).detail == "the same as dog/Tom.jpg"


def test_a_duplicate_is_no_original(desk: Desk) -> None:
    first = original(desk)
    file(desk, put(desk, "again.jpg"))
    first.unlink()
    assert file(desk, put(desk, "third.jpg"))[0].original is None
    assert sorted(desk.filed()) == ["cat/third.jpg", "duplicates/again.jpg"]


def test_unreadable_files_are_quarantined_as_ever(desk: Desk) -> None:
    for name in ("a.jpg", "b.jpg"):
        request = desk.decide(desk.put(name, SAME), "quarantine/corrupt", reason="corrupt", label=None)
        assert file(desk, request)[0].original is None
    assert sorted(desk.filed()) == ["quarantine/corrupt/a.jpg", "quarantine/corrupt/b.jpg"]
    assert file(desk, put(desk, "c.jpg"))[0].original is None


def test_undo_brings_either_of_them_back_and_leaves_the_other(desk: Desk) -> None:
    original(desk)
    file(desk, put(desk, "again.jpg"))
    journal = desk.journal()
    duplicate, first = journal.history(Wanted())
    assert [one.status for one in undo(journal, [first])] == [Status.UNDONE]
    assert desk.filed() == {"duplicates/again.jpg": SAME}
    journal.close()
    assert file(desk, put(desk, "third.jpg"))[0].original is None, "what was undone is no original"
    journal = desk.journal()
    assert [one.status for one in undo(journal, [duplicate])] == [Status.UNDONE]
    journal.close()
    assert desk.filed() == {"cat/third.jpg": SAME}
    assert sorted(path.name for path in desk.inbox.iterdir()) == ["again.jpg", "first.jpg"]


def test_a_second_name_of_the_filed_file_takes_nothing_away(desk: Desk) -> None:
    first = original(desk)
    (desk.inbox / "link.jpg").hardlink_to(first)
    assert statuses(file(desk, desk.decide(desk.inbox / "link.jpg"))) == [Status.FILED]
    assert desk.filed() == {"cat/first.jpg": SAME, "duplicates/link.jpg": SAME}


def test_a_name_that_is_taken_among_the_duplicates_is_numbered(desk: Desk) -> None:
    original(desk)
    for _ in range(2):
        file(desk, put(desk, "again.jpg"))
    assert sorted(desk.filed()) == ["cat/first.jpg", "duplicates/again.jpg", "duplicates/again_2.jpg"]


@pytest.mark.parametrize(("policy", "status"), [("folder", Status.PLANNED), ("leave", Status.LEFT)])
def test_a_dry_run_says_so_and_changes_nothing(desk: Desk, policy: DuplicatePolicy, status: Status) -> None:
    first = original(desk)
    batch = [put(desk, "again.jpg"), put(desk, "new.jpg", b"new bytes"), put(desk, "newer.jpg", b"new bytes")]
    before = newest(desk)
    results = file(desk, *batch, policy=policy, dry_run=True)
    assert statuses(results) == [status, Status.PLANNED, status]
    assert [result.original for result in results] == [first, None, desk.output / "cat/new.jpg"]
    assert desk.filed() == {"cat/first.jpg": SAME}
    assert newest(desk) == before


def test_a_sidecar_goes_with_a_duplicate_that_goes(desk: Desk) -> None:
    original(desk)
    os.utime(desk.put("again.xmp", b"<xmp/>"), (1_000_000_000, 1_000_000_000))  # written to its end
    file(desk, put(desk, "again.jpg"))
    assert sorted(desk.filed()) == ["cat/first.jpg", "duplicates/again.jpg", "duplicates/again.xmp"]
    os.utime(desk.put("left.xmp", b"<xmp/>"), (1_000_000_000, 1_000_000_000))
    file(desk, put(desk, "left.jpg"), policy="leave")
    assert sorted(path.name for path in desk.inbox.iterdir()) == ["left.jpg", "left.xmp"]


def test_what_changed_since_it_was_read_is_not_left_for_good(desk: Desk) -> None:
    original(desk)
    request = put(desk, "again.jpg")
    request.source.path.write_bytes(b"quite another image")
    assert statuses(file(desk, request, policy="leave")) == [Status.CHANGED]
    assert newest(desk).state is State.DONE
