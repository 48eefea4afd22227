"""What undo brings back is held: not filed again until it changes, is renamed or released."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from daemon.files.marker import MARKER
from daemon.files.source import Identity
from daemon.filing.filer import Action, Filer, Status
from daemon.filing.held import HeldImages
from daemon.filing.late_sidecars import LateSidecars
from daemon.filing.undo import Undone, undo
from daemon.journal.history import Wanted
from daemon.journal.journal import Journal, JournalBusy, read_history
from daemon.journal.records import State
from tests.filing_desk import Desk, images


def undo_all(desk: Desk) -> list[Undone]:
    journal = desk.journal()
    try:
        held = HeldImages(journal, desk.output, [desk.inbox])
        filings = list(read_history(desk.journal_path, Wanted(states=[State.DONE], as_written=True)))
        return list(undo(journal, filings, held=held))
    finally:
        journal.close()


@pytest.fixture
def journal(desk: Desk) -> Iterator[Journal]:
    journal = desk.journal()
    yield journal
    journal.close()


def file(desk: Desk, journal: Journal, path: Path, *, action: Action = "move") -> Status:
    """File an image as a daemon does that has just been started."""
    held = HeldImages(journal, desk.output, [desk.inbox])
    (result,) = Filer(desk.output, action=action, journal=journal, held=held).file([desk.decide(path)])
    return result.status


def held(desk: Desk, journal: Journal) -> HeldImages:
    return HeldImages(journal, desk.output, [desk.inbox])


def held_paths(journal: Journal) -> list[Path]:
    return [image.path for image in journal.held()]


@pytest.mark.parametrize("action", ["move", "copy", "link"])
def test_what_is_back_is_not_filed_again(desk: Desk, journal: Journal, action: Action) -> None:
    path = desk.put()
    desk.file_one(path, action=action)
    (undone,) = undo_all(desk)
    assert (undone.status, undone.held) == (Status.UNDONE, True)
    assert held_paths(journal) == [path]
    identity = Identity.from_stat(path.stat())
    assert journal.held()[0].identity == identity
    assert held(desk, journal).holds(path, identity)
    for _ in range(2):
        assert file(desk, journal, path, action=action) is Status.HELD
    assert images(desk.inbox) == [path]
    assert desk.filed() == {}
    assert Filer(desk.output, journal=journal, held=held(desk, journal)).known_result(path, identity) is Status.HELD


def write_again(path: Path) -> Path:
    path.write_bytes(b"edited")
    return path


def replace_it(path: Path) -> Path:
    """With the same size and time, but other content."""
    status = path.stat()
    new = path.with_name("new")
    new.write_bytes(path.read_bytes()[::-1])
    os.utime(new, ns=(status.st_atime_ns, status.st_mtime_ns))
    new.rename(path)
    return path


def touch(path: Path) -> Path:
    os.utime(path, (1e9, 1e9))
    return path


def rename(path: Path) -> Path:
    return path.rename(path.with_name("renamed.jpg"))


@pytest.mark.parametrize("change", [write_again, replace_it, touch, rename])
def test_it_is_filed_once_it_has_changed_or_is_renamed(desk: Desk, journal: Journal, change: object) -> None:
    desk.file_one(desk.put())
    undo_all(desk)
    assert callable(change)
    path = change(desk.inbox / "cat.jpg")
    assert file(desk, journal, path) is Status.FILED
    images_held = held(desk, journal)
    while images_held.work(60.0):
        pass
    assert journal.held() == []


@pytest.mark.parametrize("names", [["cat.jpg", "cat_2.jpg"], ["cat_2.jpg", "cat.jpg"]])
def test_two_that_would_get_one_name_are_both_held(desk: Desk, journal: Journal, names: list[str]) -> None:
    """One would go back as cat_2.jpg, since another image has its name by now, and the other is called so."""
    for number, name in enumerate(names):
        desk.file_one(desk.put(name, b"image %d" % number))
    new = desk.put("cat.jpg", b"new")
    assert {(undone.status, undone.held) for undone in undo_all(desk)} == {(Status.UNDONE, True)}
    back = [path for path in images(desk.inbox) if path != new]
    assert len(back) == 2
    assert sorted(held_paths(journal)) == back
    assert [file(desk, journal, path) for path in back] == [Status.HELD, Status.HELD]
    assert file(desk, journal, new) is Status.FILED


@pytest.mark.parametrize("action", ["move", "copy", "link"])
def test_it_is_filed_once_it_is_released(desk: Desk, journal: Journal, action: Action) -> None:
    path = desk.put()
    desk.file_one(path, action=action)
    undo_all(desk)
    images_held = held(desk, journal)
    images_held.release(images_held.all())
    assert len(images_held) == 0
    assert journal.held() == []
    assert file(desk, journal, path, action=action) is Status.FILED


def test_it_is_held_under_the_name_that_it_has_there(desk: Desk, journal: Journal) -> None:
    desk.file_one(desk.put(content=b"first"))
    other = desk.put(content=b"second")
    undo_all(desk)
    assert held_paths(journal) == [desk.inbox / "cat_2.jpg"]
    assert file(desk, journal, other) is Status.FILED


def test_a_name_that_is_taken_at_the_last_moment_is_not_held(
    desk: Desk, journal: Journal, monkeypatch: pytest.MonkeyPatch
) -> None:
    desk.file_one(desk.put(content=b"first"))
    from daemon.filing import transfer

    check = transfer.check_source

    def taking(source: object, row: object) -> None:
        if not (desk.inbox / "cat.jpg").exists():
            desk.put(content=b"second")
        check(source, row)  # type: ignore[arg-type]

    monkeypatch.setattr(transfer, "check_source", taking)
    (undone,) = undo_all(desk)
    assert undone.destination == desk.inbox / "cat_2.jpg"
    assert held_paths(journal) == [desk.inbox / "cat_2.jpg"]
    assert file(desk, journal, desk.inbox / "cat.jpg") is Status.FILED


def test_device_numbers_may_change(near: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    path = near.put()
    near.file_one(path)
    undo_all(near)
    journal = near.journal()
    (image,) = journal.held()
    journal.write([], held=[replace(image, identity=image.identity._replace(dev=1))])
    assert file(near, journal, path) is Status.HELD
    journal.close()


def test_inode_numbers_may_change_where_the_content_is_the_same(near: Desk) -> None:
    path = near.put()
    near.file_one(path)
    undo_all(near)
    journal = near.journal()
    (image,) = journal.held()
    journal.write([], held=[replace(image, identity=image.identity._replace(ino=1))])
    assert file(near, journal, path) is Status.HELD
    assert journal.held()[0].identity.ino == path.stat().st_ino, "it need not be read the next time"
    status = path.stat()
    assert held(near, journal).holds_state(str(path), status.st_size, status.st_mtime_ns, 0), "no inode is known"
    journal.close()


def test_a_share_may_round_the_time(near: Desk) -> None:
    path = near.put()
    os.utime(path, ns=(0, 1_600_000_000_123_456_789))
    near.file_one(path)
    undo_all(near)
    os.utime(path, ns=(0, 1_600_000_000_123_456_700))
    journal = near.journal()
    assert file(near, journal, path) is Status.HELD
    os.utime(path, ns=(0, 1_600_000_003_000_000_000))
    assert file(near, journal, path) is Status.FILED
    journal.close()


def test_what_goes_back_to_a_class_folder_is_not_held(desk: Desk, journal: Journal) -> None:
    desk.file_one(desk.put(), "cat")
    desk.file_one(desk.output / "cat" / "cat.jpg", "dog")
    filings = list(read_history(desk.journal_path, Wanted(states=[State.DONE], as_written=True)))
    (undone,) = undo(journal, filings[:1], held=held(desk, journal))
    assert undone.destination == desk.output / "cat" / "cat.jpg"
    assert not undone.held
    assert journal.held() == []


def test_where_images_are_held(tmp_path: Path) -> None:
    output = tmp_path / "sorted"
    images_held = HeldImages(Journal(None), output, [tmp_path / "inbox", output / "inbox", output])
    for folder in (output / "cat", output / "inbox", output / "elsewhere", output / "inbox" / "cat"):
        folder.mkdir(parents=True)
    for folder in (output / "cat", output / "inbox" / "cat"):
        (folder / MARKER).touch()
    places = {
        "inbox/a.jpg": True,
        "inbox/cat/a.jpg": True,
        "sorted/a.jpg": True,
        "sorted/cat/a.jpg": False,
        "sorted/gone/a.jpg": False,
        "sorted/inbox/a.jpg": True,
        "sorted/inbox/gone/a.jpg": True,
        "sorted/inbox/cat/a.jpg": False,
        "sorted/elsewhere/a.jpg": True,
    }
    assert {place: images_held.applies_to(tmp_path / place) for place in places} == places


def test_sidecars_stay_with_a_held_image(near: Desk) -> None:
    for name in ("cat.xmp", "cat.jpg.json"):
        os.utime(near.put(name), (1e9, 1e9))
    near.file_one(near.put())
    undo_all(near)
    journal = near.journal()
    there = images(near.inbox)
    assert [path.name for path in there] == ["cat.jpg", "cat.jpg.json", "cat.xmp"]
    other = near.put("cat.png", b"another")
    images_held = HeldImages(journal, near.output, [near.inbox])
    (filed,) = Filer(near.output, journal=journal, held=images_held).file([near.decide(other)])
    assert filed.status is Status.FILED
    LateSidecars([near.inbox], near.output, journal, recursive=True, held=images_held).work(60.0)
    assert images(near.inbox) == there
    assert near.filed() == {"cat/cat.png": b"another"}
    images_held.release(images_held.all())
    Filer(near.output, journal=journal, held=images_held).file([near.decide(near.inbox / "cat.jpg")])
    assert images(near.inbox) == []
    journal.close()


def test_what_is_gone_or_changed_is_held_no_longer(near: Desk) -> None:
    for name in ("gone.jpg", "changed.jpg", "there.jpg", "away.jpg"):
        near.file_one(near.put(name, name.encode()))
    undo_all(near)
    (near.inbox / "gone.jpg").unlink()
    (near.inbox / "changed.jpg").write_bytes(b"changed")
    (near.inbox / "away.jpg").unlink()
    journal = near.journal()
    away = next(image for image in journal.held() if image.path.name == "away.jpg")
    journal.write([], held=[replace(away, identity=away.identity._replace(dev=1))])  # its drive is not mounted
    images_held = HeldImages(journal, near.output, [near.inbox])
    assert len(images_held) == 4
    while images_held.work(60.0):
        pass
    assert sorted(image.path.name for image in journal.held()) == ["away.jpg", "there.jpg"]
    assert len(images_held) == 2
    journal.close()


def test_where_the_journal_is_busy_nothing_is_filed(near: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    path = near.put()
    near.file_one(path)
    undo_all(near)
    journal = near.journal()

    def busy(self: Journal) -> None:
        raise JournalBusy("database is locked")

    with monkeypatch.context() as patch:
        patch.setattr(Journal, "held", busy)
        images_held = HeldImages(journal, near.output, [near.inbox])
        (result,) = Filer(near.output, journal=journal, held=images_held).file([near.decide(path)])
        assert result.status is Status.RETRY
        assert len(images_held) == 0
        assert not images_held.seems_held(str(path), 1, 1, 1)
    assert file(near, journal, path) is Status.HELD
    journal.close()


def test_an_undo_that_fails_holds_nothing(near: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    near.file_one(near.put())
    from daemon.files import renaming

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(renaming, "rename_noreplace", full)
    (undone,) = undo_all(near)
    assert (undone.status, undone.held) == (Status.RETRY, False)
    journal = near.journal()
    assert journal.held() == []
    journal.close()


@pytest.mark.parametrize("action", ["copy", "link"])
def test_an_original_whose_copy_stays_is_not_held(near: Desk, monkeypatch: pytest.MonkeyPatch, action: Action) -> None:
    near.file_one(near.put(), action=action)
    from daemon.files import renaming

    monkeypatch.setattr(renaming, "drop", lambda *_: False)
    (undone,) = undo_all(near)
    assert (undone.status, undone.held) == (Status.CHANGED, False)
    journal = near.journal()
    assert journal.held() == []
    journal.close()
