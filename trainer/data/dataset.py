"""Folder-per-class data sets: which image files there are, what their labels are, who is held out when.

The label of an image is the name of the top-level folder it lies in, however deep. Nothing is changed in a data set.
"""

from __future__ import annotations

import hashlib
import os
import unicodedata
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import numpy.typing as npt

from models.errors import UserError
from models.images import is_image_name
from models.leftovers import Leftovers, is_bin, is_leftover, is_leftover_image, pictures_in
from models.markers import USUAL_NAMES, read_kind
from models.metadata import check_class_name, check_distinct
from models.text import printable
from models.text.language import tr
from trainer.data.folds import Folds, assign, count_of, drawn
from trainer.data.neighbours import Group

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

    Folds count from 0; -1 is that of images which are never held out (see `trainer.data.folds`).
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
class ClassFolders:
    """What the class folders of a data set hold. ``empty`` names those without any image.

    ``beside``: how many images lie beside the class folders, and so have no class. ``hidden``: how many hidden files
    and folders were passed over. ``leftovers``: what is of the NAS or of the system.
    ``not_classes``: folders of the daemon for images that it is unsure of, or that cannot be read.
    """

    root: Path
    files: tuple[File, ...]
    empty: tuple[str, ...]
    beside: int = 0
    hidden: int = 0
    leftovers: Leftovers = field(default_factory=Leftovers)
    not_classes: tuple[str, ...] = ()

    @property
    def classes(self) -> tuple[str, ...]:
        """The labels of the files, sorted."""
        return tuple(sorted({file.label for file in self.files}))

    @property
    def bins(self) -> list[str]:
        """The classes that may be recycle bins, by their names."""
        return [label for label in self.classes if is_bin(label)]

    @property
    def nested(self) -> int:
        """How many files lie in folders inside their class folder."""
        return sum(file.name.count("/") > 1 for file in self.files)


def scan(root: Path, *, max_samples: int | None = None, seed: int = 0, least_classes: int = 2) -> ClassFolders:
    """List the images of every class folder below ``root``; at most ``max_samples`` a class, at random by ``seed``.

    Hidden files and folders are skipped, and names that are no image's. Raises `UserError`, also where fewer than
    ``least_classes`` (1 or 2) have images.
    """
    top = _class_folders(root)
    out = _of_the_daemon(top.folders)
    by_label: dict[str, list[File]] = {}
    hidden = top.hidden
    for folder in top.folders:
        if folder.name in out:
            continue
        label = check_class_name(unicodedata.normalize("NFC", folder.name))
        inside = by_label.setdefault(label, [])
        for path in _walk(folder, top.leftovers):
            if path.name.startswith("."):
                hidden += 1
            else:
                inside.append(File(path, path.relative_to(root).as_posix(), label))
    check_distinct(list(by_label))
    _require_images(root, by_label, least_classes)
    chosen = [
        file
        for label in sorted(by_label)
        for file in sorted(_pick(by_label[label], max_samples, seed), key=lambda file: file.name)
    ]
    empty = tuple(sorted(label for label, files in by_label.items() if not files))
    return ClassFolders(root, tuple(chosen), empty, top.images, hidden, top.leftovers, tuple(out))


@dataclass(frozen=True)
class _Top:
    """The class folders of a data set, how many images lie beside them, how many hidden entries, and leftovers."""

    folders: list[Path]
    images: int
    hidden: int
    leftovers: Leftovers


def _class_folders(root: Path) -> _Top:
    if not root.exists():
        raise UserError(
            tr("there is no folder {root}: give --data-dir a folder with one folder of images per class", root=root)
        )
    if not root.is_dir():
        raise UserError(
            tr("{root} is not a folder: give --data-dir a folder with one folder of images per class", root=root)
        )
    entries = _entries(root)
    leftovers = Leftovers()
    for entry in entries:
        if is_leftover(entry.name) and _is_folder(entry):
            leftovers.meet(pictures_in(entry.path), entry.name)
    visible = [entry for entry in entries if not (entry.name.startswith(".") or is_leftover(entry.name))]
    folders = sorted(Path(entry.path) for entry in visible if _is_folder(entry))
    images = sum(is_image_name(entry.name) for entry in visible if not _is_folder(entry))
    if not folders:
        if not entries:
            text = tr(
                "{root} is empty: put the images of each class into a folder with the name of the class", root=root
            )
        elif images:
            text = tr(
                "{root} holds images but no class folders: "
                "put the images of each class into a folder with the name of the class",
                root=root,
            )
        else:
            text = tr(
                "{root} holds neither class folders nor images: "
                "put the images of each class into a folder with the name of the class",
                root=root,
            )
        raise UserError(text)
    return _Top(folders, images, sum(entry.name.startswith(".") for entry in entries), leftovers)


def _of_the_daemon(folders: Sequence[Path]) -> list[str]:
    """The names of the folders in which the daemon files what is of no class.

    Their markers say so. One without, or of an older version, is known by its usual name, where the daemon has been.
    """
    kinds = {folder.name: read_kind(folder) for folder in folders}
    been = any(kind is not None for kind in kinds.values())
    return [
        name
        for name, kind in kinds.items()
        if kind in ("others", "quarantine") or (been and not kind and name.casefold() in USUAL_NAMES)
    ]


