"""List the images of an archive as a stream, with what tells one state of a file from another."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from loguru import logger

from daemon.archiving.stores import Store, local_path
from daemon.files.output_mark import OUTPUT_MARK
from daemon.files.walk import walk
from models.errors import UserError
from models.text.language import tr

#: An image: its address, its size in bytes and its time in nanoseconds since 1970.
Image = tuple[str, int, int]


@dataclass
class Listing:
    """The images of one input. ``unreadable``: folders that could not be listed; ``not_files``: links and the like."""

    source: str
    left_out: Path | None = None
    unreadable: int = 0
    not_files: int = 0
    store: Store | None = field(init=False, default=None)

    def __post_init__(self) -> None:
        self.folder = local_path(self.source)
        if self.folder is None:
            self.store = Store(self.source)
        elif not self.folder.is_dir():
            raise UserError(
                tr("{source} is not a folder: give the folder or the URL of the images", source=self.source)
            )
        else:
            self.folder = self.folder.resolve()

    def __iter__(self) -> Iterator[Image]:
        return self._stored() if self.store is not None else self._local()

    def _stored(self) -> Iterator[Image]:
        assert self.store is not None
        for file in self.store.walk(self._failed, OUTPUT_MARK, self._say_left_out):
            yield self.store.uri(file.path), file.size, file.mtime_ns

    def _local(self) -> Iterator[Image]:
        root, left_out = str(self.folder), None if self.left_out is None else str(self.left_out.resolve())
        entries = walk(
            [root],
            recursive=True,
            enter=lambda inside: inside == root or (inside != left_out and not self._is_output(inside)),
            failed=lambda inside, error: self._failed(inside, error.strerror or str(error)),
            not_a_file=self._met,
        )
        for entry in entries:
            if entry is None:
                continue
            try:
                status = entry.stat(follow_symlinks=False)
            except OSError:
                continue  # removed meanwhile
            yield Path(os.fsdecode(entry.path)).as_uri(), status.st_size, status.st_mtime_ns

    def _is_output(self, folder: str) -> bool:
        """Whether images are filed into a folder; those would be in the manifest twice."""
        if not os.path.lexists(f"{folder}/{OUTPUT_MARK}"):
            return False
        self._say_left_out(folder)
        return True

    def _say_left_out(self, folder: str) -> None:
        logger.info(tr("{path} is left out: images are filed there", path=folder))

    def _failed(self, folder: str, reason: str) -> None:
        self.unreadable += 1
        logger.warning(tr("{inside} cannot be read: {reason}", inside=folder, reason=reason))

    def _met(self, path: str, what: str) -> None:
        self.not_files += 1
        logger.warning(tr("{path} is left out: {reason}", path=path, reason=what))
