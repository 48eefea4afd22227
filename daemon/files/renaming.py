"""Move files without ever replacing one: the kernel decides whether a name is free, not an earlier check."""

from __future__ import annotations

import ctypes
import errno
import os
import sys
from collections.abc import Callable
from contextlib import suppress
from typing import NamedTuple

from daemon.files.mounts import kinds_by_device
from daemon.files.names import free_number, numbered

_RENAME_NOREPLACE, _RENAME_EXCHANGE = 1, 2
#: None where the C library has no such call; then every move goes through a hard link.
_renameat2 = getattr(ctypes.CDLL(None, use_errno=True), "renameat2", None)

#: How Python makes bytes of a name, looked up once.
_CODING = sys.getfilesystemencoding(), sys.getfilesystemencodeerrors()

#: The kernel or the file system has no rename that refuses to replace.
_NO_RENAME = frozenset({errno.EINVAL, errno.ENOSYS, errno.EOPNOTSUPP})
#: The file system has no hard links, or grants none for this file. EIO is what rclone and other FUSE file
#: systems answer; if it comes from a broken disk, the copy fails as well.
_NO_LINK = frozenset({errno.EPERM, errno.EOPNOTSUPP, errno.ENOSYS, errno.EMLINK, errno.EINVAL, errno.EXDEV, errno.EIO})
#: How a folder is opened whose names are to be used.
FOLDER_FLAGS = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC


class CannotMove(Exception):
    """These two places can only be joined by a copy: another file system, or one without rename and link."""


class FileAt(NamedTuple):
    """A name in an open folder: the folder cannot be swapped for another between two calls."""

    folder: int
    name: str

    def stat(self) -> os.stat_result:
        """Return the status of what the name stands for, without following a link."""
        return os.stat(self.name, dir_fd=self.folder, follow_symlinks=False)

    def exists(self) -> bool:
        """Whether the name is taken, by whatever it may be."""
        try:
            self.stat()
        except FileNotFoundError:
            return False
        return True

    def seems_taken(self) -> bool:
        """Guess the same quickly; a name that cannot be checked seems free."""
        return os.access(self.name, os.F_OK, dir_fd=self.folder, follow_symlinks=False)

    def unlink(self) -> None:
        """Take the name away."""
        os.unlink(self.name, dir_fd=self.folder)


#: Stands for an entry that is not known yet; every use of it fails.
NOWHERE = FileAt(-1, "")


def rename_noreplace(old: FileAt, new: FileAt) -> None:
    """Call ``renameat2(RENAME_NOREPLACE)``, for which Python 3.11 has no function. Raises OSError."""
    _rename(old, new, _RENAME_NOREPLACE)


def exchange(one: FileAt, other: FileAt) -> None:
    """Exchange the names of two files. Raises CannotMove where the file system cannot do that, else OSError."""
    try:
        _rename(one, other, _RENAME_EXCHANGE)
    except OSError as error:
        if error.errno in _NO_RENAME:
            raise CannotMove from error
        raise


def _rename(old: FileAt, new: FileAt, flag: int) -> None:
    code = errno.ENOSYS
    if _renameat2 is not None:
        names = old.name.encode(*_CODING), new.name.encode(*_CODING)
        if _renameat2(old.folder, names[0], new.folder, names[1], flag) == 0:
            return
        code = ctypes.get_errno()
    raise OSError(code, os.strerror(code), old.name, None, new.name)


def link(old: FileAt, new: FileAt) -> None:
    """Give a file a second name, which never replaces one either. Raises OSError."""
    os.link(old.name, new.name, src_dir_fd=old.folder, dst_dir_fd=new.folder, follow_symlinks=False)


def move_noreplace(old: FileAt, new: FileAt, private_name: Callable[[], str]) -> None:
    """Move a file on one file system; ``private_name`` makes one in the old folder, where one is needed.

    Raises FileExistsError when the new name is taken, CannotMove when only a copy can do it, else OSError.
    """
    try:
        rename_noreplace(old, new)
    except OSError as error:
        if error.errno == errno.EXDEV:
            raise CannotMove from error
        if error.errno not in _NO_RENAME:
            raise
        _link_and_unlink(old, new, private_name())


