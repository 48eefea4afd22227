"""Look images up in the journal, and describe them as the page has them."""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from pathlib import Path
from typing import TypeVar

from daemon.filing.class_paths import ClassPaths
from daemon.filing.identity import content_version, is_in_filed_state
from daemon.journal.history import Wanted
from daemon.journal.reader import JournalReader
from daemon.journal.records import Filing, State
from daemon.operations.classes import CurrentClassPaths
from daemon.review.api import Image
from daemon.review.place import ReviewedOutput
from daemon.review.refusals import Refusal, no_image
from models.text.language import tr
from models.text.printable import shown

_Answer = TypeVar("_Answer")

#: Filings whose image lies somewhere: unreadable ones that were not moved are REFUSED.
_THERE = (State.DONE, State.REFUSED)


class Images:
    """Images of the journal, by the ids of their filings. Safe in any thread."""

    def __init__(self, place: ReviewedOutput) -> None:
        self._place = place
        self._class_paths = CurrentClassPaths(place.settings)
        self._reader = JournalReader(place.journal)
        self._lock = threading.Lock()

    def close(self) -> None:
        """Close the journal."""
        with self._lock:
            self._reader.close()

    def read(self, question: Callable[[JournalReader], _Answer]) -> _Answer:
        """Ask the journal something. Raises `Refusal` where it cannot be read now, and `UserError` for a newer one."""
        with self._lock:
            try:
                return question(self._reader)
            except sqlite3.Error as error:
                raise Refusal(503, tr("the journal cannot be read now: {error}", error=error)) from error

    def filing(self, number: int) -> Filing:
        """Find the filing of an id. Raises `Refusal`."""
        found = self.filings([number])
        if number not in found:
            raise no_image()
        return found[number]

    def filings(self, numbers: Collection[int]) -> dict[int, Filing]:
        """Find filings by their ids; what is not there, or is no longer filed, is left out."""
        ids = [number for number in numbers if 0 < number < 1 << 63]
        rows = self.read(lambda reader: reader.history(Wanted(ids=ids, states=_THERE), len(ids)))
        return {row.id: row for row in rows if row.id is not None}

    def describe(self, filing: Filing, waiting: Mapping[int, str] | None = None) -> Image:
        """Describe an image. ``waiting``: the classes of decisions that have not been carried out."""
        assert filing.id is not None
        return Image(
            id=filing.id,
            version=content_version(filing),
            name=shown(_lies(filing).name),
            folder=self.folder_of(filing),
            label=None if filing.label is None else shown(filing.label),
            confidence=None if filing.confidence is None else round(filing.confidence, 4),
            time=filing.time,
            waiting=(waiting or {}).get(filing.id),
        )

    @property
    def class_paths(self) -> ClassPaths:
        """What tells the classes apart by where images lie."""
        return self._class_paths.get()

    def folder_of(self, filing: Filing) -> str | None:
        """Name the class of the folder that an image lies in, or of its tag, as text; None where it has neither."""
        if filing.action == "tag" and filing.destination is not None and filing.label is not None:
            return shown(filing.label)
        folder = None if filing.folder is None else self.class_paths.of_folder(filing.folder)
        return None if folder is None else shown(folder)

    def still_there(self, filings: Iterable[Filing]) -> list[Filing]:
        """Leave out the images that were taken away or changed since they were filed. None of them is opened."""
        return [filing for filing in filings if self._is_there(filing)]

    def _is_there(self, filing: Filing) -> bool:
        try:
            status = self._place.roots.status(str(_lies(filing)))
        except (OSError, ValueError):
            return False
        return is_in_filed_state(status, filing)


def newest_of_each_place(filings: Sequence[Filing]) -> list[Filing]:
    """Keep the newest filing of each path, in their order: an older image there was moved on."""
    newest: dict[Path, int] = {}
    for filing in filings:
        newest[_lies(filing)] = max(newest.get(_lies(filing), 0), filing.id or 0)
    return [filing for filing in filings if newest[_lies(filing)] == filing.id]


def _lies(filing: Filing) -> Path:
    """Return where an image lies: in its inbox, if it was refused or got no tag."""
    return filing.destination or filing.source
