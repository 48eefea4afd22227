"""Class folders that are mounts of their own: where such a drive is gone, nothing is filed into its mount point.

What lay there would be hidden once the drive is back. The mark of the output says nothing of them, so which ones
there are is remembered beside the journal as soon as they are seen.
"""

from __future__ import annotations

import errno
import json
import os
from pathlib import Path

from loguru import logger

from daemon.files.output_marks import memory_of
from daemon.files.renaming import close
from daemon.files.roots import step_into
from models.files.atomic import atomic_file
from models.text.language import tr

#: Beside the journal: the paths of these class folders below the output.
REMEMBERED = "class-mounts"


class ClassMounts:
    """Class mounts of one output, as one daemon saw them; ``memory`` is the folder of its journal."""

    def __init__(self, memory: Path) -> None:
        self._folder = memory
        self._memory = memory / REMEMBERED
        self._known = self._read()

    def of(self, output: Path, main: Path) -> ClassMounts:
        """Return the class mounts of another output, where these are those of the ``main`` one."""
        return ClassMounts(memory_of(output, main, self._folder))

    def step_into(self, outer: int, path: str) -> int:
        """Open a folder in an open one, as `roots.step_into` does, and make it where it is missing and no mount.

        ``path``: its path below the output. Raises OSError, also where only the mount point of the folder is there.
        """
        device = os.fstat(outer).st_dev
        try:
            folder = step_into(outer, path.rpartition("/")[2], make=path not in self._known)
        except FileNotFoundError:
            self._refuse_if_known(path)
            raise
        try:
            if os.fstat(folder).st_dev != device:
                self._remember(path)
            else:
                self._refuse_if_known(path)
        except BaseException:
            close(folder)
            raise
        return folder

    def is_away(self, name: str, *, is_mount: bool) -> bool:
        """Whether a class folder is a mount of its own that is not there now, but only its mount point."""
        return not is_mount and name in self._known

    def _refuse_if_known(self, name: str) -> None:
        if name not in self._known:
            return
        self._known = self._read()  # somebody may have deleted it
        if name in self._known:
            raise OSError(
                errno.ENODEV,
                tr(
                    "the class folder '{name}' is a mount of its own, and is not mounted now: mount it; or, if it is "
                    "to be an ordinary folder from now on, delete {memory}",
                    name=name,
                    memory=self._memory,
                ),
                name,
            )

    def _remember(self, name: str) -> None:
        if name in self._known:
            return
        self._known |= {name}
        try:
            with atomic_file(self._memory) as file:
                file.write(json.dumps(sorted(self._known)).encode())
        except OSError as error:
            logger.warning(
                tr(
                    "cannot note in {memory} which class folders are mounts of their own: {reason}",
                    memory=self._memory,
                    reason=error.strerror,
                )
            )

    def _read(self) -> frozenset[str]:
        try:
            names = json.loads(self._memory.read_bytes())
        except (OSError, ValueError):
            return frozenset()
        return frozenset(map(str, names)) if isinstance(names, list) else frozenset()
