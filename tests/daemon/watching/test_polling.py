from __future__ import annotations

import errno
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from daemon.watching import hints, inbox
from tests.daemon.watching.desk import Clock, Desk, put


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
    assert (status.inboxes[0].mode, status.inboxes[0].why_polled) == ("polling", "asked for")


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

    monkeypatch.setattr(hints, "Inotify", refuse)
    desk = desks(root, poll_seconds=0.02)
    desk.first_walk()
    path = put(root / "a.jpg")
    assert desk.collect(1) == [path]
    assert sum("max_user_instances" in line for line in log) == 1
