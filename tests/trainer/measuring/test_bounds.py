from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import binom

from trainer.measuring.bounds import interval, upper_bound


@given(st.integers(1, 2000), st.data())
def test_so_few_mistakes_are_as_unlikely_as_was_said_when_the_share_is_the_bound(
    count: int, data: st.DataObject
) -> None:
    mistakes = data.draw(st.integers(0, count - 1))
    assert binom.cdf(mistakes, count, upper_bound(mistakes, count, 0.9)) == pytest.approx(0.1, rel=1e-6)


def test_no_mistake_among_299_images_promises_one_percent() -> None:
    assert upper_bound(0, 299, 0.95) < 0.01 < upper_bound(0, 298, 0.95)


def test_nothing_counted_says_nothing() -> None:
    assert upper_bound(0, 0, 0.95) == 1.0
    assert interval(0, 0) == (0.0, 1.0)


def test_the_interval_of_all_and_of_none() -> None:
    assert interval(0, 10) == pytest.approx((0, 0.308498), abs=1e-6)
    assert interval(10, 10) == pytest.approx((0.691502, 1), abs=1e-6)
