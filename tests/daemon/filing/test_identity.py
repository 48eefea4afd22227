"""What a name stands for: an inode that was given once more, one file under two names, one folder seen twice."""

from __future__ import annotations

import os
import subprocess
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from daemon.files.renaming import FileAt
from daemon.files.roots import OpenFolders, Roots
from daemon.filing import identity
from daemon.filing.class_paths import ClassPaths
from daemon.filing.filer import Action, Status
from daemon.filing.late_sidecars import LateSidecars
from daemon.filing.late_writes import QUIET, LateWrites
from daemon.filing.recovery import recover
from daemon.filing.undo import undo
from daemon.filing.whereabouts import Whereabouts
from daemon.journal.history import Wanted
from daemon.journal.journal import read_history
from daemon.journal.records import Filing, State
from tests.filing_desk import Desk, images


def undo_all(desk: Desk, *, dry_run: bool = False) -> list[Status]:
    journal = desk.journal()
    filings = list(read_history(desk.journal_path, Wanted(states=[State.DONE])))
    try:
        return [each.status for each in undo(None if dry_run else journal, filings)]
    finally:
        journal.close()


def filed_row(desk: Desk) -> Filing:
    (row,) = read_history(desk.journal_path)
    return row


def test_undo_does_not_trust_an_inode_that_was_given_once_more(near: Desk) -> None:
    path = near.put()
    assert near.file_one(path).status is Status.FILED
    there = near.output / "cat" / "cat.jpg"
    near.replace_by_stranger(there)
    assert undo_all(near) == [Status.CHANGED]
    assert there.read_bytes() == b"a stranger's"
    assert not path.exists()


def test_a_late_sidecar_does_not_follow_a_stranger(near: Desk) -> None:
    assert near.file_one(near.put()).status is Status.FILED
    there = near.output / "cat" / "cat.jpg"
    near.replace_by_stranger(there)
    os.utime(near.put("cat.xmp"), (1_000_000_000, 1_000_000_000))
    journal = near.journal()
    LateSidecars([near.inbox], near.output, journal, recursive=True).work(60.0)
    journal.close()
    assert (near.inbox / "cat.xmp").exists()


def test_history_does_not_show_a_stranger_for_an_image(near: Desk) -> None:
    assert near.file_one(near.put()).status is Status.FILED
    there = near.output / "cat" / "cat.jpg"
    whereabouts = Whereabouts(ClassPaths(near.output), near.journal_path)
    assert whereabouts.locate(filed_row(near)).path == there
    near.replace_by_stranger(there)
    assert whereabouts.locate(filed_row(near)).path is None


def test_a_stranger_of_the_same_size_is_not_what_a_writer_went_on_with(near: Desk) -> None:
    """Pictures that are not compressed all have one size."""
    assert near.file_one(near.put()).status is Status.FILED
    there = near.output / "cat" / "cat.jpg"
    near.replace_by_stranger(there, b"an imagE")
    now = [0.0]
    journal = near.journal()
    late_writes = LateWrites([near.inbox], near.output, journal, clock=lambda: now[0])
    for _ in range(3):
        assert not late_writes.work(60)
        now[0] += 100 * QUIET
    journal.close()
    assert near.filed() == {"cat/cat.jpg": b"an imagE"}


def test_recovery_does_not_take_a_stranger_to_the_inbox(near: Desk) -> None:
    """The image was moved, the program killed, and the image replaced before the next start."""
    assert near.file_one(near.put()).status is Status.FILED
    near.replace_by_stranger(near.output / "cat" / "cat.jpg")
    row = filed_row(near)
    journal = near.journal()
    row.state = State.INTENT
    journal.write([row])
    assert recover(journal) == Counter([State.ORPHAN])
    journal.close()
    assert near.filed() == {"cat/cat.jpg": b"a stranger's"}


