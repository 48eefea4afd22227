"""When a silence is unusual for an inbox, and when it never is."""

from __future__ import annotations

import time
from collections.abc import Iterator

import pytest

from daemon.alarms.rhythm import DAY, HOUR, WEEK, WINDOW, Rhythm

#: A Monday at midnight, by UTC.
MONDAY = 4 * DAY + 2900 * WEEK


@pytest.fixture(autouse=True)
def utc(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setenv("TZ", "UTC")
    time.tzset()
    yield
    monkeypatch.undo()
    time.tzset()


def office(days: int, *, off: tuple[int, ...] = ()) -> list[int]:
    """Hours with pictures from nine to six on workdays."""
    first = MONDAY // HOUR
    return [first + day * 24 + hour for day in range(days) if day % 7 < 5 and day not in off for hour in range(9, 18)]


def at(day: int, hour: float = 0) -> float:
    return MONDAY + day * DAY + hour * HOUR


def test_nights_and_weekends_of_an_office_are_no_silence() -> None:
    rhythm = Rhythm(office(54), at(53, 19))
    friday_evening = at(53 - 53 % 7 + 4, 18)
    assert rhythm.due(friday_evening, friday_evening + 2.6 * DAY) is None


def test_two_workdays_without_a_picture_are_a_silence_that_was_due_on_the_first() -> None:
    rhythm = Rhythm(office(55), at(55, 20))
    assert 55 % 7 == 6
    since = at(53, 18)  # until Friday evening
    due = rhythm.due(since, at(57, 17))
    assert due is not None
    assert at(55) <= due <= at(56, 12)


def test_a_day_off_is_none() -> None:
    rhythm = Rhythm(office(56), at(56))
    assert rhythm.due(at(53, 18), at(57, 9)) is None


def test_nothing_is_unusual_in_the_first_two_weeks() -> None:
    assert Rhythm(office(11), at(11)).due(at(10, 18), at(40)) is None


@pytest.mark.parametrize(
    "hours",
    [
        [],
        [MONDAY // HOUR + 24 * 14 * number for number in range(4)],  # once in two weeks
        [MONDAY // HOUR + number for number in range(30)],  # one weekend's import
    ],
)
def test_nothing_is_unusual_for_an_inbox_without_a_rhythm(hours: list[int]) -> None:
    rhythm = Rhythm(hours, at(56))
    assert rhythm.usual is None
    assert rhythm.due(at(50), at(56) + 400 * DAY) is None


def test_one_outage_in_the_past_does_not_make_the_next_one_usual() -> None:
    out = tuple(range(21, 28))
    rhythm = Rhythm(office(56, off=out), at(56))
    assert rhythm.due(at(53, 18), at(58)) is not None


def test_what_was_long_ago_is_forgotten() -> None:
    assert Rhythm(office(56), at(56) + WINDOW).usual is None
