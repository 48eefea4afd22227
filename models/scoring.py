"""The arithmetic of a head: from raw features to calibrated probabilities, and to how strange an image is."""

from __future__ import annotations

from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt

from models.engines import Features
from models.head import NO_CLASS, Head, Pretrained
from models.metadata import Metadata

FloatT = TypeVar("FloatT", bound=np.floating[Any])

#: Calibrated probabilities (n, classes) of n images.
Probabilities = npt.NDArray[np.float32]
#: How strange (n,) n images are: 1 is the most of a known image; 0 where the checkpoint cannot tell.
Strangeness = npt.NDArray[np.float32]


def normalise(features: Features, metadata: Metadata) -> Features:
    """Return raw features (n, width) as the head takes them: those of each part at unit length, or as they are."""
    if metadata.normalisation == "none":
        return features
    return np.concatenate(
        [part / np.maximum(np.linalg.norm(part, axis=1, keepdims=True), 1e-12) for part in by_part(features, metadata)],
        axis=1,
    )


def likeness(features: Features, pretrained: Pretrained) -> Features:
    """Return how like each of n images is to each of k classes that its backbone was pretrained with (n, k).

    These are the square roots of the class probabilities at temperature 2, from raw features (n, width). Roots, since a
    difference between improbable classes tells something too (the distance of such rows is Hellinger's); temperature 2,
    since at 1 one class has nearly all of the probability.
    """
    logits = features @ pretrained.weight.T + pretrained.bias
    logits *= np.float32(0.5)
    logits -= logits.max(axis=1, keepdims=True)
    alike: Features = np.exp(logits)
    alike /= alike.sum(axis=1, keepdims=True)
    return np.sqrt(alike, out=alike)


def by_part(features: Features, metadata: Metadata) -> list[Features]:
    """Split features (n, width) of all parts into one array (n, its width) for each part."""
    return np.split(features, np.cumsum([part.width for part in metadata.parts])[:-1], axis=1)


def _inputs(metadata: Metadata, head: Head, features: Features) -> Features:
    inputs = normalise(features, metadata) if head.pretrained is None else likeness(features, head.pretrained)
    scaled: Features = (inputs - head.mean) * head.scale
    return scaled


def _logits(metadata: Metadata, head: Head, inputs: Features) -> Features:
    """Return the calibrated logits (n, outputs) of a head's inputs (n, width)."""
    logits: Features = (inputs @ head.weight.T + head.bias) / np.float32(metadata.temperature)
    return logits


def head_probabilities(metadata: Metadata, head: Head, features: Features) -> Probabilities:
    """Return calibrated probabilities (n, classes) of raw features (n, width)."""
    return _probabilities(metadata, head, _logits(metadata, head, _inputs(metadata, head, features)))


def _probabilities(metadata: Metadata, head: Head, logits: Features) -> Probabilities:
    outputs: Probabilities = np.exp(logits - logits.max(axis=1, keepdims=True))
    outputs /= outputs.sum(axis=1, keepdims=True)
    if head.groups is None:
        return outputs
    grouped = np.zeros((len(outputs), len(metadata.classes)), np.float32)
    of_class = head.groups != NO_CLASS
    np.add.at(grouped.T, head.groups[of_class], outputs[:, of_class].T)
    return grouped


def head_strangeness(metadata: Metadata, head: Head, features: Features) -> Strangeness:
    """Return how strange (n,) raw features (n, width) are: above 1 an image is unknown. 0 without a basis.

    Two things make an image strange. The known images vary in few directions: the part of an image's features that lies
    in other directions is its distance from the span of the head's basis (the residual of ViM, Wang et al., CVPR 2022).
    And an image that resembles the known ones, but is of none of their classes, has a high energy: see `energies`.
    """
    inputs = _inputs(metadata, head, features)
    return _strangeness(metadata, head, inputs, _logits(metadata, head, inputs))


def _strangeness(metadata: Metadata, head: Head, inputs: Features, logits: Features) -> Strangeness:
    if head.basis is None or metadata.unknown is None:
        return np.zeros(len(inputs), np.float32)
    unknown = metadata.unknown
    outside = inputs - (inputs @ head.basis.T) @ head.basis
    strangeness: Strangeness = np.linalg.norm(outside, axis=1)
    if unknown.energy_weight:
        of_classes = logits if head.groups is None else logits[:, head.groups != NO_CLASS]
        energy = energies(of_classes) - np.float32(unknown.usual_energy)
        strangeness = np.maximum(strangeness + np.float32(unknown.energy_weight) * energy, np.float32(0))
    return strangeness / np.float32(unknown.limit)


def energies(logits: npt.NDArray[FloatT]) -> npt.NDArray[FloatT]:
    """Return the energy (n,) of calibrated logits (n, outputs): high where no output stands out.

    It is minus the logarithm of the sum of their exponentials (Liu et al., NeurIPS 2020). What all logits of an image
    have in common changes no probability and is left out, since not every kind of head holds it at 0.
    """
    centred = logits - logits.mean(axis=1, keepdims=True)
    highest = centred.max(axis=1, keepdims=True)
    energy: npt.NDArray[FloatT] = -highest[:, 0] - np.log(np.exp(centred - highest).sum(axis=1))
    return energy


def score(metadata: Metadata, head: Head, features: Features) -> tuple[Probabilities, Strangeness]:
    """Return `head_probabilities` and `head_strangeness` of raw features (n, width), computed together."""
    inputs = _inputs(metadata, head, features)
    logits = _logits(metadata, head, inputs)
    return _probabilities(metadata, head, logits), _strangeness(metadata, head, inputs, logits)
