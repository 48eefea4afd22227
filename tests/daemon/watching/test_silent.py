"""A share whose server does not answer holds up no other inbox."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from daemon.files import answers
from daemon.watching import inbox as module
from daemon.watching.inbox import Inbox
from tests.daemon.watching.desk import Desk, put


class Share:
    """An inbox on a share; whoever asks it anything while its server is gone waits until it is back."""

    def __init__(self, path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.path = path
        path.mkdir()
        self.is_up = threading.Event()
        self.is_up.set()
        self.worker = threading.current_thread()
        self.waited = 0
        monkeypatch.setattr(module, "remote_kind", lambda name: "nfs4" if name == str(path) else None)
        monkeypatch.setattr(answers, "SHORT_LIMIT", 2.0)
        monkeypatch.setattr(answers, "HOLDS", 0.0)
        for owner, name in ((os, "statvfs"), (Inbox, "check"), (Inbox, "step"), (Path, "stat")):
            monkeypatch.setattr(owner, name, self._slow(getattr(owner, name)))

    def _slow(self, call: Callable[..., Any]) -> Callable[..., Any]:
        def slow(asked: Any, *arguments: Any, **more: Any) -> Any:
            name = asked.path if isinstance(asked, Inbox) else asked
            if os.fspath(name) == str(self.path) and not self.is_up.is_set():
                self.waited += threading.current_thread() is self.worker
                assert self.is_up.wait(300)
            return call(asked, *arguments, **more)

        return slow


@pytest.fixture
def share(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Share]:
    made = Share(tmp_path / "share", monkeypatch)
    yield made
    made.is_up.set()


def test_the_inbox_beside_a_silent_share_is_watched(
    share: Share, root: Path, desks: Callable[..., Desk], log: list[str]
) -> None:
    desk = desks(root, share.path)
    first = put(share.path / "first.jpg")
    assert desk.collect(1) == [first]
    share.is_up.clear()
    for number in range(3):
        expected = put(root / f"{number}.jpg")
        assert desk.collect(1) == [expected]
        desk.watcher.done(expected)
    desk.watcher.done(first)
    assert share.waited == 0
    assert not desk.watcher.all_answer()
    (silent,) = [each for each in desk.watcher.status().inboxes if each.why_missing is not None]
    assert silent.path == share.path
    assert silent.is_unresponsive
    share.is_up.set()
    second = put(share.path / "second.jpg")
    assert set(desk.collect(2)) == {first, second}, "met anew: nobody knows what became of them meanwhile"
    assert desk.watcher.all_answer()
    assert sum("does not answer" in line for line in log) == 1
    assert sum(line.endswith("' is back") for line in log) == 1


def test_a_share_that_is_silent_from_the_start_holds_up_nobody(
    share: Share, root: Path, desks: Callable[..., Desk]
) -> None:
    share.is_up.clear()
    desk = desks(root, share.path)
    expected = put(root / "a.jpg")
    assert desk.collect(1) == [expected]
    assert share.waited == 0


def test_a_local_inbox_is_asked_no_question_more(
    share: Share, root: Path, desks: Callable[..., Desk], monkeypatch: pytest.MonkeyPatch
) -> None:
    desk = desks(root)
    desk.first_walk()
    asked: list[str] = []
    monkeypatch.setattr(os, "statvfs", lambda path: asked.append(os.fspath(path)))
    expected = put(root / "a.jpg")
    assert desk.collect(1) == [expected]
    desk.watcher.done(expected)
    assert asked == []
