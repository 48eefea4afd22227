"""Folder-per-class data sets: which image files there are, what their labels are, who is held out when.

The label of an image is the name of the top-level folder it lies in, however deep. Nothing is changed in a data set.
"""

from __future__ import annotations

import hashlib
import os
import unicodedata
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from models.errors import UserError
from models.images import is_image_name
from models.metadata import check_class_name, check_distinct
from trainer.folds import Folds, assign, count_of, drawn

Mask = npt.NDArray[np.bool_]
Labels = npt.NDArray[np.int64]


@dataclass(frozen=True)
class File:
    """An image file that nobody has opened yet. ``name`` is its path inside the data set."""

    path: Path
    name: str
    label: str


@dataclass(frozen=True)
class Sample:
    """A readable image. ``sha256`` is of the file's bytes, in hex."""

    path: Path
    name: str
    label: str
    sha256: str


@dataclass(frozen=True)
class Unreadable:
    """An image that is left out, and why: the slug and the sentence of its `models.errors.ImageError`."""

    name: str
    label: str
    reason: str
    message: str


@dataclass(frozen=True)
class DataSet:
    """The n readable images: each one's class (n,) as a position in ``classes``, and its fold (n,).

    Folds count from 0; -1 is that of images which are never held out (see `trainer.folds`).
    """

    classes: list[str]
    samples: list[Sample]
    labels: Labels
    folds: Folds
    unreadable: list[Unreadable]

    @property
    def held(self) -> Mask:
        """Whether each image (n,) is in fold 0, the one that fine-tuning is judged by."""
        held: Mask = self.folds == 0
        return held

    @property
    def held_out(self) -> list[Sample]:
        """The samples that no head is fitted on until it has been judged."""
        return [sample for sample, held in zip(self.samples, self.held, strict=True) if held]

    @property
    def training(self) -> list[Sample]:
        """The other ones."""
        return [sample for sample, held in zip(self.samples, self.held, strict=True) if not held]


@dataclass(frozen=True)
class Folders:
    """What the class folders of a data set hold. ``empty`` names those without any image."""

    root: Path
    files: tuple[File, ...]
    empty: tuple[str, ...]

    @property
    def classes(self) -> tuple[str, ...]:
        """The labels of the files, sorted."""
        return tuple(sorted({file.label for file in self.files}))


def scan(root: Path, *, max_samples: int | None = None, seed: int = 0, least_classes: int = 2) -> Folders:
    """List the images of every class folder below ``root``; at most ``max_samples`` a class, at random by ``seed``.

    Hidden files and folders are skipped, and names that are no image's. Raises `UserError`, also where fewer than
    ``least_classes`` (1 or 2) have images.
    """
    folders = _class_folders(root)
    by_label: dict[str, list[File]] = {}
    for folder in folders:
        label = check_class_name(unicodedata.normalize("NFC", folder.name))
        by_label.setdefault(label, []).extend(
            File(path, path.relative_to(root).as_posix(), label) for path in _images(folder)
        )
    check_distinct(list(by_label))
    _require_images(root, by_label, least_classes)
    chosen = [
        file
        for label in sorted(by_label)
        for file in sorted(_pick(by_label[label], max_samples, seed), key=lambda file: file.name)
    ]
    return Folders(root, tuple(chosen), tuple(sorted(label for label, files in by_label.items() if not files)))


def _class_folders(root: Path) -> list[Path]:
    if not root.exists():
        raise UserError(f"there is no folder {root}: give --data-dir a folder with one folder of images per class")
    if not root.is_dir():
        raise UserError(f"{root} is not a folder: give --data-dir a folder with one folder of images per class")
    entries = _entries(root)
    folders = [Path(entry.path) for entry in entries if entry.is_dir()]
    if not folders:
        flat = any(is_image_name(entry.name) for entry in entries)
        what = "holds images but no class folders" if flat else "is empty"
        raise UserError(f"{root} {what}: put the images of each class into a folder with the name of the class")
    return sorted(folders)


def _require_images(root: Path, by_label: dict[str, list[File]], least_classes: int) -> None:
    filled = [label for label, files in by_label.items() if files]
    if not filled:
        raise UserError(f"there are no images in the class folders of {root} ({', '.join(sorted(by_label))})")
    if len(filled) < least_classes:
        raise UserError(
            f"only the class {filled[0]} of {root} has images: there is nothing to tell apart, give at least two"
        )


def _entries(folder: Path) -> list[os.DirEntry[str]]:
    try:
        with os.scandir(folder) as entries:
            return [entry for entry in entries if not entry.name.startswith(".")]
    except OSError as error:
        raise UserError(f"the folder {folder} cannot be read: {error.strerror}") from error


def _images(top: Path) -> Iterator[Path]:
    """Every regular file with an image's name below ``top``; links are followed, no folder is walked twice."""
    seen: set[tuple[int, int]] = set()
    left = [top]
    while left:
        folder = left.pop()
        status = folder.stat()
        if (status.st_dev, status.st_ino) in seen:
            continue
        seen.add((status.st_dev, status.st_ino))
        for entry in _entries(folder):
            if entry.is_dir():
                left.append(Path(entry.path))
            elif is_image_name(entry.name) and entry.is_file():
                yield Path(entry.path)


def _pick(files: list[File], limit: int | None, seed: int) -> list[File]:
    if limit is None:
        return files
    return sorted(files, key=lambda file: drawn(f"sample {seed} {file.name}"))[:limit]


def divide(root: Path, samples: list[Sample], unreadable: list[Unreadable], *, held_out: float, seed: int) -> DataSet:
    """Labels and folds of what could be read. ``held_out`` is the share of images in a fold.

    Raises `UserError` when fewer than two classes are left.
    """
    classes = sorted({sample.label for sample in samples})
    if len(classes) < 2:
        lost = f"{len(unreadable)} of its images cannot be read, the first being {shown(unreadable[0].name)}"
        raise UserError(f"fewer than two classes of {root} have readable images: {lost}: {unreadable[0].message}")
    labels = np.array([classes.index(sample.label) for sample in samples], np.int64)
    folds = assign([s.sha256 for s in samples], [s.label for s in samples], count_of(held_out), seed)
    return DataSet(classes, samples, labels, folds, unreadable)


def duplicates(samples: Sequence[Sample]) -> int:
    """How many samples are byte for byte a copy of one before them."""
    return len(samples) - len({sample.sha256 for sample in samples})


def contradictions(samples: Sequence[Sample]) -> list[list[Sample]]:
    """The samples of each picture that lies under more than one label."""
    by_picture: dict[str, list[Sample]] = defaultdict(list)
    for sample in samples:
        by_picture[sample.sha256].append(sample)
    return [same for same in by_picture.values() if len({sample.label for sample in same}) > 1]


def digest(samples: Sequence[Sample]) -> str:
    """The sha256 of what was learned from: every picture with its label, in no order."""
    lines = sorted(f"{sample.sha256} {sample.label}\n" for sample in samples)
    return hashlib.sha256("".join(lines).encode()).hexdigest()


def shown(name: str | Path) -> str:
    """A file's name as it can be printed: bytes that are no text and characters a terminal would act on are escaped."""
    text = os.fsencode(name).decode("utf-8", "backslashreplace")
    return "".join(each if each.isprintable() else each.encode("unicode_escape").decode() for each in text)
