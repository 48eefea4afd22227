"""Maintenance while the daemon is idle.

Files left by transfers that a lost journal recorded are put right, late sidecars follow their images, held images that
have gone or changed are released, files that were written to after they were filed are filed again, and old rows are
removed from the journal.
"""

from __future__ import annotations

import math
import os
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path

from loguru import logger

from daemon.config import Settings, watches_inside
from daemon.files import copying
from daemon.files.output_marks import OutputMarks
from daemon.files.renaming import close
from daemon.files.roots import OpenFolders, Roots
from daemon.filing.held import HeldImages
from daemon.filing.identity import is_in_filed_state
from daemon.filing.late_sidecars import LateSidecars
from daemon.filing.late_writes import LateWrites
from daemon.filing.stray_names import StrayNames
from daemon.journal.journal import Journal, JournalBusy
from daemon.journal.pruning import BEGINNING, Position
from daemon.journal.records import Filing, State

#: Seconds of work in an idle moment; it delays an image that arrives meanwhile by no more.
_SLICE = 0.05
#: Seconds without an idle moment after which a slice of work is done anyway.
LONGEST_RUSH = 10.0
#: Seconds between two searches for old rows.
_PAUSE = 86400.0
#: Rows that are read at once: in a journal of a million, 100 take up to 60 ms on a busy machine, 1000 take 400.
ROWS_AT_ONCE = 100
#: Rows with missing files that are gathered before the inboxes are walked for them.
_MOST_MISSING = 10_000
#: Name of the journal's note with the time, which a jump of the clock does not change, and its interval in seconds.
_RECORDED, _HOUR = "lived", 3600.0


