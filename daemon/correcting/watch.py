"""Watch an output for what people correct: a thread reads folders and files, the work loop writes the labels.

Only the thread touches the disk, so that neither a share that does not answer nor a million files hold up filing. It
uses a small share of a core, see `Allowance`; but what the kernel names as changed is looked at in any case.
"""

from __future__ import annotations

import os
import select
import sqlite3
import threading
import time
from collections import Counter, deque
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack, suppress
from pathlib import Path

from loguru import logger

from daemon.config import Settings
from daemon.correcting.examination import Found
from daemon.correcting.noting import LabelWriter
from daemon.correcting.observer import Observer
from daemon.correcting.own_filings import OwnFilings
from daemon.files.outputs import output_of
from daemon.journal.journal import Journal, JournalBusy
from daemon.journal.labels import How
from models.errors import UserError
from models.text.language import tr

#: Images whose labels are written in one turn of the work loop: that takes some 10 ms.
_AT_ONCE = 32
#: Images that may wait for the work loop; with more, the thread pauses for so many seconds before it looks again.
_MOST_FOUND, _PAUSE = 128, 0.2
#: Seconds that the thread waits after an error of the disk or the journal, and after a mistake of this program.
_AFTER_ERROR, _AFTER_FAULT = 5.0, 60.0
#: Seconds that a single pass waits for the thread to find the rest, and that any end waits for the thread to end: it
#: may hang in a share.
_END_SECONDS = 3.0


class CorrectionWatch:
    """Notices what people move between the class folders of one output or put there, and writes labels for it.

    `filed` and `turn` belong to the work loop; ``wake`` is called, in another thread, when there is something for
    `turn` to do.
    """

    def __init__(
        self,
        output: Path,
        journal: Journal,
        observe: Callable[[OwnFilings, Callable[[Found], None]], Observer],
        wake: Callable[[], None] = lambda: None,
    ) -> None:
        """``output``: the main one, which messages name paths below. ``observe`` makes the observer of this one."""
        self._own = OwnFilings()
        self._journal = journal
        self._writer = LabelWriter(output, journal)
        self._wake = wake
        self._found: deque[Found] = deque()
        self._again: deque[Found] = deque()
        self._observer = observe(self._own, self._take)
        self._signal = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
        self._stopping = False
        self._thread = threading.Thread(target=self._run, name="corrections", daemon=True)

    def __enter__(self) -> CorrectionWatch:
        """Begin, before anything is filed: so what was there before is told from what is filed now."""
        with suppress(OSError, JournalBusy):
            self._observer.begin(self._journal.identity())
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        """End, and keep what was seen for the next start."""
        self._stopping = True
        os.eventfd_write(self._signal, 1)
        self._thread.join(_END_SECONDS)
        if not self._thread.is_alive():
            os.close(self._signal)

    def filed(self, path: Path) -> None:
        """Note that the daemon itself filed an image there."""
        self._own.add(path)

    def use(self, classes: Sequence[str]) -> None:
        """Go by the classes of another model."""
        self._observer.use(classes)

    def adopt(self, settings: Settings) -> None:
        """Take over what may have changed in the settings."""
        self._observer.read_up_to(settings.max_file_mb << 20)

    def turn(self) -> Counter[How]:
        """Write labels for what was found, if anything, and return how many of which kind."""
        if not self._found:
            self._writer.summarise()
            return Counter()
        batch = [self._found.popleft() for _ in range(min(len(self._found), _AT_ONCE))]
        try:
            noted = self._writer.write(batch)
        except JournalBusy as error:
            logger.debug("what was corrected is noted later: {}", error)
            self._found.extendleft(reversed(batch))
            return Counter()
        self._again.extend(noted.examine)
        undecided = {image.sighting.key for image in noted.examine}
        self._observer.decided({image.sighting.key for image in batch} - undecided)
        if self._found:
            self._wake()
        return noted.labels

    def finish(self, seconds: float = _END_SECONDS) -> Counter[How]:
        """Go on until all folders were read and what was found is noted, but no longer than ``seconds``.

        A single pass ends with this; the next one goes on with the rest.
        """
        end, labels = time.monotonic() + seconds, Counter[How]()
        while time.monotonic() < end and not (self._observer.is_done and not self._found and not self._again):
            labels += self.turn()
            time.sleep(0.02)
        return labels

    def _take(self, found: Found) -> None:
        self._found.append(found)
        self._wake()

    def _run(self) -> None:
        try:
            while not self._stopping:
                self._step()
        finally:
            self._observer.close()

    def _step(self) -> None:
        try:
            may_find = len(self._found) < _MOST_FOUND
            timeout = self._observer.timeout(may_find=may_find)
            self._wait(timeout if may_find else min(timeout, _PAUSE))
            if self._stopping:
                return
            while self._again:
                self._observer.examine_again(self._again.popleft())
            self._observer.step(may_find=may_find)
        except (OSError, sqlite3.Error, UserError) as error:
            logger.debug("corrections are looked for later: {}", error)
            self._wait(_AFTER_ERROR)
        except Exception:
            logger.exception(tr("internal error while looking for corrections; filing goes on"))
            self._wait(_AFTER_FAULT)

    def _wait(self, seconds: float) -> None:
        """Wait until there is something to do, or the end has come."""
        poll = select.poll()
        poll.register(self._signal, select.POLLIN)
        if (events := self._observer.events) is not None:
            poll.register(events, select.POLLIN)
        for descriptor, _ in poll.poll(max(0.0, seconds) * 1000):
            if descriptor == self._signal:
                with suppress(BlockingIOError):
                    os.eventfd_read(self._signal)
            else:
                self._observer.heard()


