from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from daemon.files import writers
from daemon.files.writers import Writer
from daemon.watching import unfinished
from tests.daemon.watching.desk import NEVER, Clock, Desk, put


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


def test_a_writer_that_never_closes_is_waited_for_until_it_rests(
    root: Path, desks: Callable[..., Desk], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where nobody can know that it has the file open."""
    monkeypatch.setattr(writers, "of_path", lambda _: Writer.UNKNOWN)
    monkeypatch.setattr(unfinished, "link_count", lambda _: 2)
    clock = Clock()
    desk = desks(root, settle_seconds=2.0, writer_patience_seconds=2.0, clock=clock)
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
