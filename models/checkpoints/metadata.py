"""The metadata of a checkpoint: a versioned schema."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict
from typing import Literal, Self

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from models.deciding.class_names import MOST_DEPTH, check_class_path, check_distinct
from models.deciding.class_tree import ClassTree
from models.deciding.rule import DecisionRule
from models.decoding.images import Transform
from models.registry import Backbone

#: Version 2 added ``max_error``, ``promises``, ``unknown`` and the normalisation ``pretrained``.
#: Version 3 has promises without a certainty, which are estimates, and the energy of `Unknown`.
#: Version 4 added ``nearness``.
#: Version 5 added classes that are paths, and ``levels``.
SCHEMA_VERSION: Literal[5] = 5


class Strict(BaseModel):
    """An immutable record that refuses unknown keys."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class TransformRecord(Strict):
    """A `Transform` as stored in the metadata."""

    resize: int = Field(gt=0, le=4096)
    crop: int = Field(gt=0, le=1024)
    interpolation: Literal["bilinear", "bicubic"]
    mean: tuple[float, float, float]
    std: tuple[float, float, float]
    stretch: bool = False


class PartRecord(Strict):
    """One backbone of the mode: the weights and the transform that its features were computed with."""

    name: str = Field(pattern=r"^[A-Za-z0-9_./-]{1,128}$")  # part of tensor names
    source: str
    digest: str
    transform: TransformRecord
    fingerprint: str
    width: int = Field(gt=0, le=65536)
    fine_tuned: bool = False

    @classmethod
    def from_backbone(cls, backbone: Backbone) -> PartRecord:
        """Record a located backbone."""
        return cls(
            name=backbone.name,
            source=backbone.source,
            digest=backbone.digest,
            transform=TransformRecord(**asdict(backbone.transform)),
            fingerprint=backbone.transform.fingerprint,
            width=backbone.width,
            fine_tuned=backbone.tuned is not None,
        )

    def as_transform(self) -> Transform:
        """Return the transform to decode images with."""
        return Transform(**self.transform.model_dump())


#: Applies where neither the user nor the checkpoint sets one: the class is more probable than all others together.
DEFAULT_THRESHOLD = 0.5


#: Promises of more mistakes than this are not made in place of the one that was asked for: they say too little.
MOST_ERROR = 0.1


class Promise(Strict):
    """With probability ``certainty``, at most the share ``max_error`` of what is filed at ``threshold`` is wrong.

    This holds for images like those that the checkpoint was fitted on; ``coverage`` is the share of them that is filed.
    A promise whose certainty is None is an estimate: about that share is wrong.
    """

    max_error: float = Field(gt=0, lt=1)
    certainty: float | None = Field(gt=0, lt=1)
    threshold: float = Field(ge=0, le=1)
    coverage: float = Field(ge=0, le=1)

    @property
    def typed_threshold(self) -> float:
        """The threshold to type: rounded up to four digits (six near 1), and never 0, which files unknown images."""
        digits = 10_000 if self.threshold <= 0.9999 else 1_000_000
        return max(math.ceil(digits * self.threshold), 1) / digits


def sure_enough(max_error: float) -> float:
    """Return the threshold to use where nothing can be promised: 1 - ``max_error``, but at least the default."""
    return max(DEFAULT_THRESHOLD, 1 - max_error)


def strictest(promises: Sequence[Promise]) -> list[Promise]:
    """Keep one promise for each typed threshold: the one of the fewest mistakes."""
    by_threshold: dict[float, Promise] = {}
    for promise in sorted(promises, key=lambda promise: promise.max_error):
        by_threshold.setdefault(promise.typed_threshold, promise)
    return list(by_threshold.values())


class Unknown(Strict):
    """An image is unknown where ``distance + energy_weight * (energy - usual_energy)`` exceeds ``limit``.

    The distance is to the span of the tensor ``unknown.basis``; the energy (`models.scoring.energies`) is high where no
    class stands out. About the share ``refused`` of the known images exceeds the limit. Up to version 2 the energy did
    not count.
    """

    limit: float = Field(gt=0, allow_inf_nan=False)
    refused: float = Field(ge=0, lt=1)
    energy_weight: float = Field(default=0.0, ge=0, le=1e12)
    usual_energy: float = Field(default=0.0, ge=-1e12, le=1e12)


class Nearness(Strict):
    """How near an image must be to those that people labelled for what they taught to count, see `Taught`.

    The distance of an image is the mean squared one to its nearest ``neighbours``, for each part. It counts half at
    ``limit`` spreads above the ``usual`` distance between labelled images, and ``steepness`` is that of the logistic
    curve there, for each ``spread``.
    """

    usual: float = Field(ge=0, allow_inf_nan=False)
    spread: float = Field(gt=0, allow_inf_nan=False)
    limit: float = Field(gt=0, le=100)
    steepness: float = Field(gt=0, le=100)
    neighbours: int = Field(ge=1, le=100)


class Level(Strict):
    """At which probability an image is filed into an inner folder at this ``depth`` (1: at the top), if at all.

    The ``promise`` is about the images that are filed there, where one was asked for.
    """

    depth: int = Field(ge=1, lt=MOST_DEPTH)
    threshold: float | None = Field(default=None, ge=0, le=1)
    promise: Promise | None = None


