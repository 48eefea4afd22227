"""What begins to be wrong is written once, and once when it is over."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from daemon import config
from daemon.alarms.causes import Cause, Trouble, sentence
from daemon.alarms.rhythm import DAY, HOUR
from daemon.alarms.watch import NOTE, AlarmWatch
from daemon.config import Settings
from daemon.files.source import Identity
from daemon.filing.outcome import Outcome
from daemon.filing.status import Status
from daemon.journal.alarms import AlarmEvent, read_alarms
from daemon.journal.journal import Journal
from daemon.journal.records import Filing, State
from models.deciding.rule import Fate
from models.text.language import speaking
from tests.filing_desk import far_folder
from tests.processes import wait_for


class Place:
    """An inbox with a past, and the watch over it, by a clock of its own."""

    def __init__(self, folder: Path) -> None:
        self.inbox, self.output, self.path = folder / "inbox", folder / "sorted", folder / "state" / "journal.sqlite"
        self.inbox.mkdir()
        self.output.mkdir()
        self.journal = Journal(self.path)
        self.now = datetime.now(UTC).timestamp()
        self.broken: Mapping[str, object] | None = None

    def settings(self, **more: Any) -> Settings:
        return config.load({"watch": [str(self.inbox)], "output": str(self.output), **more})

    def past(self, days: int, until: float, *, each_hour: int = 1, others: float = 0.0) -> None:
        """Pictures in every hour of so many days, of which a share went to the others."""
        rows, owed = [], 0.0
        for hour in range(int((until - days * DAY) // HOUR), int(until // HOUR)):
            for number in range(each_hour):
                owed += others
                folder = self.output / ("others" if owed >= 1 else "dog")
                owed -= owed >= 1
                time = datetime.fromtimestamp(hour * HOUR + number, UTC)
                rows.append(self.row(f"{hour}-{number}.jpg", folder, time))
        self.journal.write(rows)

    def row(self, name: str, folder: Path, time: datetime) -> Filing:
        return Filing(
            state=State.DONE,
            action="move",
            source=self.inbox / name,
            identity=Identity(1, abs(hash(name)) % 2**40, 3, 4),
            folder=folder,
            filed_name=name,
            label="dog",
            confidence=0.9,
            time=time,
        )

    @contextmanager
    def watch(self, **more: Any) -> Iterator[AlarmWatch]:
        trouble = Trouble(Cause.PROMISE, str(self.output))
        watch = AlarmWatch(
            self.settings(**more),
            self.journal,
            self.path,
            lambda _: {trouble: lambda: self.broken},
            wall=lambda: self.now,
            tick=0.02,
        )
        with watch:
            yield watch

    def events(self) -> list[AlarmEvent]:
        return read_alarms(self.path)[::-1]

    def wait(self, watch: AlarmWatch, condition: Callable[[list[AlarmEvent]], object]) -> list[AlarmEvent]:
        """Turn until it holds for what was written."""

        def holds() -> bool:
            watch.turn()
            return bool(condition(self.events()))

        wait_for(holds, "an event", 120)
        return self.events()

    def outcome(self, name: str, folder: str = "dog", **more: Any) -> Outcome:
        destination = self.output / folder / name
        values: dict[str, Any] = {"label": "dog", "confidence": 0.9, "folder": folder, "destination": destination}
        values["fate"] = Fate.UNSURE if folder == "others" else Fate.SURE
        return Outcome(path=self.inbox / name, status=Status.FILED, **(values | more))


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Place]:
    made = Place(tmp_path)
    yield made
    made.journal.close()


def watched_until(place: Place, ago: float) -> None:
    """Say that a daemon has watched until so many seconds ago."""
    until = place.now - ago
    place.journal.note(NOTE, f'{{"since": {until - 60 * DAY}, "until": {until}}}')


def test_a_silent_inbox_is_told_once_and_its_first_picture_ends_that(place: Place) -> None:
    place.past(30, place.now - 3 * DAY)
    watched_until(place, 60)
    with place.watch() as watch:
        (event,) = place.wait(watch, lambda events: events)
        assert (event.cause, event.subject, event.over) == ("silence", str(place.inbox), False)
        assert "no image has come into" in sentence(event)
        assert [alarm.cause for alarm in watch.health().now] == ["silence"]
    with place.watch() as watch:  # the next start says nothing more
        watch.outcome(place.outcome("new.jpg"))
        place.now += 60
        watch.outcome(place.outcome("newer.jpg"))
        _, event = place.wait(watch, lambda events: len(events) > 1)
        assert event.over
        assert "come into" in sentence(event)
        assert watch.health().now == []


def test_time_in_which_no_daemon_ran_is_no_silence(place: Place) -> None:
    place.past(30, place.now - 3 * DAY)
    watched_until(place, 3 * DAY)
    place.broken = {"answered": 10, "wrong": 9, "low": 50.0, "high": 99.0, "promised": 2.0}
    with place.watch() as watch:
        (event,) = place.wait(watch, lambda events: events)
        assert event.cause == "promise"


def test_more_others_than_usual_are_told_and_their_end_too(place: Place) -> None:
    place.past(30, place.now - HOUR, each_hour=2, others=0.05)
    with place.watch() as watch:
        for number in range(60):
            watch.outcome(place.outcome(f"new{number}.jpg", "others"))
        (event,) = place.wait(watch, lambda events: events)
        assert event.cause == "others"
        assert 5 < int(str(event.details["count"])) <= 62, "those of the past days count, too"
        assert "went to others, where" in sentence(event)
        for number in range(400):
            watch.outcome(place.outcome(f"newer{number}.jpg"))
        _, event = place.wait(watch, lambda events: len(events) > 1)
        assert event.over


def test_unreadable_pictures_are_told(place: Place) -> None:
    place.past(30, place.now - HOUR, each_hour=2)
    with place.watch() as watch:
        for number in range(10):
            watch.outcome(place.outcome(f"{number}.jpg", "quarantine/damaged", fate=None, reason="damaged"))
        (event,) = place.wait(watch, lambda events: events)
        assert event.cause == "quarantine"


def test_a_drive_is_nearly_full_until_it_has_room(place: Place) -> None:
    with place.watch(alarm_free_mb=1 << 40) as watch:
        (event,) = place.wait(watch, lambda events: events)
        assert (event.cause, event.subject) == ("disk", str(place.output)), "its three folders are on one drive"
        watch.adopt(place.settings(alarm_free_mb=0))
        _, event = place.wait(watch, lambda events: len(events) > 1)
        assert event.over
        assert "has room again" in sentence(event)


def test_the_drives_of_outputs_of_classes_are_watched_too(place: Place) -> None:
    with far_folder() as far, place.watch(rules={"dog": {"output": str(far)}}, alarm_free_mb=1 << 40) as watch:
        events = place.wait(watch, lambda events: len(events) == 2)
        assert {event.subject for event in events} == {str(place.output), str(far)}


def test_a_cause_that_is_not_wanted_any_more_ends_its_alarm(place: Place) -> None:
    with place.watch(alarm_free_mb=1 << 40) as watch:
        place.wait(watch, lambda events: events)
        watch.adopt(place.settings(alarm_free_mb=1 << 40, alarms=["silence"]))
        _, event = place.wait(watch, lambda events: len(events) > 1)
        assert event.over
        assert "not watched any more" in sentence(event)


def test_what_was_just_over_does_not_begin_again_at_once(place: Place) -> None:
    with place.watch(alarms=["promise"]) as watch:
        place.broken = {"answered": 10, "wrong": 9, "low": 50.0, "high": 99.0, "promised": 2.0}
        place.wait(watch, lambda events: events)
        place.broken = None
        place.wait(watch, lambda events: len(events) > 1)
        place.broken = {"answered": 10, "wrong": 9, "low": 50.0, "high": 99.0, "promised": 2.0}
        for _ in range(3):
            watch.adopt(place.settings(alarms=["promise"]))  # so that it need not wait for the next second
            watch.turn()
        assert len(place.events()) == 2


def test_events_are_said_in_korean(place: Place) -> None:
    place.past(30, place.now - 3 * DAY)
    watched_until(place, 60)
    with place.watch(alarm_free_mb=1 << 40) as watch:
        events = place.wait(watch, lambda events: len(events) > 1)
    with speaking("ko"):
        said = {event.cause: sentence(event) for event in events}
        ended = sentence(replace(events[0], over=True))
    assert "들어온 이미지가 없습니다" in said["silence"]
    assert "거의 가득 찼습니다" in said["disk"]
    assert ended


def test_old_events_are_pruned_but_not_what_is_wrong_now(place: Place) -> None:
    old = datetime.now(UTC) - timedelta(days=900)
    one = AlarmEvent(cause="disk", subject="/a", over=False, details={"free_mb": 1}, time=old)
    place.journal.write_alarms([one, replace(one, over=True), replace(one, subject="/b")])
    place.journal.write([place.row("a.jpg", place.output / "dog", old)])
    place.journal.prune(datetime.now(UTC) - timedelta(days=400), (-(1 << 63), 0), 100)
    assert [(event.subject, event.over) for event in place.events()] == [("/a", True), ("/b", False)]
