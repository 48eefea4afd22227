from __future__ import annotations

import errno
import os
import shutil
import signal
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import FrameType
from typing import Any

import pytest
from loguru import logger

from daemon import hints, inbox, watcher
from daemon.watcher import InboxWatcher

NEVER = 3600.0  # seconds: walks after the first are not to help the events
LONG = 20.0  # a wait that fails the test when nothing ends it


class Clock:
    """A clock that a test sets."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


class Desk:
    """A started watcher, and the work loop's part played by the test."""

    def __init__(self, *roots: Path, **settings: Any) -> None:
        settings = {"settle_seconds": 0.05, "rescan_seconds": NEVER, **settings}
        self.watcher = InboxWatcher(roots, **settings)
        self.watcher.start()

    def first_walk(self) -> None:
        """Let the walks that are due come to their end."""
        self.wait(lambda: not any(inbox.walking for inbox in self.watcher.status().inboxes))

    def wait(self, condition: Callable[[], bool]) -> None:
        """Work without a file coming up until something is so."""
        deadline = time.monotonic() + LONG
        while not condition():
            assert time.monotonic() < deadline
            assert self.watcher.ready(0.01, 1) == []

    def collect(self, count: int, *, limit: int = 64) -> list[Path]:
        """The next ``count`` files, unanswered, in the order of their names."""
        paths: list[Path] = []
        deadline = time.monotonic() + LONG
        while len(paths) < count:
            assert time.monotonic() < deadline, f"only {len(paths)} of {count}: {self.watcher.status()}"
            paths += self.watcher.ready(1.0, limit)
        assert len(paths) == len(set(paths)), "handed out twice"
        return sorted(paths)

    def nothing(self, seconds: float = 0.2) -> None:
        assert self.watcher.ready(seconds, 1) == []


@pytest.fixture
def desks(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., Desk]]:
    """Makes desks whose watchers are stopped in the end."""
    monkeypatch.setattr(watcher, "_CHECK_SECONDS", 0.02)
    made: list[Desk] = []

    def make(*roots: Path, **settings: Any) -> Desk:
        made.append(Desk(*roots, **settings))
        return made[-1]

    yield make
    for desk in made:
        desk.watcher.stop()


@pytest.fixture
def log() -> Iterator[list[str]]:
    lines: list[str] = []
    sink = logger.add(lambda message: lines.append(str(message).rstrip()), format="{level}: {message}")
    yield lines
    logger.remove(sink)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    root = tmp_path / "inbox"
    root.mkdir()
    return root


@pytest.fixture
def quick_root() -> Iterator[Path]:
    """A folder in memory, where there is such a place: thousands of files are made in no time."""
    memory = Path("/dev/shm")
    with tempfile.TemporaryDirectory(dir=memory if os.access(memory, os.W_OK) else None) as folder:
        yield Path(folder)


def put(path: Path, content: bytes = b"x") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    return path


# --- events ----------------------------------------------------------------------------------------------------------


def test_files_that_were_there_before_and_files_written_later(root: Path, desks: Callable[..., Desk]) -> None:
    before = put(root / "album" / "before.jpg")
    desk = desks(root)
    assert desk.collect(1) == [before]
    later = put(root / "later.jpg")
    nested = put(root / "album" / "nested.png")
    assert desk.collect(2) == sorted([later, nested])
    desk.nothing()


def test_a_closed_or_renamed_file_needs_no_settling(root: Path, desks: Callable[..., Desk]) -> None:
    desk = desks(root, settle_seconds=NEVER)
    desk.first_walk()
    closed = put(root / "closed.jpg")
    moved = put(root.parent / "moved.jpg").rename(root / "moved.jpg")
    finished = put(root / "download.jpg.part").rename(root / "download.jpg")
    assert desk.collect(3) == sorted([closed, moved, finished])


def test_a_hard_link_settles(root: Path, desks: Callable[..., Desk]) -> None:
    desk = desks(root)
    desk.first_walk()
    (root / "linked.jpg").hardlink_to(put(root.parent / "outside.jpg"))
    assert desk.collect(1) == [root / "linked.jpg"]


def test_what_is_no_finished_image_is_not_offered(root: Path, desks: Callable[..., Desk]) -> None:
    desk = desks(root, rescan_seconds=0.02)
    for name in ("notes.txt", ".hidden.jpg", "a.jpg.part", ".a.jpg.Xy3Zq9"):
        put(root / name)
    (root / "link.jpg").symlink_to(put(root.parent / "outside.jpg"))
    (root / "folder.jpg").mkdir()
    (root / "linked").symlink_to(put(root.parent / "elsewhere" / "b.jpg").parent)
    os.mkfifo(root / "pipe.jpg")
    desk.nothing(0.3)
    assert desk.watcher.status().waiting == 0


