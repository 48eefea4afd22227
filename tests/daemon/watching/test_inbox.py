from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from loguru import logger

from daemon.watching.hints import HintSource
from daemon.watching.inbox import Inbox, Pace
from daemon.watching.skipped import Skipped

PACE = Pace(rescan=60.0, poll=1.0)
MANY = 1_000_000


class Clock:
    """A clock that goes on by ``tick`` seconds each time it is read."""

    def __init__(self) -> None:
        self.now = 1000.0
        self.tick = 0.0

    def __call__(self) -> float:
        self.now += self.tick
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def root(tmp_path: Path) -> Path:
    root = tmp_path / "inbox"
    root.mkdir()
    return root


@pytest.fixture
def make(root: Path, clock: Clock) -> Callable[..., Inbox]:
    def inbox(*excluded: Path, poll: bool = True, source: HintSource | None = None, **more: Any) -> Inbox:
        inbox = Inbox(
            str(root),
            excluded=[str(path) for path in excluded],
            recursive=True,
            poll=poll,
            pace=PACE,
            clock=clock,
            **more,
        )
        inbox.check(source)
        return inbox

    return inbox


@pytest.fixture
def source() -> Iterator[HintSource]:
    source = HintSource(lambda: None, limit=100)
    yield source
    source.close()


def walk_all(inbox: Inbox) -> list[str]:
    """The names of what one walk finds; it must be due."""
    found = inbox.step(MANY, MANY)
    assert not inbox.walking
    return sorted(Path(path).name for path, _ in found)


def put(path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b"x")
    return path


def test_walks_keep_their_distance(root: Path, make: Callable[..., Inbox], clock: Clock, source: HintSource) -> None:
    put(root / "a.jpg")
    for inbox, pause in ((make(), PACE.poll), (make(poll=False, source=source), PACE.rescan)):
        assert walk_all(inbox) == ["a.jpg"]
        clock.now += pause - 0.1
        assert walk_all(inbox) == []
        clock.now += 0.1
        assert walk_all(inbox) == ["a.jpg"]


def test_a_walk_that_takes_long_is_repeated_less_often(make: Callable[..., Inbox], clock: Clock) -> None:
    inbox = make()
    clock.tick = 10.0  # also that of the last step, which may be the only one
    inbox.step(MANY, MANY)
    assert inbox.next_walk - clock.now > 100


def test_a_walk_asked_for_comes_at_once(root: Path, make: Callable[..., Inbox]) -> None:
    put(root / "a.jpg")
    inbox = make()
    assert walk_all(inbox) == ["a.jpg"]
    assert walk_all(inbox) == []
    inbox.rescan()
    assert walk_all(inbox) == ["a.jpg"]


def test_a_walk_asked_for_during_another_comes_after_it(root: Path, make: Callable[..., Inbox]) -> None:
    put(root / "a.jpg")
    inbox = make()
    inbox.step(1, MANY)
    assert inbox.walking
    inbox.rescan()
    inbox.step(MANY, MANY)
    assert walk_all(inbox) == ["a.jpg"]
    assert walk_all(inbox) == []


def test_a_step_goes_no_further_than_it_may(root: Path, make: Callable[..., Inbox]) -> None:
    for number in range(10):
        put(root / f"{number}.jpg")
        put(root / f"{number}.txt")
    inbox = make()
    assert len(inbox.step(MANY, 3)) == 3
    assert inbox.step(MANY, 0) == []
    assert inbox.step(0, MANY) == []
    assert len(inbox.step(5, MANY)) <= 5
    assert inbox.walking
    found = 0
    while inbox.walking:
        found += len(inbox.step(2, MANY))
    assert found >= 2


def test_folders_that_arrive_come_before_the_great_walk(root: Path, make: Callable[..., Inbox]) -> None:
    for number in range(10):
        put(root / f"{number}.jpg")
    inbox = make()
    inbox.step(5, MANY)
    put(root.parent / "album" / "new.jpg")
    (root.parent / "album").rename(root / "album")
    inbox.folder_appeared(str(root / "album"))
    assert [Path(path).name for path, _ in inbox.step(1, MANY)] == ["new.jpg"]
    assert inbox.walking


