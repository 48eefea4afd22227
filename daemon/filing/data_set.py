"""Export labelled images as a data set, one folder a class, as ``trainer fit --data-dir`` takes it.

Nothing is replaced or removed: an image whose name is taken gets a numbered one, and one that is there already stays,
so that an export which was interrupted goes on where it stopped.
"""

from __future__ import annotations

import errno
import os
from collections import defaultdict
from collections.abc import Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from daemon.files import copying, renaming
from daemon.files.copying import sha256_of
from daemon.files.marker import MARKER, marked_folder
from daemon.files.names import numbered
from daemon.files.output_mark import OUTPUT_MARK
from daemon.files.renaming import CannotMove, FileAt, close
from daemon.files.roots import Roots
from daemon.files.source import Identity, SourceChanged
from models.errors import UserError
from models.files.markers import USUAL_NAMES, Kind, marker_content
from models.text.language import tr

#: Errors after which no other image can be exported either.
_OF_THE_DISK = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EROFS})


class Exported(StrEnum):
    """What became of one image."""

    LINKED = "linked"
    COPIED = "copied"
    THERE = "already there"


@dataclass(frozen=True, kw_only=True)
class LabelledFile:
    """An image in an open folder, its state and content, and the class that a person gave it; None: none of them."""

    entry: FileAt
    identity: Identity
    sha256: str
    label: str | None


class DataSetFolder:
    """A folder that images are exported to; ``others`` is the name of the folder of those that are of no class."""

    def __init__(self, path: Path, others: str, ours: Sequence[Path], *, copy: bool) -> None:
        """Raises `UserError` where the folder is, or is inside, an output, a class folder or one of ``ours``.

        ``ours``: the inboxes and the output. ``copy``: make copies where hard links could be made, too.
        """
        self.path = path.resolve()
        self.others = others
        self._ours = [folder.resolve() for folder in ours]
        self._copy = copy
        self._roots = Roots([self.path])
        self._stack = ExitStack()
        self._folders: dict[str, int] = {}
        self._refuse(self.path)
        if marked_folder(self.path) is not None:
            raise _not_there(self.path)
        if self.path.exists() and not self.path.is_dir():
            raise UserError(tr("{path} is not a folder: give another one for the data set", path=path))
        self._earlier = _folders_by_name(self.path)

    def close(self) -> None:
        """Close the folders."""
        self._stack.close()

    def add(self, image: LabelledFile) -> Exported:
        """Export one image by its name. Raises OSError, SourceChanged, UserError."""
        folder = self._folder(image.label)
        limit = os.fpathconf(folder, "PC_NAME_MAX")
        number = 1
        while True:
            target = FileAt(folder, numbered(image.entry.name, number, limit))
            try:
                return Exported.THERE if _is_same(target, image) else self._put(image, target)
            except FileExistsError:
                number += 1
            except OSError as error:
                if error.errno in _OF_THE_DISK:
                    raise _cannot_be_written(self.path, error) from error
                raise

    def earlier(self, image: LabelledFile) -> list[Path]:
        """List where an earlier export has put the image, when another class was its label. Raises OSError."""
        found = []
        for folder in self._earlier.get(image.entry.name, ()):
            if folder != self._name(image.label):
                descriptor = self._roots.open_folder(self.path / folder)
                try:
                    with suppress(FileExistsError):
                        if _is_same(FileAt(descriptor, image.entry.name), image):
                            found.append(self.path / folder / image.entry.name)
                finally:
                    close(descriptor)
        return found

    def _put(self, image: LabelledFile, target: FileAt) -> Exported:
        if not self._copy:
            with suppress(CannotMove):
                renaming.link_or_cannot(image.entry, target)
                if Identity.from_stat(target.stat()) != image.identity:
                    target.unlink()
                    raise SourceChanged(tr("'{name}' changed while it was exported", name=target.name))
                return Exported.LINKED
        part = FileAt(target.folder, f".part.{image.sha256[:32]}")
        with suppress(FileNotFoundError):
            part.unlink()  # of an export that was killed
        descriptor = copying.create(part)
        try:
            copying.require_room(descriptor, image.entry, image.identity.size)
            copying.copy_into(descriptor, image.entry, image.identity, image.sha256)
            renaming.put_back(part, target)
        except BaseException:
            with suppress(FileNotFoundError):
                part.unlink()
            raise
        finally:
            close(descriptor)
        return Exported.COPIED

    def _name(self, label: str | None) -> str:
        return self.others if label is None else label

    def _folder(self, label: str | None) -> int:
        name = self._name(label)
        if name not in self._folders:
            self._refuse(self.path / name)
            top = name.partition("/")[0]
            if label is None:
                _mark(self._made(top), "others")
            elif top.casefold() in USUAL_NAMES:  # beside a marked folder the trainer would not take it for a class
                _mark(self._made(top), "class")
            self._folders[name] = self._made(name)
        return self._folders[name]

    def _made(self, name: str) -> int:
        try:
            descriptor = self._roots.make_folder(self.path / name)
        except OSError as error:
            raise _cannot_be_written(self.path / name, error) from error
        self._stack.callback(close, descriptor)
        return descriptor

    def _refuse(self, folder: Path) -> None:
        resolved = folder.resolve()
        above = (resolved, *resolved.parents)
        if any(ours in above for ours in self._ours) or any(os.path.lexists(path / OUTPUT_MARK) for path in above):
            raise _not_there(folder)


def _cannot_be_written(folder: Path, error: OSError) -> UserError:
    return UserError(
        tr(
            "{folder} cannot be written ({reason}): put that right or give another folder, and run the same command "
            "again",
            folder=folder,
            reason=error.strerror,
        )
    )


def _not_there(folder: Path) -> UserError:
    return UserError(
        tr(
            "{folder} is, or lies in, an inbox, an output or a class folder: give a folder of its own for the data set",
            folder=folder,
        )
    )


def _is_same(target: FileAt, image: LabelledFile) -> bool:
    """Whether a name is free (False) or the image is there already. Raises FileExistsError where another file is."""
    try:
        status = target.stat()
    except FileNotFoundError:
        return False
    if (status.st_dev, status.st_ino) == image.identity[:2]:
        return True
    if status.st_size == image.identity.size and sha256_of(target) == image.sha256:
        return True
    raise FileExistsError(target.name)


def _folders_by_name(data_set: Path) -> dict[str, list[str]]:
    """Map the names of the files in a data set to the class folders in which they are."""
    found: dict[str, list[str]] = defaultdict(list)
    for path, folders, files in os.walk(data_set):
        folders[:] = [name for name in folders if not name.startswith(".")]
        if path != str(data_set):
            folder = os.path.relpath(path, data_set)
            for name in files:
                found[name].append(folder)
    return found


def _mark(folder: int, kind: Kind) -> None:
    """Write what tells the trainer what a folder is for."""
    with suppress(FileExistsError):
        marker = copying.create(FileAt(folder, MARKER), 0o666)
        try:
            os.write(marker, marker_content(kind))
        finally:
            close(marker)
