from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Callable
from pathlib import Path
from types import FrameType

from tests.daemon.watching.desk import LONG, NEVER, Desk, put


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