def test_too_many_arrivals_become_one_walk(
    root: Path, make: Callable[..., Inbox], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("daemon.watching.inbox.MOST_ARRIVALS", 2)
    inbox = make()
    walk_all(inbox)
    for number in range(4):
        inbox.folder_appeared(str(put(root / str(number) / f"{number}.jpg").parent))
    found = inbox.step(MANY, MANY)
    assert {Path(path).name for path, _ in found} == {f"{number}.jpg" for number in range(4)}


def test_a_pruned_folder_made_during_the_walk(root: Path, make: Callable[..., Inbox]) -> None:
    (root / "a").mkdir()
    (root / "b").mkdir()
    inbox = make(root / "a" / "sorted", root / "b" / "sorted")
    inbox.step(1, MANY)
    put(root / "a" / "sorted" / "a.jpg")
    put(root / "b" / "sorted" / "b.jpg")
    assert walk_all(inbox) == []


def test_what_was_dealt_with_is_forgotten_with_the_file(root: Path, make: Callable[..., Inbox], clock: Clock) -> None:
    path = str(put(root / "a.jpg"))
    inbox = make()
    [(_, signature)] = inbox.step(MANY, MANY)
    inbox.handled.add(path, signature)
    for _ in range(3):
        clock.now += PACE.poll
        assert walk_all(inbox) == []
        assert len(inbox.handled) == 1
    (root / "a.jpg").unlink()
    for _ in range(2):
        clock.now += PACE.poll
        walk_all(inbox)
    assert len(inbox.handled) == 0


def test_a_folder_marked_later_is_watched_no_more(
    root: Path, make: Callable[..., Inbox], clock: Clock, source: HintSource
) -> None:
    (root / "cat").mkdir()
    inbox = make(poll=False, source=source)
    walk_all(inbox)
    assert len(source) == 2
    put(root / "cat" / ".imagesortd")
    clock.now += PACE.rescan
    walk_all(inbox)
    assert len(source) == 1


def test_a_class_folder_that_somebody_brought_is_said_to_stay(
    root: Path, make: Callable[..., Inbox], clock: Clock, logged: list[str]
) -> None:
    for folder in ("ours/cat", "cat", "deep/er/dog", "empty"):
        put(root / folder / ".imagesortd")
    for folder in ("ours/cat", "cat", "deep/er/dog"):
        put(root / folder / "a.jpg")
    inbox = make(root / "ours", outputs=[str(root / "ours")])
    for _ in range(3):
        assert walk_all(inbox) == []
        clock.now += PACE.poll
    assert inbox.not_entered == 2
    told = [line.split(" is a folder")[0] for line in logged if "is a folder" in line]
    assert sorted(told) == [str(root / "cat"), str(root / "deep/er/dog")]
    (root / "cat" / ".imagesortd").unlink()
    assert walk_all(inbox) == ["a.jpg"]
    assert inbox.not_entered == 1


def test_class_folders_of_an_output_that_is_the_inbox_are_no_matter(
    root: Path, make: Callable[..., Inbox], logged: list[str]
) -> None:
    put(root / "cat" / ".imagesortd")
    put(root / "cat" / "a.jpg")
    (root.parent / "link").symlink_to(root)
    for output in (root, root.parent / "link"):
        inbox = make(output, outputs=[str(output)])
        assert walk_all(inbox) == []
        assert inbox.not_entered == 0
    assert not any("is a folder" in line for line in logged)


def test_troubles_are_said_once_and_the_rest_is_found(
    root: Path, make: Callable[..., Inbox], clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    put(root / "bad" / "a.jpg")
    put(root / "good" / "b.jpg")
    real = os.scandir

    def scandir(folder: str) -> object:
        if folder.endswith("bad"):
            raise PermissionError(13, "Permission denied", folder)
        return real(folder)

    monkeypatch.setattr(os, "scandir", scandir)
    lines: list[str] = []
    sink = logger.add(lambda message: lines.append(str(message)))
    inbox = make()
    for _ in range(3):
        assert walk_all(inbox) == ["b.jpg"]
        clock.now += PACE.poll
    logger.remove(sink)
    assert sum("Permission denied" in line for line in lines) == 1


def test_what_a_file_is(root: Path, make: Callable[..., Inbox], source: HintSource) -> None:
    path = put(root / "a.jpg")
    stat = path.stat()
    assert make(poll=False, source=source).signature(str(path)) == (1, stat.st_mtime_ns, stat.st_ino)
    inbox = make()
    assert inbox.signature(str(path)) == (1, stat.st_mtime_ns, 0), "inodes are not relied on where files are polled"
    (root / "link.jpg").symlink_to(path)
    assert inbox.signature(str(root / "link.jpg")) is None
    assert inbox.signature(str(root / "gone.jpg")) is None
    assert inbox.signature(str(root)) is None
    put(root / "cat" / ".imagesortd")
    assert inbox.signature(str(put(root / "cat" / "deep" / "b.jpg"))) is None


def test_what_has_the_name_of_an_image_and_is_no_file_is_said_once(
    root: Path, make: Callable[..., Inbox], clock: Clock, logged: list[str]
) -> None:
    (root / "loop.jpg").symlink_to("loop.jpg")
    os.mkfifo(root / "pipe.jpg")
    os.mkfifo(root / "pipe")
    inbox = make()
    for _ in range(3):
        assert walk_all(inbox) == []
        clock.now += PACE.poll
    assert sorted(line for line in logged if "stays" in line) == [
        f"{str(root / 'loop.jpg')!r} stays where it is: it is a symbolic link",
        f"{str(root / 'pipe.jpg')!r} stays where it is: it is a pipe, a socket or a device",
    ]


def test_what_is_gone_makes_room_for_what_is_said_next(
    root: Path, make: Callable[..., Inbox], clock: Clock, logged: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """In months there may be more than are remembered, though never many at once."""
    monkeypatch.setattr("daemon.watching.complaints.MOST_COMPLAINTS", 4)
    inbox = make()
    (root / "stays.jpg").symlink_to("nowhere")
    for number in range(12):
        link = root / f"{number}.jpg"
        link.symlink_to("nowhere")
        walk_all(inbox)
        link.unlink()
        clock.now += PACE.poll
    said = [line for line in logged if "stays where it is" in line]
    assert len(said) == len(set(said)) == 13


def test_every_whole_walk_tells_what_it_passed_over(root: Path, make: Callable[..., Inbox], clock: Clock) -> None:
    for name in ("noext", "a.jpg", "sorted/b.txt", "day/c.pdf"):
        put(root / name)
    told: list[Skipped] = []
    inbox = make(root / "sorted", surveyed=told.append)
    inbox.step(1, MANY)
    assert (told, inbox.other_files) == ([], 0)
    walk_all(inbox)
    clock.now += PACE.poll
    put(root / "later.txt")
    assert inbox.other_files == 2
    walk_all(inbox)
    assert [(each.count, sorted(each.examples)) for each in told] == [
        (2, ["c.pdf", "noext"]),
        (3, ["c.pdf", "later.txt", "noext"]),
    ]
    assert inbox.other_files == 3
    root.rename(root.with_name("away"))
    inbox.check(None)
    assert inbox.other_files == 0


def test_a_first_walk_that_was_given_up_is_not_counted_twice(root: Path, make: Callable[..., Inbox]) -> None:
    put(root / "a.txt")
    put(root / "b.txt")
    told: list[Skipped] = []
    inbox = make(surveyed=told.append)
    inbox.step(1, MANY)
    root.rename(root.with_name("away"))
    inbox.check(None)
    root.with_name("away").rename(root)
    inbox.check(None)
    walk_all(inbox)
    assert [each.count for each in told] == [2]
