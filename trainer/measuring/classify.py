"""Put image files to checkpoints, decoding and predicting exactly as the daemon does."""

from __future__ import annotations

import unicodedata
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from tqdm import tqdm

from models import checkpoint as checkpoints
from models.classifier import Classifier, Judgement, open_classifier
from models.weights import WeightsStore
from trainer.data.dataset import File, Unreadable, shown
from trainer.data.features import BATCH, Read, read_all, stacked
from trainer.runs.proof import require_as_made


@dataclass(frozen=True)
class Opened:
    """A checkpoint that is ready to predict, and the file it is."""

    path: Path
    classifier: Classifier

    @property
    def run(self) -> str:
        """The name of its run folder."""
        return self.path.resolve().parent.name


def open_checkpoint(path: Path, store: WeightsStore) -> Opened:
    """Open a checkpoint file, a run folder's or the published one of a folder of runs. Raises `CheckpointError`."""
    file = checkpoints.resolve(path)
    classifier = open_classifier(file, store)
    if file.name == checkpoints.FILE_NAME:
        require_as_made(file.parent, classifier.digest)
    return Opened(file, classifier)


@dataclass(frozen=True)
class Matched:
    """The classes of a data set beside those of a checkpoint.

    ``positions`` are the checkpoint's classes by the data's labels, ``renamed`` names those that are spelt otherwise;
    ``strangers`` are labels that the checkpoint does not know, ``absent`` classes of it that the data has no image of.
    """

    positions: Mapping[str, int]
    renamed: Mapping[str, str]
    strangers: list[str]
    absent: list[str]


def match(labels: Sequence[str], classes: Sequence[str]) -> Matched:
    """Match by name; upper and lower case, and composed and decomposed letters, are one.

    Neither a data set nor a checkpoint has two classes whose names are one in this way.
    """
    known = {_folded(name): position for position, name in enumerate(classes)}
    positions = {label: known[_folded(label)] for label in labels if _folded(label) in known}
    return Matched(
        positions,
        {label: classes[at] for label, at in positions.items() if classes[at] != label},
        sorted(set(labels) - set(positions)),
        sorted(name for at, name in enumerate(classes) if at not in set(positions.values())),
    )


def _folded(name: str) -> str:
    return unicodedata.normalize("NFC", unicodedata.normalize("NFC", name).casefold())


@dataclass(frozen=True)
class Classified:
    """The n readable images of a data set, their sha256, and what could not be read.

    ``judgements`` are what each classifier says of them.
    """

    files: list[File]
    sha256: list[str]
    judgements: list[Judgement]
    unreadable: list[Unreadable]


def classify(files: Sequence[File], classifiers: Sequence[Classifier], batch_size: int) -> Classified:
    """Read every file once and put it to every classifier. Shows its progress on a terminal."""
    transforms = [transform for classifier in classifiers for transform in classifier.transforms]
    readable: list[Read] = []
    rows: list[list[Judgement]] = [[] for _ in classifiers]
    unreadable: list[Unreadable] = []
    waiting: list[Read] = []

    def predict() -> None:
        crops = iter(stacked(waiting))
        for classifier, of_classifier in zip(classifiers, rows, strict=True):
            own = [next(crops) for _ in classifier.transforms]
            of_classifier.append(classifier.judge(own))
        readable.extend(Read(read.file, read.sha256) for read in waiting)
        waiting.clear()

    read: Read
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
        [_joined(of_classifier, len(each.classes)) for each, of_classifier in zip(classifiers, rows, strict=True)],
        unreadable,
    )


def _joined(batches: Sequence[Judgement], classes: int) -> Judgement:
    none = Judgement(np.empty((0, classes), np.float32), np.empty(0, np.float32))
    return Judgement(*map(np.concatenate, zip(none, *batches, strict=True)))


def titles(opened: Sequence[Opened]) -> list[str]:
    """What to call each checkpoint: its run, or its whole path where several have the same."""
    runs = [each.run for each in opened]
    return runs if len(set(runs)) == len(runs) else [shown(each.path) for each in opened]
