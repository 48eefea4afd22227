"""What is remembered of a lesson."""

from __future__ import annotations

from pathlib import Path

from daemon.learning.given_labels import LabelState
from daemon.learning.giving import GivenLesson
from daemon.learning.outcome import LessonOutcome
from daemon.learning.record import LessonRecord
from daemon.learning.trainer_child import BROKEN, BUSY, NOTHING_NEW, REFUSED, LessonAnswer


def after(result: str, labels: str, before: LessonRecord | None) -> LessonRecord:
    """The record of a lesson from two labels."""
    outcome = LessonOutcome(LessonAnswer(result, "why"), given=2, seconds=1.0)
    return GivenLesson(outcome, LabelState(labels, count=2, last_id=2, waiting=2), 1000.0).record(before, Path("none"))


def test_failures_are_counted_from_the_same_labels_in_the_same_way() -> None:
    first = after(BROKEN, "a", None)
    second = after(BROKEN, "a", first)
    assert (first.failures, second.failures, after(BROKEN, "a", second).failures) == (1, 2, 3)
    assert after(BROKEN, "b", second).failures == 1
    assert after(BUSY, "a", second).failures == 1
    assert after(REFUSED, "a", second).failures == 0


def test_a_lesson_that_failed_leaves_what_was_learned_before() -> None:
    learned = after(REFUSED, "a", None)
    failed = after(BROKEN, "b", learned)
    assert (failed.labels, failed.learned, failed.count, failed.last_id) == ("b", "a", 2, 2)
    assert after(REFUSED, "b", failed).learned == "b"


def test_where_nothing_was_new_the_lesson_before_is_told_of() -> None:
    refused = after(REFUSED, "a", None)
    nothing = after(NOTHING_NEW, "b", refused)
    assert (nothing.result, nothing.says) == (REFUSED, refused.says)
    assert (nothing.labels, nothing.learned) == ("b", "b")
    assert after(NOTHING_NEW, "b", after(BROKEN, "a", None)).result == NOTHING_NEW
