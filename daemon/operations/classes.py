"""Find the folder of the class that a person names: one that is there, one of the model's, or a new one."""

from __future__ import annotations

import os
import unicodedata
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import NamedTuple

from daemon.config import Settings
from daemon.filing.class_paths import ClassPaths
from models.deciding.class_names import check_class_path
from models.errors import CheckpointError, UserError
from models.files.leftovers import is_leftover
from models.text.language import tr
from models.text.spelling import nearest


class ClassFolder(NamedTuple):
    """A folder, by its path below the output, and the class of its images; None: they are of no class."""

    folder: str
    label: str | None


def class_paths(settings: Settings) -> ClassPaths:
    """Tell the classes of an output apart by where images lie, for the published checkpoint."""
    return ClassPaths(settings.output, partial(learnt_classes, settings), other_outputs=settings.outputs[1:])


class CurrentClassPaths:
    """The same for a program that goes on: the checkpoint is read again when another one is published."""

    def __init__(self, settings: Settings) -> None:
        from daemon.reloading.checkpoint_source import CheckpointSource

        self._settings = settings
        self._source = CheckpointSource(settings.checkpoint)
        self._current: tuple[object, ClassPaths] | None = None

    def get(self) -> ClassPaths:
        """Return the present ones. Safe in any thread."""
        current, stamp = self._current, self._source.stamp()
        if current is None or current[0] != stamp:
            current = self._current = (stamp, class_paths(self._settings))
        return current[1]


def class_folder(given: str, settings: Settings, *, new: bool, paths: ClassPaths | None = None) -> ClassFolder:
    """Find the folder of a class, or of several. Raises `UserError` with the likeliest names where there is none.

    The name of the folder of the others stands for "none of the classes". ``new``: the class may be a new one.
    ``paths``: those of `class_paths`, if the caller has them.
    """
    name = check_class_path(given)
    folded = name.casefold()
    if folded == settings.others_dir.casefold():
        return ClassFolder(settings.others_dir, None)
    top, *inside = name.split("/")
    if inside and top.casefold() == settings.others_dir.casefold():
        raise UserError(tr("{name} lies in the folder for images of none of the classes: give a class", name=name))
    if settings.are_duplicates_moved and top.casefold() == settings.duplicates_dir.casefold():
        raise UserError(
            tr(
                "{name} is the folder of duplicates, and no class: give a class, or {others} for an image of none of "
                "the classes",
                name=name,
                others=settings.others_dir,
            )
        )
    if top.casefold() == settings.quarantine_dir.casefold():
        raise UserError(
            tr(
                "{name} is the folder of files that cannot be read, and no class: give a class, or {others} for an "
                "image of none of the classes",
                name=name,
                others=settings.others_dir,
            )
        )
    if (leftover := next((part for part in (top, *inside) if is_leftover(part)), None)) is not None:
        raise UserError(
            tr("a system or a program has folders named {name}, which are left alone: give another name", name=leftover)
        )
    paths = paths or class_paths(settings)
    known = _known(settings, paths)
    if name in known:
        return ClassFolder(known[name], name)
    alike = next((other for other in known if other.casefold() == folded), None)
    if alike is not None:
        raise UserError(tr("there is no class '{name}': did you mean {near}?", name=name, near=alike))
    if new:
        return _new_folder(name, paths, known)
    near = ", ".join(nearest(name, [*known, settings.others_dir]))
    if near:
        raise UserError(
            tr("there is no class '{name}': did you mean {near}? Give --new to make it a class", name=name, near=near)
        )
    raise UserError(tr("there is no class '{name}': give one that there is, or --new to make it one", name=name))


def nothing_of_class(nothing: str, name: str | None, settings: Settings, paths: ClassPaths | None = None) -> str:
    """Add to ``nothing``, a sentence, which class may have been meant where there is none of this name."""
    known = [] if name is None else [*_known(settings, paths or class_paths(settings)), *settings.other_folders]
    near = [] if name is None or name in known else nearest(name, known)
    if not near:
        return nothing
    return tr(
        "{nothing}: there is no class '{name}'; did you mean {near}?", nothing=nothing, name=name, near=", ".join(near)
    )


def _known(settings: Settings, paths: ClassPaths) -> dict[str, str]:
    """Map the classes of the model, and those that have a folder, to the paths of their folders."""
    return {name: name for name in (*paths.inner, *paths.classes)} | class_folders(settings, paths)


def _new_folder(name: str, paths: ClassPaths, known: dict[str, str]) -> ClassFolder:
    """Choose the folder of a new class, in the folder that is there. Raises `UserError` where it would be no class."""
    above, slash, last = name.rpartition("/")
    if (taken := paths.class_of(name)) != name:
        raise UserError(
            tr(
                "'{name}' cannot be a class: all that lies in the folder '{taken}' is of one class, as the model in "
                "use has no classes in that folder; trainer fit --nested makes models that have",
                name=name,
                taken=taken,
            )
        )
    return ClassFolder(f"{known.get(above, above)}{slash}{last}", name)


def class_folders(settings: Settings, paths: ClassPaths | None = None) -> dict[str, str]:
    """Map the classes that have a folder below an output to the paths of their folders there, however composed.

    Inner folders are among them: an image may be known to be of one of the classes in it.
    """
    reserved = {name.casefold() for name in settings.other_folders}
    paths = paths or class_paths(settings)
    folders = [
        (paths.as_spelled(folder), folder)
        for output in settings.outputs[::-1]  # of two spellings, that in the main one counts
        for folder in folders_of_images(settings, paths, output=output)
        if unicodedata.normalize("NFC", folder).partition("/")[0].casefold() not in reserved
    ]
    return dict(sorted(folders, key=lambda both: both[0] == unicodedata.normalize("NFC", both[1])))


def folders_of_images(
    settings: Settings, paths: ClassPaths | None = None, *, output: Path | None = None
) -> Iterator[str]:
    """Yield the paths of all class folders below an output, and of those for other images; None: the main one.

    Hidden folders and those of other programs are not among them.
    """
    paths = paths or class_paths(settings)
    pending = [""]
    while pending:
        outer = pending.pop()
        for name in _folders_in(f"{output or settings.output}/{outer}"):
            folder = f"{outer}/{name}" if outer else name
            yield folder
            if paths.is_inner(folder):
                pending.append(folder)


def _folders_in(folder: str) -> list[str]:
    try:
        with os.scandir(folder) as entries:
            return [
                entry.name
                for entry in entries
                if not entry.name.startswith(".")
                and not is_leftover(entry.name)
                and entry.is_dir(follow_symlinks=False)
            ]
    except OSError:
        return []  # the move will say what is wrong with it


def learnt_classes(settings: Settings) -> list[str]:
    """List the classes of the published checkpoint, or of the starter model; none where it cannot be read.

    A daemon that has gone back to an earlier one knows others, whose folders are there as far as they hold images.
    """
    # Not at the top: they import numpy, and most operations do without.
    from daemon.reloading.checkpoint_source import CheckpointSource
    from models.checkpoints import checkpoint
    from models.groups import starter_groups

    try:
        published = CheckpointSource(settings.checkpoint).find()
        if published is None:
            return starter_groups("ko" if settings.language == "ko" else "en")[0]
        return list(checkpoint.read_metadata(published.path).classes)
    except CheckpointError:
        return []
