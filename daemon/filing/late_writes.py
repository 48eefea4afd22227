"""File images again that were written to after they were filed: an upload that paused had looked complete.

A writer that has the file open keeps writing to it wherever it is moved on the same file system. The class was chosen
from the first part of the image only.
"""

from __future__ import annotations

import stat
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from loguru import logger

from daemon.files import writers
from daemon.files.roots import OpenFolders, Roots
from daemon.files.writers import Writer
from daemon.filing import undo
from daemon.filing.growth import has_writer_continued
from daemon.filing.identity import is_in_filed_state
from daemon.filing.renamed import Renamed
from daemon.filing.rounds import Rounds
from daemon.filing.status import Status
from daemon.journal.journal import Journal, JournalBusy
from daemon.journal.records import Filing
from models.text.language import tr
from models.text.printable import shown

#: How long after a filing a change counts as its writer's; a later one is a person's edit.
LATEST = timedelta(hours=1)
#: Filings that are checked, the newest.
_MANY = 1_000
#: Pause between two checks: seconds, or this multiple of the duration of a check, if longer.
PAUSE, TIMES = 5.0, 50
#: Seconds without a change, as this process sees it, after which a writer seems to be done.
QUIET = 10.0

_State = tuple[int, int]  # size and time


@dataclass
class _Change:
    """State in which a changed file was last seen, since when, and whether that state was judged."""

    state: _State
    since: float
    judged: bool = False


class LateWrites:
    """Moves files that were written to after their filing back to the inbox, where they are filed again.

    `work` continues where it stopped the last time.
    """

    def __init__(
        self, inboxes: Sequence[Path], output: Path, journal: Journal, *, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._roots = Roots([*inboxes, output])
        self._journal = journal
        self._clock = clock
        self._changes: dict[int, _Change] = {}  # by the numbers of rows
        self._renamed = Renamed()
        self._rounds = Rounds(self._check_recent, pause=PAUSE, times=TIMES, clock=clock)

    def work(self, seconds: float) -> bool:
        """Check for at most ``seconds``, and not at all in the pause; return whether there is more to check."""
        return self._rounds.work(seconds)

    def _check_recent(self) -> Iterator[None]:
        try:
            filings = self._journal.recent_renames(datetime.now(UTC) - LATEST, _MANY)
        except JournalBusy as error:
            logger.debug("what was filed last is looked at again later: {}", error)
            return
        numbers = {filing.id for filing in filings}
        self._changes = {number: change for number, change in self._changes.items() if number in numbers}
        missing: list[Filing] = []
        for filing in map(self._renamed.now, filings):
            yield
            try:
                if self._has_settled_again(filing):
                    self._judge(filing)
            except FileNotFoundError:
                missing.append(filing)
            except (OSError, JournalBusy) as error:
                logger.debug("{} is looked at again later: {}", shown(str(filing.destination)), error)
        yield from self._renamed.find(missing)

    def _has_settled_again(self, filing: Filing) -> bool:
        """Whether the file changed after it was filed, has settled since, and this state is not judged yet.

        Raises FileNotFoundError where it was renamed, among other OSErrors.
        """
        assert filing.destination is not None
        assert filing.id is not None
        status = filing.destination.lstat()
        state = status.st_size, status.st_mtime_ns
        if is_in_filed_state(status, filing) or not stat.S_ISREG(status.st_mode):
            self._changes.pop(filing.id, None)
            return False
        change = self._changes.get(filing.id)
        if change is None or change.state != state:
            self._changes[filing.id] = _Change(state, self._clock())
            return False
        return not change.judged and self._clock() >= change.since + QUIET

    def _judge(self, filing: Filing) -> None:
        assert filing.destination is not None
        assert filing.id is not None
        if writers.of_path(str(filing.destination)) is Writer.PRESENT:
            return
        self._changes[filing.id].judged = True
        with OpenFolders(self._roots) as folders:
            if not has_writer_continued(folders.entry(filing.destination), filing):
                raise FileNotFoundError(str(filing.destination))  # another file of that name, or a person's edit
        for undone in undo.undo(self._journal, [filing], self._roots, is_filed=has_writer_continued):
            if undone.status is Status.UNDONE:
                logger.info(
                    tr(
                        "{destination} changed after it was filed: its writer went on; it is back at "
                        "{inbox} to be filed anew",
                        destination=str(filing.destination),
                        inbox=str(undone.destination),
                    ),
                )
            else:
                self._changes.pop(filing.id, None)  # tried again
                logger.debug("{} stays: {}", shown(str(filing.destination)), undone.error or undone.status)