def _require_images(root: Path, by_label: dict[str, list[File]], least_classes: int) -> None:
    if not by_label:
        raise UserError(
            tr("{root} holds only the daemon's own folders: make a folder for each class beside them", root=root)
        )
    filled = [label for label, files in by_label.items() if files]
    if not filled:
        raise UserError(
            tr(
                "there are no images in the class folders of {root} ({names})",
                root=root,
                names=", ".join(sorted(by_label)),
            )
        )
    if len(filled) < least_classes:
        inner = {file.name.split("/")[1] for file in by_label[filled[0]] if file.name.count("/") > 1}
        if len(inner) > 1:
            text = tr(
                "only the class {name} of {root} has images: there is nothing to tell apart, give at least two; "
                "did you mean {inner}, which holds {count} folders?",
                name=filled[0],
                root=root,
                inner=root / filled[0],
                count=len(inner),
            )
        else:
            text = tr(
                "only the class {name} of {root} has images: there is nothing to tell apart, give at least two",
                name=filled[0],
                root=root,
            )
        raise UserError(text)


def _entries(folder: Path) -> list[os.DirEntry[str]]:
    try:
        with os.scandir(folder) as entries:
            return list(entries)
    except OSError as error:
        raise UserError(
            tr("the folder {folder} cannot be read: {reason}", folder=folder, reason=error.strerror)
        ) from error


def _walk(top: Path, leftovers: Leftovers) -> Iterator[Path]:
    """Every regular file with an image's name below ``top``, and whatever is hidden there, unopened.

    Links are followed; no folder is walked twice.
    """
    seen: set[tuple[int, int]] = set()
    left = [top]
    while left:
        folder = left.pop()
        status = folder.stat()
        if (status.st_dev, status.st_ino) in seen:
            continue
        seen.add((status.st_dev, status.st_ino))
        for entry in _entries(folder):
            if entry.name.startswith("."):
                yield Path(entry.path)
            elif is_leftover(entry.name):
                leftovers.meet(pictures_in(entry.path) if _is_folder(entry) else 0, entry.name)
            elif _is_folder(entry):
                if is_bin(entry.name):
                    leftovers.meet(pictures_in(entry.path), entry.name)
                else:
                    left.append(Path(entry.path))
            elif is_image_name(entry.name) and is_leftover_image(entry.name):
                leftovers.meet_image(entry.name)
            elif is_image_name(entry.name) and _is_file(entry):
                yield Path(entry.path)


def _is_folder(entry: os.DirEntry[str]) -> bool:
    """Whether it is a folder; what cannot be looked at, such as a link in a circle, is taken for none."""
    try:
        return entry.is_dir()
    except OSError:
        return False


def _is_file(entry: os.DirEntry[str]) -> bool:
    """Whether it is a file; what cannot be looked at is taken for one, so that reading it tells what is wrong."""
    try:
        return entry.is_file()
    except OSError:
        return True


def _pick(files: list[File], limit: int | None, seed: int) -> list[File]:
    if limit is None:
        return files
    return sorted(files, key=lambda file: drawn(f"sample {seed} {file.name}"))[:limit]


def divide(
    root: Path, samples: list[Sample], groups: Group, unreadable: list[Unreadable], *, held_out: float, seed: int
) -> DataSet:
    """Labels and folds of what could be read. ``held_out`` is the share of images in a fold.

    ``groups`` (n,): images that show one picture have one number, and go into one fold. Raises `UserError` when fewer
    than two classes are left.
    """
    classes = sorted({sample.label for sample in samples})
    if len(classes) < 2:
        raise UserError(
            tr(
                "fewer than two classes of {root} have readable images: "
                "{count} of its images cannot be read, the first being {name}: {message}",
                root=root,
                count=len(unreadable),
                name=shown(unreadable[0].name),
                message=unreadable[0].message,
            )
        )
    labels = np.array([classes.index(sample.label) for sample in samples], np.int64)
    folds = fold(samples, groups, held_out=held_out, seed=seed)
    return DataSet(classes, samples, labels, folds, unreadable)


def fold(samples: Sequence[Sample], groups: Group, *, held_out: float, seed: int) -> Folds:
    """The fold (n,) of each image by ``seed``; see `divide`."""
    picture: dict[int, str] = {}  # of each group, the same one however its files are called
    for group, sample in zip(groups.tolist(), samples, strict=True):
        picture[group] = min(picture.get(group, sample.sha256), sample.sha256)
    pictures = [picture[group] for group in groups.tolist()]
    return assign(pictures, [sample.label for sample in samples], count_of(held_out), seed)


def digest(samples: Sequence[Sample]) -> str:
    """The sha256 of what was learned from: every picture with its label, in no order."""
    lines = sorted(f"{sample.sha256} {sample.label}\n" for sample in samples)
    return hashlib.sha256("".join(lines).encode()).hexdigest()


def shown(name: str | Path) -> str:
    """A file's name as it can be printed: bytes that are no text and characters a terminal would act on are escaped."""
    return printable.shown(str(name))
