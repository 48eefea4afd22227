"""Find files that came into the class folders of an output: by events, by reading what has changed, or by both."""

from __future__ import annotations

import itertools
import os
import time
from collections import OrderedDict, deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path

from loguru import logger

from daemon.correcting.allowance import Allowance
from daemon.correcting.arrivals import Arrivals, Arrived
from daemon.correcting.class_folders import ClassFolders
from daemon.correcting.examination import Examiner, Found
from daemon.correcting.known_files import REMEMBERED, KnownFiles
from daemon.correcting.noting import say_renamed
from daemon.correcting.own_filings import OwnFilings
from daemon.correcting.returned import returned_images
from daemon.correcting.survey import Origin, Sighting, Survey, way_to
from daemon.files.class_mounts import ClassMounts
from daemon.files.inotify import FolderIdentity, identify
from daemon.files.mounts import remote_kind
from daemon.files.output_mark import OutputMark
from daemon.files.output_marks import memory_of
from daemon.journal.reader import JournalReader
from models.text.language import tr
from models.text.printable import shown

#: Seconds between two looks at whether the output is there.
_CHECK = 5.0
#: Seconds for which events are gathered: a program moves many files at once, and own filings are known by then.
GATHER = 0.4
#: Seconds between two readings of what has changed: with events, with a class folder on a share, and without events;
#: and as many more as the last one took, up to the fourth.
_WITH_EVENTS, _WITH_SHARES, _POLLING, _MOST_MORE = 3600.0, 30.0, 5.0, 20.0
#: Seconds after which a reading comes although events work, where folders were moved.
_AFTER_MOVES = 30.0
#: Seconds of work at a time.
_SLICE = 0.01
#: Seconds between two writings of what is known.
_SAVE = 3600.0
#: Seconds until a file is looked at again that this daemon itself is about to move.
_AGAIN = 5.0
#: Files that are examined together.
_TOGETHER = 1_000


