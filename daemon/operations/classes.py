"""Find the folder of the class that a person names: one that is there, one of the model's, or a new one."""

from __future__ import annotations

import os
import unicodedata
from collections.abc import Iterator
from typing import NamedTuple

from daemon.config import Settings
from models.class_names import check_class_name
from models.errors import CheckpointError, UserError
from models.leftovers import is_leftover
from models.text.language import tr
from models.text.spelling import nearest


class ClassFolder(NamedTuple):
    """A folder below the output, by its name there, and the class of its images; None: they are of no class."""

    folder: str
    label: str | None


def class_folder(given: str, settings: Settings, *, new: bool) -> ClassFolder:
    """Find the folder of a class. Raises `UserError` with the likeliest names where there is none.

    The name of the folder of the others stands for "none of the classes". ``new``: the class may be a new one.
    """
    name = check_class_name(given)
    folded = name.casefold()
    if folded == settings.others_dir.casefold():
        return ClassFolder(settings.others_dir, None)
    if folded == settings.quarantine_dir.casefold():
        raise UserError(
            tr(
                "{name} is the folder of files that cannot be read, and no class: give a class, or {others} for an "
                "image of none of the classes",
                name=name,
                others=settings.others_dir,
            )
        )
    if is_leftover(name):
        raise UserError(
            tr("a system or a program has folders named {name}, which are left alone: give another name", name=name)
        )
    known = _known(settings)
    if name in known:
        return ClassFolder(known[name], name)
    alike = next((other for other in known if other.casefold() == folded), None)
    if alike is not None:
        raise UserError(tr("there is no class '{name}': did you mean {near}?", name=name, near=alike))
    if new:
        return ClassFolder(name, name)
    near = ", ".join(nearest(name, [*known, settings.others_dir]))
    if near:
        raise UserError(
            tr("there is no class '{name}': did you mean {near}? Give --new to make it a class", name=name, near=near)
        )
    raise UserError(tr("there is no class '{name}': give one that there is, or --new to make it one", name=name))


def class_folders(settings: Settings) -> dict[str, str]:
    """Map the classes that have a folder below the output to the names of their folders there, however composed."""
    reserved = {settings.others_dir.casefold(), settings.quarantine_dir.casefold()}
    return {
        unicodedata.normalize("NFC", folder): folder
        for folder in folders_of_images(settings)
        if unicodedata.normalize("NFC", folder).casefold() not in reserved
    }


def _known(settings: Settings) -> dict[str, str]:
    """Map all classes, those of the model too, to the names of their folders."""
    return {name: name for name in learnt_classes(settings)} | class_folders(settings)


def folders_of_images(settings: Settings) -> Iterator[str]:
    """Yield the names of all folders below the output, but for hidden ones and those of other programs."""
    try:
        with os.scandir(settings.output) as entries:
            for entry in entries:
                is_ours = not entry.name.startswith(".") and not is_leftover(entry.name)
                if is_ours and entry.is_dir(follow_symlinks=False):
                    yield entry.name
    except OSError:
        return  # the move will say what is wrong with it


def learnt_classes(settings: Settings) -> list[str]:
    """List the classes of the published checkpoint, or of the starter model; none where it cannot be read.

    A daemon that has gone back to an earlier one knows others, whose folders are there as far as they hold images.
    """
    # Not at the top: they import numpy, and most operations do without.
    from daemon.reloading.checkpoint_source import CheckpointSource
    from models import checkpoint
    from models.groups import starter_groups

    try:
        published = CheckpointSource(settings.checkpoint).find()
        if published is None:
            return starter_groups("ko" if settings.language == "ko" else "en")[0]
        return list(checkpoint.read_metadata(published.path).classes)
    except CheckpointError:
        return []
