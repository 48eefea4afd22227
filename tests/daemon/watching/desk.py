"""The work loop's part, played by the tests."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from daemon.watching.watcher import InboxWatcher

NEVER = 3600.0  # seconds: walks after the first are not to help the events
LONG = 20.0  # a wait that fails the test when nothing ends it


class Clock:
    """A clock that a test sets."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


class Desk:
    """A started watcher, and the work loop's part played by the test."""

    def __init__(self, *roots: Path, **settings: Any) -> None:
        settings = {"settle_seconds": 0.05, "rescan_seconds": NEVER, **settings}
        self.watcher = InboxWatcher(roots, **settings)
        self.watcher.start()

    def first_walk(self) -> None:
        """Let the walks that are due come to their end."""
        self.wait(lambda: not any(inbox.walking for inbox in self.watcher.status().inboxes))

    def wait(self, condition: Callable[[], bool]) -> None:
        """Work without a file coming up until something is so."""
        deadline = time.monotonic() + LONG
        while not condition():
            assert time.monotonic() < deadline
            assert self.watcher.ready(0.01, 1) == []

    def collect(self, count: int, *, limit: int = 64) -> list[Path]:
        """The next ``count`` files, unanswered, in the order of their names."""
        paths: list[Path] = []
        deadline = time.monotonic() + LONG
        while len(paths) < count:
            assert time.monotonic() < deadline, f"only {len(paths)} of {count}: {self.watcher.status()}"
            paths += self.watcher.ready(1.0, limit)
        assert len(paths) == len(set(paths)), "handed out twice"
        return sorted(paths)

    def nothing(self, seconds: float = 0.2) -> None:
        assert self.watcher.ready(seconds, 1) == []


def put(path: Path, content: bytes = b"x") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    return path
