"""Remember checkpoints across restarts: the last good one, and those that are not tried again.

The history is a note in the journal, one for each location of checkpoints. Before a checkpoint is loaded, the attempt
is recorded and flushed to disk. A start that finds an open attempt knows that loading ended the daemon (it crashed, was
killed for its memory, or the machine stopped), and does not try that checkpoint again. Neither does it try one that
failed its probation. Both are tried again once they are published again or their file changes. A checkpoint that is
only invalid (damaged, of a newer format, ...) is not remembered: each start checks it again, because the program may
have been updated.

No image waits for the disk: the thread that loads a checkpoint flushes the attempt, and another one the result. If a
power cut loses the result of a probation, the checkpoint is on probation again.
"""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path
from urllib.parse import quote_from_bytes, unquote_to_bytes

from loguru import logger
from pydantic import BaseModel, Field, ValidationError

from daemon.journal.journal import Journal, JournalBusy
from daemon.reloading.checkpoint_source import CheckpointFile
from models.text.language import tr

#: The most rejections that are remembered.
_MOST_REJECTIONS = 100


class GoodCheckpoint(BaseModel):
    """A checkpoint that has proved itself. ``place`` is its path, quoted, since a path need not be text."""

    place: str
    digest: str
    key: str = ""

    @property
    def path(self) -> Path:
        """Checkpoint file."""
        return Path(os.fsdecode(unquote_to_bytes(self.place)))


class Rejection(BaseModel):
    """A checkpoint that is not tried again. ``served``: it was in use, and failed its probation."""

    digest: str
    why: str
    served: bool = False


class _Memory(BaseModel):
    attempting: str | None = None
    attempted: str = ""
    good: GoodCheckpoint | None = None
    rejected: dict[str, Rejection] = Field(default={}, alias="refused")  # the name in notes of earlier versions

    def reject(self, key: str, rejection: Rejection) -> None:
        """Remember a rejection, and forget the oldest ones beyond `_MOST_REJECTIONS`."""
        self.rejected[key] = rejection
        while len(self.rejected) > _MOST_REJECTIONS:
            del self.rejected[next(iter(self.rejected))]


class CheckpointHistory:
    """Remembers the checkpoints of one location. What the journal cannot take now is written later."""

    def __init__(self, journal: Journal, location: Path) -> None:
        self._journal = journal
        self._note = f"checkpoints {_quoted(location)}"
        self._memory = self._recall()

    def _recall(self) -> _Memory:
        try:
            noted = self._journal.noted(self._note)
            memory = _Memory() if noted is None else _Memory.model_validate_json(noted)
        except (JournalBusy, ValidationError) as error:
            logger.warning(tr("cannot read the history of earlier checkpoints: {error}", error=error))
            return _Memory()
        key, digest = memory.attempting, memory.attempted
        if key is not None and not _is(memory.good, digest, key):
            memory.reject(key, Rejection(digest=digest, why=tr("the daemon ended while loading it")))
        memory.attempting = None
        return memory

    @property
    def good(self) -> GoodCheckpoint | None:
        """Last checkpoint that has proved itself."""
        return self._memory.good

    def is_good(self, digest: str, key: str = "") -> bool:
        """Whether a checkpoint is the last good one."""
        return _is(self._memory.good, digest, key)

    def rejection(self, file: CheckpointFile) -> Rejection | None:
        """Return why a checkpoint must not be tried; None if it may."""
        if self.is_good(file.digest, file.key):
            return None
        return self._memory.rejected.get(file.key)

    def rejected(self, key: str) -> Rejection | None:
        """Return why the checkpoint with this key is not tried again; None where it may be."""
        return None if self.is_good("", key) else self._memory.rejected.get(key)

    def fault(self, digest: str) -> str | None:
        """Return why a checkpoint failed while it was in use; None where it did not."""
        rejections = self._memory.rejected.values()
        return next(
            (rejection.why for rejection in rejections if rejection.served and rejection.digest == digest), None
        )

    def is_insisted_on(self, file: CheckpointFile) -> bool:
        """Whether a checkpoint failed its probation and was published again: its user wants it anyway."""
        return any(
            rejection.served and rejection.digest == file.digest != "" for rejection in self._memory.rejected.values()
        )

    def attempt(self, file: CheckpointFile, *, flush: bool = False) -> None:
        """Record that a checkpoint is about to be loaded. Raises JournalBusy or OSError when that fails.

        ``flush``: wait for the disk. Otherwise whoever loads it calls ``Journal.flush`` before.
        """
        self._memory.attempting, self._memory.attempted = file.key, file.digest
        self._write()
        if flush:
            self._journal.flush()

    def end_attempt(self, *, flush: bool = False) -> None:
        """Record that loading has ended, well or not. ``flush``: wait for the disk."""
        if self._memory.attempting is not None:
            self._memory.attempting = None
            self._save()
            if flush:
                self.flush()

    def flush(self) -> None:
        """Flush the history to the disk, if possible. Safe in any thread."""
        with suppress(OSError):
            self._journal.flush()

    def approve(self, file: CheckpointFile, digest: str) -> None:
        """Record a checkpoint as good. ``digest``: the sha256 of its file."""
        self._memory.attempting = None
        self._memory.good = GoodCheckpoint(place=_quoted(file.path), digest=digest, key=file.key)
        self._save()

    def reject(self, file: CheckpointFile, digest: str, why: str) -> None:
        """Record that a checkpoint failed while in use."""
        self._memory.reject(file.key, Rejection(digest=digest, why=why, served=True))
        self._save()

    def _write(self) -> None:
        self._journal.note(self._note, self._memory.model_dump_json(by_alias=True))

    def _save(self) -> None:
        try:
            self._write()
        except JournalBusy as error:
            logger.warning(
                tr("the history of a checkpoint cannot be saved and is lost at a restart: {error}", error=error)
            )


def _is(good: GoodCheckpoint | None, digest: str, key: str) -> bool:
    return good is not None and (digest == good.digest or key == good.key != "")


def _quoted(path: Path) -> str:
    return quote_from_bytes(os.fsencode(path))
