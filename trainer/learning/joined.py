"""Join a data set with what people said of images, so that a fit learns from both."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from models.deciding.class_tree import ClassTree
from models.errors import UserError
from models.text.language import tr, trn
from trainer.data.dataset import ClassFolders, File, Mask, Sample
from trainer.data.features import Extracted
from trainer.learning.answers import (
    LEAST_IMAGES,
    HashedLabel,
    gone_sentences,
    with_good_names,
    with_hashes,
    without_small_classes,
)
from trainer.learning.contradictions import Contradiction, contradiction_sentences
from trainer.learning.labels import read_labels


@dataclass(frozen=True)
class PeoplesLabels:
    """What people said of images, by content, and the ``files`` of those that have to be read.

    ``gone`` counts labels whose image is not where it was, and ``left_out`` has sentences on those that no class can
    be made of.
    """

    source: Path
    labels: Sequence[HashedLabel]
    files: Sequence[File]
    gone: int
    left_out: Sequence[str]


def joined_sentences(joined: Joined) -> list[str]:
    """Say how many labels of people are learned, which of them contradict the data set, and what is left out."""
    count = trn(
        "{count} image is labelled by people, not by the folder it lies in",
        "{count} images are labelled by people, not by the folders they lie in",
        joined.labelled,
    )
    return [count, *contradiction_sentences(joined.contradictions), *joined.sentences]


def read_peoples_labels(
    source: Path, folders: ClassFolders, reserved: Sequence[str], *, nested: bool = False
) -> PeoplesLabels:
    """Read labels as `trainer.learning.labels` does. Classes are named as in the data set, and none is ``reserved``.

    Raises `UserError`.
    """
    tree = ClassTree(folders.classes) if nested and folders.classes else None
    named, left_out = with_good_names(read_labels(source, tree, nested=nested), folders.classes, reserved)
    labels, gone = with_hashes(named)
    in_data_set = {str(folders.root.resolve() / file.name) for file in folders.files}
    files = [
        File(label.path, str(label.path.absolute()), label.label)
        for label in labels
        if label.label is not None and str(label.path.resolve()) not in in_data_set and label.path.is_file()
    ]
    return PeoplesLabels(source, labels, files, gone, left_out)


@dataclass(frozen=True)
class Joined:
    """Images of a data set, the first ``of_data_set``, and after them those that only people have labelled.

    ``labelled`` counts the images of the labels that are used, and ``sentences`` say what is not.
    """

    extracted: Extracted
    of_data_set: int
    labelled: int
    contradictions: Sequence[Contradiction]
    sentences: Sequence[str]

    @property
    def is_trusted(self) -> Mask | None:
        """Which images (n,) show how often the model is right; None for all, where there is no data set.

        Those that people labelled do not: people correct mistakes only, so that they are no fair sample.
        """
        count = len(self.extracted.samples)
        return np.arange(count) < self.of_data_set if self.of_data_set else None

    def figures(self) -> dict[str, Any]:
        """Return what ``metrics.json`` says of the labels."""
        return {
            "images": self.labelled,
            "contradictions": [contradiction.figures() for contradiction in self.contradictions],
            "left_out": list(self.sentences),
        }


def join(peoples: PeoplesLabels, extracted: Extracted, classes: Sequence[str]) -> Joined:
    """Give the images of a data set the classes that people say they are of, and take the other labelled images in.

    ``extracted`` has the files of the data set, then those of ``peoples``; its features are overwritten. ``classes``
    are those of the data set. Raises `UserError` where there is none and the labels are too few.
    """
    added = {file.name for file in peoples.files}
    of_data_set = sum(sample.name not in added for sample in extracted.samples)
    there = {sample.sha256 for sample in extracted.samples}
    negatives = [label for label in peoples.labels if label.label is None]
    usable = [label for label in peoples.labels if label.label is not None and label.sha256 in there]
    missing = len(peoples.labels) - len(negatives) - len(usable)
    kept, small = without_small_classes(usable, classes)
    said = {label.sha256: label.label for label in [*kept, *negatives]}
    rows, samples, contradictions = _joined(said, extracted.samples, of_data_set)
    for row, old in enumerate(rows):  # in place: a copy of the features may not fit into memory
        extracted.features[row] = extracted.features[old]
    in_data_set = sum(old < of_data_set for old in rows)
    if not classes and len({sample.label for sample in samples}) < 2:
        raise UserError(
            tr(
                "the labels of {source} are too few to fit on: it takes two classes with {least} images each that are "
                "still there; label more, or give --data-dir too",
                source=peoples.source,
                least=LEAST_IMAGES,
            )
        )
    return Joined(
        replace(
            extracted,
            samples=samples,
            features=extracted.features[: len(rows)],
            hashes=[extracted.hashes[old] for old in rows],
            unreadable=[image for image in extracted.unreadable if image.name not in added],
        ),
        in_data_set,
        sum(sample.sha256 in said for sample in samples),
        contradictions,
        [*peoples.left_out, *gone_sentences(peoples.gone + missing), *small, *_negatives(len(negatives))],
    )


def _joined(
    said: Mapping[str, str | None], samples: Sequence[Sample], of_data_set: int
) -> tuple[list[int], list[Sample], list[Contradiction]]:
    """Return the positions of the images that are fitted on, their samples, and where people contradict a data set.

    What people say is of none of the classes is left out of the data set.
    """
    rows: list[int] = []
    joined: list[Sample] = []
    contradictions = []
    seen: set[str] = set()
    for row, sample in enumerate(samples):
        label = said.get(sample.sha256, sample.label)
        if row < of_data_set:
            if label != sample.label:
                contradictions.append(Contradiction(sample.name, sample.label, label))
            if label is None:
                continue
        elif sample.sha256 in seen or said.get(sample.sha256) is None:  # a copy, changed since, or too few
            continue
        assert label is not None
        seen.add(sample.sha256)
        rows.append(row)
        joined.append(replace(sample, label=label))
    return rows, joined, contradictions


def _negatives(count: int) -> list[str]:
    """Say that a fit only learns classes."""
    if not count:
        return []
    return [
        trn(
            "{count} image that people say is of none of the classes is not learned from: a lesson does that "
            "(imagesortd learn)",
            "{count} images that people say are of none of the classes are not learned from: a lesson does that "
            "(imagesortd learn)",
            count,
        )
    ]
