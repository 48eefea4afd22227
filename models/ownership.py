"""Whose a file or folder is that root makes: its folder's owner's, as if that user had made it.

Root brings pictures back, or sorts them anew, for a service that runs as another user. What root made would be closed
to that service for ever: a folder that was made again, a lock, a journal, a cache.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

#: What a new folder has in common with its own: whether the group may write, and goes on into what is made inside.
_GROUP_MODE = stat.S_ISGID | stat.S_IRWXG


def hand_over(made: int, folder: int) -> None:
    """Give the open file or folder that this process has just made in an open folder to that folder's owner and group.

    Only root can, and only root has to. Where the file system keeps no owners there is nothing to keep. Nothing that
    was opened and may have been there before: it could be a link to what is nobody else's business.
    """
    if os.geteuid() != 0:
        return
    with suppress(OSError):
        owner, mine = os.fstat(folder), os.fstat(made)
        if (mine.st_uid, mine.st_gid) != (owner.st_uid, owner.st_gid):
            os.fchown(made, owner.st_uid, owner.st_gid)


def hand_over_folder(made: int, folder: int) -> None:
    """`hand_over`, of a folder: root's umask does not shut out a group that may write into the folder around it."""
    hand_over(made, folder)
    if os.geteuid() == 0:
        with suppress(OSError):
            mode, around = os.fstat(made).st_mode, os.fstat(folder).st_mode
            if around & _GROUP_MODE & ~mode:
                os.fchmod(made, stat.S_IMODE(mode) | around & _GROUP_MODE)


def make_folder(path: Path) -> None:
    """Make a folder where it is missing, and those above it; links in its path are followed. Raises OSError."""
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
    with _folder_of(path) as folder:
        made = os.open(path.name, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=folder)
        try:
            hand_over_folder(made, folder)
        finally:
            os.close(made)


def make_file(path: Path, mode: int) -> int:
    """A descriptor, for reading and writing, of a file that is made where it is missing. Raises OSError.

    Whatever else lies in its place is not waited for, and a link is not followed.
    """
    flags = os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK
    with _folder_of(path) as folder:
        try:
            made = os.open(path.name, flags | os.O_CREAT | os.O_EXCL, mode, dir_fd=folder)
        except FileExistsError:
            return os.open(path.name, flags, dir_fd=folder)
        hand_over(made, folder)
        return made


def hand_over_file(made: int, path: Path) -> None:
    """`hand_over`, of a file that was made in the folder of a path."""
    if os.geteuid() == 0:
        with suppress(OSError), _folder_of(path) as folder:
            hand_over(made, folder)


@contextmanager
def _folder_of(path: Path) -> Iterator[int]:
    folder = os.open(path.parent, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        yield folder
    finally:
        os.close(folder)
