"""What ``status`` says of lessons."""

from __future__ import annotations

from collections.abc import Callable

from daemon.learning.status import LearningHealth
from models.text.language import mark, tr, trn
from models.text.retelling import retold

_MODES = {
    "on": mark("on: no label waits for a lesson"),
    "ask": mark("when asked to: no label waits for a lesson"),
    "off": mark("off"),
}


def learning_rows(
    learning: LearningHealth | None, now: float, duration: Callable[[float], str]
) -> list[tuple[str, str]]:
    """Return the rows about lessons, of a name and a text each; ``duration`` words a number of seconds."""
    if learning is None:
        return []
    rows = [(tr("learning"), _state(learning, now, duration))]
    if (last := learning.last) is not None:
        text = tr("{duration} ago: {says}", duration=duration(now - last.time), says=retold(last.says))
        rows.append((tr("last lesson"), text))
    return rows


def _state(learning: LearningHealth, now: float, duration: Callable[[float], str]) -> str:
    waiting = learning.waiting
    if learning.running is not None:
        return tr("a lesson is running, for {duration}", duration=duration(now - learning.running))
    if learning.obstacle is not None and waiting:
        return trn(
            "1 label is not learned from: {why}",
            "{count} labels are not learned from: {why}",
            waiting,
            why=retold(learning.obstacle),
        )
    if waiting and learning.mode == "ask":
        return trn(
            "1 label is not learned from yet: python -m daemon learn",
            "{count} labels are not learned from yet: python -m daemon learn",
            waiting,
        )
    if waiting:
        return trn("on: 1 label waits for a lesson", "on: {count} labels wait for a lesson", waiting)
    return tr(_MODES.get(learning.mode, learning.mode))
