"""Causes of alarms, and what is said when one begins and when it is over.

The journal keeps the values of a sentence, not the sentence: it is said in the language of whoever reads it.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from datetime import datetime
from enum import StrEnum
from typing import NamedTuple

from daemon.journal.alarms import AlarmEvent
from models.text.language import mark, tr
from models.text.printable import shown


class Cause(StrEnum):
    """What an alarm is about."""

    SILENCE = "silence"  # no picture comes into an inbox for longer than ever
    OTHERS = "others"  # more pictures of an inbox than usual go to the others
    QUARANTINE = "quarantine"  # more of them than usual cannot be read
    DISK = "disk"  # a drive is nearly full
    PROMISE = "promise"  # an audit found more mistakes than the model promised
    PROBATION = "probation"  # a new model failed, and the one before is back

    @property
    def is_logged_elsewhere(self) -> bool:
        """Whether the log says it already, by who has noticed it."""
        return self in (Cause.PROMISE, Cause.PROBATION)


class Trouble(NamedTuple):
    """What is wrong: a cause and the path that it is about. There is one alarm for each."""

    cause: Cause
    subject: str


#: What is wrong now, with the values of its sentence.
Troubles = Mapping[Trouble, Mapping[str, object]]

_BEGUN = {
    Cause.SILENCE: mark(
        "no image has come into {subject} since {since}; going by its last weeks, one was due by {due} at the "
        "latest: look at the camera, the scanner or the program that brings them"
    ),
    Cause.OTHERS: mark(
        "of the last {recent} images from {subject} {count} went to {folder}, where {usual:.2g} % are usual: "
        "look at some of them"
    ),
    Cause.QUARANTINE: mark(
        "of the last {recent} images from {subject} {count} could not be read, where {usual:.2g} % are usual: "
        "look at the camera, the card or the program that brings them"
    ),
    Cause.DISK: mark("the drive of {subject} is nearly full: {free_mb} MB are left, make room, or images stay unfiled"),
    Cause.PROMISE: mark(
        "the model does not keep its promise: of {answered} audited images {wrong} are wrong, which means that "
        "{low:.3g} to {high:.3g} % of all are, and at most {promised:.3g} % was promised: raise the threshold, or "
        "teach it with the images that were put right"
    ),
    Cause.PROBATION: mark(
        "the new model {digest} from {subject} is not used: {why}; the one before it is back, and to use the new one "
        "all the same, publish it once more"
    ),
}
_NO_FILES_LEFT = mark(
    "the drive of {subject} is nearly full: it has room for {free_files} more files: delete small files"
)
_OVER = {
    Cause.SILENCE: mark("images come into {subject} again, after none had come since {since}"),
    Cause.OTHERS: mark("the share of images from {subject} that go to {folder} is as usual again"),
    Cause.QUARANTINE: mark("the share of unreadable images from {subject} is as usual again"),
    Cause.DISK: mark("the drive of {subject} has room again: {free_mb} MB"),
    Cause.PROMISE: mark("the last audit agrees with the model's promise again, or was removed"),
    Cause.PROBATION: mark("the model that failed its probation is no longer the one that is published in {subject}"),
}
_GIVEN_UP = mark("this is not watched any more: {what}")
_ACCUSTOMED = mark("this counts as usual by now: {what}")
#: Details that are times, in seconds since 1970.
_TIMES = ("since", "due")
#: Why an alarm is over other than that all is well: nobody watches for it now, or it has lasted for too long.
ENDING, NOT_WATCHED, ACCUSTOMED = "ending", "not watched", "accustomed"


def sentence(event: AlarmEvent) -> str:
    """Say what began to be wrong, or that it is over."""
    if event.cause not in list(Cause):
        return tr("an alarm that this version does not know: {cause}", cause=event.cause)
    cause = Cause(event.cause)
    if not event.over:
        return _filled(_begun_template(cause, event.details), event)
    ending = event.details.get(ENDING)
    if ending in (NOT_WATCHED, ACCUSTOMED):
        what = _filled(_begun_template(cause, event.details), event)
        return tr(_GIVEN_UP if ending == NOT_WATCHED else _ACCUSTOMED, what=what)
    return _filled(_OVER[cause], event)


def _begun_template(cause: Cause, details: Mapping[str, object]) -> str:
    return _NO_FILES_LEFT if cause is Cause.DISK and details.get("free_files") is not None else _BEGUN[cause]


def _filled(template: str, event: AlarmEvent) -> str:
    values = dict(event.details)
    for name in _TIMES:
        if isinstance(at := values.get(name), int | float):
            values[name] = _moment(float(at))
    return tr(template, subject=shown(event.subject), **values)


def _moment(seconds: float) -> str:
    """Word a time as the clock here showed it."""
    return f"{datetime.fromtimestamp(seconds):%Y-%m-%d %H:%M}"


def begun(trouble: Trouble, details: Mapping[str, object]) -> AlarmEvent:
    """Make the event that something began to be wrong."""
    return AlarmEvent(cause=trouble.cause.value, subject=trouble.subject, over=False, details=details)


def over(trouble: Trouble, details: Mapping[str, object]) -> AlarmEvent:
    """Make the event that it is over."""
    return AlarmEvent(cause=trouble.cause.value, subject=trouble.subject, over=True, details=details)


def seconds_since(event: AlarmEvent) -> float:
    """Return how long ago an event was."""
    return time.time() - event.time.timestamp()
