"""Say in words how many images had which outcome, and what people said of how many."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from daemon.journal.labels import How
from models.text.language import tr, trn

#: Say how many images had an outcome, by its name in the status file.
_OUTCOMES: Mapping[str, Callable[[int], str]] = {
    "sure": lambda count: trn("{count} in its class", "{count} in their class", count),
    "planned": lambda count: tr("{count} planned", count=count),
    "rolled up": lambda count: trn(
        "{count} in the folder above its class", "{count} in the folder above their class", count
    ),
    "unsure": lambda count: tr("{count} unsure", count=count),
    "unknown": lambda count: tr("{count} unknown", count=count),
    "duplicate": lambda count: trn("{count} duplicate", "{count} duplicates", count),
    "quarantined": lambda count: tr("{count} quarantined", count=count),
    "changed": lambda count: tr("{count} changed", count=count),
    "gone": lambda count: tr("{count} gone", count=count),
    "already": lambda count: tr("{count} done before", count=count),
    "refused": lambda count: tr("{count} refused", count=count),
    "left": lambda count: trn("{count} left where it is", "{count} left where they are", count),
    "retry": lambda count: tr("{count} to be tried again", count=count),
}


#: Say of how many images people said what they are, by how they did it.
_LABELS: Mapping[str, Callable[[int], str]] = {
    How.MOVED: lambda count: trn(
        "{count} moved to another class folder", "{count} moved to other class folders", count
    ),
    How.PLACED: lambda count: tr("{count} put there by hand", count=count),
    How.RELABELLED: lambda count: tr("{count} relabelled", count=count),
    How.REVIEWED: lambda count: tr("{count} reviewed", count=count),
    How.AUDITED: lambda count: tr("{count} audited", count=count),
}


def counted_labels(labels: Mapping[str, int]) -> str:
    """Word the numbers of labels; "" if there are none."""
    return ", ".join(say(labels[how]) for how, say in _LABELS.items() if labels.get(how))


def counted(images: Mapping[str, int]) -> str:
    """Word the numbers of images by outcome: ``20 filed, 2 unsure``; "" if there are none."""
    return ", ".join(
        _OUTCOMES[kind](count) if kind in _OUTCOMES else f"{count} {kind}" for kind, count in images.items()
    )
