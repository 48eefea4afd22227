"""Compare images by likeness, in a process of its own: ``python -m daemon.review.likeness``, asked by `comparing`.

It reads a `Question` from its standard input, and writes lines of JSON: how far it has come, the groups of the images
that it has looked at so far, and at last those of all, or all images with the most unlike first.
Its memory and its time are nobody else's: it comes last at the processor, and ends.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterator, Sequence
from contextlib import closing, suppress
from pathlib import Path
from typing import TypedDict

import numpy as np
import numpy.typing as npt

from daemon.config import Settings
from daemon.decoding.decoder import Task
from daemon.decoding.pool import DecoderPool, Limits
from daemon.reloading.loader import CheckpointOpener, CheckpointOptions
from daemon.review.kept_features import KeptFeatures
from models.classifier import Classifier, open_classifier
from models.errors import UserError
from models.inference.runtime import cores
from models.scoring import head_probabilities
from models.text.language import inherit
from models.weights.store import WeightsStore

#: Images that are decoded and looked at together, and after how many of them the features are written.
_BATCH, _WRITE_EVERY = 32, 1024
#: Of so many images groups are made before the others have been looked at, and again of so many times as many.
FIRST_GROUPED, TIMES_AS_MANY = 256, 4
#: More images than these are gathered into so many bunches first: all their distances would not fit into the memory.
MOST_AT_ONCE = 2000
#: Images are alike that are nearer than this share of the usual distance of two images.
ALIKE = 0.55
#: Smaller groups are put together into the last one.
SMALLEST_GROUP = 3
_MOST_LIKELY = 4

Vectors = npt.NDArray[np.float32]


class Question(TypedDict):
    """What to compare: ``images`` are ids, sha256 and paths; the newest first. ``wanted``: their groups or their order.

    The rest is of the settings.
    """

    images: list[tuple[int, str, str]]
    wanted: str
    output: str
    roots: list[str]
    checkpoint: str
    cache_dir: str | None
    language: str
    features: str


def main() -> None:
    """Answer the question on the standard input."""
    inherit()
    question: Question = json.load(sys.stdin)
    try:
        _answer(question)
    except UserError as error:
        _say({"error": str(error)})
    except BrokenPipeError:  # the page has ended: nobody is told, now or at the end of this process
        os._exit(0)


def _answer(question: Question) -> None:
    settings = Settings(
        output=Path(question["output"]),
        checkpoint=Path(question["checkpoint"]),
        cache_dir=None if question["cache_dir"] is None else Path(question["cache_dir"]),
        language="ko" if question["language"] == "ko" else "en",
    )
    options = CheckpointOptions.from_settings(settings)
    store = WeightsStore(settings.cache_dir)
    published = options.source.find() or CheckpointOpener(options, store).starter()
    classifier = open_classifier(published.path, store, threads=max(1, cores() // 2))
    width = sum(part.width for part in classifier.metadata.parts)
    kept = KeptFeatures(Path(question["features"]), classifier.digest, width)
    answers = Answers(question, classifier.classes, kept)
    for left in _looks(question, classifier, kept, settings):
        answers.after(left)
    answers.last()


class Answers:
    """What is said while images are looked at: how many are left, and the groups of those that are known already.

    The groups are made anew whenever `TIMES_AS_MANY` images are known.
    """

    def __init__(self, question: Question, classes: Sequence[str], kept: KeptFeatures) -> None:
        self._images = question["images"]
        self._wanted = question["wanted"]
        self._classes = classes
        self._kept = kept
        self._due = FIRST_GROUPED

    def after(self, left: int) -> None:
        """Say how far it has come, before the next images are looked at."""
        if not left:
            return  # it is over only with the groups of all, for which the page waits as long as any is left
        known = len(self._images) - left
        _say({"progress": known / max(len(self._images), 1), "left": left})
        if self._wanted == "groups" and known >= self._due:
            self._due = TIMES_AS_MANY * known
            _say({"groups": self._compared(), "left": left})

    def last(self) -> None:
        """Say how all images compare."""
        _say({self._wanted: self._compared(), "left": 0})

    def _compared(self) -> Sequence[object]:
        known = {number: one for number, sha256, _ in self._images if (one := self._kept.get(sha256)) is not None}
        if not known:
            return []
        ids = list(known)
        vectors = np.stack([one.features for one in known.values()]).astype(np.float32)
        if self._wanted == "order":
            return [ids[place] for place in most_unlike_first(vectors)]
        labels = [self._classes[one.label] for one in known.values()]
        groups, rest = groups_of(vectors)
        described = [describe(ids, labels, members, is_alike=True) for members in groups]
        return [*described, *([describe(ids, labels, rest, is_alike=False)] if len(rest) else [])]


def _looks(question: Question, classifier: Classifier, kept: KeptFeatures, settings: Settings) -> Iterator[int]:
    """Compute the features of the images that are not known, and yield how many are left, at first and in between."""
    images = [image for image in question["images"] if kept.get(image[1]) is None]
    wanted = [sha256 for _, sha256, _ in question["images"]]
    yield len(images)
    if not images:
        return
    limits = Limits(memory=settings.decode_memory_mb << 20, seconds=settings.decode_seconds)
    with closing(DecoderPool(1, limits)) as decoders:
        for start in range(0, len(images), _BATCH):
            _look_at_batch(images[start : start + _BATCH], classifier, kept, decoders, settings, question["roots"])
            if start % _WRITE_EVERY == _WRITE_EVERY - _BATCH:
                _write(kept, wanted)
            yield max(0, len(images) - start - _BATCH)
    _write(kept, wanted)


def _look_at_batch(
    images: Sequence[tuple[int, str, str]],
    classifier: Classifier,
    kept: KeptFeatures,
    decoders: DecoderPool,
    settings: Settings,
    roots: Sequence[str],
) -> None:
    tasks = [
        Task(
            path=Path(path),
            transforms=classifier.transforms,
            max_bytes=settings.max_file_mb << 20,
            max_pixels=settings.max_megapixels * 1_000_000,
            root=next((root for root in roots if path.startswith(f"{root}/")), roots[0]),
        )
        for _, _, path in images
    ]
    decoded = [future.result() for future in [decoders.submit(task) for task in tasks]]
    good = [
        (sha256, one.crops)
        for (_, sha256, _), one in zip(images, decoded, strict=True)
        if one.crops is not None and one.source is not None and one.source.sha256 == sha256
    ]
    if not good:
        return
    crops = [np.stack([each[part] for _, each in good]) for part in range(len(classifier.transforms))]
    features = classifier.extractor.features(crops)
    labels = head_probabilities(classifier.metadata, classifier.head, features).argmax(axis=1)
    for (sha256, _), row, label in zip(good, features, labels, strict=True):
        kept.put(sha256, row, int(label))


def groups_of(vectors: Vectors) -> tuple[list[npt.NDArray[np.intp]], npt.NDArray[np.intp]]:
    """Group vectors (n, width) by the angles between them: lists of their places, the largest first, and the rest.

    In each the most typical comes first. The rest is what is like hardly anything.
    """
    vectors = _of_unit_length(vectors)
    numbers = _bunched(vectors) if len(vectors) > MOST_AT_ONCE else _clustered(vectors)
    groups = [np.flatnonzero(numbers == number) for number in np.unique(numbers)]
    large = [group for group in groups if len(group) >= SMALLEST_GROUP]
    rest = [group for group in groups if len(group) < SMALLEST_GROUP]
    ordered = [_typical_first(vectors, group) for group in sorted(large, key=len, reverse=True)]
    return ordered, np.concatenate(rest) if rest else np.zeros(0, np.intp)


def most_unlike_first(vectors: Vectors) -> npt.NDArray[np.intp]:
    """Order vectors (n, width) by the angle to their mean, the largest first: their places."""
    return _typical_first(_of_unit_length(vectors), np.arange(len(vectors)))[::-1]


def _of_unit_length(vectors: Vectors) -> Vectors:
    lengths = np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-9)
    scaled: Vectors = vectors / lengths
    return scaled


def _typical_first(vectors: Vectors, group: npt.NDArray[np.intp]) -> npt.NDArray[np.intp]:
    likeness = vectors[group] @ vectors[group].mean(axis=0)
    return group[np.argsort(-likeness, kind="stable")]


def _bunched(vectors: Vectors) -> npt.NDArray[np.intp]:
    """Group many vectors: by k-means into bunches, and these by their centres."""
    from sklearn.cluster import MiniBatchKMeans

    bunches = MiniBatchKMeans(MOST_AT_ONCE // 4, random_state=0, n_init=1, batch_size=2048).fit(vectors)
    centres = bunches.cluster_centers_
    used = np.unique(bunches.labels_)
    numbers = np.zeros(len(centres), np.intp)
    numbers[used] = _clustered(centres[used] / np.maximum(np.linalg.norm(centres[used], axis=1, keepdims=True), 1e-9))
    grouped: npt.NDArray[np.intp] = numbers[bunches.labels_]
    return grouped


def _clustered(vectors: Vectors) -> npt.NDArray[np.intp]:
    """Group vectors of unit length by average linkage, up to a share of the usual distance between two."""
    from sklearn.cluster import AgglomerativeClustering

    if len(vectors) < 2:
        return np.zeros(len(vectors), np.intp)
    distances = np.clip(1 - vectors @ vectors.T, 0, None)
    usual = float(np.median(distances[np.triu_indices(len(vectors), 1)]))
    clustering = AgglomerativeClustering(
        n_clusters=None, distance_threshold=max(ALIKE * usual, 1e-6), metric="precomputed", linkage="average"
    )
    numbers: npt.NDArray[np.intp] = clustering.fit_predict(distances)
    return numbers


def describe(
    ids: Sequence[int], labels: Sequence[str], members: npt.NDArray[np.intp], *, is_alike: bool
) -> dict[str, object]:
    """Describe a group: its ids, and the classes that its images are taken for, with their shares."""
    taken_for = [labels[place] for place in members]
    names, counts = np.unique(taken_for, return_counts=True)
    order = np.argsort(-counts, kind="stable")[:_MOST_LIKELY]
    likely = [(str(names[place]), float(counts[place]) / len(members)) for place in order]
    return {"ids": [ids[place] for place in members], "likely": likely if is_alike else [], "alike": is_alike}


def _write(kept: KeptFeatures, wanted: Sequence[str]) -> None:
    with suppress(OSError):  # the next time they are computed again
        kept.write(wanted)


def _say(answer: dict[str, object]) -> None:
    print(json.dumps(answer), flush=True)


if __name__ == "__main__":
    main()
