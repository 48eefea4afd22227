"""How the daemon says it is: counted, timed, and remembered."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from loguru import logger

from daemon.files.processes import process_began
from daemon.filing.bursts import Bursts
from daemon.filing.filer import Status
from daemon.filing.outcome import Outcome
from daemon.journal.labels import How
from daemon.monitoring.counted import counted, counted_labels
from daemon.monitoring.health import BurstHealth, Tally
from daemon.monitoring.metrics import render
from daemon.reloading.threshold import Threshold
from daemon.watching.watcher import InboxStatus, WatcherStatus
from models.classifier import Classifier, open_classifier
from models.deciding.rule import DecisionRule, Fate
from models.weights.store import WeightsStore
from tests.daemon.conftest import Publish

OUTPUT = Path("/sorted")
THRESHOLD = Threshold(DecisionRule(0.5, refuses_unknown=False), "why not")


@pytest.fixture(scope="module")
def classifier(publish: Publish, store: WeightsStore, tmp_path_factory: pytest.TempPathFactory) -> Classifier:
    checkpoints = tmp_path_factory.mktemp("checkpoints")
    publish(checkpoints / "run", ["a", "b"])
    return open_classifier(checkpoints, store)


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def tally(classifier: Classifier, clock: Clock) -> Iterator[Tally]:
    made = Tally(OUTPUT, classifier, lambda: THRESHOLD, clock=clock, wall=clock)
    yield made
    made.stop_recording()


def watcher(waiting: int = 0, oldest: float = 0.0, missing: str | None = None) -> WatcherStatus:
    inbox = InboxStatus(
        path=Path("/in\nbox"), mode="inotify", why_polled=None, why_missing=missing, walking=False, other_files=2
    )
    return WatcherStatus(
        inboxes=(inbox,),
        waiting=waiting,
        in_flight=0,
        oldest_seconds=oldest,
        watched_folders=1,
        overflows=0,
        restarts=0,
    )


def filed(folder: str, label: str | None, reason: str | None = None, fate: Fate = Fate.UNSURE) -> Outcome:
    return Outcome(
        path=Path("/inbox/x.png"),
        status=Status.FILED,
        label=label,
        confidence=0.5 if label else None,
        folder=folder,
        fate=None if label is None else Fate.SURE if folder == label else fate,
        destination=OUTPUT / folder / "x.png",
        reason=reason,
    )


def test_images_are_counted_by_what_became_of_them(tally: Tally) -> None:
    for outcome in (
        filed("a", "a"),
        filed("a", "a"),
        filed("others", "a"),
        filed("others", "a", fate=Fate.UNKNOWN),
        filed("quarantine/truncated", None, "truncated"),
        replace(filed("duplicates", None), duplicate_of=OUTPUT / "a/y.png"),
        Outcome(path=Path("z"), status=Status.LEFT, duplicate_of=OUTPUT / "a/y.png"),
        Outcome(path=Path("x"), status=Status.RETRY),
        Outcome(path=Path("x"), status=Status.RETRY),
        Outcome(path=Path("y"), status=Status.CHANGED),
    ):
        tally.outcome(outcome)
    health = tally.health(watcher())
    assert health.images == {"sure": 2, "unsure": 1, "unknown": 1, "quarantined": 1, "duplicate": 1, "left": 1}
    assert counted(health.images).endswith("1 quarantined, 1 duplicate, 1 left where it is")
    assert health.attempts == {"retry": 2, "changed": 1}


def test_classes_are_counted_and_no_more_than_a_few_hundred(tally: Tally) -> None:
    for outcome in (filed("a", "a"), filed("a", "a"), filed("others", "a"), filed("quarantine/empty", None, "empty")):
        tally.outcome(outcome)
    assert tally.health(watcher()).classes == {"a": 2}
    for number in range(2_000):
        tally.outcome(filed(f"c{number}", f"c{number}"))
    tally.outcome(filed("a", "a"))
    classes = tally.health(watcher()).classes
    assert classes["a"] == 3
    assert len(classes) == 501
    assert sum(classes.values()) == 2_003


def test_labels_are_counted_by_how_they_came_about(tally: Tally) -> None:
    assert tally.health(watcher()).labels == {}
    tally.labelled({How.MOVED: 2})
    tally.labelled({How.MOVED: 1, How.PLACED: 4})
    labels = tally.health(watcher()).labels
    assert labels == {"moved": 3, "placed": 4}
    assert counted_labels(labels) == "3 moved to other class folders, 4 put there by hand"
    assert 'imagesortd_labels_total{how="moved"} 3\n' in render(tally.health(watcher()), 0)


def test_the_speed_is_that_of_the_last_minute(tally: Tally, clock: Clock) -> None:
    assert tally.health(watcher()).images_per_second == 0.0
    for _ in range(10):
        clock.now += 1
        for _ in range(5):
            tally.outcome(filed("a", "a"))
        tally.health(watcher())
    assert tally.health(watcher()).images_per_second == 5.0
    clock.now += 40
    assert tally.health(watcher()).images_per_second == 1.0
    clock.now += 61
    assert tally.health(watcher()).images_per_second == 0.0


def test_an_idle_daemon_is_the_same_from_one_second_to_the_next(tally: Tally, clock: Clock) -> None:
    tally.outcome(filed("a", "a"))
    clock.now += 200
    tally.health(watcher())
    clock.now += 200
    first = tally.health(watcher(waiting=1, oldest=50.0))
    clock.now += 10
    assert tally.health(watcher(waiting=1, oldest=60.4)) == first
    assert first.oldest == 1350.0
    assert tally.health(watcher()).oldest is None


def test_the_last_error_is_remembered_with_its_time(tally: Tally, clock: Clock) -> None:
    tally.record_errors()
    logger.warning("no error")
    assert tally.health(watcher()).last_error is None
    logger.error("the disk is full")
    clock.now += 5
    logger.error("bad name \x1b[31m")
    health = tally.health(watcher())
    assert health.errors == 2
    assert health.last_error is not None
    assert (health.last_error.time, health.last_error.text) == (1005.0, "bad name \\x1b[31m")


def test_errors_are_heard_again_after_the_log_was_set_up_anew(tally: Tally) -> None:
    tally.record_errors()
    logger.remove()  # as setting up the log does
    tally.record_errors()
    logger.error("once")
    assert tally.health(watcher()).errors == 1


def test_a_new_model_counts_as_a_reload(tally: Tally, classifier: Classifier) -> None:
    tally.took_over(classifier)
    health = tally.health(watcher())
    assert (health.reloads, health.model.classes, health.model.digest) == (1, 2, classifier.digest)
    assert not health.model.starter


def test_paths_are_fit_for_a_terminal(tally: Tally) -> None:
    (inbox,) = tally.health(watcher(missing="gone")).inboxes
    assert (inbox.path, inbox.missing) == ("/in\\nbox", "gone")


def test_a_process_is_told_from_another_of_its_number() -> None:
    assert process_began(os.getpid()) == process_began(os.getpid()) is not None
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as child:
        began = process_began(child.pid)
        assert began is not None
        assert began >= (process_began(os.getpid()) or 0)
        child.communicate(b"\n")
    assert process_began(child.pid) != began


def test_images_that_wait_for_their_bursts_are_counted(classifier: Classifier) -> None:
    bursts: Bursts[str] = Bursts(10.0)
    tally = Tally(OUTPUT, classifier, lambda: THRESHOLD, bursts=bursts)
    assert tally.health(watcher()).bursts == BurstHealth(seconds=10.0, waiting=0)
    bursts.seconds = 0.0
    assert tally.health(watcher()).bursts is None
