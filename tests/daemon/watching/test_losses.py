from __future__ import annotations

import errno
import shutil
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from watchdog.observers.inotify_c import InotifyFD

from daemon.files.locks import busy
from daemon.watching import watcher
from tests.daemon.watching.desk import NEVER, Desk, put


def test_lost_events_are_made_good_by_a_walk(quick_root: Path, desks: Callable[..., Desk], log: list[str]) -> None:
    root = quick_root
    for number in range(7):
        (root / f"{number}").mkdir()
    desk = desks(root, most_hints=10)
    desk.first_walk()
    expected = {put(root / f"{number % 7}" / f"{number}.jpg") for number in range(5000)}
    seen: set[Path] = set()
    while len(seen) < len(expected):
        for path in desk.collect(1):
            assert path not in seen
            seen.add(path)
            path.unlink()
            desk.watcher.done(path)
    assert seen == expected
    assert desk.watcher.status().overflows >= 1
    assert any("events were lost" in line for line in log)


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_a_dead_reader_of_events_is_replaced(
    root: Path, desks: Callable[..., Desk], log: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    dies = threading.Event()
    read_events = InotifyFD.read_events

    def dying(reader: InotifyFD, **more: Any) -> Any:
        if dies.is_set():
            dies.clear()
            raise OSError(errno.EIO, "the reader dies")
        return read_events(reader, **more)

    monkeypatch.setattr(InotifyFD, "read_events", dying)
    desk = desks(root)
    desk.first_walk()
    dies.set()
    missed = put(root / "missed.jpg")  # wakes the reader once more; it dies at its next read
    assert desk.collect(1) == [missed]
    put(root / "poke.txt")
    desk.wait(lambda: desk.watcher.status().restarts == 1)
    later = put(root / "later.jpg")
    assert desk.collect(1) == [later]
    assert sum("reader of events has died" in line for line in log) == 1


def test_an_inbox_deleted_and_made_again(root: Path, desks: Callable[..., Desk], log: list[str]) -> None:
    desk = desks(root)
    desk.first_walk()
    for number in range(3):
        shutil.rmtree(root)
        desk.wait(lambda: desk.watcher.status().missing == (root,))
        desk.nothing(0.1)
        root.mkdir()
        path = put(root / f"{number}.jpg")
        assert desk.collect(1) == [path]
        assert desk.watcher.status().missing == ()
        put(root / "album" / "a.jpg")
        assert desk.collect(1) == [root / "album" / "a.jpg"]
        desk.watcher.done(root / "album" / "a.jpg")
    assert [line.split(" ")[0] for line in log if "is missing" in line or "is back" in line] == [
        "WARNING:",
        "INFO:",
    ] * 3


def test_the_end_of_an_inbox_is_noticed_by_its_event(
    root: Path, desks: Callable[..., Desk], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(watcher, "CHECK_SECONDS", NEVER)
    desk = desks(root)
    desk.first_walk()
    root.rename(root.parent / "elsewhere")
    desk.wait(lambda: desk.watcher.status().missing == (root,))


def test_an_inbox_replaced_between_two_looks(root: Path, desks: Callable[..., Desk]) -> None:
    """Most file systems give the new folder the inode of the old one."""
    desk = desks(root)
    desk.first_walk()
    for number in range(5):
        root.rmdir()
        root.mkdir()
        desk.nothing(0.05)
        path = put(root / f"{number}.jpg")
        assert desk.collect(1) == [path]
        path.unlink()
        desk.watcher.done(path)


def test_an_inbox_that_comes_later_or_is_no_folder(tmp_path: Path, desks: Callable[..., Desk], log: list[str]) -> None:
    missing, file = tmp_path / "later", put(tmp_path / "file")
    desk = desks(missing, file)
    desk.nothing(0.1)
    assert desk.watcher.status().missing == (missing, file)
    path = put(missing / "a.jpg")
    assert desk.collect(1) == [path]
    assert {status.why_missing for status in desk.watcher.status().inboxes} == {None, "Not a directory"}
    assert sum("is missing" in line for line in log) == 2


def test_an_inbox_that_another_daemon_is_at_work_on_waits_until_it_is_free(
    root: Path, tmp_path: Path, desks: Callable[..., Desk], log: list[str]
) -> None:
    """As when a drive comes back that somebody else watches by then."""
    other = tmp_path / "other"
    other.mkdir()
    is_busy = threading.Event()

    def claim() -> None:
        if is_busy.is_set():
            raise busy(root, 42, "nas")

    desk = desks(root, other, rescan_seconds=0.01, claims={str(root): claim})
    before = put(root / "before.jpg")
    assert desk.collect(1) == [before]
    is_busy.set()
    desk.wait(lambda: desk.watcher.status().missing == (root,))
    put(root / "theirs.jpg")
    mine = put(other / "mine.jpg")
    assert desk.collect(1) == [mine]
    desk.nothing()
    is_busy.clear()
    assert desk.collect(1) == [root / "theirs.jpg"]
    assert sum("not watched yet: another daemon is at work on" in line for line in log) == 1
