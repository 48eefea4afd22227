"""What is known of the pictures of one inbox, and what is unusual about those that come now."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from typing import NamedTuple

from daemon.alarms.causes import Cause
from daemon.alarms.rhythm import DAY, HOUR, Rhythm
from daemon.alarms.shares import Counted, Rise, Usual, learn
from daemon.journal.arrivals import HourOfFolder

#: What is usual is learned from what is older than this; what is younger is judged by it.
RECENT = 3 * DAY
#: The causes that are about a share of the pictures.
SHARES = (Cause.OTHERS, Cause.QUARANTINE)
_NOTHING = HourOfFolder("", 0, 0, 0, 0, 0.0)


@dataclass(frozen=True, slots=True)
class Arrival:
    """One picture that came: when, and whether it went to the others or could not be read."""

    time: float
    to_others: bool
    unreadable: bool

    def counts(self, cause: Cause) -> bool:
        """Whether it counts for a share."""
        return self.to_others if cause is Cause.OTHERS else self.unreadable


class Span(NamedTuple):
    """The time from which is learned what is usual, and whether what came after it is judged by that."""

    since: float
    until: float
    judges_rest: bool


class InboxRecord:
    """The rhythm and the shares of one inbox: learned from the journal, and followed from then on."""

    def __init__(self) -> None:
        #: When the last picture came, in seconds since 1970; None before the first.
        self.last: float | None = None
        self.rhythm: Rhythm | None = None
        self._rises: dict[Cause, Rise] = {}
        self._usual: dict[Cause, Usual] = {}

    def learn_rhythm(self, hours: Iterable[HourOfFolder], now: float) -> None:
        """Learn when pictures come."""
        by_hour = _together(hours)
        self.rhythm = Rhythm(by_hour, now)
        if by_hour:
            self.last = max(self.last or 0.0, *(hour.last for hour in by_hour.values()))

    def learn_share(self, cause: Cause, hours: Iterable[HourOfFolder], span: Span) -> None:
        """Learn which share is usual."""
        counted = {hour: _counted(cause, of_hour) for hour, of_hour in _together(hours).items()}
        usual = learn([of_hour for hour, of_hour in counted.items() if span.since // HOUR <= hour < span.until // HOUR])
        if usual is None:
            return
        self._usual[cause] = usual
        if cause in self._rises:
            self._rises[cause].learned(usual)
            return
        rise = self._rises[cause] = Rise(usual)
        if span.judges_rest:
            for hour, of_hour in counted.items():
                if hour >= span.until // HOUR:
                    rise.add_hour(of_hour)

    def add(self, arrival: Arrival) -> None:
        """Note a picture that has come."""
        self.last = max(self.last or 0.0, arrival.time)
        for cause, rise in self._rises.items():
            rise.add(arrival.counts(cause))

    def rise(self, cause: Cause) -> Rise | None:
        """Return what is known of a share that may have risen; None where too little is."""
        return self._rises.get(cause)

    def forget(self, cause: Cause) -> None:
        """Know nothing of a share until it is learned again."""
        self._rises.pop(cause, None)

    def usual_percentage(self, cause: Cause) -> float:
        """Return the usual share, for people."""
        return 100 * self._usual[cause].share


def _together(hours: Iterable[HourOfFolder]) -> dict[int, HourOfFolder]:
    """Add up the folders of an inbox, hour by hour, the earliest first."""
    by_hour: dict[int, HourOfFolder] = defaultdict(lambda: _NOTHING)
    for of_folder in sorted(hours, key=lambda hour: hour.hour):
        before = by_hour[of_folder.hour]
        by_hour[of_folder.hour] = HourOfFolder(
            "",
            of_folder.hour,
            before.pictures + of_folder.pictures,
            before.others + of_folder.others,
            before.unreadable + of_folder.unreadable,
            max(before.last, of_folder.last),
        )
    return dict(by_hour)


def _counted(cause: Cause, hour: HourOfFolder) -> Counted:
    return Counted(hour.pictures, hour.others if cause is Cause.OTHERS else hour.unreadable)
