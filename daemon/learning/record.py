"""What is remembered of the last lesson, across restarts: a note in the journal, one for each folder of checkpoints."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any
from urllib.parse import quote_from_bytes

from loguru import logger
from pydantic import BaseModel, ConfigDict, ValidationError

from daemon.journal.journal import Journal, JournalBusy
from models.text.language import tr


class LessonRecord(BaseModel):
    """The last lesson: ``labels`` is the digest of those it was given.

    ``result`` is a word of `daemon.learning.trainer_child`, and ``says`` the sentence about it. ``run`` and the sha256
    of its ``checkpoint`` are those of a published one. ``failures``: so many lessons from the same labels have failed
    in the same way. Of the labels dealt with, by the last lesson that did not fail, ``learned`` is the digest; there
    were ``count``, and ``last_id`` was the greatest id. ``given_up``: the last checkpoint that has failed its
    probation; where that is a lesson, the next one begins from the run before it.
    """

    model_config = ConfigDict(frozen=True, extra="ignore")

    labels: str
    result: str
    says: str
    time: float
    seconds: float
    run: str | None = None
    checkpoint: str | None = None
    failures: int = 0
    learned: str = ""
    count: int = 0
    last_id: int = 0
    given_up: str | None = None

    def with_changes(self, **changes: Any) -> LessonRecord:
        """Return it with some values replaced."""
        return self.model_copy(update=changes)


def recall(journal: Journal, checkpoints: Path) -> LessonRecord | None:
    """Read what was noted of the last lesson; None if there was none, or nothing is known of it."""
    try:
        noted = journal.noted(_key(checkpoints))
        return None if noted is None else LessonRecord.model_validate_json(noted)
    except (JournalBusy, ValidationError) as error:
        logger.warning(tr("what was learned before is not known: {error}", error=error))
        return None


def note(journal: Journal, checkpoints: Path, record: LessonRecord) -> None:
    """Remember the last lesson. Raises JournalBusy."""
    journal.note(_key(checkpoints), record.model_dump_json())


def _key(checkpoints: Path) -> str:
    return f"lesson {quote_from_bytes(os.fsencode(checkpoints))}"
