"""Make the control socket: where it lies, who may connect to it, and what to do with one that is there."""

from __future__ import annotations

import errno
import grp
import os
import pwd
import shutil
import socket
import stat
import struct
from pathlib import Path

from loguru import logger

from daemon.state import LONGEST_SOCKET_PATH
from models.errors import UserError
from models.files.ownership import make_folder
from models.text.language import tr

#: Name of the folder in which it is bound, which nobody else may enter, and its name there: shorter than its own.
_WORKSHOP, _UNFINISHED = ".control", "s"
_BACKLOG = 128

#: getsockopt(2): the groups of the process that has connected, as they were then. Python has no name for it.
_SO_PEERGROUPS = 59
#: Bytes of the longest answer that Python's getsockopt takes.
_MOST_BYTES = 1024

#: The access list of a socket that a group beside its own may use: acl(5) in the form of linux/posix_acl_xattr.h.
_ACCESS_LIST = "system.posix_acl_access"
_USER, _GROUP_OBJECT, _GROUP, _MASK, _OTHER, _NOBODY = 0x01, 0x04, 0x08, 0x10, 0x20, 0xFFFFFFFF
_READ_WRITE = 6


class NoControl(UserError):
    """The control socket cannot be made; the daemon files without it."""


class Listener:
    """The listening socket at ``path``. Raises `NoControl`.

    Whoever makes it holds the lock of the output: then a socket that is there, and at which nobody answers, was left by
    a daemon that was killed. ``group``: the members of that group may connect, too; "" for none.
    """

    def __init__(self, path: Path, group: str = "") -> None:
        self.path = path
        self.group = group_id(group) if group else None
        if group and self.group is None:
            logger.warning(
                tr("control_group: there is no group {group}, so only this user and root may speak to the daemon",
                   group=group)
            )  # fmt: skip
        if is_too_long(path):
            raise NoControl(too_long(path))
        try:
            self.socket = self._open()
            status = path.lstat()
        except OSError as error:
            raise NoControl(
                tr(
                    "the control socket {path} cannot be made ({reason}), so no command can speak to this daemon",
                    path=path,
                    reason=error.strerror or str(error),
                )
            ) from error
        self._identity = (status.st_dev, status.st_ino)

    def close(self) -> None:
        """Stop listening, and delete the socket, unless another one lies there."""
        self.socket.close()
        try:
            status = self.path.lstat()
            if (status.st_dev, status.st_ino) == self._identity:
                self.path.unlink()
        except OSError as error:
            logger.debug("the control socket {} stays: {}", self.path, error.strerror)

    def _open(self) -> socket.socket:
        make_folder(self.path.parent)
        self._require_free()
        workshop = self.path.with_name(_WORKSHOP)
        _clear(workshop)
        workshop.mkdir(0o700)
        listening = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_CLOEXEC | socket.SOCK_NONBLOCK)
        try:
            unfinished = workshop / _UNFINISHED
            listening.bind(os.fspath(unfinished))
            unfinished.chmod(0o600)
            if self.group is not None:
                self._admit(unfinished, self.group)
            listening.listen(_BACKLOG)
            unfinished.rename(self.path)
        except BaseException:
            listening.close()
            raise
        finally:
            _clear(workshop)
        return listening

    def _require_free(self) -> None:
        """Raise OSError where something lies that is not ours to replace."""
        try:
            status = self.path.lstat()
        except FileNotFoundError:
            return
        if not stat.S_ISSOCK(status.st_mode):
            raise OSError(errno.EEXIST, tr("another file lies there"))
        if answers(self.path):
            raise OSError(errno.EADDRINUSE, tr("another program listens there"))

    def _admit(self, path: Path, group: int) -> None:
        """Let a group use the socket: its own group, or one more, which needs no right of this process."""
        try:
            if path.stat().st_gid != group:
                os.chown(path, -1, group)
            path.chmod(0o660)
        except OSError:
            try:
                os.setxattr(path, _ACCESS_LIST, access_list(group))
            except OSError as error:
                self.group = None
                logger.warning(
                    tr(
                        "control_group: the group cannot be let in at {path} ({reason}): have the daemon's user "
                        "join it",
                        path=self.path,
                        reason=error.strerror,
                    )
                )


def is_too_long(path: Path) -> bool:
    """Whether no socket can have that path."""
    return len(os.fsencode(path)) > LONGEST_SOCKET_PATH


def too_long(path: Path) -> str:
    """Say that no socket can have that path, and what to do."""
    return tr(
        "the path of the control socket is longer than {most} bytes, so no command can speak to this daemon: give a "
        "shorter --state-dir (it would be {path})",
        most=LONGEST_SOCKET_PATH,
        path=path,
    )


def answers(path: Path, seconds: float = 2.0) -> bool:
    """Whether somebody listens at a socket; one that cannot be asked counts as listening."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_CLOEXEC) as asking:
        asking.settimeout(seconds)
        try:
            asking.connect(os.fspath(path))
        except (ConnectionRefusedError, FileNotFoundError):
            return False
        except OSError:
            return True
        return True


def group_id(name: str) -> int | None:
    """Find a group by its name or number; None where there is none."""
    try:
        return grp.getgrnam(name).gr_gid
    except KeyError:
        return int(name) if name.isascii() and name.isdecimal() and int(name) < _NOBODY else None


def access_list(group: int) -> bytes:
    """Make the access list of a file that its owner and one more group may read and write, and nobody else."""
    entries = [
        (_USER, _READ_WRITE, _NOBODY),
        (_GROUP_OBJECT, 0, _NOBODY),
        (_GROUP, _READ_WRITE, group),
        (_MASK, _READ_WRITE, _NOBODY),
        (_OTHER, 0, _NOBODY),
    ]
    return struct.pack("<I", 2) + b"".join(struct.pack("<HHI", *entry) for entry in entries)


def is_admitted(connection: socket.socket, group: int | None) -> bool:
    """Whether the process that connected may speak to the daemon: of its own user, of root, or in the group.

    The mode of the socket says so already. This holds too where somebody has opened that to others.
    """
    _, user, primary = struct.unpack("iII", connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12))
    return user in (os.geteuid(), 0) or (group is not None and group in _groups(connection, user, primary))


def _groups(connection: socket.socket, user: int, primary: int) -> set[int]:
    try:
        answer = connection.getsockopt(socket.SOL_SOCKET, _SO_PEERGROUPS, _MOST_BYTES)
        return {primary, *struct.unpack(f"{len(answer) // 4}I", answer)}
    except OSError:  # an old kernel, or more groups than that: those that the user has by the machine's list
        try:
            return {primary, *os.getgrouplist(pwd.getpwuid(user).pw_name, primary)}
        except (KeyError, OSError):
            return {primary}


def _clear(workshop: Path) -> None:
    """Delete what a daemon that was killed here has left."""
    try:
        shutil.rmtree(workshop)
    except FileNotFoundError:
        pass
    except NotADirectoryError:
        workshop.unlink()
