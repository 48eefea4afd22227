"""Rhythm of an inbox: how long no picture may come until that is unusual.

An inbox has hours at which pictures come and others, such as nights and Sundays, at which none do. So a pause is
measured in *expected hours*: each hour counts as much as the share of the past weeks in which pictures came in that
hour of the week. A pause is unusual once it has more expected hours than `MARGIN` times the longest one of the past
weeks, and than `DAYS` of the fullest day of the week: a day off is no alarm. One single pause that was `OUTAGE` times
as long as all others was no usual one.

Nothing is unusual for an inbox without a rhythm: one that is younger than `YOUNGEST`, that had pictures on too few days
or in too few hours, or whose usual pauses are as long as `LONGEST`.

How often an inbox whose habits do not change gives a false alarm is measured by ``tests.benchmarks alarms``.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable
from datetime import datetime
from itertools import pairwise

HOUR = 3600
DAY = 24 * HOUR
WEEK = 7 * DAY
#: How far back a rhythm is learned from.
WINDOW = 8 * WEEK

MARGIN = 2.0
DAYS = 1.3
OUTAGE = 3.0
YOUNGEST = 14 * DAY
LONGEST = 14 * DAY
_FEWEST_DAYS, _FEWEST_HOURS = 10, 20
_HOURS_OF_WEEK = 7 * 24
#: The hour of the day, whatever the weekday, counts as so many weeks of the hour of the week: there are few weeks.
_WEIGHT_OF_DAY = 0.5


class Rhythm:
    """When pictures have come into one inbox, by the hour, and what pauses that makes unusual."""

    def __init__(self, active_hours: Iterable[int], now: float) -> None:
        """``active_hours``: hours since 1970 in which pictures came; ``now``: the end of what is known."""
        self._end = int(now // HOUR)
        first = self._end - WINDOW // HOUR
        self._active = sorted({hour for hour in active_hours if first <= hour < self._end})
        self._shares = _shares(self._active, self._end)
        self._fullest_day = max(math.fsum(self._shares[day * 24 : day * 24 + 24]) for day in range(7))
        self._usual = self._usual_pause() if self._is_one() else None

    @property
    def usual(self) -> float | None:
        """Expected hours of the longest usual pause; None without a rhythm."""
        return self._usual

    def due(self, since: float, now: float) -> float | None:
        """Return when a picture was due at the latest, if none has come since a time; None if that is not unusual."""
        if self._usual is None:
            return None
        due = None
        expected = 0.0
        limit = max(MARGIN * self._usual, DAYS * self._fullest_day)
        at = since
        while at < now:
            end = min((at // HOUR + 1) * HOUR, now)
            expected += self._share(int(at // HOUR)) * (end - at) / HOUR
            at = end
            if due is None and expected >= self._usual:
                due = at
            if expected > limit:
                return due
        return None

    def _is_one(self) -> bool:
        """Whether there is enough to learn a rhythm from."""
        if len(self._active) < _FEWEST_HOURS or (self._end - self._active[0]) * HOUR < YOUNGEST:
            return False
        return len({_local(hour).date() for hour in self._active}) >= _FEWEST_DAYS

    def _usual_pause(self) -> float | None:
        pauses = sorted(
            (self._expected_between(before + 1, after), after - before - 1)
            for before, after in pairwise(self._active)
            if after > before + 1
        )
        if len(pauses) > 1 and pauses[-1][0] > OUTAGE * pauses[-2][0]:
            del pauses[-1]
        expected, hours = pauses[-1] if pauses else (0.0, 0)
        if MARGIN * hours * HOUR > LONGEST:
            return None
        return max(expected, 1.0)  # what is known is known by the hour

    def _expected_between(self, first: int, end: int) -> float:
        return sum(map(self._share, range(first, end)))

    def _share(self, hour: int) -> float:
        return self._shares[_hour_of_week(hour)]


def _shares(active: list[int], end: int) -> list[float]:
    """Return for each hour of the week in which share of the weeks pictures came."""
    shares = [0.0] * _HOURS_OF_WEEK
    if not active:
        return shares
    known = Counter(_hour_of_week(hour) for hour in range(active[0], end))
    came = Counter(map(_hour_of_week, active))
    by_day = [0.0] * 24
    for hour in range(24):
        same = range(hour, _HOURS_OF_WEEK, 24)
        by_day[hour] = sum(came[slot] for slot in same) / max(sum(known[slot] for slot in same), 1)
    for hour in range(_HOURS_OF_WEEK):
        shares[hour] = (came[hour] + _WEIGHT_OF_DAY * by_day[hour % 24]) / (known[hour] + _WEIGHT_OF_DAY)
    return shares


def _hour_of_week(hour: int) -> int:
    local = _local(hour)
    return local.weekday() * 24 + local.hour


def _local(hour: int) -> datetime:
    """Return an hour as the clock here showed it: habits go by that."""
    return datetime.fromtimestamp(hour * HOUR)
