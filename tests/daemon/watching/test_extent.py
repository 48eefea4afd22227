from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.daemon.watching.desk import NEVER, Desk, put


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


def test_other_devices_are_left_out_unless_they_are_wanted(desks: Callable[..., Desk], logged: list[str]) -> None:
    outer, inner = Path("/dev"), Path("/dev/shm")
    if not inner.is_dir() or outer.stat().st_dev == inner.stat().st_dev:
        pytest.skip("needs a file system mounted below another")
    path = put(inner / f"imagesortd-{os.getpid()}.jpg")
    try:
        desk = desks(outer, poll=True, poll_seconds=0.02)
        desk.nothing()
        sentence = f"{inner} is on another file system, and is not looked into: cross_mounts = true files what is in it"
        assert logged.count(sentence) == 1
        assert desk.watcher.status().inboxes[0].not_entered >= 1
        assert path in desks(outer, poll=True, poll_seconds=0.02, cross_mounts=True).collect(1)
    finally:
        path.unlink()


@pytest.mark.parametrize("poll", [False, True])
@pytest.mark.parametrize("deep", ["holiday", "holiday/deep"])
def test_what_lies_behind_a_folder_that_became_a_link_is_not_looked_at(
    poll: bool, deep: str, root: Path, desks: Callable[..., Desk], tmp_path: Path
) -> None:
    path = put(root / deep / "a.jpg")
    outside = put(tmp_path / "outside" / Path(deep).relative_to("holiday") / "a.jpg", b"another").parent
    put(outside / "b.jpg")
    desk = desks(root, poll=poll, poll_seconds=0.02)
    assert desk.collect(1) == [path]
    (root / "holiday").rename(tmp_path / "aside")
    (root / "holiday").symlink_to(tmp_path / "outside")
    desk.watcher.done(path)
    desk.nothing()
    assert desk.watcher.status().waiting == 0
    (root / "holiday").unlink()
    (tmp_path / "aside").rename(root / "holiday")
    put(root / "c.jpg")
    assert root / "c.jpg" in desk.collect(1)
