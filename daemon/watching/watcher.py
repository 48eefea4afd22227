"""Watch the inboxes: events are hints, the folder is the truth.

The work loop asks :meth:`InboxWatcher.ready` for stable files, deals with each and answers by ``done``, ``again`` or
``ends_early``. Everything but ``wake`` and ``asked`` belongs to the one thread of that loop. What an event names and
what a walk meets take the same way: into the :class:`~daemon.watching.settle.Settler`, out of it when stable. Losing
events costs time, at most until the next walk, never a file.
"""

from __future__ import annotations

import os
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from loguru import logger

from daemon.files.roots import Roots
from daemon.watching.handled import HeldFiles
from daemon.watching.hints import HintSource, Kind
from daemon.watching.inbox import Inbox, Pace
from daemon.watching.presence import PendingCall
from daemon.watching.settle import Settler, Signature
from daemon.watching.skipped import Skipped
from daemon.watching.unfinished import Unfinished, UnfinishedStatus
from daemon.watching.wakeup import Wakeup
from models.text.language import tr

_SLICE = 256  # names that a walk reads before stable files are handed out again
#: Seconds between two checks of the inboxes and of the reader of events.
CHECK_SECONDS = 1.0
#: Candidates that events may name; beyond it a walk finds them.
MOST_WAITING = 10_000


@dataclass(frozen=True)
class InboxStatus:
    """Present state of one inbox."""

    path: Path
    mode: str  # "inotify" or "polling"
    why_polled: str | None  # None with events
    why_missing: str | None  # None if it is there
    walking: bool  # it is being walked, or about to be
    other_files: int  # skipped by the last whole walk because of their names
    is_unresponsive: bool = False  # its file system does not answer
    not_entered: int = 0  # folders of other file systems, links to folders and class folders


@dataclass(frozen=True)
class WatcherStatus:
    """State of the watcher for the health check and the metrics. Ages in seconds."""

    inboxes: tuple[InboxStatus, ...]
    waiting: int
    in_flight: int
    oldest_seconds: float  # age of the oldest file seen and not answered
    watched_folders: int
    overflows: int  # times that hints were lost, each made good by a walk
    restarts: int  # times that the reader of events had died
    ahead: int = 0  # files that walks have not come to, about so many: they are not among those ``waiting``
    unfinished: UnfinishedStatus = field(default_factory=UnfinishedStatus)  # among those ``waiting``

    @property
    def missing(self) -> tuple[Path, ...]:
        """Inboxes that are not there."""
        return tuple(inbox.path for inbox in self.inboxes if inbox.why_missing is not None)


