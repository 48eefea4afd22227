"""Write a small file for other programs, again whenever its content has changed."""

from __future__ import annotations

from pathlib import Path

from loguru import logger

from models.files.atomic import atomic_file
from models.text.language import tr


class StatusFile:
    """A file whose whole content is replaced in one step. A failure to write it is logged once and does no harm."""

    def __init__(self, path: Path, mode: int | None = None) -> None:
        self._path = path
        self._mode = mode
        self._failed = False

    def write(self, text: str) -> None:
        """Replace the content; a reader sees the old one or the new one."""
        try:
            with atomic_file(self._path, durable=False, mode=self._mode) as file:
                file.write(text.encode())
        except OSError as error:
            if not self._failed:
                logger.warning(tr("{path} cannot be written: {reason}", path=self._path, reason=error.strerror))
            self._failed = True
        else:
            self._failed = False

    def remove(self) -> None:
        """Remove the file."""
        try:
            self._path.unlink(missing_ok=True)
        except OSError as error:
            logger.warning(tr("{path} cannot be removed: {reason}", path=self._path, reason=error.strerror))
