"""A row of the manifest: what is known of one image of an archive."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from enum import StrEnum
from typing import Any

from daemon.archiving.ranking import RankedPrediction
from daemon.decoding.decoder import Decoded
from daemon.files.taken import file_time
from models.classifier import Prediction
from models.deciding.rule import DecisionRule, Fate, GroupProbability
from models.errors import ImageError

#: Outcomes beside those of `Fate`: it is not a picture, or a damaged one; and it could not be read this time.
QUARANTINE, UNREAD = "quarantine", "unread"
#: Bytes of the hash of an address.
HASH_BYTES = 16


class TakenBy(StrEnum):
    """What says when a picture was taken."""

    EXIF = "exif"
    FILE = "file"


@dataclass(frozen=True, kw_only=True)
class Row:
    """One image; the names are those of the columns.

    ``mtime_ns``: of the file, nanoseconds since 1970; ``model``: digest of the checkpoint. ``label``: the class, or
    the folder above it, that it is filed as; ``class_name``: the likeliest class, whatever the threshold made of it.
    ``outcome``: a `Fate`, QUARANTINE with its ``reason``, or UNREAD. ``groups`` as in `Prediction`. ``supersedes``:
    the manifest has an older row of that address.
    """

    uri: str
    uri_hash: bytes
    size: int
    mtime_ns: int
    sha256: str | None = None
    taken: datetime | None = None
    taken_by: str | None = None
    width: int | None = None
    height: int | None = None
    class_name: str | None = None
    confidence: float | None = None
    second: str | None = None
    second_confidence: float | None = None
    third: str | None = None
    third_confidence: float | None = None
    strangeness: float | None = None
    groups: list[dict[str, Any]] = field(default_factory=list)
    outcome: str
    label: str | None = None
    reason: str | None = None
    detail: str | None = None
    model: str
    looked_at: datetime = field(default_factory=lambda: datetime.now(UTC))
    supersedes: bool = False


def hash_of(uri: str) -> bytes:
    """Return the hash by which an address is looked up, and put into a shard."""
    return hashlib.blake2b(uri.encode(), digest_size=HASH_BYTES).digest()


@dataclass(frozen=True)
class Listed:
    """An image as it was listed. ``supersedes``: the manifest has an older row of that address."""

    uri: str
    uri_hash: bytes
    size: int
    mtime_ns: int
    supersedes: bool = False
    was_unread: bool = False

    def row(self, outcome: str, model: str, **more: Any) -> Row:
        """Make the row of this image; ``more`` are its other columns."""
        values: dict[str, Any] = {"size": self.size, "mtime_ns": self.mtime_ns, "supersedes": self.supersedes}
        return Row(uri=self.uri, uri_hash=self.uri_hash, outcome=outcome, model=model, **(values | more))


def row_of(listed: Listed, decoded: Decoded, prediction: Prediction | None, rule: DecisionRule, model: str) -> Row:
    """Make the row of an image that was read, whether it is a picture (then with its prediction) or not."""
    assert decoded.source is not None
    more: dict[str, Any] = {"sha256": decoded.source.sha256}
    if prediction is None:
        assert isinstance(decoded.error, ImageError)
        return listed.row(QUARANTINE, model, reason=decoded.error.reason, detail=str(decoded.error), **more)
    ruling = rule.decide(prediction)
    taken = decoded.taken or file_time(listed.mtime_ns)
    following = prediction.following if isinstance(prediction, RankedPrediction) else ()
    for (name, confidence), place in zip(following, ("second", "third"), strict=False):
        more |= {place: name, f"{place}_confidence": confidence}
    width, height = decoded.size or (None, None)
    return listed.row(
        ruling.fate.value,
        model,
        taken=taken.replace(tzinfo=None),
        taken_by=(TakenBy.FILE if decoded.taken is None else TakenBy.EXIF).value,
        width=width,
        height=height,
        class_name=prediction.label,
        confidence=prediction.confidence,
        strangeness=prediction.strangeness,
        groups=[group._asdict() for group in prediction.groups],
        label=ruling.label,
        **more,
    )


def prediction_of(row: dict[str, Any]) -> Prediction:
    """Return what the model said of an image, for another rule to decide."""
    groups: Sequence[dict[str, Any]] = row["groups"] or ()
    return Prediction(
        row["class_name"], row["confidence"], row["strangeness"], tuple(GroupProbability(**group) for group in groups)
    )


def is_of_class(outcome: str) -> bool:
    """Whether an image of this outcome goes to the folder of its label."""
    return outcome in (Fate.SURE.value, Fate.ROLLED_UP.value)