def _link_and_unlink(old: FileAt, new: FileAt, private_name: str) -> None:
    link_or_cannot(old, new)
    try:
        moved = new.stat()
        dropped = drop(old, private_name, lambda entry: os.path.samestat(entry.stat(), moved))
    except OSError:
        new.unlink()
        raise
    if not dropped and not old.exists() and new.stat().st_nlink > 1:
        new.unlink()  # somebody else has moved it meanwhile, and the file has the name that they gave it
        raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), old.name)


def link_or_cannot(old: FileAt, new: FileAt) -> None:
    """Call ``link``; raise CannotMove where the file system has no hard links for these two places."""
    links = old.stat().st_nlink
    try:
        link(old, new)
    except FileExistsError:
        if not _is_own_link(old, new, links):
            raise
    except OSError as error:
        if error.errno in _NO_LINK:
            raise CannotMove from error
        raise


def _is_own_link(old: FileAt, new: FileAt, links: int) -> bool:
    """Whether a link that is said to exist was made by this very call, before which the file had so many ``links``.

    A network file system may have made the link, lost the answer and asked once more. Anywhere else, and where there
    are no more links than before, another program made it. That program may remove its link again, and a file whose
    old name we had removed would be lost.
    """
    status, linked = old.stat(), new.stat()
    is_new = os.path.samestat(status, linked) and status.st_nlink > links
    return is_new and status.st_dev in kinds_by_device()


def unlink_meant(private: FileAt, meant: Callable[[FileAt], bool]) -> bool:
    """Unlink a file if it is the one that is meant; returns whether it is. Raises OSError."""
    ours = meant(private)
    if ours:
        private.unlink()
    return ours


def drop(
    entry: FileAt,
    private_name: str,
    meant: Callable[[FileAt], bool],
    unlink: Callable[[FileAt, Callable[[FileAt], bool]], bool] = unlink_meant,
) -> bool:
    """Remove a name if it is still the file that is ``meant``, of which there is another copy or link.

    The name is first moved to ``private_name``, so that no other file can take its place between check and removal.
    Returns False, with everything as before, if the name is gone or another file. After an error of ``unlink``
    everything is as before, too.
    """
    private = FileAt(entry.folder, private_name)
    try:
        os.rename(entry.name, private_name, src_dir_fd=entry.folder, dst_dir_fd=entry.folder)
    except FileNotFoundError:
        if not private.exists():  # a share may have renamed it, lost the answer, and asked once more
            return False
    try:
        ours = unlink(private, meant)
    except Exception:
        put_back(private, entry)
        raise
    if not ours:
        put_back(private, entry)
    return ours


def put_back(private: FileAt, entry: FileAt) -> str:
    """Give a file its own name back, or a numbered one when that is taken; return that name. Raises OSError."""
    while True:
        number = free_number(lambda n: FileAt(entry.folder, numbered(entry.name, n)).exists())
        with suppress(FileExistsError):
            name = numbered(entry.name, number)
            _give_name(private, FileAt(entry.folder, name))
            return name


def _give_name(private: FileAt, free: FileAt) -> None:
    try:
        rename_noreplace(private, free)
        return
    except OSError as error:
        if error.errno not in _NO_RENAME:
            raise
    try:
        link_or_cannot(private, free)
    except CannotMove:
        _replace_reserved(private, free)
    else:
        private.unlink()


def _replace_reserved(private: FileAt, free: FileAt) -> None:
    """Give a file a name that an empty one reserves. Where that fails, the name is free again."""
    reserved = os.open(free.name, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600, dir_fd=free.folder)
    identity = os.fstat(reserved)
    close(reserved)
    try:
        os.rename(private.name, free.name, src_dir_fd=private.folder, dst_dir_fd=free.folder)
    except OSError:
        with suppress(OSError):
            status = free.stat()
            if os.path.samestat(status, identity) and status.st_size == 0:
                free.unlink()
        raise


def close(descriptor: int) -> None:
    """Close a descriptor and ignore errors: what must be durable was flushed before, and Linux frees it anyway."""
    with suppress(OSError):
        os.close(descriptor)
