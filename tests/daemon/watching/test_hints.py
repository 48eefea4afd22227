from __future__ import annotations

import ctypes
import errno
import os
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
from watchdog.observers import inotify_c
from watchdog.observers.inotify_c import InotifyConstants, InotifyEvent, Mask, WatchDescriptor

from daemon.watching import hints
from daemon.watching.hints import Hints, HintSource, Kind
from tests.processes import wait_for

OWNER = "/inbox"


class Source(HintSource):
    """A source that a test can wait for."""

    def __init__(self, limit: int = 1000) -> None:
        self.woken = threading.Event()
        self.wakes = 0
        self.gate = threading.Lock()  # whoever has it holds the reader up
        super().__init__(self._wake_up, limit=limit)

    def _wake_up(self) -> None:
        with self.gate:
            self.wakes += 1
            self.woken.set()

    def watch(self, folder: Path, turn: int = 1) -> None:
        stat = folder.stat()
        self.arm(str(folder), (stat.st_dev, stat.st_ino), owner=OWNER, turn=turn)

    def watches(self, folder: Path) -> bool:
        stat = folder.stat()
        return self.is_armed((stat.st_dev, stat.st_ino))

    def gather(self, last: Path) -> Hints:
        """All hints until one for ``last``, which must be the last thing the test does to a watched folder."""
        taken = Hints()
        deadline = time.monotonic() + 10
        while str(last) not in taken.paths:
            assert self.woken.wait(deadline - time.monotonic()), f"no hint of {last} among {taken}"
            self.woken.clear()
            more = self.take()
            for path, kind in more.paths.items():
                taken.paths[path] = max(kind, taken.paths.get(path, kind))
            taken.lost |= more.lost
            taken.moved |= more.moved
        return taken


@pytest.fixture
def source() -> Iterator[Source]:
    source = Source()
    yield source
    source.close()


@pytest.fixture
def inbox(tmp_path: Path, source: Source) -> Path:
    inbox = tmp_path / "inbox"
    inbox.mkdir()
    source.watch(inbox)
    return inbox


def finish(inbox: Path, source: Source) -> dict[str, Kind]:
    """The hints so far, by path below the inbox."""
    last = inbox / "last.jpg"
    last.write_bytes(b"x")
    paths = source.gather(last).paths
    del paths[str(last)]
    return {os.path.relpath(path, inbox): kind for path, kind in paths.items()}


def test_closed_and_renamed_files_are_complete(inbox: Path, source: Source) -> None:
    (inbox / "closed.jpg").write_bytes(b"x")
    (inbox.parent / "outside.jpg").write_bytes(b"x")
    (inbox.parent / "outside.jpg").rename(inbox / "moved.jpg")
    (inbox / "b.jpg.part").write_bytes(b"x")
    (inbox / "b.jpg.part").rename(inbox / "b.jpg")
    expected = dict.fromkeys(("closed.jpg", "moved.jpg", "b.jpg"), Kind.CLOSED)
    assert finish(inbox, source) == expected


def test_links_and_files_still_open_are_only_created(inbox: Path, source: Source) -> None:
    (inbox.parent / "outside.jpg").write_bytes(b"x")
    (inbox / "linked.jpg").hardlink_to(inbox.parent / "outside.jpg")
    with (inbox / "open.jpg").open("wb"):
        assert finish(inbox, source) == {"linked.jpg": Kind.CREATED, "open.jpg": Kind.CREATED}


def test_other_names_and_leaving_files_give_no_hint(inbox: Path, source: Source) -> None:
    for name in ("notes.txt", ".hidden.jpg", "a.jpg.part", ".imagesortd"):
        (inbox / name).touch()
    (inbox / ".rsync-partial").mkdir()
    (inbox.parent / "a.jpg").touch()
    (inbox.parent / "a.jpg").rename(inbox / "a.jpg")
    source.gather(inbox / "a.jpg")
    (inbox / "a.jpg").read_bytes()
    (inbox / "a.jpg").rename(inbox.parent / "filed.jpg")
    assert finish(inbox, source) == {}


def test_folders_made_or_moved_in(inbox: Path, source: Source) -> None:
    (inbox / "made").mkdir()
    (inbox.parent / "outside").mkdir()
    (inbox.parent / "outside").rename(inbox / "moved")
    assert finish(inbox, source) == {"made": Kind.FOLDER, "moved": Kind.FOLDER}


def test_names_of_any_bytes(inbox: Path, source: Source) -> None:
    names = [os.fsdecode(b"caf\xe9.jpg"), "new\nline.jpg", "-rf.jpg"]
    for name in names:
        (inbox / name).touch()
    assert sorted(finish(inbox, source)) == sorted(names)


def test_more_hints_than_the_limit_are_lost_and_said(tmp_path: Path) -> None:
    with closing(Source(limit=3)) as source:
        source.watch(tmp_path)
        for number in range(10):
            (tmp_path / f"{number}.jpg").touch()
        wait_for(lambda: source.wakes == 20, "two events of each file")
        taken = source.take()
        assert taken.lost
        assert len(taken.paths) == 3
        assert not source.take().lost


