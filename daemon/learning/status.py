"""What the daemon says of its lessons, in its status file and to those who ask."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict


class _Record(BaseModel):
    model_config = ConfigDict(frozen=True, extra="ignore")


class LastLesson(_Record):
    """The last lesson: what came of it, in a word and in a sentence, when it began and how many seconds it took."""

    result: str
    says: str
    time: float
    seconds: float
    run: str | None = None


class LearningHealth(_Record):
    """Lessons of a daemon. Times are seconds since 1970.

    ``mode`` is on, ask or off, ``waiting`` the number of labels that are not learned from, ``running`` when the lesson
    under way began. ``obstacle`` says why none is given, if so. ``lessons`` counts those since the start by result.
    """

    mode: str
    waiting: int = 0
    running: float | None = None
    obstacle: str | None = None
    last: LastLesson | None = None
    lessons: dict[str, int] = {}
