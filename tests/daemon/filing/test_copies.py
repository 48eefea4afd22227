"""Copies and links are made once, as far as a journal, this program or the output itself can tell."""

from __future__ import annotations

import os
from pathlib import Path
from types import SimpleNamespace

import pytest

from daemon.files.source import Identity
from daemon.filing.filer import Action, Filer, Status
from daemon.filing.late_sidecars import LateSidecars
from daemon.filing.undo import undo
from daemon.journal.journal import Journal, read_history
from tests.filing_desk import Desk


@pytest.mark.parametrize("action", ["copy", "link"])
def test_copies_and_links_are_made_once(desk: Desk, action: Action) -> None:
    path = desk.put(content=b"first")
    assert desk.file_one(path, action=action).status is Status.FILED
    assert desk.file_one(path, action=action).status is Status.ALREADY
    path.rename(desk.inbox / "renamed.jpg")
    assert desk.file_one(desk.inbox / "renamed.jpg", action=action).status is Status.ALREADY
    assert desk.file_one(desk.put(content=b"second state"), action=action).status is Status.FILED
    assert desk.filed() == {"cat/cat.jpg": b"first", "cat/cat_2.jpg": b"second state"}
    assert (desk.inbox / "renamed.jpg").read_bytes() == b"first"


def test_a_copy_is_another_file_and_a_link_is_the_same(desk: Desk) -> None:
    path = desk.put()
    copied = desk.file_one(path, "copies", action="copy")
    linked = desk.file_one(desk.put("other.jpg"), "links", action="link")
    assert copied.destination is not None
    assert linked.destination is not None
    assert not copied.destination.samefile(path)
    assert copied.destination.read_bytes() == path.read_bytes()
    assert linked.destination.samefile(desk.inbox / "other.jpg")


def test_one_file_under_two_names_is_copied_once_and_moved_twice(desk: Desk) -> None:
    path = desk.put()
    other = desk.inbox / "other.jpg"
    other.hardlink_to(path)
    outcomes = desk.file([desk.decide(path), desk.decide(other)], action="copy")
    assert [outcome.status for outcome in outcomes] == [Status.FILED, Status.ALREADY]
    outcomes = desk.file([desk.decide(path, "dog"), desk.decide(other, "dog")])
    assert [outcome.status for outcome in outcomes] == [Status.FILED, Status.FILED]
    assert set(desk.filed()) == {"cat/cat.jpg", "dog/cat.jpg", "dog/other.jpg"}


def test_what_was_filed_before_can_be_asked_without_reading_it(desk: Desk) -> None:
    decision = desk.decide(desk.put())
    path, identity = decision.source.path, decision.source.identity
    filer = Filer(desk.output, action="copy", journal=desk.journal())
    assert not filer.known_result(path, identity)
    filer.file([decision])
    assert filer.known_result(path, identity)
    assert filer.known_result(path, identity._replace(dev=identity.dev + 1)), "device numbers change at a restart"
    assert not filer.known_result(path, identity._replace(mtime_ns=identity.mtime_ns + 1))
    assert not Filer(desk.output, action="move", journal=desk.journal()).known_result(path, identity)


def test_without_a_journal_images_are_filed_too(desk: Desk) -> None:
    filer = Filer(desk.output, action="copy")
    decision = desk.decide(desk.put())
    assert filer.file([decision])[0].status is Status.FILED
    assert filer.file([decision])[0].status is Status.ALREADY
    assert not desk.journal_path.exists()


class TestSkippingEqualOnes:
    """Copying a second time into the same output, by a program that has no journal of the first."""

    def copy(self, desk: Desk, *paths: Path) -> list[Status]:
        filer = Filer(desk.output, action="copy", skip_equal=True)
        return [filed.status for path in paths for filed in filer.file([desk.decide(path)])]

    def two_of_one_name(self, desk: Desk, *contents: bytes) -> list[Path]:
        paths = []
        for number, content in enumerate(contents):
            (desk.inbox / str(number)).mkdir()
            paths.append(desk.put(f"{number}/cat.jpg", content))
        return paths

    def test_what_is_there_is_not_copied_again(self, desk: Desk) -> None:
        paths = [*self.two_of_one_name(desk, b"one", b"two"), desk.put("dog.jpg", b"one")]
        assert self.copy(desk, *paths) == [Status.FILED] * 3
        filed = desk.filed()
        assert filed == {"cat/cat.jpg": b"one", "cat/cat_2.jpg": b"two", "cat/dog.jpg": b"one"}
        assert self.copy(desk, *paths) == [Status.ALREADY] * 3
        assert desk.filed() == filed

    def test_equal_ones_of_the_same_run_are_all_copied(self, desk: Desk) -> None:
        paths = self.two_of_one_name(desk, b"same", b"same")
        assert self.copy(desk, *paths) == [Status.FILED] * 2
        assert desk.filed() == {"cat/cat.jpg": b"same", "cat/cat_2.jpg": b"same"}
        assert self.copy(desk, *paths) == [Status.ALREADY] * 2

    def test_what_changed_or_is_gone_is_copied(self, desk: Desk) -> None:
        path = desk.put(content=b"one")
        self.copy(desk, path)
        path.write_bytes(b"two")
        assert self.copy(desk, path) == [Status.FILED]
        (desk.output / "cat" / "cat.jpg").unlink()
        (desk.output / "cat" / "cat.jpg").symlink_to(path)
        (desk.output / "cat" / "cat_2.jpg").unlink()
        assert self.copy(desk, path) == [Status.FILED]
        assert (desk.output / "cat" / "cat_2.jpg").read_bytes() == b"two"

    def test_an_image_elsewhere_is_none_of_its_folder(self, desk: Desk) -> None:
        path = desk.put(content=b"one")
        desk.file_one(path, "dog", action="copy")
        assert self.copy(desk, path) == [Status.FILED]