class Metadata(Strict):
    """Everything about a checkpoint that is not a tensor.

    ``normalisation`` says what the head's inputs are: ``l2``, each part's features at unit length; ``none``, the raw
    features; ``pretrained``, the image's likeness to each class that the single backbone was pretrained with.
    ``threshold`` is the lowest probability at which ``--threshold auto`` files an image; None means
    `DEFAULT_THRESHOLD`. ``max_error`` is the share of mistakes that was asked for; ``threshold`` keeps to it as
    far as the images allow, see `kept_promise`. ``promises`` are all that could be made, the strictest first.
    ``levels`` say at which depths images are filed into inner folders where a share of mistakes was asked for; where
    none was, ``threshold`` is that of inner folders, too.
    """

    # A metric that is NaN (a mean over nothing) stays NaN; by default it would become null.
    model_config = ConfigDict(ser_json_inf_nan="constants")

    schema_version: Literal[5] = SCHEMA_VERSION
    mode: str
    parts: list[PartRecord] = Field(min_length=1)
    classes: list[str] = Field(min_length=1, max_length=100_000)
    normalisation: Literal["l2", "none", "pretrained"]
    temperature: float = Field(default=1.0, gt=0, allow_inf_nan=False)
    threshold: float | None = Field(default=None, ge=0, le=1)
    max_error: float | None = Field(default=None, gt=0, lt=1)
    promises: list[Promise] = []
    levels: list[Level] = []
    unknown: Unknown | None = None
    nearness: Nearness | None = None
    metrics: dict[str, float] = {}
    settings: dict[str, str | int | float | bool | None] = {}
    data_digest: str = ""
    versions: dict[str, str] = {}
    created: str = ""

    @property
    def served_threshold(self) -> float:
        """The lowest probability at which the daemon files an image, unless its settings say otherwise."""
        if self.threshold is not None:
            return self.threshold
        if self.max_error is None:
            return DEFAULT_THRESHOLD
        return sure_enough(self.max_error) if self.kept_promise is None else self.kept_promise.threshold

    @property
    def served_levels(self) -> dict[int, float]:
        """The lowest probability at which the daemon files an image into an inner folder of each depth, if it does."""
        if self.max_error is None:
            return dict.fromkeys(self.tree.depths, self.served_threshold)
        return {level.depth: level.threshold for level in self.levels if level.threshold is not None}

    @property
    def rule(self) -> DecisionRule:
        """The rule by which the daemon files images, unless its settings say otherwise."""
        return DecisionRule(self.served_threshold, levels=self.served_levels)

    @property
    def tree(self) -> ClassTree:
        """The classes as folders in folders."""
        return ClassTree(self.classes)

    @property
    def kept_promise(self) -> Promise | None:
        """The promise that the served threshold keeps, where one was asked for: that one, or what is nearest to it.

        Up to version 2 a checkpoint had no threshold where it could not keep what was asked for.
        """
        if self.max_error is None:
            return None
        near = [promise for promise in self.promises if promise.max_error >= self.max_error]
        if self.threshold is None:
            return next((promise for promise in near if promise.max_error <= MOST_ERROR), None)
        return next((promise for promise in near if promise.threshold == self.threshold), None)

    @property
    def promise_lapsed(self) -> bool:
        """Whether a lesson ended the promise that was made, so that the threshold from before is in force."""
        return self.settings.get("promise_lapsed") is True and self.max_error is not None and not self.kept_promise

    @property
    def is_promise_doubted(self) -> bool:
        """Whether it has lapsed because audits contradict it."""
        return self.settings.get("promise_doubted") is True

    @property
    def audited(self) -> int:
        """How many audited images the promise was made from; 0 where it was made from those of the data set."""
        count = self.settings.get("promise_audited")
        return count if isinstance(count, int) and self.kept_promise is not None else 0

    @field_validator("classes")
    @classmethod
    def _safe_names(cls, names: list[str]) -> list[str]:
        checked = [check_class_path(name) for name in names]
        if checked != names:
            raise ValueError("class names are not in Unicode NFC")
        check_distinct(names)
        return names

    @field_validator("parts")
    @classmethod
    def _distinct(cls, parts: list[PartRecord]) -> list[PartRecord]:
        if len({part.name for part in parts}) < len(parts):
            raise ValueError("a part is named twice")
        return parts

    @field_validator("promises")
    @classmethod
    def _strictest_first(cls, promises: list[Promise]) -> list[Promise]:
        shares = [promise.max_error for promise in promises]
        if shares != sorted(set(shares)):
            raise ValueError("the promises are not in ascending order of their mistakes")
        return promises

    @model_validator(mode="after")
    def _check_levels(self) -> Self:
        """Refuse levels at which there is no inner folder to file into, and two for one depth."""
        depths = [level.depth for level in self.levels]
        if len(set(depths)) < len(depths) or set(depths) - set(self.tree.depths):
            raise ValueError("a level has a depth of its own, at which there are inner folders")
        return self

    @model_validator(mode="after")
    def _check_pretrained(self) -> Self:
        """Refuse likenesses to pretrained classes for fine-tuned weights, and for several backbones."""
        if self.normalisation == "pretrained" and (len(self.parts) > 1 or self.parts[0].fine_tuned):
            raise ValueError("the normalisation pretrained takes a single backbone, and no fine-tuned one")
        return self

    @property
    def width(self) -> int:
        """The number of features per image, all parts together."""
        return sum(part.width for part in self.parts)
