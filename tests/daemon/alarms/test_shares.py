"""When a share has risen beyond chance."""

from __future__ import annotations

import random

import pytest
from scipy.special import betaincinv

from daemon.alarms.shares import Counted, Rise, learn, upper_end


@pytest.mark.parametrize(("some", "all_of_them"), [(0, 200), (3, 1000), (100, 1000), (7, 9), (5, 5)])
def test_the_upper_end_is_that_of_clopper_and_pearson(some: int, all_of_them: int) -> None:
    exact = 1.0 if some == all_of_them else betaincinv(some + 1, all_of_them - some, 0.95)
    assert upper_end(some, all_of_them) == pytest.approx(exact, abs=1e-6)


def test_too_little_is_no_past() -> None:
    assert learn([]) is None
    assert learn([Counted(19, 1)] * 10) is None
    assert learn([Counted(1000, 10)]) is None
    assert learn([Counted(20, 1)] * 20) is not None


def test_a_share_that_is_nearly_all_cannot_rise() -> None:
    assert learn([Counted(20, 19)] * 50) is None


def test_four_unreadable_pictures_in_a_row_are_no_chance_where_there_was_none() -> None:
    usual = learn([Counted(40, 0)] * 50)
    assert usual is not None
    rise = Rise(usual)
    for _ in range(500):
        rise.add(False)
    seen = 0
    while not rise.is_risen:
        rise.add(True)
        seen += 1
    assert 3 <= seen <= 6
    assert (rise.recent, rise.count) == (seen, seen)


def test_it_is_over_when_the_share_is_as_usual_again() -> None:
    usual = learn([Counted(20, 2), Counted(20, 1), Counted(20, 3)] * 20)
    assert usual is not None
    rise = Rise(usual)
    for _ in range(40):
        rise.add(True)
    assert rise.is_risen
    rise.begin_end()
    assert not rise.is_over
    for number in range(200):
        rise.add(number % 10 == 0)
    assert rise.is_over


def test_series_of_pictures_that_are_alike_take_more_to_be_a_rise() -> None:
    alike = learn([Counted(20, 20 * (number % 5 == 0)) for number in range(100)])
    mixed = learn([Counted(20, 4)] * 100)
    assert alike is not None
    assert mixed is not None
    assert alike.spread > 10 > mixed.spread == 1.0
    assert alike.share == mixed.share


@pytest.mark.parametrize("share", [0.02, 0.3])
def test_pictures_whose_share_does_not_change_give_no_alarm(share: float) -> None:
    random_ = random.Random(7)
    usual = learn([Counted(20, sum(random_.random() < share for _ in range(20))) for _ in range(100)])
    assert usual is not None
    rise = Rise(usual)
    for _ in range(20_000):
        rise.add(random_.random() < share)
        assert not rise.is_risen
