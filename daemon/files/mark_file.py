"""Read and write the hidden file in a folder by which independent daemons notice each other."""

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
    """Users whose file counts; on a drive that is mounted for another user, all files and folders are that user's."""
    trusted = {os.geteuid(), 0}
    with suppress(OSError):
        trusted.add(folder.stat().st_uid)
    return trusted


def read_mark(descriptor: int) -> dict[str, object]:
    """Read the file; empty where its content was not written by this program."""
    try:
        content = json.loads(os.pread(descriptor, SIZE, 0))
    except (OSError, ValueError):
        return {}
    return content if isinstance(content, dict) else {}


def write_mark(descriptor: int, content: Mapping[str, object]) -> None:
    """Write in place, so that the file is never empty; on a full file system the old content stays."""
    with suppress(OSError):
        os.pwrite(descriptor, json.dumps(content).encode().ljust(SIZE), 0)
        os.fsync(descriptor)


def user_name(number: int) -> str:
    """Return the name of a user, or the number if there is none."""
    try:
        return pwd.getpwuid(number).pw_name
    except KeyError:
        return str(number)
