"""Word messages about images and models, for the log and the terminal."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from daemon.filing.outcome import Outcome
from daemon.filing.status import Status
from daemon.filing.tagging import REASON as SIDECAR_REASON
from models.text.language import mark, tr, trn
from models.text.printable import quoted, shown

if TYPE_CHECKING:
    from models.classifier import Classifier

__all__ = ["describe_change", "fields", "left", "line", "quoted", "shown", "some"]


def line(outcome: Outcome) -> str:
    """Word the outcome of a filed image: ``cat.jpg -> cat/cat.jpg (0.93)``."""
    if outcome.reason is not None or outcome.confidence is None:
        why = outcome.detail or outcome.reason
    elif outcome.fate is not None and outcome.fate.is_of_class:
        why = f"{outcome.confidence:.2f}{f', {outcome.detail}' if outcome.detail else ''}"
    else:
        why = f"{outcome.label}? {outcome.confidence:.2f}{f', {outcome.detail}' if outcome.detail else ''}"
    name = outcome.path.name
    if outcome.action == "tag" and outcome.reason is None:
        return _tagging(outcome, name, why)
    where = outcome.place
    if outcome.status is Status.PLANNED:
        return tr("{name} would go to {place} ({why})", name=name, place=where, why=why)
    return shown(f"{name} -> {where} ({why})")


def left(outcome: Outcome) -> str:
    """Word that an image stays in the inbox, since it is a duplicate, or as the rule of its class says."""
    if outcome.duplicate_of is not None:
        return tr("{name} stays where it is: {detail}", name=shown(outcome.path.name), detail=outcome.detail)
    return tr(
        "{name} stays where it is by the rule of its class ({label} {confidence:.2f})",
        name=shown(outcome.path.name),
        label=outcome.label,
        confidence=outcome.confidence or 0.0,
    )


def refused(outcome: Outcome) -> str:
    """Word that an image stays in the inbox, and why; what is said of its sidecar names it already."""
    if outcome.reason == SIDECAR_REASON and outcome.detail is not None:
        return outcome.detail
    return tr("{name} stays where it is: {detail}", name=shown(outcome.path.name), detail=outcome.detail)


def _tagging(outcome: Outcome, name: str, why: str | None) -> str:
    if outcome.fate is None or not outcome.fate.is_of_class:
        says = mark("{name} would get no tag ({why})"), mark("{name} gets no tag ({why})")
    else:
        says = mark("{name} would be tagged {label} ({why})"), mark("{name} is tagged {label} ({why})")
    return tr(says[outcome.status is not Status.PLANNED], name=name, label=outcome.label, why=why)


def fields(outcome: Outcome) -> dict[str, Any]:
    """Return the fields of a log line for the JSON format."""
    return {
        "file": str(outcome.path),
        "class": outcome.label,
        "confidence": None if outcome.confidence is None else round(outcome.confidence, 6),
        "destination": None if outcome.destination is None else str(outcome.destination),
        "reason": outcome.reason if outcome.duplicate_of is None else "duplicate",
    }


def describe_change(old: Classifier, new: Classifier) -> str:
    """Word a change of the model: the new one, and the classes that were added, removed and kept."""
    before, after = set(old.classes), set(new.classes)
    added = [name for name in new.classes if name not in before]
    removed = [name for name in old.classes if name not in after]
    kept = [name for name in new.classes if name in before]
    parts = [trn("{mode}, 1 class", "{mode}, {count} classes", len(new.classes), mode=new.metadata.mode)]
    if added:
        parts.append(tr("new: {names}", names=some(added)))
    if removed:
        parts.append(tr("gone, their folders stay: {names}", names=some(removed)))
    if added or removed:
        parts.append(tr("kept: {names}", names=some(kept)) if kept else tr("none is kept"))
    else:
        parts.append(tr("the same classes"))
    return "; ".join(parts)


def some(names: Sequence[str], limit: int = 12) -> str:
    """Join the first of many names, and say how many more there are."""
    shown = ", ".join(names[:limit])
    if len(names) <= limit:
        return shown
    return tr("{names} and {count} more", names=shown, count=len(names) - limit)
