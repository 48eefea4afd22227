"""How often alarms are false: inboxes whose habits do not change, simulated for years.

The rhythms are those of an office, a camera trap, a telephone, a shop and a nightly upload, each with its own days,
hours and bursts, and with days off. The years are simulated day by day as the daemon goes through them: what is usual
is learned once a day from the eight weeks before.
"""

from __future__ import annotations

import argparse
import json
import math
import random
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import NamedTuple

from daemon.alarms.rhythm import DAY, HOUR, WEEK, WINDOW, Rhythm
from daemon.alarms.shares import Counted, Rise, learn

#: A Monday, at midnight.
_BEGIN = 4 * DAY + 2900 * WEEK
_YEARS = 20
_PICTURES = 300_000


class _Habit(NamedTuple):
    name: str
    expected: Callable[[int, int], float]  # pictures in an hour of a weekday (0: Monday)
    burst: float  # hours with pictures come in more or less: the spread of a day's number (sigma of its logarithm)
    free_days: float  # a year, on which nothing comes


_HABITS = (
    _Habit("office scanner", lambda day, hour: 5.0 if day < 5 and 9 <= hour < 18 else 0.0, 0.5, 12),
    _Habit("camera trap", lambda _, hour: 0.15 if 7 <= hour < 17 else 0.5, 1.0, 0),
    _Habit("telephone", lambda day, hour: (0.6 if day >= 5 else 0.25) if 8 <= hour < 23 else 0.01, 0.8, 20),
    _Habit("shop", lambda day, hour: 30.0 if day < 6 and 10 <= hour < 20 else 0.0, 0.3, 5),
    _Habit("once a day", lambda _, hour: 20.0 if hour == 3 else 0.0, 0.2, 0),
)


def _arrivals(habit: _Habit, years: float, random_: random.Random) -> list[int]:
    """The hours in which pictures come."""
    hours = []
    for day in range(int(years * 365)):
        if random_.random() < habit.free_days / 365:
            continue
        level = math.exp(random_.gauss(0, habit.burst))
        for hour in range(24):
            expected = habit.expected(day % 7, hour) * level
            if random_.random() < 1 - math.exp(-expected):
                hours.append(_BEGIN // HOUR + day * 24 + hour)
    return hours


def silences(habit: _Habit, years: float, seed: int) -> tuple[int, list[float]]:
    """False alarms of silence in so many years, and after how many hours a silence that begins at noon is noticed."""
    random_ = random.Random(seed)
    hours = _arrivals(habit, years, random_)
    alarms, noticed = 0, []
    rhythm, learned, at = None, -math.inf, 0
    for before, after in pairwise(hours):
        now = float(before * HOUR)
        if now - learned >= DAY:
            while hours[at] < (now - WINDOW) // HOUR:
                at += 1
            rhythm, learned = Rhythm(hours[at : hours.index(before, at) + 1], now + HOUR), now
            if random_.random() < 0.02:
                noticed.append(_hours_until_noticed(rhythm, now))
        assert rhythm is not None
        alarms += rhythm.due(now + HOUR, float(after * HOUR)) is not None
    return alarms, [hours for hours in noticed if hours is not None]


def _hours_until_noticed(rhythm: Rhythm, now: float) -> float | None:
    return next((hours for hours in range(3, 24 * 28) if rhythm.due(now + HOUR, now + hours * HOUR) is not None), None)


def rises(share: float, series: float, pictures: int, seed: int) -> tuple[int, float]:
    """False alarms of a rise in so many pictures, and after how many pictures a share of thrice the odds is noticed.

    Pictures come in hours of 20 on average, of which each has a share of its own: ``series`` is how much of the
    variance lies between hours.
    """
    random_ = random.Random(seed)

    def hour(mean: float) -> Counted:
        count = max(1, round(random_.expovariate(1 / 20)))
        own = mean
        if series:
            weight = (1 - series) / series
            own = random_.betavariate(mean * weight, (1 - mean) * weight)
        return Counted(count, sum(random_.random() < own for _ in range(count)))

    alarms = seen = 0
    noticed = []
    past = [hour(share) for _ in range(250)]
    while seen < pictures:
        usual = learn(past[-250:])
        assert usual is not None
        rise = Rise(usual)
        for _ in range(250):
            now = hour(share)
            past.append(now)
            seen += now.pictures
            rise.add_hour(now)
            if rise.is_risen:
                alarms += 1
                rise = Rise(usual)
        odds = 3 * share / (1 - share)
        risen, until = Rise(usual), 0
        worse = max(odds / (1 + odds), share + 0.15)
        while not risen.is_risen:
            now = hour(worse)
            risen.add_hour(now)
            until += now.pictures
        noticed.append(until)
    return alarms, sorted(noticed)[len(noticed) // 2]


def main() -> None:
    """Print how often alarms are false."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", type=Path, metavar="FILE")
    options = parser.parse_args()
    figures: dict[str, dict[str, float]] = {}
    print("silence: false alarms a year, and hours until a silence is noticed (median)")
    for habit in _HABITS:
        alarms, noticed = silences(habit, _YEARS, 1)
        median = sorted(noticed)[len(noticed) // 2] if noticed else math.nan
        figures[habit.name] = {"a year": alarms / _YEARS, "hours": median}
        print(f"  {habit.name:16} {alarms / _YEARS:6.2f} {median:6.0f}", flush=True)
    print("rising share: false alarms in a million pictures, and pictures until a rise is noticed (median)")
    for share in (0.0, 0.02, 0.2, 0.5):
        for series in (0.0, 0.1, 0.3) if share else (0.0,):
            alarms, until = rises(share, series, _PICTURES, 1)
            figures[f"share {share}, series {series}"] = {"a million": alarms / _PICTURES * 1e6, "pictures": until}
            print(
                f"  share {share:4.2f}, series {series:3.1f} {alarms / _PICTURES * 1e6:6.1f} {until:6.0f}", flush=True
            )
    if options.json:
        options.json.write_text(json.dumps(figures))


if __name__ == "__main__":
    main()
