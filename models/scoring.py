"""The arithmetic of a head: from raw features to calibrated probabilities, and to how strange an image is."""

from __future__ import annotations

from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt

from models.checkpoints.head import NO_CLASS, Head, Pretrained, Taught
from models.checkpoints.metadata import Metadata, Nearness
from models.inference.engines import Features

FloatT = TypeVar("FloatT", bound=np.floating[Any])

#: Less probable than that is nothing: what logarithms are taken of.
_LEAST = np.float32(1e-12)

#: Calibrated probabilities (n, classes) of n images.
Probabilities = npt.NDArray[np.float32]
#: How strange (n,) n images are: 1 is the most of a known image; 0 where the checkpoint cannot tell.
Strangeness = npt.NDArray[np.float32]


def normalise(features: Features, metadata: Metadata) -> Features:
    """Return raw features (n, width) as the head takes them: those of each part at unit length, or as they are."""
    return features if metadata.normalisation == "none" else at_unit_length(features, metadata)


def at_unit_length(features: Features, metadata: Metadata) -> Features:
    """Return raw features (n, width) with those of each part at unit length."""
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
    probabilities = _grouped(metadata, head.groups, _logits(metadata, head, _inputs(metadata, head, features)))
    if head.taught is None or metadata.nearness is None:
        return probabilities
    return _with_taught(metadata, metadata.nearness, head.taught, features, probabilities)[0]


def _grouped(metadata: Metadata, groups: npt.NDArray[np.int64] | None, logits: Features) -> Probabilities:
    """Return the probabilities (n, classes) of calibrated logits (n, outputs)."""
    outputs: Probabilities = np.exp(logits - logits.max(axis=1, keepdims=True))
    outputs /= outputs.sum(axis=1, keepdims=True)
    if groups is None:
        return outputs
    grouped = np.zeros((len(outputs), len(metadata.classes)), np.float32)
    of_class = groups != NO_CLASS
    np.add.at(grouped.T, groups[of_class], outputs[:, of_class].T)
    return grouped


def _with_taught(
    metadata: Metadata, nearness: Nearness, taught: Taught, features: Features, probabilities: Probabilities
) -> tuple[Probabilities, Features]:
    """Mix ``probabilities`` with those that people taught; return also how much these count (n,)."""
    unit = at_unit_length(features, metadata)
    near = how_near(nearness, distances_to_known(unit, taught.known, nearness.neighbours), probabilities @ taught.reach)
    taught_probabilities = _grouped(metadata, taught.groups, unit @ taught.weight.T + taught.bias)
    return probabilities + near[:, None] * (taught_probabilities - probabilities), near


def distances_to_known(
    unit: Features, known: Features, neighbours: int, left_out: npt.NDArray[np.bool_] | None = None
) -> Features:
    """Return the mean squared distances (n,) from features at unit length (n, width) to their nearest ``known`` ones.

    ``left_out`` (n, m) tells which known ones do not count for which image.
    """
    distances = (unit**2).sum(axis=1)[:, None] + (known**2).sum(axis=1) - 2 * (unit @ known.T)
    if left_out is not None:
        distances[left_out] = np.inf
    nearest = min(neighbours, distances.shape[1])
    result: Features = np.partition(distances, nearest - 1, axis=1)[:, :nearest].mean(axis=1, dtype=np.float32)
    return result


def how_near(nearness: Nearness, distances: Features, reach: Features) -> Features:
    """Return how much (n,) what people taught counts, 0 to 1, at these distances (n,) from what they labelled.

    ``reach`` (n,) is by how many spreads it counts farther away.
    """
    away = (distances - np.float32(nearness.usual)) / np.float32(nearness.spread)
    inside = np.float32(nearness.steepness) * (np.float32(nearness.limit) + reach - away)
    result: Features = np.reciprocal(1 + np.exp(-np.clip(inside, -80, 80)), dtype=np.float32)
    return result


def directions(features: Features, metadata: Metadata) -> Features:
    """Return raw features (n, width) at length 1, to which each part adds as much: alike images point the same way."""
    result: Features = at_unit_length(features, metadata) / np.sqrt(np.float32(len(metadata.parts)))
    return result


def mean_by_logits(probabilities: Probabilities) -> Probabilities:
    """Return the probabilities (classes,) whose logits are the means of those of n images (n, classes).

    Where they add up to less than 1, the rest counts as a class: that of images of none.
    """
    rest = np.clip(1 - probabilities.sum(axis=1, keepdims=True), 0, 1)
    logits = np.log(np.maximum(np.concatenate([probabilities, rest], axis=1), _LEAST)).mean(axis=0)
    mean: Probabilities = np.exp(logits - logits.max())
    mean /= mean.sum()
    return mean[:-1]


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
    """Return `head_probabilities` and `head_strangeness` of raw features (n, width), computed together.

    What people taught is known: as far as it counts for an image, that is less strange.
    """
    inputs = _inputs(metadata, head, features)
    logits = _logits(metadata, head, inputs)
    probabilities, strangeness = _grouped(metadata, head.groups, logits), _strangeness(metadata, head, inputs, logits)
    if head.taught is None or metadata.nearness is None:
        return probabilities, strangeness
    mixed, near = _with_taught(metadata, metadata.nearness, head.taught, features, probabilities)
    return mixed, strangeness * (1 - near)