def test_a_writer_that_never_closes_is_waited_for_until_it_rests(root: Path, desks: Callable[..., Desk]) -> None:
    clock = Clock()
    desk = desks(root, settle_seconds=2.0, clock=clock)
    with (root / "slow.jpg").open("wb", buffering=0) as file:
        for _ in range(10):
            file.write(b"x" * 100)
            clock.now += 1.5
            desk.nothing(0)
        clock.now += 0.6
        desk.nothing(0)
        clock.now += 2.0
        assert desk.watcher.ready(0, 1) == [root / "slow.jpg"]


@pytest.mark.parametrize("made_here", [True, False])
def test_folders_that_arrive_later_are_watched(made_here: bool, root: Path, desks: Callable[..., Desk]) -> None:
    desk = desks(root)
    desk.first_walk()
    folder = (root if made_here else root.parent) / "album"
    inside = put(folder / "deep" / "inside.jpg")
    if not made_here:
        folder.rename(root / "album")
    assert desk.collect(1) == [root / "album" / "deep" / "inside.jpg"]
    assert desk.watcher.status().watched_folders == 3
    later = [put(root / "album" / "later.jpg"), put(root / "album" / "deep" / "later.jpg")]
    assert desk.collect(2) == sorted(later)
    assert inside.name == "inside.jpg"


def test_a_folder_renamed_in_the_inbox_is_watched_where_it_is(root: Path, desks: Callable[..., Desk]) -> None:
    (root / "old" / "deep").mkdir(parents=True)
    desk = desks(root)
    desk.first_walk()
    (root / "old").rename(root / "new")
    desk.wait(lambda: desk.watcher.status().watched_folders == 3)
    desk.first_walk()
    later = [put(root / "new" / "a.jpg"), put(root / "new" / "deep" / "b.jpg")]
    assert desk.collect(2) == sorted(later)


def test_a_folder_moved_away_and_back(root: Path, desks: Callable[..., Desk]) -> None:
    (root / "album").mkdir()
    desk = desks(root)
    desk.first_walk()
    (root / "album").rename(root.parent / "album")
    desk.wait(lambda: desk.watcher.status().watched_folders == 1)
    put(root.parent / "album" / "outside.jpg")
    desk.nothing()
    (root.parent / "album").rename(root / "album")
    assert desk.collect(1) == [root / "album" / "outside.jpg"]


def test_not_recursive(root: Path, desks: Callable[..., Desk]) -> None:
    put(root / "album" / "before.jpg")
    desk = desks(root, recursive=False)
    put(root / "album" / "later.jpg")
    put(root / "made" / "later.jpg")
    here = put(root / "here.jpg")
    assert desk.collect(1) == [here]
    desk.nothing()
    assert desk.watcher.status().watched_folders == 1


@pytest.mark.parametrize("poll", [False, True])
def test_names_of_any_bytes(poll: bool, root: Path, desks: Callable[..., Desk]) -> None:
    desk = desks(root, poll=poll, poll_seconds=0.02)
    desk.first_walk()
    names = [os.fsdecode(b"caf\xe9.jpg"), "new\nline.jpg", "-rf.jpg", " .jpg", "x" * 251 + ".jpg"]
    folder = root / os.fsdecode(b"\xff\xfe")
    assert desk.collect(0) == []
    expected = sorted(put(folder / name) for name in names)
    paths = desk.collect(len(names))
    assert paths == expected
    for path in paths:
        path.unlink()
        desk.watcher.done(path)
    assert desk.watcher.status().in_flight == 0


# --- answers ---------------------------------------------------------------------------------------------------------


def test_a_file_that_stays_is_offered_again_only_when_it_has_changed(root: Path, desks: Callable[..., Desk]) -> None:
    path = put(root / "a.jpg")
    desk = desks(root, rescan_seconds=0.02)
    assert desk.collect(1) == [path]
    desk.watcher.done(path)
    desk.nothing()
    path.open("ab").close()  # an event, but no change
    desk.nothing()
    path.write_bytes(b"xx")
    assert desk.collect(1) == [path]
    desk.watcher.done(path)
    os.utime(path, ns=(0, 0))
    assert desk.collect(1) == [path]


def test_a_file_that_changed_in_flight_is_offered_again(root: Path, desks: Callable[..., Desk]) -> None:
    path = put(root / "a.jpg")
    desk = desks(root)
    assert desk.collect(1) == [path]
    put(path, b"another")
    desk.nothing()
    desk.watcher.done(path)
    assert desk.collect(1) == [path]


