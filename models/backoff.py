"""Delays before retries."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Backoff:
    """Exponential back-off: ``first`` seconds after the first failure, twice as many after each, at most ``last``."""

    first: float
    last: float

    def delay(self, earlier: int) -> float:
        """Seconds to wait after a failure with ``earlier`` ones before it."""
        return float(min(self.first * 2.0 ** min(earlier, 64), self.last))
