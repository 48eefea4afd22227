"""Whether a lesson leaves in their folders the images that were filed last and that nobody moved.

Where a head is adapted there is no data set to judge it by. That an image was left where it was filed says little about
that image, but all of them together show whether a lesson changes what nobody asked for. People did ask for changes in
a folder from which they moved images into a new one, so that its images do not count. Where too many others would
change folder, what was taught is made to count only for images that are still nearer to the labelled ones, until few
enough do (`make_steady`).

Without that, 5 % of 300 images that are 32 pixels wide changed their folder, and 23 % in one draw of six: twenty ants
and bees that were unlike each other made nearly everything near. `tests.benchmarks.adapting` has the figures.
"""

from __future__ import annotations

import math
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from models.checkpoints.head import Head
from models.checkpoints.metadata import Metadata
from models.classifier import Classifier
from models.deciding.rule import are_unknown
from models.scoring import score
from models.text.language import tr
from trainer.data.cache import FeatureCache, Features
from trainer.data.dataset import File
from trainer.data.features import extract
from trainer.learning.adaptation import Adaptation
from trainer.learning.kept import Half
from trainer.learning.labels import GivenLabel, read_labels
from trainer.measuring.filed_as import filed_as

#: So many of the images that were filed last are looked at, in so many seconds at most; the cache keeps what was done.
MOST_FILED, _SECONDS = 500, 30.0
#: Images whose features are computed before the clock is looked at.
_AT_A_TIME = 32
#: The share of images that may change folder.
MOST_CHANGED = 0.02
#: How far what was taught reaches, as shares that are tried until few enough images change.
_SHARES = tuple(step / 20 for step in range(19, 0, -1))
#: So many labelled images of one class in a new folder say that more of that class belong there.
_ASKED_FOR = 2


@dataclass(frozen=True)
class FiledImages:
    """Images that were filed and left there: raw ``features`` (n, width), and the ``classes`` (n,) of their folders."""

    features: Features
    classes: Sequence[str]


@dataclass(frozen=True)
class Steadiness:
    """How many of the filed ``images`` that the model in use leaves in their folder a lesson would not leave there.

    ``asked`` others go where people moved images like them.
    """

    images: int
    changed: int
    asked: int

    @property
    def is_enough(self) -> bool:
        """Whether so few change that the lesson may be published."""
        return self.changed <= math.ceil(MOST_CHANGED * self.images)

    @property
    def reason(self) -> str:
        """Why it may not."""
        return tr(
            "of the last {images} images that were filed and left there, {changed} would go elsewhere: more than "
            "{most:.0%}",
            images=self.images,
            changed=self.changed,
            most=MOST_CHANGED,
        )


def read_filed(source: Path | None, width: int, classifier: Classifier, cache: FeatureCache) -> FiledImages:
    """Compute the features of the images that ``source`` says were filed last, as far as time allows; none without one.

    The file is one of labels; the class is that of the folder. Raises `UserError`.
    """
    given = [] if source is None else [label for label in read_labels(source) if label.label is not None]
    newest = sorted(given, key=lambda label: label.time)[-MOST_FILED:][::-1]
    deadline = time.monotonic() + _SECONDS
    blocks, classes = [np.zeros((0, width), np.float32)], list[str]()
    for start in range(0, len(newest), _AT_A_TIME):
        if time.monotonic() > deadline:
            break
        files = [_as_file(label) for label in newest[start : start + _AT_A_TIME]]
        extracted = extract([file for file in files if file.path.is_file()], classifier.extractor, cache)
        blocks.append(extracted.features)
        classes += [sample.label for sample in extracted.samples]
    return FiledImages(np.concatenate(blocks), classes)


def _as_file(label: GivenLabel) -> File:
    return File(label.file, str(label.file), label.label or "")


def asked_for(
    answers: Mapping[str, str | None], features: Mapping[str, Half], adapted: Classifier
) -> set[tuple[str, str]]:
    """Return from which classes people moved images into new folders: pairs of what it was taken for, and the new one.

    ``answers`` and ``features`` are by sha256.
    """
    moved = [sha256 for sha256, name in answers.items() if name is not None and name not in adapted.classes]
    if not moved:
        return set()
    inputs = np.stack([features[sha256] for sha256 in moved]).astype(np.float32)
    taken_for = score(adapted.metadata, adapted.head, inputs)[0].argmax(axis=1)
    pairs = Counter(
        (adapted.classes[before], answers[sha256] or "") for before, sha256 in zip(taken_for, moved, strict=True)
    )
    return {pair for pair, count in pairs.items() if count >= _ASKED_FOR}


def measure(
    filed: FiledImages, in_use: Classifier, metadata: Metadata, head: Head, asked: set[tuple[str, str]]
) -> Steadiness:
    """Compare the model in use with the head of a lesson, and its metadata, on filed images.

    What goes to the others since it may belong into such a new folder is a change of the kind ``asked`` for, too.
    """
    before = _folders(in_use.metadata, in_use.head, filed.features)
    after = _folders(metadata, head, filed.features)
    left = [
        (folder, then) for folder, (now, _), then in zip(filed.classes, before, after, strict=True) if now == folder
    ]
    gone = [(folder, then, best) for folder, (then, best) in left if then != folder and not _is_below(then, folder)]
    wanted = sum(_is_asked(folder, best if then is None else then, asked) for folder, then, best in gone)
    return Steadiness(len(left), len(gone) - wanted, wanted)


def _is_asked(folder: str, to: str, asked: set[tuple[str, str]]) -> bool:
    """Whether people moved images of the class of a folder, or of one in it, to another."""
    return any(new == to and (old == folder or _is_below(old, folder)) for old, new in asked)


def make_steady(fitted: Adaptation, measured: Callable[[Adaptation], Steadiness]) -> Adaptation:
    """Return a lesson that reaches as far as so many filed images as are enough stay, as it is ``measured``.

    It is the same where they do, and where none is careful enough.
    """
    if measured(fitted).is_enough:
        return fitted
    careful = (fitted.more_careful(share) for share in _SHARES)
    return next((candidate for candidate in careful if measured(candidate).is_enough), fitted)


def _is_below(folder: str | None, other: str) -> bool:
    """Whether a folder lies in another: an image that goes there is put more exactly, not elsewhere."""
    return folder is not None and folder.startswith(f"{other}/")


def _folders(metadata: Metadata, head: Head, features: Features) -> list[tuple[str | None, str]]:
    """Return where each image is filed, and its most probable class.

    That is the class, or the folder above it; None for what goes to the others.
    """
    probabilities, strangeness = score(metadata, head, features)
    filed = filed_as(metadata.rule, metadata.tree, probabilities, are_unknown(strangeness))
    best = probabilities.argmax(axis=1).tolist()
    return [(folder, metadata.classes[label]) for (_, folder), label in zip(filed, best, strict=True)]
