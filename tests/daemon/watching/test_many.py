from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from daemon.watching import watcher
from tests.daemon.watching.desk import NEVER, Desk, put


def test_a_backlog_is_walked_as_a_stream(quick_root: Path, desks: Callable[..., Desk]) -> None:
    root = quick_root
    for number in range(8_000):
        (root / f"{number}.jpg").write_bytes(b"x")
    desk = desks(root, settle_seconds=0.01, backlog=500)
    seen = len(desk.collect(8, limit=8))
    status = desk.watcher.status()
    assert status.inboxes[0].walking
    assert status.waiting <= 500
    while seen < 8_000:
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
    monkeypatch.setattr(watcher, "MOST_WAITING", 3)
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
