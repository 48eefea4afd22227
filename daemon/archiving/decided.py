"""Read from a manifest what is to become of each image: the folder that it belongs in."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from daemon.archiving.manifest import read_newest
from daemon.archiving.rows import QUARANTINE, UNREAD, prediction_of
from models.deciding.rule import DecisionRule, Fate
from models.errors import UserError
from models.text.language import tr

_COLUMNS = (
    *("uri", "size", "mtime_ns", "sha256", "class_name", "confidence", "strangeness", "groups"),
    *("outcome", "label", "reason", "detail", "model"),
)


@dataclass(frozen=True, kw_only=True)
class Folders:
    """The names of the folders for what goes to no class."""

    others: str
    quarantine: str


@dataclass(frozen=True, kw_only=True)
class Decided:
    """An image of the manifest, and the ``folder`` below the output that it belongs in; None: it was not read."""

    uri: str
    size: int
    mtime_ns: int
    sha256: str | None
    folder: str | None
    fate: Fate | None
    label: str | None
    confidence: float | None
    model: str
    reason: str | None
    detail: str | None


def read_decided(manifest: Path, folders: Folders, threshold: float | None = None) -> Iterator[list[Decided]]:
    """Yield the images of each block of a manifest.

    ``threshold`` decides anew by what the model said; None leaves it at what was decided when the images were looked
    at. Raises `UserError`.
    """
    reserved = {name.casefold() for name in (folders.others, folders.quarantine)}
    for table in read_newest(manifest, _COLUMNS):
        images = [_decided(row, folders, threshold) for row in table.to_pylist()]
        _check_names({image.label for image in images if image.label}, reserved)
        yield images


def _decided(row: dict[str, Any], folders: Folders, threshold: float | None) -> Decided:
    fate, folder, label, confidence = None, None, row["label"], row["confidence"]
    if row["outcome"] == QUARANTINE:
        folder = f"{folders.quarantine}/{row['reason']}"
    elif row["outcome"] != UNREAD:
        fate = Fate(row["outcome"])
        if threshold is not None:
            levels = dict.fromkeys((group["depth"] for group in row["groups"] or ()), threshold)
            rule = DecisionRule(threshold, refuses_unknown=threshold != 0, levels=levels)
            fate, label, confidence = rule.decide(prediction_of(row))
        folder = label if fate.is_of_class else folders.others
    return Decided(
        uri=row["uri"],
        size=row["size"],
        mtime_ns=row["mtime_ns"],
        sha256=row["sha256"],
        folder=folder,
        fate=fate,
        label=label,
        confidence=confidence,
        model=row["model"],
        reason=row["reason"],
        detail=row["detail"],
    )


def _check_names(labels: set[str], reserved: set[str]) -> None:
    """Raise `UserError` where a class has, or lies in, a folder for other images."""
    for label in labels:
        if label.partition("/")[0].casefold() in reserved:
            raise UserError(
                tr(
                    "the manifest has a class {name}, which is the folder of other images: give another --others-dir "
                    "or --quarantine-dir",
                    name=label,
                )
            )
