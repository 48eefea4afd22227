"""Fit a head on the images of a data set and on those that people labelled, by the recipe of the run in use.

Images of none of the classes (negatives) make one more output of the head, which belongs to no class: the probability
that it takes goes to none of the classes, so that images like these are not sure enough to be filed. Measured on
scenes, 100 of a class, each of six classes left out in turn, at a promise of at most 5 % wrong: of 200 other images of
the class left out 61 % are filed without negatives, 23 % with 5 of them, 15 % with 10 and 9 % with 30, at the same
accuracy; of the other classes 80 % are filed each time. With 200 of a class it takes more negatives: 65, 33, 22 and
11 %. Negatives that count as all classes alike, which takes no more output, leave 41, 31 and 19 % filed with 100 of a
class.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Protocol

import numpy as np
import numpy.typing as npt

from models.checkpoints.head import NO_CLASS, Head, Pretrained
from models.checkpoints.metadata import Metadata, PartRecord, Unknown
from models.deciding.class_tree import ClassTree
from models.deciding.rule import DecisionRule
from trainer.data.cache import Features
from trainer.data.dataset import Labels, Mask
from trainer.data.folds import NEVER, Folds, name_groups
from trainer.data.neighbours import Positions
from trainer.data.perceptual_hash import PerceptualHash
from trainer.heads import views
from trainer.heads.candidates import USUAL_STRENGTH, CandidateHead, View
from trainer.heads.linear import Linear
from trainer.heads.missing_classes import with_energies
from trainer.heads.recipe import Recipe, refit
from trainer.heads.task import FittingTask
from trainer.heads.unknown import Span, fit_span
from trainer.learning.kept import Half, KeptFeatures
from trainer.learning.likeness import fold_labelled, group_labelled
from trainer.measuring.calibration import fit_temperature, log_probabilities
from trainer.measuring.filed_as import filed_as
from trainer.measuring.labelled_predictions import LabelledPredictions

#: With fewer judged images of the data set, the temperature is fitted also on those that people labelled.
_FEW = 20
#: With so many times the images of the data set, another recipe than the one chosen by them is tried, and taken if the
#: mean loss is lower by so many standard errors.
_OUTGROWN, _CLEARLY = 2, 2.0


@dataclass(frozen=True)
class LessonImages:
    """The n images that a lesson is fitted on: raw ``features`` (n, width), which the fit overwrites, and the rest.

    ``labels`` (n,) are positions in ``classes``; that after the last one means none of the classes. The first images
    are those of the data set, in its order. ``is_labelled`` (n,) tells which ones people labelled, of the data set or
    not. For ``folds`` and ``pictures`` (n,) see `KeptFeatures`.
    """

    features: Features
    labels: Labels
    folds: Folds
    pictures: Positions
    sha256: Sequence[str]
    classes: Sequence[str]
    of_data_set: int
    is_labelled: Mask

    @property
    def digest(self) -> str:
        """The sha256 of all images with their labels, regardless of order, as in `trainer.data.dataset.data_digest`."""
        names = [*self.classes, ""]
        lines = sorted(
            f"{sha256} {names[label]}\n" for sha256, label in zip(self.sha256, self.labels.tolist(), strict=True)
        )
        return hashlib.sha256("".join(lines).encode()).hexdigest()

    @property
    def is_negative(self) -> Mask:
        """Which images (n,) are of none of the classes."""
        is_negative: Mask = self.labels == len(self.classes)
        return is_negative

    @property
    def is_trusted(self) -> Mask:
        """Which images (n,) tell how sure and how often right a head is.

        Those of the data set: people correct mistakes only, so that what they labelled is no fair sample.
        """
        is_of_data_set: Mask = np.arange(len(self.labels)) < self.of_data_set
        return is_of_data_set & ~self.is_negative


def gather(
    kept: KeptFeatures,
    answers: Mapping[str, str | None],
    features: Mapping[str, Half],
    classes: Sequence[str],
    perceptual_hashes: Mapping[str, PerceptualHash] | None = None,
) -> LessonImages:
    """Join the images of a data set with those that people labelled.

    ``answers`` gives the class, or None, by the sha256 of an image; it wins over that of the data set. ``features`` are
    those of the images that are not in the data set, and ``perceptual_hashes`` tell which of these are near duplicates.
    """
    position = {name: number for number, name in enumerate(classes)}
    old_sha256 = kept.sha256
    moved = np.array([position[name] for name in kept.classes], np.int64)
    labels = moved[kept.labels] if len(kept.labels) else kept.labels.copy()
    is_old_labelled = np.zeros(len(labels), bool)
    for row, sha256 in enumerate(old_sha256):
        if sha256 in answers:
            label = answers[sha256]
            labels[row] = len(classes) if label is None else position[label]
            is_old_labelled[row] = True
    new = sorted(answers.keys() & features.keys() - set(old_sha256))
    new_names = [answers[sha256] for sha256 in new]
    new_labels = np.array([len(classes) if name is None else position[name] for name in new_names], np.int64)
    joined = np.empty((len(labels) + len(new), kept.features.shape[1]), np.float32)
    joined[: len(labels)] = kept.features
    for row, sha256 in enumerate(new, len(labels)):
        joined[row] = features[sha256]
    pictures = group_labelled(new, new_names, perceptual_hashes or {})
    folds = fold_labelled(name_groups(pictures, new), new, new_names, set(kept.classes), kept.fold_count, kept.seed)
    return LessonImages(
        joined,
        np.concatenate([labels, new_labels]),
        np.concatenate([kept.folds, folds]),
        np.concatenate([kept.pictures, len(labels) + pictures]),
        [*old_sha256, *new],
        classes,
        len(labels),
        np.concatenate([is_old_labelled, np.ones(len(new), bool)]),
    )


class Judged(Protocol):
    """What a lesson fitted, with its predictions for the judged images that its heads had not seen then."""

    @property
    def images(self) -> LessonImages:
        """The images, whose labels are positions among the classes of the head."""

    @property
    def head(self) -> Head:
        """The head."""

    @property
    def candidate(self) -> CandidateHead:
        """The candidate that was fitted, whose logits are yet to be divided by `temperature`."""

    @property
    def temperature(self) -> float:
        """The temperature of the candidate."""

    @property
    def judged(self) -> Mask:
        """Which images (n,) were judged."""

    @property
    def probabilities(self) -> npt.NDArray[np.float64]:
        """The calibrated out-of-fold probabilities (judged, classes)."""

    @property
    def is_unknown(self) -> Mask:
        """Which of the judged images are unknown."""

    def metadata(self, base: Metadata) -> Metadata:
        """Return what the checkpoint says of the head; ``base`` is of the one before."""


def is_filed_by(rule: DecisionRule, fitted: Judged) -> Mask:
    """Tell which of the judged images would be filed, into a class or the folder above it."""
    filed = filed_as(rule, ClassTree(fitted.images.classes), fitted.probabilities, fitted.is_unknown)
    return np.array([folder is not None for _, folder in filed], dtype=bool)


@dataclass(frozen=True)
class FittedLesson:
    """A ``head`` fitted on ``images``, the ``candidate`` that it is of, and what tells unknown images.

    The ``temperature``, by which the candidate's logits are yet to be divided, is that of the data set's images.
    """

    images: LessonImages
    head: Head
    candidate: CandidateHead
    temperature: float
    span: Span | None

    @property
    def judged(self) -> Mask:
        """Which images (n,) were judged."""
        judged: Mask = self.images.folds != NEVER
        return judged

    @property
    def unknown(self) -> Unknown | None:
        """What the checkpoint says of unknown images."""
        return None if self.span is None else self.span.rule

    @cached_property
    def probabilities(self) -> npt.NDArray[np.float64]:
        """The calibrated out-of-fold probabilities (judged, classes); with negatives they add up to less than 1."""
        return np.exp(log_probabilities(self.candidate.out_of_fold, self.temperature))[:, : len(self.images.classes)]

    @cached_property
    def is_unknown(self) -> Mask:
        """Which of the judged images are unknown."""
        images = self.images
        is_unknown = np.zeros(len(images.labels), bool)
        if self.span is not None:
            is_unknown[~images.is_negative] = ~self.span.known
        return is_unknown[self.judged]

    def metadata(self, base: Metadata) -> Metadata:
        """Return what the checkpoint says of the head; ``base`` is of the one before."""
        is_plain = base.normalisation == "pretrained" and self.head.pretrained is None
        return base.model_copy(
            update={
                "classes": list(self.images.classes),
                "temperature": self.temperature,
                "unknown": self.unknown,
                "normalisation": "l2" if is_plain else base.normalisation,
            }
        )

    def predictions(self, among: Mask) -> LabelledPredictions:
        """Return the out-of-fold predictions for the judged images in the mask ``among`` (n,), none a negative."""
        rows = among[self.judged]
        return LabelledPredictions(
            self.images.classes,
            self.images.labels[self.judged & among],
            self.probabilities[rows],
            self.is_unknown[rows],
        )


def fit_lesson(
    images: LessonImages,
    parts: Sequence[PartRecord],
    recipe: Recipe,
    pretrained: Pretrained | None,
    texts: npt.NDArray[np.float32] | None,
) -> FittedLesson:
    """Fit the head. ``pretrained`` makes its inputs, and ``texts`` (outputs, width) is what it starts from, if any."""
    outputs = len(images.classes) + bool(images.is_negative.any())
    view, candidate, logistic = _refit(images, _views(images, outputs, parts, pretrained, texts), recipe)
    task = view.task
    trusted = images.is_trusted[task.judged]
    rows = trusted if trusted.sum() >= _FEW else np.ones(len(trusted), bool)
    temperature = fit_temperature(candidate.out_of_fold[rows], task.labels[task.judged][rows])
    span = _span(images, view, candidate.out_of_fold / temperature, logistic)
    served = candidate.heads[-1]
    head = Head(
        served.weight,
        served.bias,
        view.scaling.mean,
        view.scaling.scale,
        groups=_groups(images, outputs),
        basis=None if span is None else span.basis,
        pretrained=view.pretrained,
    )
    return FittedLesson(images, head, candidate, temperature, span)


def _groups(images: LessonImages, outputs: int) -> npt.NDArray[np.int64] | None:
    if outputs == len(images.classes):
        return None
    return np.array([*range(len(images.classes)), NO_CLASS], np.int64)


def _refit(images: LessonImages, both: tuple[View, View], recipe: Recipe) -> tuple[View, CandidateHead, CandidateHead]:
    """Fit by the recipe on the view that it is for, and return that view, the head and the logistic head.

    Where the images have outgrown those that the recipe was chosen by, the usual one is tried beside it, on the
    features (the other view), and taken if its loss is clearly lower: a choice among few images is often a guess.
    Measured on scenes with a class that appears late (tests/benchmarks/learning.py): begun with ten images a class, one
    draw in five takes the pretrained classes, by which .864 are right 300 answers later, and .889 by the usual recipe.

    Clearly, since with few labels that would be a guess, too: on ants and bees, 25 draws, ten random answers a day, the
    recipe was changed at 40 images wherever the loss was any lower, and days two and three were .003 and .002 under the
    head that never learned, one draw by .05; so they are .002 and .003 above it.
    """
    features, view = both
    candidate, logistic = refit(view, recipe)
    usual = recipe.model_copy(
        update={"kind": "mean", "strength": USUAL_STRENGTH, "shrinkage": None, "as_classes": False}
    )
    if usual == recipe or len(images.labels) < _OUTGROWN * images.of_data_set:
        return view, candidate, logistic
    other, other_logistic = refit(features, usual)
    won = candidate.losses - other.losses
    is_better = won.mean() > _CLEARLY * won.std() / np.sqrt(len(won))
    return (features, other, other_logistic) if is_better else (view, candidate, logistic)


def _views(
    images: LessonImages,
    outputs: int,
    parts: Sequence[PartRecord],
    pretrained: Pretrained | None,
    texts: npt.NDArray[np.float32] | None,
) -> tuple[View, View]:
    """Return the view of the features and the one that the recipe is for, which is mostly the same."""
    described = [views.Part(part.name, part.width, pretrained=pretrained) for part in parts]
    likenesses = views.class_likenesses(images.features, described[0])
    view = views.view_of_all_parts(images.features, images.labels, outputs, images.folds, described)
    if likenesses is not None:
        return view, views.view_as_classes(likenesses, described[0], view)
    if texts is not None:
        start = Linear(texts / view.scaling.scale, np.asarray(texts @ view.scaling.mean, np.float32))
        view = replace(view, task=replace(view.task, start=start), texts=start)
    return view, view


def _span(images: LessonImages, view: View, logits: npt.NDArray[np.float64], logistic: CandidateHead) -> Span | None:
    """Return what tells unknown images from those of the classes, by calibrated ``logits`` (judged, outputs)."""
    known, classes, task = ~images.is_negative, len(images.classes), view.task
    if not known.all():
        start = None if task.start is None else Linear(task.start.weight[:classes], task.start.bias[:classes])
        task = FittingTask(task.inputs.rows(known), task.labels[known], classes, task.folds[known], start)
    span = fit_span(task.inputs, task.folds)
    if span is None:
        return None
    rows = known[view.task.judged]
    reference = replace(logistic, out_of_fold=logistic.out_of_fold[rows, :classes])
    return with_energies(span, task, logits[rows, :classes], reference)[0]