def test_the_kernel_dropping_events_is_said(source: Source, request: pytest.FixtureRequest) -> None:
    """A real overflow: the reader is held up while more events than the kernel keeps come to pass."""
    kept = int(Path("/proc/sys/fs/inotify/max_queued_events").read_text())
    if kept > 70_000:
        pytest.skip(f"this kernel keeps {kept} events: too many to exceed in a test")
    memory = Path("/dev/shm")  # where there is such a place, a file is made in no time
    folder = tempfile.TemporaryDirectory(dir=memory if os.access(memory, os.W_OK) else None)
    request.addfinalizer(folder.cleanup)
    inbox = Path(folder.name)
    source.watch(inbox)
    path = inbox / "a.jpg"
    with source.gate:
        for _ in range(kept // 2 + 1100):  # each two events; the reader takes one buffer of them before it waits
            os.close(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC))
            os.unlink(path)  # noqa: PTH108 - the shortest way
    (inbox / "end.jpg").touch()
    assert source.woken.wait(300)
    deadline = time.monotonic() + 10
    while not source.take().lost:
        assert time.monotonic() < deadline
    assert source.is_alive()
    assert source.watches(inbox)


def test_an_exception_costs_hints_not_the_reader(inbox: Path, source: Source, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(name: str) -> bool:
        raise RuntimeError("a mistake of ours")

    with monkeypatch.context() as patch:
        patch.setattr(hints, "is_temporary_name", broken)
        (inbox / "folder").mkdir()  # one event alone
        assert source.woken.wait(300)
    deadline = time.monotonic() + 10
    while not source.take().lost:
        assert time.monotonic() < deadline
    assert finish(inbox, source) == {}
    assert source.is_alive()


def test_events_of_no_known_folder_are_passed_over(source: Source) -> None:
    source.on_event(InotifyEvent(WatchDescriptor(77), Mask(InotifyConstants.IN_CREATE), 0, b"a.jpg"))
    assert source.take() == Hints()


def test_a_folder_watched_twice_hints_once_and_by_its_newer_place(inbox: Path, source: Source) -> None:
    (inbox / "old").mkdir()
    source.watch(inbox / "old")
    (inbox / "old").rename(inbox / "new")
    source.watch(inbox / "new")
    source.take()
    (inbox / "new" / "a.jpg").touch()
    gathered = source.gather(inbox / "new" / "a.jpg")
    assert str(inbox / "old" / "a.jpg") not in gathered.paths
    assert len(source) == 2


def test_a_folder_whose_identity_changed_is_known_by_the_newer_one(inbox: Path, source: Source) -> None:
    """Some stacked file systems change the numbers of a folder under the same watch."""
    stat = inbox.stat()
    source.arm(str(inbox), (stat.st_dev + 1, stat.st_ino), owner=OWNER, turn=1)
    assert len(source) == 1
    assert not source.watches(inbox)
    (inbox / "made").mkdir()
    assert finish(inbox, source) == {"made": Kind.FOLDER}


def test_a_deleted_folder_is_watched_no_more(inbox: Path, source: Source) -> None:
    folder = inbox / "folder"
    folder.mkdir()
    source.watch(folder)
    assert len(source) == 2
    folder.rmdir()
    finish(inbox, source)
    assert len(source) == 1


def test_a_folder_moved_away_is_watched_no_more(inbox: Path, source: Source) -> None:
    folder = inbox / "folder"
    folder.mkdir()
    source.watch(folder)
    folder.rename(inbox.parent / "elsewhere")
    assert finish(inbox, source) == {"folder": Kind.FOLDER}
    assert len(source) == 1
    (inbox.parent / "elsewhere" / "a.jpg").touch()
    assert finish(inbox, source) == {}


def test_a_sweep_takes_what_the_walk_did_not_enter(inbox: Path, source: Source) -> None:
    for name in ("kept", "left"):
        (inbox / name).mkdir()
        source.watch(inbox / name)
    source.watch(inbox, turn=2)
    source.watch(inbox / "kept", turn=2)
    source.sweep("/another inbox", 9)
    source.sweep(OWNER, 2)
    assert finish(inbox, source) == {"kept": Kind.FOLDER, "left": Kind.FOLDER}
    assert [source.watches(inbox / name) for name in ("", "kept", "left")] == [True, True, False]
    (inbox / "left" / "a.jpg").touch()
    (inbox / "kept" / "b.jpg").touch()
    assert list(finish(inbox, source)) == ["kept/b.jpg"]
    source.sweep(OWNER)
    assert len(source) == 0


def test_a_folder_that_cannot_be_watched(inbox: Path, source: Source) -> None:
    with pytest.raises(FileNotFoundError):
        source.arm(str(inbox / "gone"), (0, 0), owner=OWNER, turn=1)
    (inbox / "link").symlink_to(inbox.parent)
    with pytest.raises(NotADirectoryError):
        source.arm(str(inbox / "link"), (0, 0), owner=OWNER, turn=1)
    assert len(source) == 1


def test_a_folder_that_may_not_be_read(inbox: Path, source: Source, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> int:
        ctypes.set_errno(errno.EACCES)
        return -1

    monkeypatch.setattr(inotify_c, "inotify_add_watch", refuse)
    for number in range(2):  # watchdog takes the first -1 for a watch and warns of a second one
        source.arm(str(inbox / str(number)), (0, number), owner=OWNER, turn=1)
    assert len(source) == 1