def test_a_new_file_of_an_old_name_is_offered(root: Path, desks: Callable[..., Desk]) -> None:
    path = put(root / "a.jpg")
    os.utime(path, ns=(0, 0))
    desk = desks(root)
    for number in range(3):
        assert desk.collect(1) == [path]
        path.rename(root.parent / f"filed {number}.jpg")
        put(root.parent / "b.jpg")
        os.utime(root.parent / "b.jpg", ns=(0, 0))
        (root.parent / "b.jpg").rename(path)  # same size, same time
        desk.watcher.done(path)


def test_again_and_incomplete_come_back_later(root: Path, desks: Callable[..., Desk]) -> None:
    clock = Clock()
    path = put(root / "a.jpg")
    desk = desks(root, settle_seconds=2.0, patience_seconds=10.0, clock=clock, poll=True)
    desk.nothing(0)
    clock.now += 2
    assert desk.watcher.ready(0, 1) == [path]
    desk.watcher.again(path, 60)
    clock.now += 59
    desk.nothing(0)
    clock.now += 1
    assert desk.watcher.ready(0, 1) == [path]
    assert not desk.watcher.incomplete(path), "it has been quiet for more than 10 s"
    path.write_bytes(b"xx")
    desk.watcher.again(path, 0)
    desk.nothing(0)
    clock.now += 2
    assert desk.watcher.ready(0, 1) == [path]
    assert desk.watcher.incomplete(path)
    desk.nothing(0)
    assert desk.watcher.status().oldest_seconds == 64
    path.unlink()
    clock.now += 8
    desk.nothing(0)
    assert desk.watcher.status().waiting == 0


def test_limit_and_order_of_what_is_ready(root: Path, desks: Callable[..., Desk]) -> None:
    for number in range(10):
        put(root / f"{number}.jpg")
    desk = desks(root)
    handfuls = [desk.collect(4, limit=4), desk.collect(4, limit=4), desk.collect(2, limit=4)]
    assert len({path for paths in handfuls for path in paths}) == 10
    assert desk.watcher.status().in_flight == 10


# --- what is not part of an inbox ------------------------------------------------------------------------------------


@pytest.mark.parametrize("poll", [False, True])
def test_the_output_inside_the_inbox_is_left_out(poll: bool, root: Path, desks: Callable[..., Desk]) -> None:
    (root / "link").symlink_to(".")
    put(root / "sorted" / "cat" / "a.jpg")
    put(root / "dog" / ".imagesortd")
    put(root / "dog" / "puppies" / "b.jpg")
    desk = desks(root, exclude=[root / "link" / "sorted", root], poll=poll, poll_seconds=0.02)
    mine = put(root / "mine.jpg")
    assert desk.collect(1) == [mine]
    put(root / "sorted" / "c.jpg")
    put(root / "dog" / "d.jpg")
    put(root / "cat" / ".imagesortd")
    put(root / "cat" / "e.jpg")
    desk.nothing()
    assert desk.watcher.status().watched_folders == (0 if poll else 1)


def test_a_folder_marked_after_it_was_armed_is_left_out(root: Path, desks: Callable[..., Desk]) -> None:
    (root / "cat" / "deep").mkdir(parents=True)
    desk = desks(root)
    desk.first_walk()
    assert desk.watcher.status().watched_folders == 3
    put(root / "cat" / ".imagesortd")
    put(root / "cat" / "deep" / "a.jpg")
    desk.nothing()


def test_an_inbox_inside_another_is_its_own(root: Path, desks: Callable[..., Desk]) -> None:
    inner = put(root / "inner" / "a.jpg").parent
    desk = desks(root, inner, root)
    assert desk.collect(1) == [inner / "a.jpg"]
    later = [put(root / "b.jpg"), put(inner / "c.jpg")]
    assert desk.collect(2) == sorted(later)
    desk.nothing()
    assert [status.path for status in desk.watcher.status().inboxes] == [inner, root]


def test_an_inbox_inside_another_is_walked_by_itself_alone(root: Path, desks: Callable[..., Desk]) -> None:
    (root / "inner").mkdir()
    desk = desks(root / "inner", root, settle_seconds=NEVER, rescan_seconds=0.02)
    path = put(root / "inner" / "a.jpg")
    assert desk.collect(1) == [path]
    desk.watcher.done(path)
    desk.nothing()
    assert desk.watcher.status().waiting == 0