def test_a_copy_that_somebody_has_added_to_is_not_taken_back(far: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its original was taken away while it was copied, so that it would be a second image."""
    path = far.put()
    there = far.output / "cat" / "cat.jpg"

    def take_and_add(folder: int) -> None:
        path.unlink()
        with there.open("ab") as file:
            file.write(b" with notes")

    monkeypatch.setattr("daemon.filing.transfer.sync_folder", take_and_add)
    assert far.file_one(path).status is Status.GONE
    assert [image.read_bytes() for image in images(far.output)] == [b"an image with notes"]


def test_where_no_birth_is_known_an_edited_image_stays(near: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    assert near.file_one(near.put()).status is Status.FILED
    (near.output / "cat" / "cat.jpg").write_bytes(b"edited")
    monkeypatch.setattr(identity, "statx", None)
    assert undo_all(near) == [Status.CHANGED]
    monkeypatch.undo()
    assert undo_all(near) == [Status.UNDONE]
    assert (near.inbox / "cat.jpg").read_bytes() == b"edited"


@pytest.mark.parametrize("content", [b"an image", b"another image", b"an imagE"])
def test_only_the_content_tells_a_restored_backup(near: Desk, content: bytes) -> None:
    assert near.file_one(near.put()).status is Status.FILED
    there = near.output / "cat" / "cat.jpg"
    status = there.stat()
    there.rename(there.with_name("away.jpg"))
    there.write_bytes(content)
    os.utime(there, ns=(status.st_atime_ns, status.st_mtime_ns))
    assert undo_all(near) == [Status.UNDONE if content == b"an image" else Status.CHANGED]


@pytest.mark.parametrize("action", ["copy", "link"])
def test_undo_of_one_file_under_two_names_leaves_one_of_them(near: Desk, action: Action) -> None:
    """A link is one, and so is a copy once a program for duplicates has joined it with its original."""
    path = near.put()
    assert near.file_one(path, action=action).status is Status.FILED
    there = near.output / "cat" / "cat.jpg"
    if action == "copy":
        there.unlink()
        there.hardlink_to(path)
    assert undo_all(near) == [Status.UNDONE]
    assert near.contents() == {b"an image": 1}
    assert path.exists()


@contextmanager
def bound(folder: Path, over: Path) -> Iterator[None]:
    """Mount a folder over another one; skips where that is not allowed."""
    if os.geteuid() != 0 or subprocess.run(["mount", "--bind", folder, over], capture_output=True).returncode:
        pytest.skip("nothing can be mounted here")
    try:
        yield
    finally:
        subprocess.run(["umount", over], check=True)


@pytest.mark.parametrize("action", ["copy", "link"])
def test_undo_of_a_copy_that_is_mounted_over_its_original(near: Desk, action: Action) -> None:
    (near.inbox / "holiday").mkdir()
    assert near.file_one(near.put("holiday/cat.jpg"), action=action).status is Status.FILED
    with bound(near.output / "cat", near.inbox / "holiday"):
        assert undo_all(near, dry_run=True) == [Status.CHANGED]
        assert undo_all(near) == [Status.CHANGED]
    assert near.filed() == {"cat/cat.jpg": b"an image"}


@pytest.mark.parametrize("action", ["copy", "link"])
def test_undo_of_a_copy_that_is_one_with_its_original_unseen(
    near: Desk, action: Action, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Folders that a pool or a share shows twice have device and inode numbers of their own each time."""
    (near.inbox / "holiday").mkdir()
    assert near.file_one(near.put("holiday/cat.jpg"), action=action).status is Status.FILED
    monkeypatch.setattr("daemon.filing.undo.is_one_folder", lambda one, other: False)
    with bound(near.output / "cat", near.inbox / "holiday"):
        assert undo_all(near) == [Status.CHANGED]
    assert near.filed() == {"cat/cat.jpg": b"an image"}


@pytest.mark.parametrize("seen", [True, False])
@pytest.mark.parametrize("state", [State.INTENT, State.COPIED])
def test_recovery_of_a_copy_that_is_mounted_over_its_original(
    near: Desk, monkeypatch: pytest.MonkeyPatch, state: State, seen: bool
) -> None:
    (near.inbox / "holiday").mkdir()
    assert near.file_one(near.put("holiday/cat.jpg")).status is Status.FILED
    row = filed_row(near)
    journal = near.journal()
    row.state, row.copy_ino = state, (near.output / "cat" / "cat.jpg").stat().st_ino
    journal.write([row])
    if not seen:
        monkeypatch.setattr("daemon.filing.recovery.is_one_folder", lambda one, other: False)
    with bound(near.output / "cat", near.inbox / "holiday"):
        recover(journal)
    journal.close()
    assert near.filed() == {"cat/cat.jpg": b"an image"}
    assert filed_row(near).state is State.DONE


def test_recovery_of_a_link_leaves_both_names(near: Desk) -> None:
    path = near.put()
    assert near.file_one(path, action="link").status is Status.FILED
    row = filed_row(near)
    journal = near.journal()
    row.state = State.INTENT
    journal.write([row])
    recover(journal)
    journal.close()
    assert path.samefile(near.output / "cat" / "cat.jpg")
    assert filed_row(near).state is State.DONE


def test_answers_about_nothing_and_about_what_is_no_file(near: Desk) -> None:
    filed = near.file_one(near.put())
    row = filed.row
    for name, make in (("folder", Path.mkdir), ("pipe", os.mkfifo)):
        make(near.inbox / name)
        with OpenFolders(Roots()) as folders:
            entry = folders.entry(near.inbox / name)
            assert not identity.is_as_read(entry, row)
            assert not identity.is_as_filed(entry, row)
            assert not identity.is_filed_image(entry, row)
            assert not identity.is_put_here(entry, row, None)
            assert not identity.has_content(entry, row)
            gone = FileAt(entry.folder, "nothing")
            assert not identity.is_put_here(gone, row, None)
            assert not identity.is_unchanged(gone, row.identity)
