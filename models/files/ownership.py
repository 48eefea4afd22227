"""Create files and folders as root so that they belong to the owner of the folder around them.

Root may undo or resort for a service that runs as another user. That service could never use what belongs to root: a
folder that was created again, a lock, a journal, a cache.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

#: The permissions that a new folder inherits: the group may write, and new files get the folder's group.
GROUP_MODE = stat.S_ISGID | stat.S_IRWXG


def hand_over(new: int, folder: int) -> None:
    """Give a file or folder that this process has just created to the owner and group of the folder around it.

    Both are descriptors. Only root can do this, and only root needs to; file systems without owners are ignored. Never
    call it for a file that may have existed before: it could be a link to another user's file.
    """
    if os.geteuid() != 0:
        return
    with suppress(OSError):
        wanted, actual = os.fstat(folder), os.fstat(new)
        if (actual.st_uid, actual.st_gid) != (wanted.st_uid, wanted.st_gid):
            os.fchown(new, wanted.st_uid, wanted.st_gid)


def hand_over_folder(new: int, folder: int) -> None:
    """Hand over a new folder, and let the group write if it may write into the folder around, whatever the umask."""
    hand_over(new, folder)
    if os.geteuid() == 0:
        with suppress(OSError):
            mode, parent_mode = os.fstat(new).st_mode, os.fstat(folder).st_mode
            if parent_mode & GROUP_MODE & ~mode:
                os.fchmod(new, stat.S_IMODE(mode) | parent_mode & GROUP_MODE)


def make_folder(path: Path) -> None:
    """Create a folder and those above it if they are missing; links in its path are followed. Raises OSError."""
    if path.is_dir():
        return
    if path.parent != path:
        make_folder(path.parent)
    try:
        path.mkdir()
    except FileExistsError:
        if path.is_dir():
            return
        raise
    with _open_parent(path) as folder:
        new = os.open(path.name, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=folder)
        try:
            hand_over_folder(new, folder)
        finally:
            os.close(new)


def make_file(path: Path, mode: int) -> int:
    """Open a file for reading and writing, created if missing; return its descriptor. Raises OSError.

    It neither blocks on a named pipe in its place nor follows a link.
    """
    flags = os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK
    with _open_parent(path) as folder:
        try:
            new = os.open(path.name, flags | os.O_CREAT | os.O_EXCL, mode, dir_fd=folder)
        except FileExistsError:
            return os.open(path.name, flags, dir_fd=folder)
        hand_over(new, folder)
        return new


def make_shared_file(path: Path) -> int:
    """Open a lock file for all who may write into its folder, created if missing. Returns a descriptor; raises OSError.

    A new one gets the folder's group, which may write it where it may write into the folder, whatever the umask. One
    that another user has made for itself is opened for reading, which is enough to lock it.
    """
    flags = os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK
    with _open_parent(path) as folder:
        try:
            new = os.open(path.name, flags | os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o644, dir_fd=folder)
        except FileExistsError:
            try:
                return os.open(path.name, flags | os.O_RDWR, dir_fd=folder)
            except PermissionError:
                if not os.access(path.parent, os.W_OK | os.X_OK, effective_ids=True):
                    raise
                return os.open(path.name, flags | os.O_RDONLY, dir_fd=folder)
        hand_over(new, folder)
        _share(new, os.fstat(folder))
        return new


def _share(new: int, folder: os.stat_result) -> None:
    """Let the group of a folder write a new file in it, if it may write into the folder."""
    if not folder.st_mode & stat.S_IWGRP:
        return
    with suppress(OSError):
        if os.fstat(new).st_gid != folder.st_gid:
            os.fchown(new, -1, folder.st_gid)  # only for a member of that group
        os.fchmod(new, stat.S_IMODE(os.fstat(new).st_mode) | stat.S_IRGRP | stat.S_IWGRP)


def hand_over_file(new: int, path: Path) -> None:
    """Hand over a new file to the owner of the folder of a path."""
    if os.geteuid() == 0:
        with suppress(OSError), _open_parent(path) as folder:
            hand_over(new, folder)


@contextmanager
def _open_parent(path: Path) -> Iterator[int]:
    folder = os.open(path.parent, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        yield folder
    finally:
        os.close(folder)
