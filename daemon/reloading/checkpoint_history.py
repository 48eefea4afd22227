"""The history of checkpoints across restarts: the last good one, and those that are not tried again.

It is one note in the journal, for each place that checkpoints are published to. That a checkpoint is about to be loaded
is written down, durably, before: a start that finds this knows that loading it ended the daemon (it crashed, was killed
for its memory, or the machine stopped), and tries it no more. Neither does it try one that failed its probation, until
somebody publishes it anew, or its file changes. What is merely no good (damaged, of a newer format, ...) is looked at
again by each start: that costs nothing, since it is proved before it is used, and the program may have changed.

No image is delayed by this: the thread that loads a checkpoint flushes what is written down before, another what came
of it. A power cut may undo that a probation was passed or failed: there is one
more then.
"""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path
from urllib.parse import quote_from_bytes, unquote_to_bytes

from loguru import logger
from pydantic import BaseModel, Field, ValidationError

from daemon.journal.journal import Journal, JournalBusy
from daemon.reloading.checkpoint_source import Published
from models.text.language import tr

#: The most rejections that are remembered.
_MOST = 100


class GoodCheckpoint(BaseModel):
    """A checkpoint that has proved itself. ``place`` is its path, quoted: a path need not be text."""

    place: str
    digest: str
    key: str = ""

    @property
    def path(self) -> Path:
        """Its file."""
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
    rejected: dict[str, Rejection] = Field(default={}, alias="refused")  # as it is called in the note

    def reject(self, key: str, rejection: Rejection) -> None:
        """Remember a rejection, and forget the oldest ones beyond `_MOST`."""
        self.rejected[key] = rejection
        while len(self.rejected) > _MOST:
            del self.rejected[next(iter(self.rejected))]


class CheckpointHistory:
    """Remembers the checkpoints of one location. What the journal cannot take now is written with the next change."""

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
        """The last checkpoint that has proved itself."""
        return self._memory.good

    def is_good(self, digest: str, key: str = "") -> bool:
        """Whether a checkpoint is the last good one."""
        return _is(self._memory.good, digest, key)

    def rejection(self, published: Published) -> Rejection | None:
        """Why a checkpoint is not to be tried, if it is not."""
        if self.is_good(published.digest, published.key):
            return None
        return self._memory.rejected.get(published.key)

    def is_insisted_on(self, published: Published) -> bool:
        """Whether a checkpoint failed its probation and was published again: its user wants it anyway."""
        return any(
            rejection.served and rejection.digest == published.digest != ""
            for rejection in self._memory.rejected.values()
        )

    def attempt(self, published: Published, *, flush: bool = False) -> None:
        """Record that a checkpoint is about to be loaded. Raises JournalBusy or OSError when that fails.

        ``flush``: wait for the disk. Otherwise whoever loads it calls ``Journal.flush`` before.
        """
        self._memory.attempting, self._memory.attempted = published.key, published.digest
        self._write()
        if flush:
            self._journal.flush()

    def end_attempt(self, *, flush: bool = False) -> None:
        """Record that loading has ended, well or not. ``flush``: wait for the disk."""
        if self._memory.attempting is not None:
            self._memory.attempting = None
            self._save()
            if flush:
                self.settle()

    def settle(self) -> None:
        """Sync the history to disk, if possible. Safe in any thread."""
        with suppress(OSError):
            self._journal.flush()

    def approve(self, published: Published, digest: str) -> None:
        """Record a checkpoint as good. ``digest``: the sha256 of its file."""
        self._memory.attempting = None
        self._memory.good = GoodCheckpoint(place=_quoted(published.path), digest=digest, key=published.key)
        self._save()

    def reject(self, published: Published, digest: str, why: str) -> None:
        """Record that a checkpoint failed while in use."""
        self._memory.reject(published.key, Rejection(digest=digest, why=why, served=True))
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
