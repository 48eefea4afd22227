"""Open what lies below the folders that the owner named, never through a symbolic link.

A user who may write into an inbox or an output can replace a folder by a link at any moment: between the check of an
image and its decoding, or before it is moved. So no path is opened as a whole. It is split at its root, whose own links
are the owner's choice; below that no component may be a link.
"""

from __future__ import annotations

import ctypes
import errno
import os
from collections.abc import Callable, Iterable
from contextlib import ExitStack, suppress
from functools import lru_cache
from pathlib import Path

from daemon.files.names import NAME_REFUSED, simpler_name
from daemon.files.renaming import FOLDER_FLAGS, FileAt, close
from models.files.atomic import sync_folder
from models.files.ownership import hand_over_folder
from models.text.language import mark, tr

#: ``openat2`` has this number on every architecture but Alpha; Python has no function for it.
_OPENAT2 = 437
_NO_SYMLINKS = 0x04
#: Folders on the way to the last one need no read permission.
_ON_THE_WAY = os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC
_NO_SUCH_NAME = mark(
    "the file system cannot hold a folder named '{name}': mount it with iocharset=utf8, or give the class another name"
)
_IN_THE_WAY = mark("a file or a symbolic link lies where a folder should be")

_libc = ctypes.CDLL(None, use_errno=True)


