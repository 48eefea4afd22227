"""Decide when a lesson is due: after a quiet time, not too often, and later each time that one fails."""

from __future__ import annotations

import math

from daemon.learning.given_labels import LabelState
from daemon.learning.record import LessonRecord
from daemon.learning.trainer_child import BROKEN, BUSY, IMPOSSIBLE, SUPERSEDED
from models.backoff import Backoff

#: Seconds until the same labels are tried again, by what came of them: after a lesson that broke off, where one is
#: impossible as things are, and where another one was in the way. All else is final.
RETRIES = {
    BROKEN: Backoff(first=60.0, last=6 * 3600.0),
    IMPOSSIBLE: Backoff(first=3600.0, last=86400.0),
    BUSY: Backoff(first=5.0, last=600.0),
    SUPERSEDED: Backoff(first=5.0, last=600.0),
}


class Schedule:
    """Times are seconds of one clock; the caller says what time it is."""

    def __init__(self, quiet: float, every: float) -> None:
        """``quiet``: how long nothing may have changed; ``every``: seconds between two starts."""
        self.quiet, self.every = quiet, every
        #: When to look what there is to learn; infinity while nothing has changed.
        self.due = math.inf
        self._started = -math.inf

    def changed(self, now: float) -> None:
        """Note that a person has said something, or that another model is in use."""
        self.due = now + self.quiet

    def looked(self) -> None:
        """Note that there is nothing to do until something changes."""
        self.due = math.inf

    def again(self, at: float) -> None:
        """Look again then at the latest."""
        self.due = min(self.due, at)

    def started(self, now: float) -> None:
        """Note that a lesson starts."""
        self._started = now

    @property
    def earliest(self) -> float:
        """When the next lesson may start."""
        return self._started + self.every


def seconds_until_wanted(state: LabelState, record: LessonRecord | None, wall: float, *, is_new_fit: bool) -> float:
    """Return in how many seconds these labels are to be learned from; infinity: not until something changes.

    ``record``: of the last lesson. ``wall``: the time in seconds since 1970. ``is_new_fit``: the run in use was fitted
    since then.
    """
    if record is None or is_new_fit:
        return 0.0 if state.count else math.inf
    if state.digest != record.labels:
        return 0.0
    if (backoff := RETRIES.get(record.result)) is None:
        return math.inf
    delay = backoff.delay(max(0, record.failures - 1))
    return max(0.0, min(delay, record.time + record.seconds + delay - wall))
