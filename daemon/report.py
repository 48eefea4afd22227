"""What is said of an image, in a log or on a terminal."""

from __future__ import annotations

from daemon.filing import Status
from daemon.pipeline import Outcome


def line(outcome: Outcome) -> str:
    """What became of a filed image, for people: ``cat.jpg -> cat/cat.jpg (0.93)``."""
    assert outcome.destination is not None
    verb = "would go to" if outcome.status is Status.PLANNED else "->"
    # quarantine/<reason>/<name> has one step more
    where = "/".join(outcome.destination.parts[-3 if outcome.reason is not None else -2 :])
    prediction = outcome.prediction
    if outcome.reason is not None or prediction is None:
        why = outcome.detail or outcome.reason
    elif outcome.destination.parent.name == prediction.label:
        why = f"{prediction.confidence:.2f}"
    else:
        why = f"{prediction.label}? {prediction.confidence:.2f}{f', {outcome.detail}' if outcome.detail else ''}"
    return f"{shown(outcome.path.name)} {verb} {shown(where)} ({why})"


def shown(text: str) -> str:
    """Text that may hold a hostile file name, fit for one line of a log or a terminal: the rest is escaped."""
    return "".join(
        character if character.isprintable() else character.encode("unicode_escape", "surrogatepass").decode()
        for character in text
    )