@pytest.mark.parametrize("action", ["copy", "link"])
def test_a_picture_whose_time_alone_changes_is_not_copied_again(desk: Desk, action: Action) -> None:
    """A card that is read after a clock change, rsync, touch."""
    path = desk.put(content=b"a picture")
    assert desk.file_one(path, action=action).status is Status.FILED
    os.utime(path, ns=(0, path.stat().st_mtime_ns - 3600 * 10**9))
    journal = desk.journal()
    filer = Filer(desk.output, action=action, journal=journal)
    assert not filer.known_result(path, Identity.from_stat(path.stat())), "its content is looked at once"
    (filed,) = filer.file([desk.decide(path)])
    assert filed.status is Status.ALREADY
    assert filer.known_result(path, Identity.from_stat(path.stat())), "and not at every walk"
    journal.close()
    assert list(desk.filed()) == ["cat/cat.jpg"]
    (row,) = read_history(desk.journal_path)
    assert (row.filed_ino, row.identity) == (
        (desk.output / "cat/cat.jpg").stat().st_ino,
        Identity.from_stat(path.stat()),
    )


@pytest.mark.parametrize("action", ["copy", "link"])
def test_a_picture_put_there_anew_with_the_same_bytes_is_not_copied_again(desk: Desk, action: Action) -> None:
    path = desk.put(content=b"a picture")
    desk.file_one(path, action=action)
    filed = (desk.output / "cat/cat.jpg").stat().st_ino
    path.rename(desk.inbox / "kept so that its inode is not used again")
    assert desk.file_one(desk.put(content=b"a picture"), action=action).status is Status.ALREADY
    (row,) = read_history(desk.journal_path)
    assert row.filed_ino == filed
    assert desk.file_one(desk.put(content=b"another"), action=action).status is Status.FILED
    (desk.inbox / "folder").mkdir()
    assert desk.file_one(desk.put("folder/cat.jpg", b"a picture"), action=action).status is Status.FILED, (
        "another place"
    )


def test_a_dry_run_does_not_remember_the_new_time(desk: Desk) -> None:
    path = desk.put()
    desk.file_one(path, action="copy")
    os.utime(path, ns=(0, 10**18))
    journal = Journal(desk.journal_path, read_only=True)
    assert (
        Filer(desk.output, action="copy", journal=journal, dry_run=True).file([desk.decide(path)])[0].status
        == "already"
    )
    journal.close()
    (row,) = read_history(desk.journal_path)
    assert row.identity.mtime_ns != 10**18


def test_what_was_undone_is_copied_again_whatever_its_time(desk: Desk) -> None:
    path = desk.put()
    desk.file_one(path, action="copy")
    journal = desk.journal()
    assert [each.status for each in undo(journal, list(read_history(desk.journal_path)))] == [Status.UNDONE]
    journal.close()
    os.utime(path, ns=(0, 10**18))
    assert desk.file_one(path, action="copy").status is Status.FILED


def test_a_sidecar_whose_time_alone_changes_is_not_complained_of(desk: Desk, logged: list[str]) -> None:
    path, note = desk.put(), desk.put("cat.xmp")
    os.utime(note, (1e9, 1e9))
    desk.file_one(path, action="copy")
    os.utime(note, (1e9, 1.1e9))
    journal = desk.journal()
    LateSidecars([desk.inbox], desk.output, journal, recursive=True).work(60.0)
    journal.close()
    assert sorted(desk.filed()) == ["cat/cat.jpg", "cat/cat.xmp"]
    assert not [line for line in logged if "cat.xmp" in line]


def test_of_a_file_larger_than_the_room_there_is_nothing_is_written(far: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    content = b"no holes" * (5 << 20)
    large, film, image = far.put("large.jpg", content), far.put("cat.mov", content), far.put("cat.jpg")
    for path in (large, film, image):
        os.utime(path, (1e9, 1e9))
    full = SimpleNamespace(f_blocks=1000, f_bavail=500, f_frsize=4096)
    monkeypatch.setattr(os, "fstatvfs", lambda _: full)
    kept, filed = far.file_one(large, max_bytes=1 << 30), far.file_one(image)
    assert (kept.status, filed.status) == (Status.RETRY, Status.FILED)
    assert "No space left" in str(kept.error)
    assert far.filed().keys() == {"cat/cat.jpg"}
    assert large.exists()
    assert film.exists()
    full.f_bavail = 1 << 20
    assert far.file_one(large, max_bytes=1 << 30).status is Status.FILED
