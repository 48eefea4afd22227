"""Each wait is twice as long as the one before, up to the longest."""

from __future__ import annotations

from models.backoff import Backoff


def test_it_doubles_up_to_the_last() -> None:
    backoff = Backoff(first=5.0, last=30.0)
    assert [backoff.delay(earlier) for earlier in range(5)] == [5.0, 10.0, 20.0, 30.0, 30.0]


def test_any_number_of_failures_is_a_number_of_seconds() -> None:
    assert Backoff(first=1.0, last=300.0).delay(1_000_000) == 300.0
