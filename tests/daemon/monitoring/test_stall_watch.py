"""A share whose server does not answer is named, by a thread that does not wait for it."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from daemon.monitoring.health import Health, Tally
from daemon.monitoring.monitor import Monitor, sentence
from daemon.monitoring.stall_watch import LATE, STALLED, StallWatch, logged_if_late
from daemon.monitoring.status_file import StatusFile
from daemon.monitoring.systemd import Notifier
from daemon.reloading.threshold import Threshold
from daemon.watching.inbox import Inbox
from daemon.watching.presence import PendingCall
from daemon.watching.watcher import InboxWatcher
from models.classifier import open_classifier
from models.deciding.rule import DecisionRule
from models.weights.store import WeightsStore
from tests.daemon.conftest import Publish
from tests.daemon.watching.desk import Clock
from tests.processes import wait_for


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def monitor(publish: Publish, store: WeightsStore, tmp_path: Path, clock: Clock) -> Iterator[Monitor]:
    publish(tmp_path / "checkpoints" / "run", ["a", "b"])
    threshold = Threshold(DecisionRule(0.5, refuses_unknown=False), "why not")
    tally = Tally(tmp_path / "sorted", open_classifier(tmp_path / "checkpoints", store), lambda: threshold)
    yield Monitor(Notifier(), tally, status=StatusFile(tmp_path / "status.json"), clock=clock)
    tally.stop_recording()


@pytest.fixture
def watcher(tmp_path: Path, clock: Clock) -> Iterator[InboxWatcher]:
    made = InboxWatcher([tmp_path / "good", tmp_path / "hung"], poll=True, clock=clock)
    yield made
    made.stop()


def shown(tmp_path: Path) -> Health:
    return Health.model_validate_json((tmp_path / "status.json").read_text())


@pytest.mark.parametrize("where", ["check", "step", "signature"])
def test_an_inbox_that_hangs_is_named(
    tmp_path: Path,
    watcher: InboxWatcher,
    monitor: Monitor,
    clock: Clock,
    log: list[str],
    monkeypatch: pytest.MonkeyPatch,
    where: str,
) -> None:
    hangs, answer = threading.Event(), threading.Event()
    as_it_was: Callable[..., object] = getattr(Inbox, where)

    def hang(inbox: Inbox, *arguments: object) -> object:
        if inbox.path.endswith("hung"):
            hangs.set()
            assert answer.wait(300)
        return as_it_was(inbox, *arguments)

    for name in ("good", "hung"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "a.jpg").write_bytes(b"x")
    watcher.start()
    watcher.ready(0, 8)
    monitor.stepped(watcher.status)
    monkeypatch.setattr(Inbox, where, hang)
    clock.now += 3.0
    work = threading.Thread(target=lambda: watcher.ready(0, 8))
    work.start()
    watch = StallWatch(monitor, lambda: watcher.asked, clock=clock)
    try:
        assert hangs.wait(300)
        watch.check()
        assert shown(tmp_path).stall is None
        clock.now += LATE
        watch.check()
        clock.now += LATE
        watch.check()
        stall = shown(tmp_path).stall
        assert stall is not None
        assert stall.inbox == str(tmp_path / "hung")
        assert "no answer from" in sentence(shown(tmp_path))
    finally:
        answer.set()
        work.join()
    monitor.stepped(watcher.status)
    watch.check()
    watch.check()
    assert shown(tmp_path).stall is None
    assert len([line for line in log if "has not answered for 10 s" in line]) == 1
    assert monitor.last_step == clock.now


def test_no_progress_of_any_kind_is_told(
    tmp_path: Path, watcher: InboxWatcher, monitor: Monitor, clock: Clock, log: list[str]
) -> None:
    watch = StallWatch(monitor, lambda: None, clock=clock)
    clock.now += 2 * STALLED
    watch.check()
    assert log == [], "it has not begun"
    monitor.stepped(watcher.status)
    clock.now += STALLED
    watch.check()
    assert "no progress for 60 s" in log[-1]
    stall = shown(tmp_path).stall
    assert stall is not None
    assert stall.inbox is None


def test_the_thread_looks_by_itself_and_ends(monitor: Monitor, clock: Clock, log: list[str]) -> None:
    with StallWatch(monitor, lambda: PendingCall("/hung", clock.now - LATE), clock=clock, pace=0.01):
        wait_for(lambda: any("/hung" in line for line in log), "it is said")


def test_an_inbox_that_hangs_at_the_start_is_named(tmp_path: Path, log: list[str]) -> None:
    with logged_if_late(tmp_path, 0.01):
        wait_for(lambda: any(str(tmp_path) in line for line in log), "it is said")
    with logged_if_late(tmp_path / "quick"):
        pass
    assert len(log) == 1
