"""The process that decoders are forked from."""

from __future__ import annotations

import os
import signal
import socket
from collections.abc import Iterator
from contextlib import closing

import pytest

from daemon.decoding.launcher import Launcher
from daemon.decoding.shared_crops import create
from tests.processes import is_alive, wait_for


@pytest.fixture
def launcher() -> Iterator[Launcher]:
    made = Launcher()
    yield made
    made.close()


@pytest.fixture
def descriptors() -> Iterator[tuple[int, int]]:
    """What a decoder gets."""
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    shared = create(1 << 20)
    with ours, theirs:
        yield theirs.fileno(), shared
    os.close(shared)


def test_it_begins_decoders_and_ends_them(launcher: Launcher, descriptors: tuple[int, int]) -> None:
    first, second = (launcher.begin(1 << 30, *descriptors) for _ in range(2))
    assert launcher.has(first)
    assert launcher.end(first) == -signal.SIGKILL
    assert [is_alive(pid) for pid in (first, second)] == [False, True]
    assert [launcher.has(pid) for pid in (first, second)] == [False, True]
    assert launcher.end(first) is None
    assert launcher.end(os.getpid()) is None, "it is none of its decoders"


def test_when_it_is_lost_no_decoder_of_its_own_is_counted_on(launcher: Launcher, descriptors: tuple[int, int]) -> None:
    """They end, too, but not all at once: one would go on with what another one was lost over."""
    lost = launcher.pid
    first, second = (launcher.begin(1 << 30, *descriptors) for _ in range(2))
    os.kill(lost, signal.SIGKILL)
    assert launcher.end(first) is None
    assert not launcher.has(second)
    third = launcher.begin(1 << 30, *descriptors)
    assert launcher.pid != lost
    assert launcher.has(third)
    wait_for(lambda: not any(map(is_alive, (first, second))), "its decoders end with it")


def test_it_learns_how_decoders_ended_whoever_started_us(descriptors: tuple[int, int]) -> None:
    """A parent that ignores SIGCHLD has all programs do so that it starts, and those they start."""
    before = signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    try:
        launcher = Launcher()
    finally:
        signal.signal(signal.SIGCHLD, before)
    with closing(launcher):
        pids = [launcher.begin(1 << 30, *descriptors) for _ in range(2)]
        assert [launcher.end(pid) for pid in pids] == [-signal.SIGKILL] * 2
