"""Tell network file systems, which report no changes of other machines and must be polled."""

from __future__ import annotations

import os
import re
from pathlib import Path

MOUNTINFO = Path("/proc/self/mountinfo")

#: Kinds whose files change without this kernel hearing of it, beside all of ``fuse.*``; ``fuseblk`` is a local disk.
_REMOTE = frozenset(
    "nfs nfs4 cifs smb smb3 smbfs ncpfs fuse 9p vboxsf prl_fs vmhgfs virtiofs ceph afs coda lustre".split()  # noqa: SIM905
)


def is_remote(kind: str) -> bool:
    """Whether a file system of this kind (as mountinfo calls it) has to be polled."""
    return kind in _REMOTE or kind.startswith("fuse.")


def kind_of(path: str, mountinfo: bytes) -> str | None:
    """Return the kind of file system that the absolute ``path``, free of symlinks, lies on; None if it is not there.

    ``mountinfo`` is the table of proc_pid_mountinfo(5). The deepest mount point wins, the later line among equals.
    """
    return _deepest(path, mountinfo)[1]


def mount_of(path: str, mountinfo: bytes) -> str | None:
    """Return where the file system is mounted that ``path`` lies on, like `kind_of`."""
    return _deepest(path, mountinfo)[0]


def _deepest(path: str, mountinfo: bytes) -> tuple[str | None, str | None]:
    wanted = os.fsencode(path)
    mount, kind = None, None
    best = -1
    for line in mountinfo.splitlines():
        place, _, filesystem = line.partition(b" - ")
        fields = place.split(b" ")
        if len(fields) < 6 or not filesystem:
            continue
        mount_point = _unescape(fields[4])
        inside = wanted == mount_point or wanted.startswith(mount_point.rstrip(b"/") + b"/")
        if inside and len(mount_point) >= best:
            best, kind = len(mount_point), filesystem.split(b" ", 1)[0].decode("ascii", "replace")
            mount = os.fsdecode(mount_point)
    return mount, kind


def remote_kind(path: str) -> str | None:
    """Return the kind of network file system that ``path`` lies on; None on a local one, or without a table."""
    try:
        table = MOUNTINFO.read_bytes()
    except OSError:
        return None
    kind = kind_of(os.path.realpath(path), table)
    return kind if kind is not None and is_remote(kind) else None


def kinds_by_device() -> dict[int, str]:
    """Map device numbers of mounted network file systems to their kinds; empty without a table."""
    try:
        table = MOUNTINFO.read_bytes()
    except OSError:
        return {}
    kinds = {}
    for line in table.splitlines():
        place, _, filesystem = line.partition(b" - ")
        device = re.search(rb" (\d+):(\d+) /", place)
        kind = filesystem.split(b" ", 1)[0].decode("ascii", "replace")
        if device is not None and is_remote(kind):
            kinds[os.makedev(int(device[1]), int(device[2]))] = kind
    return kinds


def remote_mounts() -> list[str]:
    """List where network file systems are mounted, from the kernel's table: none of them is asked."""
    try:
        table = MOUNTINFO.read_bytes()
    except OSError:
        return []
    mounts = []
    for line in table.splitlines():
        place, _, filesystem = line.partition(b" - ")
        fields = place.split(b" ")
        if len(fields) >= 6 and is_remote(filesystem.split(b" ", 1)[0].decode("ascii", "replace")):
            mounts.append(os.fsdecode(_unescape(fields[4])))
    return mounts


def _unescape(field: bytes) -> bytes:
    """Undo the kernel's octal escapes of space, tab, newline and backslash."""
    return re.sub(rb"\\([0-7]{3})", lambda match: bytes([int(match[1], 8)]), field)
