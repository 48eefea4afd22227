"""Whether a share of the pictures of an inbox, such as that of the others, has risen beyond chance.

The likelihood of each picture if the share has risen is compared with that if it is as usual: a cumulative sum (CUSUM)
of the logarithms of their ratio, which begins anew wherever it falls to zero. By Lorden's inequality an inbox whose
pictures are independent and whose share does not change gives a false alarm once in e**LIMIT pictures at most, that is
once in a million (for each of the two shares). The usual share is estimated, so that the upper end of its exact
interval is taken for it; and pictures come in series that are alike, so that the sum is divided by how much more the
share varied from hour to hour than that of independent pictures would. ``tests.benchmarks alarms`` measures what comes
of that.

A rise is one to `ODDS` times the usual odds, and by `JUMP` at least: less does not matter.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import NamedTuple

#: Logarithm of how many pictures there are at least to one false alarm.
LIMIT = math.log(1_000_000)
#: The same for the end of an alarm: it may be said wrongly more often.
LIMIT_OF_END = math.log(1_000)
ODDS, JUMP = 3.0, 0.1
#: What must be known of an inbox: pictures, and hours with some.
_FEWEST_PICTURES, _FEWEST_HOURS = 200, 10
#: How sure the upper end of the usual share is, one-sided.
_CONFIDENCE = 0.95
#: A share beyond this cannot rise so much that it matters.
_HIGHEST = 0.85
_EXACTNESS = 1e-7


class Counted(NamedTuple):
    """Pictures of an hour, and how many of them count."""

    pictures: int
    counting: int


class Usual(NamedTuple):
    """The usual share, its upper end, the share that is an alarm, and by how much the share varies beyond chance."""

    share: float
    low: float
    high: float
    spread: float


def learn(hours: Sequence[Counted]) -> Usual | None:
    """Learn what is usual; None where too little is known, or the share is so high that it cannot rise."""
    pictures = sum(hour.pictures for hour in hours)
    if pictures < _FEWEST_PICTURES or len(hours) < _FEWEST_HOURS:
        return None
    count = sum(hour.counting for hour in hours)
    spread = _spread(hours, count / pictures)
    low = upper_end(count / spread, pictures / spread)
    if low > _HIGHEST:
        return None
    odds = ODDS * low / (1 - low)
    return Usual(count / pictures, low, max(odds / (1 + odds), low + JUMP), spread)


def _spread(hours: Iterable[Counted], share: float) -> float:
    """Return the variance of the counts as a multiple of that of independent pictures, 1 at least (Pearson).

    With two standard errors of it on top: of few hours it is not known well.
    """
    if not 0 < share < 1:
        return 1.0
    terms = [(hour.counting - hour.pictures * share) ** 2 / (hour.pictures * share * (1 - share)) for hour in hours]
    freedom = max(len(terms) - 1, 1)
    return max(1.0, math.fsum(terms) / freedom * (1 + 2 * math.sqrt(2 / freedom)))


def upper_end(count: float, pictures: float) -> float:
    """Return the upper end of the exact interval of a share (Clopper and Pearson); fractions count as the worse.

    By bisection: SciPy would take more memory than all of this package.
    """
    some, all_of_them = math.ceil(count), math.floor(pictures)
    if some >= all_of_them:
        return 1.0
    low, high = some / all_of_them, 1.0
    while high - low > _EXACTNESS:
        middle = (low + high) / 2
        if _at_most(some, all_of_them, middle) > 1 - _CONFIDENCE:
            low = middle
        else:
            high = middle
    return high


def _at_most(some: int, all_of_them: int, share: float) -> float:
    """Return the probability of ``some`` or fewer, for a share that is above that: the terms fall from there on."""
    ways = math.lgamma(all_of_them + 1) - math.lgamma(some + 1) - math.lgamma(all_of_them - some + 1)
    term = total = math.exp(ways + some * math.log(share) + (all_of_them - some) * math.log1p(-share))
    for number in range(some, 0, -1):
        term *= number / (all_of_them - number + 1) * (1 - share) / share
        total += term
        if term < _EXACTNESS * total:
            break
    return total


class Rise:
    """Follows the share of one inbox, picture by picture."""

    def __init__(self, usual: Usual) -> None:
        self._usual = usual
        self._sum = 0.0
        self._end_sum = 0.0
        #: Pictures since the share may have risen, and those of them that count.
        self.recent = self.count = 0

    def learned(self, usual: Usual) -> None:
        """Go by another usual share; what was seen stays."""
        self._usual = usual

    def add(self, counts: bool) -> None:
        """Note one picture."""
        usual = self._usual
        ratio = math.log(usual.high / usual.low) if counts else math.log((1 - usual.high) / (1 - usual.low))
        step = ratio / usual.spread
        self._sum = max(0.0, self._sum + step)
        self._end_sum = max(0.0, self._end_sum - step)
        if self._sum == 0.0:
            self.recent = self.count = 0
        else:
            self.recent += 1
            self.count += counts

    def add_hour(self, hour: Counted) -> None:
        """Note the pictures of an hour whose order is not known: spread those that count among the others."""
        for picture in range(hour.pictures):
            before, after = (at * hour.counting // hour.pictures for at in (picture, picture + 1))
            self.add(after > before)

    @property
    def is_risen(self) -> bool:
        """Whether the share has risen."""
        return self._sum > LIMIT

    @property
    def is_over(self) -> bool:
        """Whether it is as usual again, after it had risen."""
        return self._end_sum > LIMIT_OF_END

    def begin_end(self) -> None:
        """Look for the end of a rise from now on."""
        self._end_sum = 0.0

    def begin_anew(self) -> None:
        """Look for another rise from now on."""
        self._sum = 0.0
        self.recent = self.count = 0
