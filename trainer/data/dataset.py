"""Folder-per-class data sets: their image files, the labels, and the folds in which images are held out.

The label of an image is the name of the top-level folder it lies in, however deep; in a nested data set it is the path
of the folder that it lies in (`trainer.data.nesting`). A data set is never changed.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import numpy.typing as npt

from models.deciding.class_names import check_class_path, check_distinct
from models.deciding.class_tree import ClassTree
from models.errors import UserError
from models.files.image_names import is_image_name
from models.files.leftovers import Leftovers, is_bin, is_leftover, pictures_in
from models.files.markers import MARKER, NOT_CLASSES, USUAL_NAMES, read_kind
from models.text import printable
from models.text.language import tr
from trainer.data.folds import Folds, assign, draw_by_hash, fold_count, name_groups
from trainer.data.neighbours import Positions
from trainer.data.nesting import AsModel, AsNested, AtTop, Labelling, path_below
from trainer.data.walking import File as File
from trainer.data.walking import entries_of, is_folder
from trainer.data.walking import walk as walk

Mask = npt.NDArray[np.bool_]
Labels = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Sample:
    """A readable image. ``sha256`` is that of the file's bytes, in hex."""

    path: Path
    name: str
    label: str
    sha256: str


@dataclass(frozen=True)
class Unreadable:
    """An image that is left out, with the reason and the message of its `models.errors.ImageError`."""

    name: str
    label: str
    reason: str
    message: str


@dataclass(frozen=True)
class DataSet:
    """The n readable images with their ``labels`` (n,), positions in ``classes``, and their ``folds`` (n,).

    Folds count from 0; images in fold -1 are never held out (see `trainer.data.folds`).
    """

    classes: list[str]
    samples: list[Sample]
    labels: Labels
    folds: Folds
    unreadable: list[Unreadable]

    @property
    def is_held_out(self) -> Mask:
        """Which images (n,) are in fold 0, by which fine-tuning is judged."""
        is_held_out: Mask = self.folds == 0
        return is_held_out

    @property
    def held_out(self) -> list[Sample]:
        """The samples in fold 0."""
        return [sample for sample, is_out in zip(self.samples, self.is_held_out, strict=True) if is_out]

    @property
    def training(self) -> list[Sample]:
        """The samples in all other folds."""
        return [sample for sample, is_out in zip(self.samples, self.is_held_out, strict=True) if not is_out]


@dataclass(frozen=True)
class ClassFolders:
    """The content of the class folders of a data set. ``empty`` names class folders without images.

    ``beside`` counts images beside the class folders, which have no class, and ``hidden`` the hidden files and folders
    that were skipped. ``leftovers`` are files and folders of the NAS or the system. ``not_classes`` names the daemon's
    folders for the others and for images that cannot be read. ``coarse`` images lie directly in a folder that holds
    class folders, which is their label: they are of one of these classes, and nobody knows of which.
    """

    root: Path
    files: tuple[File, ...]
    empty: tuple[str, ...]
    beside: int = 0
    hidden: int = 0
    leftovers: Leftovers = field(default_factory=Leftovers)
    not_classes: tuple[str, ...] = ()
    coarse: tuple[File, ...] = ()

    @property
    def classes(self) -> tuple[str, ...]:
        """The labels of the files, sorted."""
        return tuple(sorted({file.label for file in self.files}))

    @property
    def coarse_folders(self) -> list[str]:
        """The folders of `coarse` images, sorted."""
        return sorted({file.label for file in self.coarse})

    @property
    def bins(self) -> list[str]:
        """The classes that may be recycle bins, judging by their names."""
        return [label for label in self.classes if is_bin(label)]

    @property
    def nested(self) -> int:
        """The number of files in folders inside their class folder."""
        return sum(file.name.count("/") > file.label.count("/") + 1 for file in self.files)

    @property
    def holds_only_folders(self) -> bool:
        """Whether no image lies directly in a class folder, and some class has several folders with images."""
        folders = {(file.label, file.name.split("/")[1]) for file in self.files if file.name.count("/") > 1}
        is_every_file_deeper = all(file.name.count("/") > file.label.count("/") + 1 for file in self.files)
        return is_every_file_deeper and len(folders) > len(self.classes)


