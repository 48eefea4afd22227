"""The folders of one batch, held open: a class folder cannot become a link to elsewhere between look and move."""

from __future__ import annotations

import errno
import os
from contextlib import ExitStack, suppress
from pathlib import Path, PurePath
from types import TracebackType

from daemon.copying import create
from daemon.marker import MARKER
from daemon.moves import FOLDER_FLAGS, Entry, close, sync_folder


class Output:
    """The folder that holds the class folders, on the file system on which it was first seen.

    When that file system is gone (a drive unplugged, a mount lost), nothing is filed into the empty place it leaves.
    """

    def __init__(self, path: Path) -> None:
        self.path = Path(os.path.abspath(path))  # noqa: PTH100 - links in it are the owner's choice
        self._dev: int | None = None

    def open(self) -> int:
        """A descriptor of the folder, which is made when it is missing. Raises OSError."""
        missing = []
        path = self.path
        while (folder := _open_if_there(path)) is None:
            missing.append(path.name)
            path = path.parent
        try:
            device = os.fstat(folder).st_dev
            if self._dev not in (None, device):
                raise OSError(errno.ENODEV, "the file system of the output folder is not mounted", str(self.path))
            for name in reversed(missing):
                folder = _step_into(folder, name, make=True)
        except BaseException:
            close(folder)
            raise
        self._dev = device
        return folder


class Folders:
    """Descriptors of the folders that one batch uses; closed together at its end."""

    def __init__(self, output: Output) -> None:
        self._output = output
        self._stack = ExitStack()
        self._inboxes: dict[str, int] = {}
        self._class_folders: dict[str, int] = {}

    def __enter__(self) -> Folders:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stack.close()

    def entry(self, path: Path) -> Entry:
        """The place of an image in an inbox. Raises OSError."""
        folder, _, name = str(path).rpartition("/")  # of a text that is there already: a Path would make another Path
        if folder not in self._inboxes:
            self._inboxes[folder] = self._kept(os.open(folder or "/", FOLDER_FLAGS))
        return Entry(self._inboxes[folder], name)

    def path(self, folder: str) -> Path:
        """Where a folder under the output is."""
        return self._output.path / folder

    def class_folder(self, folder: str, *, make: bool) -> int | None:
        """A folder under the output; None when it is missing and not to be made. Raises OSError."""
        if folder not in self._class_folders:
            way = PurePath(folder)
            if way.is_absolute() or ".." in way.parts or not way.parts:
                raise ValueError(f"{folder!r} is not a folder under the output")
            try:
                self._class_folders[folder] = self._kept(self._walk(way, make=make))
            except FileNotFoundError:
                if make:
                    raise
                return None
        return self._class_folders[folder]

    def _walk(self, folder: PurePath, *, make: bool) -> int:
        descriptor = self._output.open() if make else os.open(self._output.path, FOLDER_FLAGS)
        try:
            for depth, name in enumerate(folder.parts):
                descriptor = _step_into(descriptor, name, make=make)
                if depth == 0 and make:
                    _mark(descriptor)
        except BaseException:
            close(descriptor)
            raise
        return descriptor

    def _kept(self, descriptor: int) -> int:
        self._stack.callback(close, descriptor)
        return descriptor


def _open_if_there(path: Path) -> int | None:
    try:
        return os.open(path, FOLDER_FLAGS)
    except FileNotFoundError:
        return None


def _mark(folder: int) -> None:
    """Leave the file that tells a watcher not to take images out of this folder again."""
    if not Entry(folder, MARKER).exists():
        with suppress(FileExistsError):  # another program was quicker
            close(create(Entry(folder, MARKER), 0o666))


def _step_into(folder: int, name: str, *, make: bool) -> int:
    """Open a folder inside another, never through a link, and close the outer one."""
    try:
        inner = _open_folder(folder, name)
    except FileNotFoundError:
        if not make:
            raise
        with suppress(FileExistsError):
            os.mkdir(name, dir_fd=folder)
        # The new name must outlast a power cut before an original is dropped for a copy inside.
        sync_folder(folder)
        inner = _open_folder(folder, name)
    close(folder)
    return inner


def _open_folder(folder: int, name: str) -> int:
    try:
        return os.open(name, FOLDER_FLAGS | os.O_NOFOLLOW, dir_fd=folder)
    except OSError as error:
        if error.errno in (errno.ENOTDIR, errno.ELOOP):
            raise OSError(errno.ENOTDIR, "in the way of a folder lies a file or a symbolic link", name) from error
        raise