class Pruning:
    """Takes rows out of the journal that are older than ``days``; 0 keeps them all.

    Interrupted filings stay. The row of a file that was copied, linked or refused stays while that file may be in an
    inbox: under its name or another one, or on a drive that is not mounted now.
    """

    def __init__(
        self,
        journal: Journal,
        inboxes: Sequence[Path],
        days: int,
        *,
        clock: Callable[[], float] = time.monotonic,
        wall: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self._journal = journal
        self._inboxes = inboxes
        self._roots = Roots(inboxes)
        self._days = days
        self._clock = clock
        self._wall = wall
        self._recorded_at = clock()
        self._recorded: datetime | None = None

    def record_time(self) -> None:
        """Record the time in the journal once an hour. Raises JournalBusy."""
        if self._recorded is None or self._clock() >= self._recorded_at + _HOUR:
            self._record_now()

    def _record_now(self) -> datetime:
        """Record and return the time: the recorded one plus at most the time that this process has run since.

        A machine may start with a clock that is years ahead, by which all rows would be old.
        """
        noted = self._recorded or _noted(self._journal.noted(_RECORDED))
        recorded_at, self._recorded_at = self._recorded_at, self._clock()
        now = self._wall()
        if noted is not None:
            now = min(now, noted + timedelta(seconds=self._recorded_at - recorded_at))
        self._journal.note(_RECORDED, now.isoformat())
        self._recorded = now
        return now

    def steps(self) -> Iterator[None]:
        """Go through the whole journal once, a little at each step. Raises JournalBusy."""
        if self._days == 0:
            return
        before = self._record_now() - timedelta(days=self._days)
        position: Position | None = BEGINNING
        missing: list[Filing] = []
        while position is not None:
            position, remembered = self._journal.prune(before, position, ROWS_AT_ONCE)
            yield
            for row in remembered:
                if _is_gone(row, self._roots):
                    missing.append(row)
                yield
            if len(missing) >= _MOST_MISSING or position is None:
                yield from self._forget(missing)
                missing = []

    def _forget(self, missing: list[Filing]) -> Iterator[None]:
        """Delete the rows whose file has no other name in the inboxes either."""
        if not missing:
            return
        inodes = {row.identity.ino for row in missing}
        for inode in inode_numbers(self._inboxes, self._roots):
            inodes.discard(inode)
            yield
        for start in range(0, len(missing), ROWS_AT_ONCE):
            gone = [
                row
                for row in missing[start : start + ROWS_AT_ONCE]
                if row.identity.ino in inodes and _is_gone(row, self._roots)
            ]
            for row in gone:
                row.state = State.VOID
            self._journal.write(gone)
            yield


def _noted(text: str | None) -> datetime | None:
    try:
        return None if text is None else datetime.fromisoformat(text)
    except ValueError:
        return None


def inode_numbers(inboxes: Sequence[Path], roots: Roots) -> Iterator[int]:
    """Yield the inode numbers of all files in the inboxes. Raises OSError where a folder cannot be read."""
    pending = [str(inbox) for inbox in inboxes]
    while pending:
        path = pending.pop()
        folder = roots.open_folder(path)
        try:
            with os.scandir(folder) as entries:
                for entry in entries:
                    yield entry.inode()
                    if entry.is_dir(follow_symlinks=False):
                        pending.append(f"{path}/{entry.name}")
        finally:
            close(folder)


def _is_gone(row: Filing, roots: Roots) -> bool:
    """Whether a file is no longer there or was written to, while its folder is there and is no link.

    Another file of the same size and time is not told apart: then the row stays, which does no harm.
    """
    try:
        with OpenFolders(roots) as folders:
            entry = folders.entry(row.source)
            if os.fstat(entry.folder).st_dev != row.identity.dev:
                return False
            try:
                return not is_in_filed_state(entry.stat(), row)
            except FileNotFoundError:
                return True
    except OSError:
        return False  # the drive may not be mounted


class Housekeeping:
    """Works in slices; each kind of work keeps its own pauses."""

    def __init__(
        self,
        late_sidecars: LateSidecars,
        pruning: Pruning,
        late_writes: LateWrites | None = None,
        strays: StrayNames | None = None,
        held: HeldImages | None = None,
    ) -> None:
        self._held = held
        self._sweep = None if strays is None else strays.steps()
        self._late_sidecars = late_sidecars
        self._late_writes = late_writes
        self._pruning = pruning
        self._steps: Iterator[None] | None = None
        self._next = -math.inf
        self._due = time.monotonic() + LONGEST_RUSH

    @classmethod
    def from_settings(
        cls, settings: Settings, journal: Journal, held: HeldImages, strays: StrayNames | None
    ) -> Housekeeping:
        """Make the housekeeping of a daemon with these settings."""
        recursive = watches_inside(settings)
        return cls(
            LateSidecars(
                settings.watch,
                settings.output,
                journal,
                recursive=recursive,
                held=held,
                other_outputs=settings.outputs[1:],
            ),
            Pruning(journal, settings.watch, settings.journal_days),
            LateWrites(settings.watch, settings.output, journal) if settings.class_rules.moves else None,
            strays,
            held,
        )

    def turn(self, *, idle: bool) -> None:
        """Do a slice of work after a step of the work loop if that was ``idle``, or none was for long.

        Where images never stop coming there is no idle moment, and the journal must not grow for ever.
        """
        now = time.monotonic()
        if idle or now >= self._due:
            self._due = now + LONGEST_RUSH
            self.idle()

    def idle(self, seconds: float = _SLICE) -> bool:
        """Work for about ``seconds``; returns whether there is more to do."""
        if self._sweep is not None and self._run_steps(self._sweep, seconds):
            return True
        self._sweep = None
        if self._late_sidecars.work(seconds):
            return True
        if self._held is not None and self._held.work(seconds):
            return True
        if self._late_writes is not None and self._late_writes.work(seconds):
            return True
        return self._prune(seconds)

    def _run_steps(self, steps: Iterator[None], seconds: float) -> bool:
        start = time.monotonic()
        try:
            for _ in steps:
                if time.monotonic() >= start + seconds:
                    return True
        except JournalBusy as error:
            logger.debug("files that a lost journal had explained are looked for at the next start: {}", error)
        return False

    def _prune(self, seconds: float) -> bool:
        start = time.monotonic()
        try:
            self._pruning.record_time()
        except JournalBusy as error:
            logger.debug("the time is recorded later: {}", error)
        if start < self._next:
            return False
        try:
            self._steps = self._steps or self._pruning.steps()
            for _ in self._steps:
                if time.monotonic() >= start + seconds:
                    return True
        except (OSError, JournalBusy) as error:
            logger.debug("the journal is pruned later: {}", error)
        self._steps, self._next = None, time.monotonic() + _PAUSE
        return False


def stray_names(settings: Settings, journal: Journal, output_marks: OutputMarks) -> StrayNames:
    """Make what looks for files that a lost journal had explained."""
    return StrayNames(
        settings.watch,
        settings.output,
        journal,
        recursive=watches_inside(settings),
        is_away=lambda: output_marks.why_away() is not None or bool(output_marks.other_outputs_away()),
        other_outputs=settings.outputs[1:],
    )


def clear_strays(strays: StrayNames, gets_on: Callable[[], None]) -> None:
    """Look through all folders before a single pass, which has no idle moments for it; ``gets_on`` is called often."""
    with copying.reporting_to(gets_on), suppress(JournalBusy):
        for _ in strays.steps():
            gets_on()