def scan(
    root: Path,
    *,
    nested: bool = False,
    tree: ClassTree | None = None,
    max_samples: int | None = None,
    seed: int = 0,
    least_classes: int = 2,
) -> ClassFolders:
    """List the images of every class folder below ``root``; at most ``max_samples`` a class, at random by ``seed``.

    ``nested``: a class is the path of the folder that holds its images. ``tree``: the classes of a model, in folders;
    a folder that it does not have is a class of its own. Hidden files and folders are skipped, and so are files without
    an image's name. Raises `UserError`, also where fewer than ``least_classes`` (1 or 2) have images.
    """
    top_level = _class_folders(root)
    not_classes = _daemon_folders(top_level.folders)
    tops = [folder for folder in top_level.folders if folder.name not in not_classes]
    found = [path for folder in tops for path in walk(folder, top_level.leftovers)]
    paths = [path for path in found if not path.name.startswith(".")]
    marked = [path.parent for path in found if path.name == MARKER]
    labelling = _labelling(root, paths, marked, nested=nested, tree=tree)
    by_label: dict[str, list[File]] = {}
    coarse: list[File] = []
    for path in paths:
        folder = path_below(root, path.parent)
        label = labelling.label(folder)
        name = path.relative_to(root).as_posix()
        if labelling.is_coarse(folder):
            coarse.append(File(path, name, folder))
        elif label is not None:
            by_label.setdefault(label, []).append(File(path, name, label))
    holding = {label.partition("/")[0] for label in (*by_label, *(file.label for file in coarse))}
    by_label |= {name: [] for top in tops if (name := path_below(root, top)) not in holding}
    by_label = {check_class_path(label): files for label, files in by_label.items()}
    check_distinct(list(by_label))
    _require_images(root, by_label, least_classes)
    chosen = [
        file
        for label in sorted(by_label)
        for file in sorted(pick(by_label[label], max_samples, seed), key=lambda file: file.name)
    ]
    empty = tuple(sorted(label for label, files in by_label.items() if not files))
    return ClassFolders(
        root,
        tuple(chosen),
        empty,
        top_level.images,
        top_level.hidden + len(found) - len(paths),
        top_level.leftovers,
        tuple(not_classes),
        tuple(sorted(coarse, key=lambda file: file.name)),
    )


def _labelling(
    root: Path, paths: Sequence[Path], marked: Sequence[Path], *, nested: bool, tree: ClassTree | None
) -> Labelling:
    if tree is not None:
        return AsModel(tree)
    return AsNested(root, {path.parent for path in paths}, marked) if nested else AtTop()


@dataclass(frozen=True)
class _TopLevel:
    """The class folders of a data set, the number of images and of hidden entries beside them, and leftovers."""

    folders: list[Path]
    images: int
    hidden: int
    leftovers: Leftovers


def require_folder(root: Path) -> None:
    """Raise `UserError` unless a data set may be there."""
    if not root.exists():
        raise UserError(
            tr("there is no folder {root}: give --data-dir a folder with one folder of images per class", root=root)
        )
    if not root.is_dir():
        raise UserError(
            tr("{root} is not a folder: give --data-dir a folder with one folder of images per class", root=root)
        )


def _class_folders(root: Path) -> _TopLevel:
    require_folder(root)
    entries = entries_of(root)
    leftovers = Leftovers()
    for entry in entries:
        if is_leftover(entry.name) and is_folder(entry):
            leftovers.count_folder(pictures_in(entry.path), entry.name)
    visible = [entry for entry in entries if not (entry.name.startswith(".") or is_leftover(entry.name))]
    folders = sorted(Path(entry.path) for entry in visible if is_folder(entry))
    images = sum(is_image_name(entry.name) for entry in visible if not is_folder(entry))
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
    return _TopLevel(folders, images, sum(entry.name.startswith(".") for entry in entries), leftovers)


def _daemon_folders(folders: Sequence[Path]) -> list[str]:
    """Return the names of the daemon's folders for images of no class.

    Their markers tell. One without a marker, or with an old one, is known by its usual name if the daemon has been
    here.
    """
    kinds = {folder.name: read_kind(folder) for folder in folders}
    daemon_was_here = any(kind is not None for kind in kinds.values())
    return [
        name
        for name, kind in kinds.items()
        if kind in NOT_CLASSES or (daemon_was_here and not kind and name.casefold() in USUAL_NAMES)
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
        depth = filled[0].count("/") + 1
        inner = {file.name.split("/")[depth] for file in by_label[filled[0]] if file.name.count("/") > depth}
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


def pick(files: list[File], limit: int | None, seed: int) -> list[File]:
    """Draw at most so many files, the same for the same seed."""
    if limit is None:
        return files
    return sorted(files, key=lambda file: draw_by_hash(f"sample {seed} {file.name}"))[:limit]


def divide(
    root: Path, samples: list[Sample], groups: Positions, unreadable: list[Unreadable], *, held_out: float, seed: int
) -> DataSet:
    """Make a data set of the readable samples. ``held_out`` is the share of images in a fold.

    ``groups`` (n,) are those of `trainer.data.neighbours`: the images of one go into one fold. Raises `UserError` when
    fewer than two classes are left.
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
    folds = fold_samples(samples, groups, held_out=held_out, seed=seed)
    return DataSet(classes, samples, labels, folds, unreadable)


def fold_samples(samples: Sequence[Sample], groups: Positions, *, held_out: float, seed: int) -> Folds:
    """Return the fold (n,) of each image by ``seed``; see `divide`."""
    names = name_groups(groups, [sample.sha256 for sample in samples])
    return assign(names, [sample.label for sample in samples], fold_count(held_out), seed)


def data_digest(samples: Sequence[Sample]) -> str:
    """Return the sha256 of all images with their labels, regardless of order."""
    lines = sorted(f"{sample.sha256} {sample.label}\n" for sample in samples)
    return hashlib.sha256("".join(lines).encode()).hexdigest()


def shown(name: str | Path) -> str:
    """Return a file's name for printing: bytes that are no text and control characters are escaped."""
    return printable.shown(str(name))