class CorrectionWatches:
    """The watches of several outputs, as one; see `CorrectionWatch`."""

    def __init__(self, watches: Mapping[Path, CorrectionWatch]) -> None:
        """``watches`` are by their outputs."""
        self._watches = watches
        self._entered = ExitStack()

    def __enter__(self) -> CorrectionWatches:
        for watch in self._watches.values():
            self._entered.enter_context(watch)
        return self

    def __exit__(self, *_: object) -> None:
        self._entered.close()

    def filed(self, path: Path) -> None:
        """Note that the daemon itself filed an image there."""
        output = output_of(path, self._watches)
        if output is not None:
            self._watches[output].filed(path)

    def use(self, classes: Sequence[str]) -> None:
        """Go by the classes of another model."""
        for watch in self._watches.values():
            watch.use(classes)

    def adopt(self, settings: Settings) -> None:
        """Take over what may have changed in the settings."""
        for watch in self._watches.values():
            watch.adopt(settings)

    def turn(self) -> Counter[How]:
        """Write labels for what was found, if anything, and return how many of which kind."""
        return sum((watch.turn() for watch in self._watches.values()), Counter[How]())

    def finish(self, seconds: float = _END_SECONDS) -> Counter[How]:
        """Finish one watch after the other, each within ``seconds``; see `CorrectionWatch.finish`."""
        return sum((watch.finish(seconds) for watch in self._watches.values()), Counter[How]())


def watch_corrections(
    settings: Settings, journal: Journal, path: Path, classes: Sequence[str], wake: Callable[[], None]
) -> CorrectionWatches:
    """Make the watches of a daemon whose journal lies at ``path`` and whose model has ``classes``."""
    outputs = settings.outputs
    return CorrectionWatches(
        {output: _watch_output(output, settings, journal, path, classes, wake) for output in outputs}
    )


def _watch_output(
    output: Path, settings: Settings, journal: Journal, path: Path, classes: Sequence[str], wake: Callable[[], None]
) -> CorrectionWatch:
    def observe(own: OwnFilings, found: Callable[[Found], None]) -> Observer:
        return Observer(
            output,
            path,
            own,
            found,
            others=settings.others_dir,
            quarantine=settings.quarantine_dir,
            max_bytes=settings.max_file_mb << 20,
            poll=settings.poll,
            main=settings.output,
            beside=[other for other in settings.outputs if other != output],
            classes=classes,
        )

    return CorrectionWatch(settings.output, journal, observe, wake)
