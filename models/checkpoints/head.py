"""What a checkpoint holds in memory: a head, the classifier its inputs may be made with, and golden samples."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]

#: What ``groups`` of a `Head` say of an output that belongs to no class.
NO_CLASS = -1


@dataclass(frozen=True)
class Pretrained:
    """The classifier that a backbone was pretrained with, over its raw features: weight (k, width), bias (k,).

    A checkpoint keeps the weight in float16, so it has only values that float16 can hold: make one with `rounded`.
    """

    weight: npt.NDArray[np.float32]
    bias: npt.NDArray[np.float32]

    @classmethod
    def rounded(cls, weight: npt.NDArray[np.float32], bias: npt.NDArray[np.float32]) -> Pretrained:
        """Make one whose weight is rounded to what a checkpoint keeps."""
        return cls(weight.astype(np.float16).astype(np.float32), bias.astype(np.float32))


@dataclass(frozen=True)
class Taught:
    """What people taught a head that was fitted elsewhere: a second head, which counts near the images they labelled.

    ``weight`` (outputs, width) and ``bias`` (outputs,) make calibrated logits of features whose parts are at unit
    length, and ``groups`` (outputs,) maps the outputs to classes, as in `Head`. ``known`` (m, width) holds such
    features of the labelled images, in values that float16 can hold. ``reach`` (classes,) says for each class how
    much farther from them the second head counts, where the first one takes an image for that class; in spreads of
    `models.checkpoints.metadata.Nearness`.
    """

    weight: npt.NDArray[np.float32]
    bias: npt.NDArray[np.float32]
    groups: npt.NDArray[np.int64]
    known: npt.NDArray[np.float32]
    reach: npt.NDArray[np.float32]


@dataclass(frozen=True)
class Head:
    """What turns features into the logits of classes.

    ``logits = ((inputs - mean) * scale) @ weight.T + bias``. Inputs are the normalised features; with ``pretrained``,
    how like an image is to each of the k classes that the backbone was pretrained with. Shapes: weight (outputs, width
    or k), bias (outputs,), mean and scale (width or k,). ``groups`` (outputs,), where there is one, maps each output to
    a class, and the probabilities of a class's outputs are added up; without it, outputs are classes. The probability
    of an output of `NO_CLASS` is that of an image of none of them. ``basis`` (rank, width or k), where there is one,
    holds the orthonormal directions in which known images vary; ``(inputs - mean) * scale`` lies far from their span
    where an image is like none of them. ``taught`` is what people added to a head that was fitted elsewhere.
    """

    weight: npt.NDArray[np.float32]
    bias: npt.NDArray[np.float32]
    mean: npt.NDArray[np.float32]
    scale: npt.NDArray[np.float32]
    groups: npt.NDArray[np.int64] | None = None
    basis: npt.NDArray[np.float32] | None = None
    pretrained: Pretrained | None = None
    taught: Taught | None = None


@dataclass(frozen=True)
class Golden:
    """Golden samples: small pictures (k, 32, 32, 3), their raw features (k, width), probabilities (k, classes).

    ``strangeness`` (k,) is there where the head has a basis.
    """

    pictures: npt.NDArray[np.uint8]
    features: npt.NDArray[np.float32]
    probabilities: npt.NDArray[np.float32]
    strangeness: npt.NDArray[np.float32] | None = None
