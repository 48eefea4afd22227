"""When a lesson is due."""

from __future__ import annotations

import math

import pytest

from daemon.learning.given_labels import LabelState
from daemon.learning.record import LessonRecord
from daemon.learning.schedule import RETRIES, Schedule, seconds_until_wanted
from daemon.learning.trainer_child import BROKEN, BUSY, IMPOSSIBLE, NOTHING_NEW, PUBLISHED, REFUSED, SUPERSEDED

STATE = LabelState("new", count=12, last_id=12, waiting=2)


def record(result: str, labels: str = "new", **more: object) -> LessonRecord:
    values: dict[str, object] = {"says": "", "time": 1000.0, "seconds": 5.0, "failures": 1}
    return LessonRecord.model_validate(values | {"labels": labels, "result": result} | more)


def test_the_quiet_time_begins_anew_with_every_label() -> None:
    schedule = Schedule(quiet=3, every=60)
    assert schedule.due == math.inf
    schedule.changed(100)
    schedule.changed(102)
    assert schedule.due == 105


def test_it_is_not_too_often() -> None:
    schedule = Schedule(quiet=3, every=60)
    schedule.started(100)
    assert schedule.earliest == 160


def test_what_changes_while_labels_are_read_is_looked_at_again() -> None:
    schedule = Schedule(quiet=3, every=60)
    schedule.looked()
    schedule.changed(100)
    schedule.started(100)
    schedule.again(3600)
    assert schedule.due == 103


def test_labels_are_learned_from_at_once_and_once() -> None:
    for known in (None, record(PUBLISHED, "old"), record(BROKEN, "old")):
        assert seconds_until_wanted(STATE, known, 1000, is_new_fit=False) == 0
    for result in (PUBLISHED, REFUSED, NOTHING_NEW, "taken back"):
        assert seconds_until_wanted(STATE, record(result), 10**9, is_new_fit=False) == math.inf


def test_a_model_that_was_fitted_since_then_learns_from_the_same_labels() -> None:
    assert seconds_until_wanted(STATE, record(REFUSED), 1000, is_new_fit=True) == 0
    nothing = LabelState("", count=0, last_id=0, waiting=0)
    assert seconds_until_wanted(nothing, None, 1000, is_new_fit=False) == math.inf
    assert seconds_until_wanted(nothing, record(REFUSED, ""), 1000, is_new_fit=True) == math.inf


def test_labels_that_were_all_taken_back_are_unlearned() -> None:
    nothing = LabelState("nothing", count=0, last_id=0, waiting=12)
    assert seconds_until_wanted(nothing, record(PUBLISHED), 1000, is_new_fit=False) == 0


@pytest.mark.parametrize("result", [BROKEN, IMPOSSIBLE, BUSY, SUPERSEDED])
def test_what_failed_is_tried_again_later_and_later(result: str) -> None:
    first = RETRIES[result].first
    assert seconds_until_wanted(STATE, record(result), 1005, is_new_fit=False) == first
    assert seconds_until_wanted(STATE, record(result), 1005 + first, is_new_fit=False) == 0
    assert seconds_until_wanted(STATE, record(result, failures=2), 1005, is_new_fit=False) == 2 * first
    assert seconds_until_wanted(STATE, record(result, failures=99), 1005, is_new_fit=False) == RETRIES[result].last


def test_a_clock_that_was_ahead_does_not_put_it_off_for_years() -> None:
    assert seconds_until_wanted(STATE, record(BROKEN, time=10.0**10), 1000, is_new_fit=False) == RETRIES[BROKEN].first
