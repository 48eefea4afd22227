from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Iterator
from types import FrameType

import pytest

from daemon.watching.wakeup import Wakeup

LONG = 60.0  # a wait that fails the test by its time limit when nothing ends it


@pytest.fixture
def wakeup() -> Iterator[Wakeup]:
    wakeup = Wakeup()
    yield wakeup
    wakeup.close()


def test_a_wait_without_a_call_ends_by_itself(wakeup: Wakeup) -> None:
    begun = time.monotonic()
    wakeup.wait(0.02)
    assert time.monotonic() - begun >= 0.02


def test_a_call_before_the_wait_is_not_lost(wakeup: Wakeup) -> None:
    wakeup.set()
    wakeup.wait(LONG)


def test_another_thread_ends_the_wait(wakeup: Wakeup) -> None:
    timer = threading.Timer(0.02, wakeup.set)
    timer.start()
    wakeup.wait(LONG)
    timer.join()


def test_a_signal_handler_ends_the_wait(wakeup: Wakeup) -> None:
    def handler(number: int, frame: FrameType | None) -> None:
        wakeup.set()

    before = signal.signal(signal.SIGUSR1, handler)
    timer = threading.Timer(0.02, os.kill, [os.getpid(), signal.SIGUSR1])
    try:
        timer.start()
        wakeup.wait(LONG)
        timer.join()
    finally:
        signal.signal(signal.SIGUSR1, before)


def test_many_calls_are_one(wakeup: Wakeup) -> None:
    for _ in range(100_000):  # more than a pipe holds
        wakeup.set()
    wakeup.wait(LONG)
    begun = time.monotonic()
    wakeup.wait(0.02)
    assert time.monotonic() - begun >= 0.02


def test_after_the_end_a_call_does_nothing(wakeup: Wakeup) -> None:
    wakeup.close()
    wakeup.set()
    wakeup.close()
