"""Held files are not handed out, nor do they count as waiting; when they are released, they are at once."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.daemon.watching.desk import Desk, put


class Held:
    """Files that are held whatever state they are in."""

    def __init__(self, *paths: Path) -> None:
        self.paths = {str(path) for path in paths}

    def __len__(self) -> int:
        return len(self.paths)

    def seems_held(self, path: str, size: int, mtime_ns: int, inode: int) -> bool:
        return path in self.paths


@pytest.mark.parametrize("poll", [False, True])
def test_held_files_are_not_handed_out(poll: bool, root: Path, desks: Callable[..., Desk]) -> None:
    early, late = put(root / "early.jpg"), root / "late.jpg"
    held = Held(early, late)
    desk = desks(root, held=held, poll=poll, poll_seconds=0.02)
    desk.first_walk()
    assert desk.watcher.status().waiting == 0
    put(late)
    other = put(root / "other.jpg")
    assert desk.collect(1) == [other]
    desk.watcher.done(other)
    desk.nothing()
    assert desk.watcher.status().waiting == 0
    held.paths.clear()
    desk.watcher.look_again([early, late, root / "gone.jpg", Path("/elsewhere/a.jpg")])
    assert desk.collect(2) == [early, late]


def test_a_file_that_was_dealt_with_is_handed_out_again_when_it_is_to_be_looked_at(
    root: Path, desks: Callable[..., Desk]
) -> None:
    desk = desks(root)
    path = put(root / "a.jpg")
    assert desk.collect(1) == [path]
    desk.watcher.done(path)
    desk.nothing()
    desk.watcher.look_again([path])
    assert desk.collect(1) == [path]
    desk.watcher.look_again([path])
    desk.watcher.done(path)
    desk.nothing()


def test_held_files_are_not_counted_as_left_over_from_a_walk(root: Path, desks: Callable[..., Desk]) -> None:
    paths = [put(root / f"{number:02}.jpg") for number in range(20)]
    desk = desks(root, held=Held(*paths[:15]), backlog=2)
    assert len(desk.collect(2, limit=2)) == 2
    desk.watcher.ready(0.0, 0)
    assert desk.watcher.status().ahead <= 5
