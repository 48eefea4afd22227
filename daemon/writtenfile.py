"""A small file for others to read, written anew whenever something has changed."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

from loguru import logger

from models.language import tr
from models.ownership import hand_over_file, make_folder


class WrittenFile:
    """A file whose whole content is replaced in one step. Trouble with it is logged once and harms nothing."""

    def __init__(self, path: Path, mode: int | None = None) -> None:
        self._path = path
        self._mode = mode
        self._failed = False

    def write(self, text: str) -> None:
        """Replace the content; a reader sees the old one or the new one."""
        try:
            self._write(text)
        except OSError as error:
            if not self._failed:
                logger.warning(tr("{path} cannot be written: {reason}", path=self._path, reason=error.strerror))
            self._failed = True
        else:
            self._failed = False

    def _write(self, text: str) -> None:
        make_folder(self._path.parent)
        descriptor, made = tempfile.mkstemp(dir=self._path.parent, prefix=f".{self._path.name}-")
        try:
            with os.fdopen(descriptor, "w", encoding="utf-8") as file:
                hand_over_file(descriptor, self._path)
                if self._mode is not None:
                    os.fchmod(file.fileno(), self._mode)
                file.write(text)
            Path(made).replace(self._path)
        except BaseException:
            Path(made).unlink(missing_ok=True)
            raise

    def remove(self) -> None:
        """Take the file away."""
        try:
            self._path.unlink(missing_ok=True)
        except OSError as error:
            logger.warning(tr("{path} cannot be removed: {reason}", path=self._path, reason=error.strerror))
