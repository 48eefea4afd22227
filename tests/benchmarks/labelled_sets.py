"""Labelled sets as features, for benchmarks of heads: two as they are, and four composed to be difficult.

Pictures come from ``tests.conftest.SHARED_DATA``. Their features are computed once and kept in ``FOLDER``, so that a
benchmark of heads takes seconds a set.
"""

from __future__ import annotations

import csv
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageOps

from models import registry
from models.files.image_names import is_image_name
from models.inference.runtime import open_extractor
from models.weights.store import WeightsStore
from tests.conftest import SHARED_DATA
from trainer.data.dataset import File
from trainer.data.features import extract

FOLDER = Path(tempfile.gettempdir()) / "imagesortd-benchmark-features"

Labels = npt.NDArray[np.int64]


@dataclass(frozen=True)
class LabelledSet:
    """Raw features (n, width) of n images, what they are labelled (n,), what they truly show (n,), and folds 0 to 4."""

    name: str
    classes: list[str]
    features: npt.NDArray[np.float32]
    labels: Labels
    truth: Labels
    folds: Labels

    def part(self, rows: npt.NDArray[np.bool_] | Labels) -> LabelledSet:
        """Some of the images (positions or a mask)."""
        return replace(
            self,
            features=self.features[rows],
            labels=self.labels[rows],
            truth=self.truth[rows],
            folds=self.folds[rows],
        )


def load(name: str, backbones: tuple[str, ...] = (registry.EMBEDDED,)) -> LabelledSet:
    """One of `NAMES`, or another of the shared data as it is; features of several backbones stand side by side."""
    return SETS.get(name, as_it_is)(name, backbones)


def as_it_is(name: str, backbones: tuple[str, ...] = (registry.EMBEDDED,)) -> LabelledSet:
    """A set of the shared data, with its own folds."""
    with (SHARED_DATA / f"{name}.csv").open(encoding="utf-8", newline="") as file:
        rows = [(row["file"], row["cls"], int(row["fold"])) for row in csv.DictReader(file)]
    return _of_files(name, [(SHARED_DATA / name / path, cls, fold) for path, cls, fold in rows], backbones)


def _noisy(name: str, backbones: tuple[str, ...]) -> LabelledSet:
    """Scenes of which one label in twenty, in folds 0 to 3, is that of another class."""
    scenes = as_it_is("intel_scenes6", backbones)
    random = np.random.default_rng(0)
    wrong = (random.random(len(scenes.labels)) < 0.05) & (scenes.folds != 4)
    shift = random.integers(1, len(scenes.classes), len(scenes.labels))
    labels = np.where(wrong, (scenes.labels + shift) % len(scenes.classes), scenes.labels)
    return replace(scenes, name=name, labels=labels)


def _skewed(name: str, backbones: tuple[str, ...]) -> LabelledSet:
    """Small photographs of ten things, from 240 of the first down to 12 of the last in folds 0 to 3; all of fold 4."""
    things = as_it_is("cifar10_jpeg", backbones)
    kept = things.folds == 4
    for label, count in enumerate(np.geomspace(240, 12, len(things.classes)).astype(int)):
        kept[np.flatnonzero((things.labels == label) & (things.folds != 4))[:count]] = True
    return replace(things.part(kept), name=name)


def _alike(name: str, backbones: tuple[str, ...]) -> LabelledSet:
    """Small photographs of cats, deer and dogs, which are hard to tell apart."""
    things = as_it_is("cifar10_jpeg", backbones)
    wanted = [things.classes.index(each) for each in ("cat", "deer", "dog")]
    some = things.part(np.isin(things.labels, wanted))
    labels = np.searchsorted(wanted, some.labels)
    return replace(some, name=name, classes=[things.classes[at] for at in wanted], labels=labels, truth=labels)


TREATMENTS: dict[str, Callable[[Image.Image], Image.Image]] = {
    "as_it_is": lambda image: image,
    "upside_down": ImageOps.flip,
    "negative": ImageOps.invert,
    "poster": lambda image: ImageOps.posterize(ImageOps.grayscale(image).convert("RGB"), 2),
}


def _many(name: str, backbones: tuple[str, ...]) -> LabelledSet:
    """Sixty classes of 20: scenes and small photographs, each as it is, upside down, negative or a poster."""
    files = [*_first("intel_scenes6", 6), *_first("cifar10_jpeg", 9)]
    folder = FOLDER / "many"
    rows = []
    for path, cls, fold, at in files:
        treatment = list(TREATMENTS)[at % len(TREATMENTS)]
        made = folder / f"{cls}_{treatment}" / f"{path.stem}.png"
        if not made.exists():
            made.parent.mkdir(parents=True, exist_ok=True)
            with Image.open(path) as image:
                TREATMENTS[treatment](image.convert("RGB")).save(made)
        rows.append((made, made.parent.name, fold))
    return _of_files(name, rows, backbones)


def _first(name: str, classes: int) -> Iterator[tuple[Path, str, int, int]]:
    """The first 80 images of the first classes of a set: path, class, a fold, position in the class."""
    for folder in sorted(path for path in (SHARED_DATA / name).iterdir() if path.is_dir())[:classes]:
        for at, path in enumerate(sorted(path for path in folder.iterdir() if is_image_name(path.name))[:80]):
            yield path, folder.name, at // len(TREATMENTS) % 5, at


SETS: dict[str, Callable[[str, tuple[str, ...]], LabelledSet]] = {
    "intel_scenes6": as_it_is,
    "hymenoptera2": as_it_is,
    "noisy": _noisy,
    "skewed": _skewed,
    "alike": _alike,
    "many": _many,
}
NAMES = list(SETS)


def _of_files(name: str, rows: list[tuple[Path, str, int]], backbones: tuple[str, ...]) -> LabelledSet:
    classes = sorted({cls for _, cls, _ in rows})
    labels = np.array([classes.index(cls) for _, cls, _ in rows])
    parts = [_features(name, [path for path, _, _ in rows], backbone) for backbone in backbones]
    folds = np.array([fold for _, _, fold in rows])
    return LabelledSet(name, classes, np.concatenate(parts, axis=1), labels, labels, folds)


def _features(name: str, paths: list[Path], backbone: str) -> npt.NDArray[np.float32]:
    kept = FOLDER / f"{name}-{backbone}.npy"
    if not kept.exists():
        FOLDER.mkdir(parents=True, exist_ok=True)
        store = WeightsStore(FOLDER / "weights")
        extractor = open_extractor([registry.locate(backbone, None, store)], store)
        found = extract([File(path, path.name, "") for path in paths], extractor, None)
        assert len(found.features) == len(paths), found.unreadable
        np.save(kept, found.features)
    features: npt.NDArray[np.float32] = np.load(kept)
    return features
