"""Hold the folders of one batch open: a class folder cannot become a link between the check and the move."""

from __future__ import annotations

import errno
import os
import stat
from contextlib import ExitStack, suppress
from pathlib import Path, PurePath
from types import TracebackType

from daemon.files.class_mounts import ClassMounts
from daemon.files.copying import create
from daemon.files.marker import MARKER
from daemon.files.renaming import FileAt, close
from daemon.files.roots import Roots, step_into
from models.files.markers import Kind, marker_content
from models.files.ownership import hand_over
from models.text.language import tr
from models.text.printable import shown


class Output:
    """Folder of the class folders, on the file system where it was first seen.

    When that file system is gone (a drive unplugged, a mount lost), nothing is filed into the empty place it leaves.
    """

    def __init__(self, path: Path, roots: Roots | None = None, class_mounts: ClassMounts | None = None) -> None:
        """``roots``: the inboxes, of which it may be a part. ``class_mounts``: its folders that are drives."""
        self.path = Path(os.path.abspath(path))  # noqa: PTH100 - links in it are the owner's choice
        self.roots = (roots or Roots()).including(self.path)
        self.class_mounts = class_mounts
        self._dev: int | None = None

    def stay_on(self, device: int) -> None:
        """Say which file system it is on now; a drive that was mounted again may have another number."""
        self._dev = device

    def open(self) -> int:
        """Open the folder, and make it when it is missing. Raises OSError."""
        missing = []
        path = self.path
        while (folder := self._open_if_there(path)) is None:
            missing.append(path.name)
            path = path.parent
        device = os.fstat(folder).st_dev
        if self._dev not in (None, device):
            close(folder)
            raise OSError(errno.ENODEV, tr("the file system of the output folder is not mounted"), str(self.path))
        for name in reversed(missing):
            folder = step_into(folder, name, make=True)
        self._dev = device
        return folder

    def _open_if_there(self, path: Path) -> int | None:
        try:
            return self.roots.open_folder(path)
        except FileNotFoundError:
            return None


class Folders:
    """Descriptors of the folders that one batch uses; closed together at its end."""

    def __init__(self, output: Output, *, touches: bool = False) -> None:
        """``output``: the main one. ``touches``: the markers of folders that are there get a new time.

        See `daemon.correcting` for what that says.
        """
        self._output = output
        self._touches = touches
        self._stack = ExitStack()
        self._inboxes: dict[str, int] = {}
        self._class_folders: dict[tuple[Path, str], int] = {}

    def __enter__(self) -> Folders:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stack.close()

    def entry(self, path: Path) -> FileAt:
        """Open the folder of an image, in an inbox or elsewhere. Raises OSError, also where a link is in the way."""
        folder, _, name = str(path).rpartition("/")  # the text exists already; Path.parent would make another Path
        if folder not in self._inboxes:
            self._inboxes[folder] = self._kept(self._output.roots.open_folder(folder or "/"))
        return FileAt(self._inboxes[folder], name)

    def class_folder(
        self, folder: str, *, make: bool, kind: Kind = "class", inside: str = "", output: Output | None = None
    ) -> int | None:
        """Open a folder under an output; None when it is missing and not to be made. Raises OSError.

        ``kind``: what its marker is to say. Of a class, the folders that it lies in get markers, too; of other images,
        only the outermost one. ``inside``: the folder in the class folder that is to be opened, which gets none.
        """
        place = f"{folder}/{inside}" if inside else folder
        output = output or self._output
        key = output.path, place
        if key not in self._class_folders:
            way = PurePath(place)
            if way.is_absolute() or ".." in way.parts or not way.parts:
                raise ValueError(f"{shown(place)} is not a folder under the output")
            marked = len(PurePath(folder).parts) if kind == "class" else 1
            try:
                self._class_folders[key] = self._kept(self._walk(output, way, kind, marked, make=make))
            except FileNotFoundError:
                if make:
                    raise
                return None
        return self._class_folders[key]

    def _walk(self, output: Output, folder: PurePath, kind: Kind, marked: int, *, make: bool) -> int:
        descriptor = output.open() if make else output.roots.open_folder(output.path)
        mounts = output.class_mounts if make else None
        for depth, name in enumerate(folder.parts):
            is_marked = depth < marked
            if is_marked and mounts is not None:
                descriptor = mounts.step_into(descriptor, "/".join(folder.parts[: depth + 1]))
            else:
                descriptor = step_into(descriptor, name, make=make)
            if is_marked and make:
                try:
                    _mark(descriptor, kind)
                    if self._touches:
                        _touch(descriptor)
                except BaseException:
                    close(descriptor)
                    raise
        return descriptor

    def _kept(self, descriptor: int) -> int:
        self._stack.callback(close, descriptor)
        return descriptor


def _mark(folder: int, kind: Kind) -> None:
    """Write the file that tells a watcher not to take images out of this folder, and the trainer what it is for."""
    marker, text = FileAt(folder, MARKER), marker_content(kind)
    try:
        status = marker.stat()
    except FileNotFoundError:
        with suppress(FileExistsError):  # another program was quicker
            made = create(marker, 0o666)
            hand_over(made, folder)
            _fill(made, text)
    else:  # no two kinds have texts of one length, see `Kind`
        if status.st_size != len(text) and stat.S_ISREG(status.st_mode):
            with suppress(OSError):  # it may be another user's, and is good enough
                _fill(os.open(MARKER, os.O_WRONLY | os.O_TRUNC | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=folder), text)


def _touch(folder: int) -> None:
    with suppress(OSError):  # another user's
        os.utime(MARKER, dir_fd=folder, follow_symlinks=False)


def _fill(marker: int, text: bytes) -> None:
    try:
        with suppress(OSError):  # that it is there matters more
            os.write(marker, text)
    finally:
        close(marker)
