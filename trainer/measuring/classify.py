"""Classify image files with checkpoints, decoding and predicting exactly as the daemon does."""

from __future__ import annotations

import unicodedata
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from tqdm import tqdm

from models.checkpoints import checkpoint as checkpoints
from models.classifier import Classifier, Scores, open_classifier
from models.weights.store import WeightsStore
from trainer.data.dataset import File, Unreadable, shown
from trainer.data.features import BATCH, ReadFile, read_all, stacked
from trainer.runs.proof import require_unchanged


@dataclass(frozen=True)
class OpenedCheckpoint:
    """A checkpoint that is ready to predict, and its file."""

    path: Path
    classifier: Classifier

    @property
    def run(self) -> str:
        """The name of the run folder that holds it."""
        return self.path.resolve().parent.name


def open_checkpoint(path: Path, store: WeightsStore) -> OpenedCheckpoint:
    """Open a checkpoint: a file, that of a run folder, or the published one of a folder of runs.

    Raises `CheckpointError`.
    """
    file = checkpoints.resolve(path)
    classifier = open_classifier(file, store)
    if file.name == checkpoints.FILE_NAME:
        require_unchanged(file.parent, classifier.digest)
    return OpenedCheckpoint(file, classifier)


@dataclass(frozen=True)
class ClassMatch:
    """The labels of a data set, matched with the classes of a checkpoint.

    ``positions`` maps labels to positions in the checkpoint's classes, ``renamed`` maps labels to names that are spelt
    differently. ``only_in_data`` lists labels that the checkpoint does not know, ``only_in_checkpoint`` classes that no
    image of the data has.
    """

    positions: Mapping[str, int]
    renamed: Mapping[str, str]
    only_in_data: list[str]
    only_in_checkpoint: list[str]


def match_classes(labels: Sequence[str], classes: Sequence[str]) -> ClassMatch:
    """Match by name, regardless of case and of composed or decomposed letters.

    Neither a data set nor a checkpoint has two classes whose names are the same in this way.
    """
    known = {_folded(name): position for position, name in enumerate(classes)}
    positions = {label: known[_folded(label)] for label in labels if _folded(label) in known}
    return ClassMatch(
        positions,
        {label: classes[position] for label, position in positions.items() if classes[position] != label},
        sorted(set(labels) - set(positions)),
        sorted(name for position, name in enumerate(classes) if position not in set(positions.values())),
    )


def _folded(name: str) -> str:
    return unicodedata.normalize("NFC", unicodedata.normalize("NFC", name).casefold())


@dataclass(frozen=True)
class Classified:
    """The n readable images of a data set, their sha256, and the unreadable files.

    ``scores`` holds the predictions of each classifier for the n images.
    """

    files: list[File]
    sha256: list[str]
    scores: list[Scores]
    unreadable: list[Unreadable]


def classify(files: Sequence[File], classifiers: Sequence[Classifier], batch_size: int) -> Classified:
    """Read every file once and classify it with every classifier. Shows progress on a terminal."""
    transforms = [transform for classifier in classifiers for transform in classifier.transforms]
    readable: list[ReadFile] = []
    batches_by_classifier: list[list[Scores]] = [[] for _ in classifiers]
    unreadable: list[Unreadable] = []
    waiting: list[ReadFile] = []

    def predict() -> None:
        crops = iter(stacked(waiting))
        for classifier, batches in zip(classifiers, batches_by_classifier, strict=True):
            batches.append(classifier.score([next(crops) for _ in classifier.transforms]))
        readable.extend(ReadFile(read.file, read.sha256) for read in waiting)
        waiting.clear()

    read: ReadFile
    for read in tqdm(read_all(files, transforms), "evaluate", len(files), unit=" images", disable=None):
        if read.error is not None:
            unreadable.append(read.error)
            continue
        waiting.append(read)
        if len(waiting) == min(batch_size, BATCH):
            predict()
    if waiting:
        predict()
    return Classified(
        [read.file for read in readable],
        [read.sha256 for read in readable],
        [
            _concatenate(batches, len(classifier.classes))
            for classifier, batches in zip(classifiers, batches_by_classifier, strict=True)
        ],
        unreadable,
    )


def _concatenate(batches: Sequence[Scores], classes: int) -> Scores:
    empty = Scores(np.empty((0, classes), np.float32), np.empty(0, np.float32))
    return Scores(*map(np.concatenate, zip(empty, *batches, strict=True)))


def checkpoint_titles(opened: Sequence[OpenedCheckpoint]) -> list[str]:
    """Name each checkpoint by its run, or by its whole path where several runs have the same name."""
    runs = [checkpoint.run for checkpoint in opened]
    return runs if len(set(runs)) == len(runs) else [shown(checkpoint.path) for checkpoint in opened]
