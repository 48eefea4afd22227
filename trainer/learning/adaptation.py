"""Adapt a head that was fitted elsewhere, whose images are not at hand, to what people labelled.

A second head is fitted on the labelled images alone, and counts only near them: where an image is as near to its
nearest labelled ones as these are to each other. Everywhere else the head stays what it was, however few or many labels
there are. How near is enough depends on the labelled images, each measured without itself, and on the classes they came
from: where people took images out of a folder, more of its images may go. Where the labelled images are unlike each
other, that would reach too far: then it is reduced until few enough images change that were filed and left in their
folders (`Adaptation.more_careful`).

Measured on the starter with 10 images in each of up to five new folders (``python -m tests.benchmarks.adapting``, which
says the rest). Tried with six draws of four sets, as the accuracy beside a fit on the same images, and the share of
images of the starter's own folders that change: with one row for each class added to the starter's outputs, fitted
against prototypes of the ImageNet classes in place of their images, -.025 and 2 %; with the nearest class mean instead
of the nearest three images, -.016 and 3 %; without telling from which folders images came, -.035 and 1 %; so, -.013 and
1 %. With a farther reach into folders that images came from, a smaller distance elsewhere, and the mean of gradient and
logistic in place of the logistic head alone, -.009 and 1 %. Where nothing else is taught, a folder takes what is of a
like kind as well: with a reach of 2 and a distance of 1.7 it is -.008, but 85 % of the images of like kinds go there,
and not 76 %. The likeness of images to the ImageNet classes tells what is near as well as their features do, or a
little better, but only where a backbone has such classes.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
import numpy.typing as npt

from models.checkpoints.head import NO_CLASS, Head, Taught
from models.checkpoints.metadata import Metadata, Nearness, PartRecord
from models.checkpoints.tensors import MAX_KNOWN
from models.classifier import Classifier
from models.scoring import at_unit_length, distances_to_known, head_probabilities, how_near
from trainer.data.cache import Features
from trainer.data.dataset import Mask
from trainer.data.folds import NEVER, Folds
from trainer.heads import views
from trainer.heads.candidates import CandidateHead
from trainer.heads.recipe import Recipe, refit
from trainer.learning.lesson import LessonImages
from trainer.measuring.calibration import log_probabilities

#: How many of the labelled images must be near.
_NEIGHBOURS = 3
#: See `Nearness`: the limit in spreads, how steep the curve is, and the spread as a share of the distance, at least.
_LIMIT, _STEEPNESS, _LEAST_SPREAD = 2.15, 8.0, 0.05
#: By how many spreads the limit is farther for a class, times the logarithm of 1 + the images that left it.
_REACH = 1.0

Probabilities = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Adaptation:
    """A ``head`` of all classes, with what people taught by ``images``; see `trainer.learning.lesson.Judged`."""

    images: LessonImages
    head: Head
    nearness: Nearness
    candidate: CandidateHead
    _unit: Features
    _before: Features

    @cached_property
    def probabilities(self) -> Probabilities:
        """The probabilities (judged, classes) of each judged image, computed from the images of other folds alone."""
        assert self.head.taught is not None
        return _out_of_fold(
            self.images.folds, self.candidate, self.head.taught, self.nearness, self._unit, self._before
        )

    def more_careful(self, share: float) -> Adaptation:
        """Return the same lesson with this ``share`` of the reach, in spreads, of what was taught."""
        assert self.head.taught is not None
        taught = replace(self.head.taught, reach=self.head.taught.reach * np.float32(share))
        nearness = self.nearness.model_copy(update={"limit": self.nearness.limit * share})
        return replace(self, head=replace(self.head, taught=taught), nearness=nearness)

    @property
    def temperature(self) -> float:
        """The temperature by which the second head was divided."""
        return self.candidate.temperature

    @property
    def judged(self) -> Mask:
        """Which images (n,) were judged."""
        judged: Mask = self.images.folds != NEVER
        return judged

    @property
    def is_unknown(self) -> Mask:
        """Which of the judged images are unknown: none, since what people labelled is known."""
        return np.zeros(len(self.probabilities), bool)

    def metadata(self, base: Metadata) -> Metadata:
        """Return what the checkpoint says of the head; ``base`` is of the one that was adapted."""
        return base.model_copy(update={"classes": list(self.images.classes), "nearness": self.nearness})


def fit_adaptation(origin: Classifier, images: LessonImages, recipe: Recipe) -> Adaptation:
    """Fit what people taught; ``origin`` was fitted elsewhere. None of the images is of a data set.

    Their features are overwritten.
    """
    raw = images.features.copy()
    classes = [*origin.classes, *sorted(set(images.classes) - set(origin.classes))]
    unit = _as_half(at_unit_length(raw, origin.metadata))
    candidate, taught = _fit_taught(images, origin.metadata.parts, recipe, unit)
    groups = np.array([*(classes.index(name) for name in images.classes), NO_CLASS], np.int64)
    taught = replace(taught, groups=groups[: len(taught.bias)])
    before = np.zeros((len(raw), len(classes)), np.float32)
    before[:, : len(origin.classes)] = head_probabilities(origin.metadata, origin.head, raw)
    reach = np.zeros(len(classes), np.float32)
    reach[: len(origin.classes)] = _reach(before[:, : len(origin.classes)], images, origin.classes)
    taught = replace(taught, reach=reach)
    nearness = _nearness(unit)
    head = replace(origin.head, groups=_groups(origin), taught=_bounded(taught))
    labels = np.where(images.is_negative, len(classes), groups[images.labels])
    return Adaptation(replace(images, labels=labels, classes=classes), head, nearness, candidate, unit, before)


def _as_half(features: Features) -> Features:
    """Round features to what a checkpoint keeps."""
    rounded: Features = features.astype(np.float16).astype(np.float32)
    return rounded


def _groups(origin: Classifier) -> npt.NDArray[np.int64]:
    """Map the outputs of the head to the classes, which may be fewer."""
    return np.arange(len(origin.classes)) if origin.head.groups is None else origin.head.groups


def _fit_taught(
    images: LessonImages, parts: list[PartRecord], recipe: Recipe, unit: Features
) -> tuple[CandidateHead, Taught]:
    """Fit the second head by its recipe; its reach and the classes of its outputs are set later."""
    outputs = len(images.classes) + bool(images.is_negative.any())
    described = [views.Part(part.name, part.width) for part in parts]
    view = views.view_of_all_parts(images.features, images.labels, outputs, images.folds, described)
    candidate, _ = refit(view, recipe)
    served, scaling = candidate.heads[-1], view.scaling
    weight = served.weight * scaling.scale
    bias = served.bias - weight @ scaling.mean
    temperature = np.float32(candidate.temperature)
    none = np.zeros(0, np.float32)
    taught = Taught(
        (weight / temperature).astype(np.float32), (bias / temperature).astype(np.float32), none.astype(int), unit, none
    )
    return candidate, taught


def _nearness(unit: Features) -> Nearness:
    """Decide what counts as near from the distances of the labelled images to their nearest ones."""
    distances = distances_to_known(unit, unit, _NEIGHBOURS, np.eye(len(unit), dtype=bool)).astype(np.float64)
    usual = float(distances.mean())
    return Nearness(
        usual=usual,
        spread=max(float(distances.std()), _LEAST_SPREAD * usual, 1e-6),
        limit=_LIMIT,
        steepness=_STEEPNESS,
        neighbours=min(_NEIGHBOURS, len(unit) - 1),
    )


def _reach(before: Features, images: LessonImages, classes: list[str]) -> Features:
    """Return how much farther (classes,) what was taught reaches for images that the head before took for each class.

    That depends on how many of the labelled images left that class for one that the head did not have.
    """
    is_new = np.array([*(name not in classes for name in images.classes), False])[images.labels]
    left: Features = before[is_new].sum(axis=0)
    reach: Features = np.float32(_REACH) * np.log1p(left)
    return reach


def _bounded(taught: Taught) -> Taught:
    """Keep as many of the labelled images as a checkpoint may hold, spread evenly over them."""
    count = len(taught.known)
    if count <= MAX_KNOWN:
        return taught
    return replace(taught, known=taught.known[np.linspace(0, count - 1, MAX_KNOWN).astype(int)])


def _out_of_fold(
    folds: Folds,
    candidate: CandidateHead,
    taught: Taught,
    nearness: Nearness,
    unit: Features,
    before: Features,
) -> Probabilities:
    """Return the probabilities (judged, classes) of each judged image, computed from those of other folds alone."""
    judged = folds != NEVER
    left_out = folds[judged][:, None] == folds[None, :]
    distances = distances_to_known(unit[judged], unit, nearness.neighbours, left_out)
    before = before[judged]
    near = how_near(nearness, distances, before @ taught.reach)[:, None]
    outputs = np.exp(log_probabilities(candidate.out_of_fold, candidate.temperature))
    by_class = np.zeros(before.shape)
    for output, group in enumerate(taught.groups.tolist()):
        if group != NO_CLASS:
            by_class[:, group] += outputs[:, output]
    mixed: Probabilities = before * (1 - near) + near * by_class
    return mixed