class Observer:
    """Observes one output, a step at a time, in one thread; ``found`` is called with what a person did."""

    def __init__(
        self,
        output: Path,
        journal: Path,
        own: OwnFilings,
        found: Callable[[Found], None],
        *,
        others: str,
        quarantine: str,
        max_bytes: int,
        poll: bool,
        main: Path | None = None,
        beside: Sequence[Path] = (),
        classes: Iterable[str] = (),
        clock: Callable[[], float] = time.monotonic,
        wall: Callable[[], float] = time.time,
        allowance: Allowance | None = None,
    ) -> None:
        """``classes``: those of the model in use. ``main``: the main output, if this is another one.

        ``beside``: the other outputs of the daemon.
        """
        self._output = output
        self._own = own
        self._clock = clock
        self._memory = memory_of(output, main or output, journal.parent)
        self._mark = OutputMark(output, self._memory)
        self._class_mounts = ClassMounts(self._memory)
        self._journal = JournalReader(journal)
        self._known = KnownFiles(self._memory / REMEMBERED)
        self._meanings = ClassFolders(output, others, quarantine, self._stands_for)
        self._meanings.use(classes)
        self._undecided: set[tuple[str, int]] = set()
        self._tell = found
        self._examiner = Examiner(
            output,
            self._meanings,
            self._journal,
            self._found,
            max_bytes=max_bytes,
            beside=beside,
            clock=clock,
            wall=wall,
        )
        self._survey = Survey(
            output,
            self._meanings,
            self._known,
            arm=self._arm,
            is_mount_away=lambda name, is_mount: self._class_mounts.is_away(name, is_mount=is_mount),
            has_events=lambda: self._has_events,
            renamed=say_renamed,
            clock=clock,
            wall=wall,
        )
        self._allowance = allowance or Allowance()
        self._polls = poll or remote_kind(str(output)) is not None
        self._arrivals: Arrivals | None = None
        self._identity: FolderIdentity | None = None
        self._walk: Iterator[list[Sighting]] | None = None
        self._walk_began = 0.0
        self._visits: OrderedDict[str, None] = OrderedDict()  # folders that came
        self._sightings: deque[Sighting] = deque()
        self._again: deque[tuple[float, Sighting]] = deque()
        self._reading: Iterator[None] | None = None
        self._next_check = self._next_walk = self._resume = self._turned_over = clock()
        self._take_at: float | None = None
        self._saved_at: float | None = None
        self._walked = False

    def begin(self, journal: str) -> None:
        """Note what class folders there are before anything is filed. Raises OSError.

        ``journal`` is its identity: if it is not the earlier one, filed images would be taken for those of a person.
        """
        self._known.belong_to(journal)
        if self._mark.why_away() is None and self._survey.begin():
            self._known.save(())

    def close(self) -> None:
        """Keep what is known, and watch nothing any more."""
        if self._identity is not None and self._mark.why_away() is None:
            self._save()
        if self._arrivals is not None:
            self._arrivals.close()
        self._journal.close()

    @property
    def events(self) -> int | None:
        """Return the descriptor to wait on; None while events are gathered, or there are none."""
        return None if self._arrivals is None or self._take_at is not None else self._arrivals.fileno()

    @property
    def is_done(self) -> bool:
        """Whether all folders were read, and nothing is due. Safe in another thread."""
        return self._walked and self._walk is None and self._reading is None and not self._sightings

    def use(self, classes: Iterable[str]) -> None:
        """Go by the classes of another model. Safe in another thread."""
        self._meanings.use(classes)

    def read_up_to(self, max_bytes: int) -> None:
        """From now on read no files that are larger. Safe in another thread."""
        self._examiner.max_bytes = max_bytes

    def heard(self) -> None:
        """Note that there are events."""
        if self._take_at is None:
            self._take_at = self._clock() + GATHER

    def timeout(self, *, may_find: bool) -> float:
        """Return the seconds until there is something to do; see `step`."""
        times = [self._next_check]
        if self._take_at is not None:
            times.append(self._take_at)
        if self._identity is not None and may_find:
            times.append(max(self._resume, self._next_work))
        return min(times) - self._clock()

    @property
    def _next_work(self) -> float:
        """Return when there is something to do that can wait."""
        due = min((at for at in (self._examiner.due, self._again[0][0] if self._again else None) if at), default=None)
        if self._reading is not None:
            return 0.0
        if self._walk is None and not self._visits:
            return self._next_walk if due is None else min(self._next_walk, due)
        return 0.0 if due is None or self._examiner.has_room else due

    def examine_again(self, found: Found) -> None:
        """Look once more, a little later, at what could not be decided: this daemon is about to move it."""
        self._again.append((self._clock() + _AGAIN, found.sighting))

    def decided(self, keys: Iterable[tuple[str, int]]) -> None:
        """Note that what was found of some files is in the journal. Safe in another thread."""
        self._undecided.difference_update(keys)

    def step(self, *, may_find: bool) -> None:
        """Do what is due; with ``may_find`` also what may find more images. Raises OSError and sqlite3.Error."""
        now = self._clock()
        if now >= self._next_check:
            self._next_check = now + _CHECK
            self._check()
        if self._identity is None:
            return
        if self._take_at is not None and now >= self._take_at:
            self._take_at = None
            self._take_events()
        while self._again and self._again[0][0] <= now:
            self._sightings.append(self._again.popleft()[1])
        self._examine()
        if may_find and now >= self._resume:
            self._work(now + _SLICE)
        self._resume = max(self._resume, self._clock() + self._allowance.pause())

    # --- the output, and its events

    @property
    def _has_events(self) -> bool:
        return self._arrivals is not None and self._arrivals.is_complete

    def _check(self) -> None:
        """See whether the output is there, and the same as before."""
        identity = identify(self._output) if self._mark.why_away() is None else None
        if identity == self._identity:
            return
        self._identity = identity
        self._walk = self._reading = self._take_at = None
        self._visits.clear()
        if self._arrivals is not None:
            self._arrivals.close()
            self._arrivals = None
        if identity is not None:
            self._class_mounts = ClassMounts(self._memory)
            self._listen()
            self._next_walk = self._clock()

    def _listen(self) -> None:
        if self._polls:
            return
        try:
            self._arrivals = Arrivals(self._output, self._say_full)
        except OSError as error:
            self._polls = True
            logger.debug("no inotify instance for the output: {}", error)
            return
        self._arrivals.arm("")

    def _arm(self, folder: str) -> None:
        if self._arrivals is not None:
            self._arrivals.arm(folder)

    def _say_full(self, error: OSError, watched: int) -> None:
        logger.warning(
            tr(
                "the class folders in '{output}' are read again and again to find corrections: {reason}, after "
                "{watched} folders; raise it with `{command}` and start again",
                output=shown(str(self._output)),
                reason=error.strerror,
                watched=watched,
                command="sysctl fs.inotify.max_user_watches=1048576",
            )
        )
        self._next_walk = min(self._next_walk, self._clock() + _POLLING)

    def _stands_for(self, name: str) -> str | None:
        known = self._known.folders.get(name)
        return None if known is None else known.stands_for

    def _take_events(self) -> None:
        assert self._arrivals is not None
        now = self._clock()
        arrived = self._arrivals.take()
        for folder, name in arrived.left:
            if (known := self._known.folders.get(folder)) is not None:
                known.drop(name)
        for folder in arrived.gone:
            if not self._meanings.is_class_folder(folder):
                self._known.forget(folder)
        self._visits.update(arrived.folders)
        if arrived.lost:
            self._next_walk = now
        elif arrived.moved:
            self._next_walk = min(self._next_walk, now + _AFTER_MOVES)
        self._sightings.extend(self._sighted(arrived))
        if now >= self._turned_over + _POLLING:
            self._own.turn_over()
            self._turned_over = now

    def _sighted(self, arrived: Arrived) -> Iterator[Sighting]:
        origins: dict[str, Origin] = {}  # by folder
        for folder, name in arrived.files:
            path = f"{self._output}/{folder}/{name}"
            if self._is_own(folder, path):
                continue
            try:
                inode = os.lstat(path).st_ino
            except OSError:
                continue  # it has left again
            if (known := self._known.folders.get(folder)) is not None:
                known.add(name, inode)
            if folder not in origins:
                origins[folder] = self._survey.origin_now(folder)
            yield Sighting(folder, name, inode, origins[folder])

    def _is_own(self, folder: str, path: str) -> bool:
        """Whether the daemon itself filed a file there: then the folder is of the class that it has the name of."""
        if not self._own.take(path):
            return False
        for outer in way_to(folder):
            if (known := self._known.folders.get(outer)) is not None:
                known.stands_for = None
        return True

    def _examine(self) -> None:
        """Examine what was sighted; where that fails it is tried again."""
        while self._sightings:
            some = list(itertools.islice(self._sightings, _TOGETHER))
            self._examiner.examine(some)
            for _ in some:
                self._sightings.popleft()

    # --- what can wait

    def _work(self, until: float) -> None:
        while self._clock() < until:
            if self._reading is not None:
                if next(self._reading, self) is self:
                    self._reading = None
            elif (due := self._examiner.due) is not None and due <= self._clock():
                self._reading = self._examiner.steps()
            elif self._walk is not None:
                if not self._examiner.has_room:
                    return
                self._go_on()
            elif self._visits:
                self._walk = self._survey.visit(self._visits.popitem(last=False)[0])
            elif self._clock() >= self._next_walk:
                self._begin_walk()
            else:
                return

    def _begin_walk(self) -> None:
        self._walk_began = self._clock()
        self._class_mounts = ClassMounts(self._memory)
        if not self._has_events:
            self._own.turn_over()
        self._walk = self._whole_walk()

    def _whole_walk(self) -> Iterator[list[Sighting]]:
        if not self._walked:
            yield from returned_images(self._journal, self._output, self._known.saved_at)
        yield from self._survey.steps()
        self._walked = True
        now = self._clock()
        if self._saved_at is None or now >= self._saved_at + _SAVE:
            self._save()
        pause = _POLLING if not self._has_events else _WITH_SHARES if self._survey.has_shares else _WITH_EVENTS
        self._next_walk = now + pause + min(now - self._walk_began, _MOST_MORE)

    def _go_on(self) -> None:
        assert self._walk is not None
        try:
            sightings = next(self._walk, None)
        except BaseException:
            self._walk, self._next_walk = None, self._clock() + _CHECK
            raise
        if sightings is None:
            self._walk = None
        else:
            if self._own:
                output = str(self._output)
                sightings = [
                    sighting
                    for sighting in sightings
                    if not self._is_own(sighting.folder, f"{output}/{sighting.folder}/{sighting.name}")
                ]
            self._sightings.extend(sightings)
            self._examine()

    def _found(self, found: Found) -> None:
        self._undecided.add(found.sighting.key)
        self._tell(found)

    def _save(self) -> None:
        self._saved_at = self._clock()
        self._survey.note_markers()
        self._known.save({*self._undecided, *self._examiner.undecided()})
