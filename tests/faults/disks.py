"""Disks whose power can be cut: ext4 in a file, mounted through a loop device, flushed only when somebody asks."""

from __future__ import annotations

import fcntl
import os
import shutil
import struct
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest

from tests.processes import wait_for

_EXT4_IOC_SHUTDOWN = 0x8004587D
_NO_LOG_FLUSH = struct.pack("I", 2)


class Disk:
    """A mounted file system; after ``cut`` and ``mount`` it holds what had reached the disk, and nothing else."""

    def __init__(self, image: Path, folder: Path) -> None:
        self.folder = folder
        self._image = image

    def mount(self) -> None:
        """Mount it, which replays the file system's own journal."""
        _call("mount", "-o", "loop,commit=300", str(self._image), str(self.folder))

    def unmount(self) -> None:
        """Take it away, also from other mount name spaces: as long as one holds it, a new mount gets the old disk.

        Raises `CalledProcessError` while a program uses it.
        """
        _call("umount", str(self.folder))
        loops = ["losetup", "--noheadings", "--associated", str(self._image)]
        wait_for(lambda: not _call(*loops), f"no mount name space holds {self.folder}")

    def unmount_unused(self) -> None:
        """Unmount it as soon as no program uses it: some look at every new mount for a moment."""
        wait_for(self._is_unmounted, f"no program uses {self.folder}")

    def _is_unmounted(self) -> bool:
        try:
            self.unmount()
        except subprocess.CalledProcessError as error:
            if b"busy" in error.stderr:
                return False
            raise
        return True

    def sync(self) -> None:
        """Let everything reach the disk."""
        descriptor = os.open(self.folder, os.O_RDONLY)
        os.fsync(descriptor)
        os.close(descriptor)
        _call("sync", "-f", str(self.folder))

    def cut(self) -> None:
        """Power off: whatever was not flushed is lost, the file system's own log too."""
        descriptor = os.open(self.folder, os.O_RDONLY)
        try:
            fcntl.ioctl(descriptor, _EXT4_IOC_SHUTDOWN, _NO_LOG_FLUSH)
        finally:
            os.close(descriptor)


@contextmanager
def disks(place: Path, count: int) -> Iterator[list[Disk]]:
    """New disks; skips where none can be made."""
    if os.geteuid() != 0 or shutil.which("mkfs.ext4") is None:
        pytest.skip("needs root and mkfs.ext4, to mount a disk of its own")
    with ExitStack() as stack:
        made = []
        for number in range(count):
            disk = Disk(place / f"disk{number}", place / f"mount{number}")
            disk.folder.mkdir()
            with (place / f"disk{number}").open("wb") as file:
                file.truncate(128 << 20)
            try:
                _call("mkfs.ext4", "-q", str(place / f"disk{number}"))
                disk.mount()
            except (OSError, subprocess.CalledProcessError) as error:
                pytest.skip(f"no disk can be mounted here: {error}")
            stack.callback(disk.unmount_unused)
            made.append(disk)
        yield made


def _call(*command: str) -> bytes:
    return subprocess.run(command, check=True, capture_output=True, env={**os.environ, "LC_ALL": "C"}).stdout
