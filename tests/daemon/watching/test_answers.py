from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

from tests.daemon.watching.desk import Clock, Desk, put


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
    assert not desk.watcher.ends_early(path), "it has been quiet for more than 10 s"
    path.write_bytes(b"xx")
    desk.watcher.again(path, 0)
    desk.nothing(0)
    clock.now += 2
    assert desk.watcher.ready(0, 1) == [path]
    assert desk.watcher.ends_early(path)
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