class InboxWatcher:
    """Hands out the stable image files of the inboxes, each once until it is answered."""

    def __init__(
        self,
        inboxes: Sequence[Path],  # each may be missing, now or later
        *,
        exclude: Sequence[Path] = (),  # folders in an inbox that are not part of it, beside those with a `MARKER`
        settle_seconds: float = 2.0,
        patience_seconds: float = 30.0,  # see `Settler.ends_early`
        writer_patience_seconds: float = 300.0,  # see `Unfinished`
        #: Seconds that a file is left alone after it was closed, for all inboxes or each; None: `Unfinished.quiet`.
        quiet_after_close: Mapping[str, float] | float | None = 0.0,
        rescan_seconds: float = 60.0,
        poll: bool = False,
        poll_seconds: float = 1.0,
        recursive: bool = True,
        backlog: int = 1_000,  # candidates that walks may add
        most_hints: int = 10_000,  # events kept between two calls of `ready`
        clock: Callable[[], float] = time.monotonic,
        surveyed: Callable[[Skipped], None] = lambda _: None,  # called for each inbox after every whole walk
        cross_mounts: bool = False,
        once: bool = False,  # a single pass
        claims: Mapping[str, Callable[[], None]] | None = None,  # by inbox: keep other daemons out, see `Presence`
        held: HeldFiles | None = None,
    ) -> None:
        self._clock = clock
        self._poll = poll
        self._backlog = backlog
        self._most_hints = most_hints
        self._settler = Settler(settle_seconds, patience_seconds=patience_seconds, limit=max(MOST_WAITING, backlog))
        paths = list(dict.fromkeys(os.path.abspath(inbox) for inbox in inboxes))  # noqa: PTH100 - links in it are the owner's choice
        excluded = [os.path.abspath(path) for path in exclude]  # noqa: PTH100
        roots = Roots(paths)
        pace = Pace(rescan=rescan_seconds, poll=poll_seconds)
        self._inboxes = [
            Inbox(
                path,
                excluded=[*excluded, *paths],
                outputs=excluded,
                recursive=recursive,
                poll=poll,
                pace=pace,
                clock=clock,
                surveyed=surveyed,
                roots=roots,
                cross_mounts=cross_mounts,
                claim=(claims or {}).get(path, lambda: None),
            )
            for path in sorted(paths, key=len, reverse=True)  # the innermost first: a path belongs to it
        ]
        for inbox in self._inboxes:
            inbox.handled.held = held
        self._order = deque(self._inboxes)
        self._unfinished = Unfinished(writer_patience_seconds, clock, once=once)
        self._quiet = quiet_after_close
        self._hints: HintSource | None = None
        self._wakeup = Wakeup()
        self._woken = False
        #: Safe to read in another thread, while this one hangs in a share whose server does not answer.
        self.asked: PendingCall | None = None
        self._next_check = 0.0
        self._overflows = 0
        self._restarts = 0

    def start(self) -> None:
        """Arm the inboxes that are there; events from now on are not lost."""
        self._check()

    def stop(self) -> None:
        """Stop watching. Files in flight may still be answered."""
        for inbox in self._inboxes:
            inbox.close()
        if self._hints is not None:
            self._hints.close()
            self._hints = None
        self._wakeup.close()

    def wake(self) -> None:
        """Let the present call of :meth:`ready`, or the next one, return at once. Safe in a signal handler."""
        self._woken = True
        self._wakeup.set()

    def rescan(self) -> list[InboxStatus]:
        """Walk all inboxes at once; returns how each is, as one that was missing may be back."""
        self._check()
        for inbox in self._inboxes:
            inbox.rescan()
        return list(self.status().inboxes)

    def ready(self, timeout: float, limit: int) -> list[Path]:
        """At most ``limit`` stable files, as soon as there is one; none after ``timeout`` seconds, or when woken."""
        deadline = self._clock() + timeout
        while True:
            self._observe()
            stable = self._stable(limit)
            now = self._clock()
            if stable or self._woken or now >= deadline:
                self._woken = False
                return stable
            self._wakeup.wait(max(0.0, min(deadline, self._next_deadline()) - now))

    def done(self, path: Path) -> None:
        """Note that a file was dealt with: if it is still there, it is handed out again only after it has changed."""
        name = str(path)
        handed_out = self._settler.done(name)
        inbox = self._inbox_of(name)
        if handed_out is None or inbox is None:
            return
        with self._asking(inbox):
            signature = inbox.signature(name)
        if signature == handed_out:
            inbox.handled.add(name, handed_out)
        elif signature is not None and not self._settler.offer(name, signature, self._clock()):
            inbox.rescan()

    def look_again(self, paths: Sequence[Path]) -> None:
        """Hand out files that were dealt with, or held, as soon as they are stable."""
        for path in paths:
            name = str(path)
            if (inbox := self._inbox_of(name)) is None:
                continue
            with self._asking(inbox):
                signature = inbox.signature(name)
            if signature is not None:
                inbox.handled.forget(name, signature)
                self._hinted(name, Kind.CLOSED)

    def again(self, path: Path, delay: float) -> None:
        """Hand out a file again after ``delay`` seconds, if it is still there."""
        self._settler.again(str(path), delay, self._clock())

    def ends_early(self, path: Path) -> bool:
        """Note that a file ends too early. True: more may follow, and it is handed out again.

        False: it has been quiet for ``patience_seconds``, so it is broken; it stays in flight until ``done``. Where
        nobody can say whether it is open, that takes ``writer_patience_seconds``.
        """
        name = str(path)
        inbox = self._inbox_of(name)
        candidate = self._settler.in_flight_candidate(name)
        with self._asking(inbox):
            signature = inbox.signature(name) if inbox is not None else None
            if signature is not None and candidate is not None and signature == candidate.signature:
                candidate.ends_early = True
                if self._is_unfinished(name, signature):
                    return True
        return self._settler.ends_early(name, signature, self._clock())

    def may_be_unfinished(self, path: Path) -> bool:
        """With ``once``: whether a file that ends too early may still be being written, and is left to the next run."""
        return self._unfinished.may_be_unfinished(str(path))

    def unfinished(self) -> list[Path]:
        """List the unfinished files."""
        return self._unfinished.paths()

    def all_answer(self) -> bool:
        """Whether the file systems of all inboxes may be asked now."""
        return all(inbox.answers() for inbox in self._inboxes)

    def status(self) -> WatcherStatus:
        """Summarise what is watched and what is waiting."""
        now = self._clock()
        inboxes = tuple(
            InboxStatus(
                path=Path(inbox.path),
                mode="inotify" if inbox.why_polled is None else "polling",
                why_polled=inbox.why_polled,
                why_missing=inbox.why_missing,
                is_unresponsive=inbox.presence.is_unresponsive,
                walking=inbox.why_missing is None and (inbox.walking or inbox.next_walk <= now),
                other_files=inbox.other_files,
                not_entered=inbox.not_entered,
            )
            for inbox in self._inboxes
        )
        return WatcherStatus(
            inboxes=inboxes,
            waiting=self._settler.waiting,
            in_flight=self._settler.in_flight,
            oldest_seconds=self._settler.oldest(now),
            watched_folders=len(self._hints) if self._hints is not None else 0,
            overflows=self._overflows,
            restarts=self._restarts,
            ahead=sum(inbox.backlog.left for inbox in self._inboxes),
            unfinished=self._unfinished.status(),
        )

    def _observe(self) -> None:
        """Take in what events named, and go a slice further with the walks."""
        hints = self._hints.take() if self._hints is not None else None
        if self._clock() >= self._next_check or (hints is not None and hints.moved):
            self._check()
        if hints is not None:
            for path, kind in hints.paths.items():
                self._hinted(path, kind)
            if hints.lost:
                self._walk_after_lost_events()
        self._order.rotate(1)  # a backlog in one inbox must not keep the others out
        for inbox in self._order:
            if not inbox.has_work or not inbox.answers():
                continue
            with self._asking(inbox):
                for path, signature in inbox.step(_SLICE, self._backlog - self._settler.active):
                    self._settler.offer(path, signature, self._clock())
                if self._settler.active >= self._backlog:
                    inbox.count_ahead(self._settler.knows)

    def _walk_after_lost_events(self) -> None:
        self._overflows += 1
        self._settler.mistrust_events()
        if self._overflows.bit_count() == 1:  # the 1st, 2nd, 4th, 8th time
            logger.warning(
                tr(
                    "events were lost ({overflows} times so far): the inboxes are looked through now",
                    overflows=self._overflows,
                )
            )
        for inbox in self._inboxes:
            inbox.rescan()

    def _check(self) -> None:
        if not self._poll and (self._hints is None or not self._hints.is_alive()):
            self._open_hints()
        for inbox in self._inboxes:
            if not inbox.answers():
                continue
            with self._asking(inbox):
                inbox.check(self._hints)
        self._next_check = self._clock() + CHECK_SECONDS

    def _open_hints(self) -> None:
        if self._hints is not None:
            logger.error(
                tr("the reader of events has died: another is started, and the inboxes are looked through now")
            )
            self._restarts += 1
            self._hints.close()
            self._hints = None
        try:
            self._hints = HintSource(self._wakeup.set, limit=self._most_hints)
        except OSError as error:
            self._poll = True
            logger.warning(
                tr(
                    "no inotify instance is available ({reason}): polling; raise the limit with `sysctl "
                    "fs.inotify.max_user_instances=1024` and start again",
                    reason=error.strerror,
                ),
            )

    def _hinted(self, path: str, kind: Kind) -> None:
        inbox = self._inbox_of(path)
        if inbox is None:
            return
        if kind is Kind.FOLDER:
            inbox.folder_appeared(path)
        elif not self._settler.hint(path, self._clock(), close_seen=kind is Kind.CLOSED):
            inbox.rescan()

    def _stable(self, limit: int) -> list[Path]:
        stable: list[Path] = []
        while len(stable) < limit:
            now = self._clock()
            path = self._settler.next_due_path(now)
            if path is None:
                break
            with self._asking(self._inbox_of(path)):
                if self._is_stable(path, now):
                    stable.append(Path(path))
        return stable

    def _is_stable(self, path: str, now: float) -> bool:
        """Look at a candidate that is due."""
        inbox = self._inbox_of(path)
        signature = inbox.signature(path) if inbox is not None else None
        if inbox is not None and signature is not None and inbox.handled.meet(path, signature):
            signature = None
        if signature is None:
            self._unfinished.forget(path)
        quiet = self._quiet_of(path, inbox)
        is_stable = self._settler.examine(path, signature, now, quiet)
        return is_stable and signature is not None and not self._is_unfinished(path, signature)

    def _is_unfinished(self, path: str, signature: Signature) -> bool:
        """Whether a stable file is unfinished; then it is postponed."""
        candidate = self._settler.in_flight_candidate(path)
        assert candidate is not None
        pause = self._unfinished.pause(path, signature, candidate)
        if pause is not None and not self._settler.hold_unfinished(path, pause, self._clock()):
            self._unfinished.forget(path)
        return pause is not None

    def _quiet_of(self, path: str, inbox: Inbox | None) -> float:
        quiet = self._quiet
        if isinstance(quiet, Mapping):
            quiet = quiet.get(inbox.path) if inbox is not None else None
        return self._unfinished.quiet(path) if quiet is None else quiet

    def _next_deadline(self) -> float:
        """Return when there is something to do without being woken."""
        times = [self._next_check]
        due = self._settler.next_due()
        if due is not None:
            times.append(due)
        room = self._settler.active < self._backlog
        for inbox in self._inboxes:
            if inbox.backlog.counting:
                times.append(0.0)
            if inbox.why_missing is None and room:
                times.append(0.0 if inbox.walking else inbox.next_walk)
        return min(times)

    @contextmanager
    def _asking(self, inbox: Inbox | None) -> Iterator[None]:
        """Record in `asked` that the body calls the file system of an inbox."""
        self.asked = None if inbox is None else PendingCall(inbox.path, self._clock())
        try:
            yield
        finally:
            self.asked = None

    def _inbox_of(self, path: str) -> Inbox | None:
        return next((inbox for inbox in self._inboxes if path.startswith(inbox.prefix)), None)