def test_other_devices_are_left_out(desks: Callable[..., Desk]) -> None:
    outer, inner = Path("/dev"), Path("/dev/shm")
    if not inner.is_dir() or outer.stat().st_dev == inner.stat().st_dev:
        pytest.skip("needs a file system mounted below another")
    path = put(inner / f"imagesortd-{os.getpid()}.jpg")
    try:
        desk = desks(outer, poll=True, poll_seconds=0.02)
        desk.nothing()
    finally:
        path.unlink()


# --- losses ----------------------------------------------------------------------------------------------------------


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
def test_a_dead_reader_of_events_is_replaced(root: Path, desks: Callable[..., Desk], log: list[str]) -> None:
    desk = desks(root)
    desk.first_walk()
    source = desk.watcher._source
    assert source is not None

    def die(**_: object) -> None:
        raise OSError(errno.EIO, "the reader dies")

    source._reader.read_events = die  # type: ignore[method-assign, assignment]
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
    assert [line.split(" ")[0] for line in log if "is not there" in line or "is back" in line] == [
        "WARNING:",
        "INFO:",
    ] * 3


def test_the_end_of_an_inbox_is_noticed_by_its_event(
    root: Path, desks: Callable[..., Desk], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(watcher, "_CHECK_SECONDS", NEVER)
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
    assert {status.missing for status in desk.watcher.status().inboxes} == {None, "Not a directory"}
    assert sum("is not there" in line for line in log) == 2


# --- polling ---------------------------------------------------------------------------------------------------------


def test_polling_finds_what_comes(root: Path, desks: Callable[..., Desk]) -> None:
    clock = Clock()
    desk = desks(root, poll=True, poll_seconds=5.0, settle_seconds=2.0, clock=clock)
    desk.nothing(0)
    path = put(root / "album" / "a.jpg")
    clock.now += 4
    desk.nothing(0)
    assert desk.watcher.status().waiting == 0
    clock.now += 1
    desk.nothing(0)
    assert desk.watcher.status().waiting == 1
    clock.now += 2
    assert desk.watcher.ready(0, 1) == [path]
    status = desk.watcher.status()
    assert (status.inboxes[0].mode, status.inboxes[0].polled) == ("polling", "asked for")


def test_a_network_file_system_is_polled_unasked(
    root: Path, desks: Callable[..., Desk], log: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(inbox, "remote_kind", lambda path: "nfs4")
    desk = desks(root, poll_seconds=0.02)
    desk.first_walk()
    path = put(root / "a.jpg")
    assert desk.collect(1) == [path]
    assert desk.watcher.status().inboxes[0].mode == "polling"
    assert [line for line in log if "polled" in line] == [
        f"INFO: inbox {str(root)!r} is polled every 0.02 s: nfs4 brings no events from other hosts"
    ]


def test_the_limit_of_watches_is_explained_and_the_inbox_polled(
    root: Path, desks: Callable[..., Desk], log: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    real = hints.HintSource.arm

    def arm(self: hints.HintSource, folder: str, *args: Any, **kwargs: Any) -> None:
        if len(self) == 3:
            raise OSError(errno.ENOSPC, "inotify watch limit reached")
        real(self, folder, *args, **kwargs)

    monkeypatch.setattr(hints.HintSource, "arm", arm)
    before = [put(root / str(number) / "before.jpg") for number in range(5)]
    desk = desks(root, poll_seconds=0.02)
    assert desk.collect(5) == sorted(before)
    later = [put(root / str(number) / "later.jpg") for number in range(5)]
    assert desk.collect(5) == sorted(later)
    status = desk.watcher.status()
    assert (status.inboxes[0].mode, status.watched_folders) == ("polling", 0)
    assert [line for line in log if "max_user_watches" in line] == [line for line in log if "polled" in line]
    assert sum("max_user_watches" in line for line in log) == 1


def test_no_inotify_instance_is_explained_and_the_inbox_polled(
    root: Path, desks: Callable[..., Desk], log: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse() -> None:
        raise OSError(errno.EMFILE, "inotify instance limit reached")

    monkeypatch.setattr(hints, "InotifyFD", refuse)
    desk = desks(root, poll_seconds=0.02)
    desk.first_walk()
    path = put(root / "a.jpg")
    assert desk.collect(1) == [path]
    assert sum("max_user_instances" in line for line in log) == 1


# --- many ------------------------------------------------------------------------------------------------------------


def test_a_backlog_is_walked_as_a_stream(quick_root: Path, desks: Callable[..., Desk]) -> None:
    root = quick_root
    for number in range(20_000):
        os.close(os.open(root / f"{number}.jpg", os.O_WRONLY | os.O_CREAT))
    desk = desks(root, settle_seconds=0.01, backlog=500)
    seen = len(desk.collect(8, limit=8))
    status = desk.watcher.status()
    assert status.inboxes[0].walking
    assert status.waiting <= 500
    while seen < 20_000:
        paths = desk.collect(1)
        seen += len(paths)
        for path in paths:
            path.unlink()
            desk.watcher.done(path)
        assert desk.watcher.status().waiting <= 500
    assert desk.watcher.status().overflows == 0


def test_events_for_more_files_than_may_wait(
    root: Path, desks: Callable[..., Desk], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(watcher, "_MOST_WAITING", 3)
    desk = desks(root, backlog=2)
    desk.first_walk()
    expected = {put(root / f"{number}.jpg") for number in range(20)}
    seen: set[Path] = set()
    while seen < expected:
        for path in desk.collect(1, limit=2):
            seen.add(path)
            path.unlink()
            desk.watcher.done(path)
        assert desk.watcher.status().waiting <= 3
    assert desk.watcher.status().overflows == 0


def test_a_backlog_in_one_inbox_does_not_keep_the_others_out(tmp_path: Path, desks: Callable[..., Desk]) -> None:
    full, other = tmp_path / "full", tmp_path / "b"
    for number in range(200):
        put(full / f"{number}.jpg")
    path = put(other / "a.jpg")
    desk = desks(full, other, backlog=10)
    seen: list[Path] = []
    while path not in seen:
        for done in desk.collect(1, limit=5):
            seen.append(done)
            desk.watcher.done(done)
    assert len(seen) < 50


def test_files_that_fail_for_ever_do_not_keep_the_others_out(root: Path, desks: Callable[..., Desk]) -> None:
    for number in range(50):
        put(root / f"{number}.jpg")
    desk = desks(root, backlog=10, poll=True, poll_seconds=0.02)
    for _ in range(10):
        for path in desk.collect(5, limit=5):
            desk.watcher.again(path, NEVER)
    path = put(root / "new.jpg")
    assert desk.collect(1) == [path]


# --- waiting ---------------------------------------------------------------------------------------------------------


def test_wake_ends_the_wait(root: Path, desks: Callable[..., Desk]) -> None:
    desk = desks(root)
    desk.watcher.wake()
    assert desk.watcher.ready(LONG, 1) == []
    timer = threading.Timer(0.02, desk.watcher.wake)
    timer.start()
    assert desk.watcher.ready(NEVER, 1) == []
    timer.join()
    timer = threading.Timer(0.02, put, [root / "a.jpg"])
    timer.start()
    assert desk.watcher.ready(NEVER, 1) == [root / "a.jpg"]
    timer.join()


def test_wake_is_safe_in_a_signal_handler(root: Path, desks: Callable[..., Desk]) -> None:
    desk = desks(root)

    def handler(number: int, frame: FrameType | None) -> None:
        desk.watcher.wake()

    before = signal.signal(signal.SIGUSR1, handler)
    timer = threading.Timer(0.02, os.kill, [os.getpid(), signal.SIGUSR1])
    try:
        timer.start()
        assert desk.watcher.ready(NEVER, 1) == []
        timer.join()
    finally:
        signal.signal(signal.SIGUSR1, before)


def test_a_full_store_is_waited_out_at_rest(root: Path, desks: Callable[..., Desk]) -> None:
    reads = 0

    def clock() -> float:
        nonlocal reads
        reads += 1
        return time.monotonic()

    for number in range(5):
        put(root / f"{number}.jpg")
    desk = desks(root, backlog=2, settle_seconds=NEVER, clock=clock)
    desk.nothing(0.2)
    assert reads < 1000


def test_an_event_ends_the_wait(root: Path, desks: Callable[..., Desk]) -> None:
    desk = desks(root)
    desk.first_walk()
    timer = threading.Timer(0.02, put, [root / "a.jpg"])
    timer.start()
    assert desk.watcher.ready(NEVER, 1) == [root / "a.jpg"]
    timer.join()


def test_stopping_twice_and_answering_afterwards(root: Path, desks: Callable[..., Desk]) -> None:
    path = put(root / "a.jpg")
    desk = desks(root)
    assert desk.collect(1) == [path]
    desk.watcher.stop()
    desk.watcher.stop()
    desk.watcher.wake()
    desk.watcher.done(path)
    assert desk.watcher.status().in_flight == 0
    assert not [thread for thread in threading.enumerate() if "Inotify" in type(thread).__name__]