class Roots:
    """Folders that the owner named: inboxes and output. The root of any other path is ``/``.

    A folder inside another is no root: a user who may write into the outer one can replace it.
    """

    def __init__(
        self, folders: Iterable[str | Path] = (), *, why_closed: Callable[[str], str | None] | None = None
    ) -> None:
        """``why_closed`` says why nothing may be opened at a path now, so that it counts as a device that is gone."""
        self._why_closed = why_closed
        self.folders: list[str] = []
        for folder in sorted({os.path.abspath(folder) for folder in folders}, key=len):  # noqa: PTH100
            if not any(_rest(folder, root) for root in self.folders):
                self.folders.append(folder)

    def including(self, *folders: Path) -> Roots:
        """Make `Roots` with more folders."""
        return Roots([*self.folders, *folders], why_closed=self._why_closed)

    def is_root(self, folder: str) -> bool:
        """Whether a folder is a root."""
        return folder in self.folders

    def root_of(self, path: str) -> str | None:
        """Return the root that a path is, or is below; None if there is none."""
        return next((root for root in self.folders if _rest(path, root) is not None), None)

    def open(self, path: str | Path, flags: int) -> int:
        """Open a file or folder. Raises OSError.

        ENODEV: it lies in an output that is not there now. ELOOP: it is a symbolic link itself; ENOTDIR: a link or a
        file is in the place of a folder on the way to it.
        """
        path = str(path)
        if not path.startswith("/") or "/." in path or "//" in path:
            path = os.path.abspath(path)  # noqa: PTH100 - a link that ".." might have followed is refused anyway
        if self._why_closed is not None and (why := self._why_closed(path)) is not None:
            raise OSError(errno.ENODEV, why, path)
        root = self.root_of(path) or "/"
        rest = _rest(path, root)
        if not rest:
            return os.open(root, flags)
        if has_openat2():
            # Paths of the settings have no links in them, so this one call is mostly enough: each call saved is 8 us,
            # on a machine that decodes an image in 350.
            with suppress(_LookCloser):
                return _openat2(path, flags)
        folder = os.open(root, _ON_THE_WAY)
        try:
            return _open_beneath(folder, rest, flags)
        finally:
            close(folder)

    def status(self, path: str) -> os.stat_result:
        """Return what a name stands for, and never what lies behind a link that is in the place of a folder."""
        folder, _, name = path.rpartition("/")
        if self.is_root(folder):
            return os.lstat(path)
        descriptor = self.open(folder, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            return FileAt(descriptor, name).stat()
        finally:
            close(descriptor)

    def open_folder(self, path: str | Path) -> int:
        """Open a folder whose names are to be used. Raises OSError as `open` does."""
        return self.open(path, FOLDER_FLAGS)

    def make_folder(self, path: Path) -> int:
        """Open a folder as `open_folder` does; make it, and those above it, where they are missing."""
        missing = []
        while True:
            try:
                folder = self.open_folder(path)
                break
            except FileNotFoundError:
                missing.append(path.name)
                path = path.parent
        for name in reversed(missing):
            folder = step_into(folder, name, make=True)
        return folder


class OpenFolders(ExitStack):
    """Keeps folders open, and closes them together."""

    def __init__(self, roots: Roots) -> None:
        super().__init__()
        self.roots = roots

    def entry(self, path: Path, *, make: bool = False) -> FileAt:
        """Open the folder of a file, which is made if ``make``. Raises OSError as `Roots.open` does."""
        folder = self.roots.make_folder(path.parent) if make else self.roots.open_folder(path.parent)
        self.callback(close, folder)
        return FileAt(folder, path.name)


#: What keeps a folder from being opened where it is not there, or something else lies in its place.
NO_FOLDER = (FileNotFoundError, NotADirectoryError)


def step_into(folder: int, name: str, *, make: bool) -> int:
    """Open a folder inside another, never through a link, and close the outer one in any case. Raises OSError."""
    try:
        try:
            return _open_folder(folder, name)
        except FileNotFoundError:
            if not make:
                raise
        made = True
        try:
            _make_folder(folder, name)
        except FileExistsError:
            made = False  # another program was quicker
        # The new name must outlast a power cut before an original is dropped for a copy inside.
        sync_folder(folder)
        inner = _open_folder(folder, name)
        if made:
            hand_over_folder(inner, folder)
        return inner
    finally:
        close(folder)


def _make_folder(folder: int, name: str) -> None:
    try:
        os.mkdir(name, dir_fd=folder)
    except OSError as error:
        if error.errno not in NAME_REFUSED or simpler_name(name) == name:
            raise
        raise OSError(error.errno, tr(_NO_SUCH_NAME, name=name), name) from error


def _open_folder(folder: int, name: str) -> int:
    try:
        return os.open(name, FOLDER_FLAGS | os.O_NOFOLLOW, dir_fd=folder)
    except OSError as error:
        if error.errno in (errno.ENOTDIR, errno.ELOOP):
            raise OSError(errno.ENOTDIR, tr(_IN_THE_WAY), name) from error
        raise


def _rest(path: str, root: str) -> str | None:
    """Return the part of a path below a root; None where it does not lie there."""
    if path == root:
        return ""
    prefix = root.rstrip("/") + "/"
    return path[len(prefix) :] if path.startswith(prefix) else None


def _open_beneath(folder: int, path: str, flags: int) -> int:
    """Open what lies below an open folder with one call for each component, so that no link is followed."""
    *way, name = path.split("/")
    opened: list[int] = []
    try:
        for component in way:
            folder = os.open(component, _ON_THE_WAY | os.O_NOFOLLOW, dir_fd=folder)
            opened.append(folder)
        return os.open(name, flags | os.O_NOFOLLOW, dir_fd=folder)
    except NotADirectoryError as error:
        raise NotADirectoryError(errno.ENOTDIR, tr(_IN_THE_WAY), path) from error
    finally:
        for descriptor in opened:
            close(descriptor)


class _How(ctypes.Structure):
    _fields_ = (("flags", ctypes.c_uint64), ("mode", ctypes.c_uint64), ("resolve", ctypes.c_uint64))


@lru_cache
def _how(flags: int) -> _How:
    return _How(flags, 0, _NO_SYMLINKS)


class _LookCloser(Exception):
    """There is a link on the way, or a folder was renamed meanwhile."""


def _openat2(path: str, flags: int) -> int:
    """Open an absolute path of which no component is a link. Raises _LookCloser, or OSError."""
    how = _how(flags)
    while True:
        arguments = ctypes.c_long(-1), os.fsencode(path), ctypes.byref(how), ctypes.c_size_t(ctypes.sizeof(how))
        descriptor = int(_libc.syscall(ctypes.c_long(_OPENAT2), *arguments))
        if descriptor >= 0:
            return descriptor
        code = ctypes.get_errno()
        if code in (errno.ELOOP, errno.EAGAIN):
            raise _LookCloser
        if code != errno.EINTR:
            raise OSError(code, os.strerror(code), path)


@lru_cache
def has_openat2() -> bool:
    """Whether the kernel has that call (Linux 5.6), and whatever confines this process lets it through."""
    if os.uname().machine == "alpha":
        return False
    try:
        close(_openat2("/", _ON_THE_WAY))
    except (OSError, _LookCloser):
        return False
    return True
