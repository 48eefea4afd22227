"""What a checkpoint says about itself, besides its tensors: a versioned schema; and which class names are safe."""

from __future__ import annotations

import math
import unicodedata
from collections.abc import Sequence
from dataclasses import asdict
from typing import Literal, Self

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from models.errors import CheckpointError
from models.images import Transform
from models.registry import Backbone
from models.text.language import tr

#: Version 2 added ``max_error``, ``promises``, ``unknown`` and the normalisation ``pretrained``; one of version 1 has
#: none of them.
SCHEMA_VERSION: Literal[2] = 2

_RESERVED_NAMES = {"con", "prn", "aux", "nul"} | {f"{port}{n}" for port in ("com", "lpt") for n in range(1, 10)}


class Strict(BaseModel):
    """A record without unknown keys, that does not change."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class TransformRecord(Strict):
    """A `Transform` as the metadata holds it."""

    resize: int = Field(gt=0, le=4096)
    crop: int = Field(gt=0, le=1024)
    interpolation: Literal["bilinear", "bicubic"]
    mean: tuple[float, float, float]
    std: tuple[float, float, float]
    stretch: bool = False


class PartRecord(Strict):
    """One backbone of the mode: which weights made these features, seen through which transform."""

    name: str = Field(pattern=r"^[A-Za-z0-9_./-]{1,128}$")  # it becomes part of tensor names
    source: str
    digest: str
    transform: TransformRecord
    fingerprint: str
    width: int = Field(gt=0, le=65536)
    fine_tuned: bool = False

    @classmethod
    def from_backbone(cls, backbone: Backbone) -> PartRecord:
        """The record of a located backbone."""
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
        """The transform to decode with."""
        return Transform(**self.transform.model_dump())


#: Where neither the user nor the checkpoint names a threshold: the class outweighs all the others together.
DEFAULT_THRESHOLD = 0.5


class Promise(Strict):
    """With probability ``certainty``, no more than the share ``max_error`` of what is filed at ``threshold`` is wrong.

    That is of images like those the checkpoint was fitted on. ``coverage`` is the share of them that was filed.
    """

    max_error: float = Field(gt=0, lt=1)
    certainty: float = Field(gt=0, lt=1)
    threshold: float = Field(ge=0, le=1)
    coverage: float = Field(ge=0, le=1)

    @property
    def typed(self) -> float:
        """A threshold of few digits that is no lower; nor is it 0, by which unknown images would be filed too."""
        return max(math.ceil(10_000 * self.threshold), 1) / 10_000


def strictest(promises: Sequence[Promise]) -> list[Promise]:
    """Of promises for one threshold, as people type it, the one of the fewest mistakes."""
    found: dict[float, Promise] = {}
    for each in sorted(promises, key=lambda promise: promise.max_error):
        found.setdefault(each.typed, each)
    return list(found.values())


class Unknown(Strict):
    """When an image is like nothing the head was fitted on: its distance from the tensor ``unknown.basis``.

    ``limit`` is the largest distance of a known image. Of the known images about the share ``refused`` lies farther.
    """

    limit: float = Field(gt=0, allow_inf_nan=False)
    refused: float = Field(ge=0, lt=1)


class Metadata(Strict):
    """Everything about a checkpoint that is not a tensor.

    ``normalisation`` says what the head's inputs are: each part's features at unit length, the features as they are, or
    how like an image is to each class that the one backbone was pretrained with.
    ``threshold`` is the probability from which on ``--threshold auto`` files an image; without one the daemon uses its
    own. ``max_error`` is the share of mistakes that was asked for, and where it could be kept, ``threshold`` keeps it.
    ``promises`` are all that could be made, the strictest first.
    """

    # A measure that is not a number (a mean over nothing) stays one, where JSON would make it null.
    model_config = ConfigDict(ser_json_inf_nan="constants")

    schema_version: Literal[2] = SCHEMA_VERSION
    mode: str
    parts: list[PartRecord] = Field(min_length=1)
    classes: list[str] = Field(min_length=1, max_length=100_000)
    normalisation: Literal["l2", "none", "pretrained"]
    temperature: float = Field(default=1.0, gt=0, allow_inf_nan=False)
    threshold: float | None = Field(default=None, ge=0, le=1)
    max_error: float | None = Field(default=None, gt=0, lt=1)
    promises: list[Promise] = []
    unknown: Unknown | None = None
    metrics: dict[str, float] = {}
    settings: dict[str, str | int | float | bool | None] = {}
    data_digest: str = ""
    versions: dict[str, str] = {}
    created: str = ""

    @property
    def served_threshold(self) -> float:
        """The probability from which on the daemon files an image, unless it is told otherwise."""
        return DEFAULT_THRESHOLD if self.threshold is None else self.threshold

    @field_validator("classes")
    @classmethod
    def _safe_names(cls, names: list[str]) -> list[str]:
        checked = [check_class_name(name) for name in names]
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
    def _one_original(self) -> Self:
        """The classes a backbone was pretrained with are those of its original weights, and of it alone."""
        if self.normalisation == "pretrained" and (len(self.parts) > 1 or self.parts[0].fine_tuned):
            raise ValueError("the normalisation pretrained takes a single backbone, and no fine-tuned one")
        return self

    @property
    def width(self) -> int:
        """Features per image, all parts together."""
        return sum(part.width for part in self.parts)


def check_class_name(name: str) -> str:
    """A class name in NFC, fit to be a folder anywhere. Raises `CheckpointError` where it cannot be one."""
    name = unicodedata.normalize("NFC", name)
    problem = None
    if not name or name in {".", ".."} or name != name.strip() or name.endswith("."):
        problem = tr("is empty, a dot, or begins or ends with a space or ends with a dot")
    elif any(unicodedata.category(character) == "Cs" for character in name):
        problem = tr("is not in UTF-8, as names in archives from Windows often are not")
    elif any(character in '/\\<>:"|?*' or _is_unseen(character) for character in name):
        problem = tr('holds a control character or one of / \\ < > : " | ? *')
    elif name.startswith("."):
        problem = tr("begins with a dot")
    elif name.split(".")[0].rstrip().casefold() in _RESERVED_NAMES:
        problem = tr("is a reserved device name")
    elif len(name.encode()) > 255:
        problem = tr("is longer than 255 bytes")
    if problem is not None:
        raise CheckpointError(
            tr("the class name '{name}' cannot be a folder's name: it {problem}", name=name, problem=problem)
        )
    return name


def _is_unseen(character: str) -> bool:
    """Whether a character shows nothing and may mislead: control and format characters, but for the two joiners.

    The joiners (U+200C, U+200D) belong to the spelling of some languages, and hold emoji together.
    """
    category = unicodedata.category(character)
    return category in {"Cc", "Zl", "Zp"} or (category == "Cf" and character not in "\u200c\u200d")


def check_distinct(names: list[str]) -> None:
    """Raise `CheckpointError` when two class names are equal but for upper and lower case."""
    seen: dict[str, str] = {}
    for name in names:
        folded = unicodedata.normalize("NFC", name.casefold())
        if folded in seen:
            raise CheckpointError(
                tr(
                    "the class names '{seen}' and '{name}' are one folder where upper and lower case are the same",
                    seen=seen[folded],
                    name=name,
                )
            )
        seen[folded] = name
