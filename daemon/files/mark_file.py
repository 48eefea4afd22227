"""The hidden file by which daemons that know nothing of each other meet at a folder, and what it says of its writer."""

from __future__ import annotations

import json
import os
import pwd
import stat
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

#: Bytes of the file, always the same: it is overwritten in place, and never empty meanwhile.
SIZE = 512


def is_mark(status: os.stat_result) -> bool:
    """Whether an open file can be one that this program made."""
    return stat.S_ISREG(status.st_mode) and status.st_nlink == 1 and status.st_size in (0, SIZE)


def trusted_owners(folder: Path) -> set[int]:
    """Whose the file may be. On a drive that is mounted for another user all is that user's, the folder too."""
    trusted = {os.geteuid(), 0}
    with suppress(OSError):
        trusted.add(folder.stat().st_uid)
    return trusted


def read_mark(descriptor: int) -> dict[str, object]:
    """What the file says; nothing where it says nothing that this program wrote."""
    try:
        said = json.loads(os.pread(descriptor, SIZE, 0))
    except (OSError, ValueError):
        return {}
    return said if isinstance(said, dict) else {}


def write_mark(descriptor: int, content: Mapping[str, object]) -> None:
    """Write in place, so that there is always something in it. A file system without room leaves what was there."""
    with suppress(OSError):
        os.pwrite(descriptor, json.dumps(content).encode().ljust(SIZE), 0)
        os.fsync(descriptor)


def user_name(number: int) -> str:
    """The name of a user, or the number where there is none."""
    try:
        return pwd.getpwuid(number).pw_name
    except KeyError:
        return str(number)
