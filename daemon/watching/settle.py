"""Which candidates are stable now: pure decisions, the time and what ``lstat`` said are passed in.

A *candidate* is a path that may become an image to file. It is *waiting* until it is *stable*, is then handed out (*in
flight*) and comes back by one of three answers: :meth:`Settler.done`, :meth:`Settler.again`,
:meth:`Settler.incomplete`. Times are seconds of one monotonic clock; a file's own time stamps are compared for equality
only, so a clock that jumps, or a camera that lives in 1980, changes nothing.
"""

from __future__ import annotations

import heapq
from dataclasses import dataclass
from typing import NamedTuple

from models.backoff import Backoff


class Signature(NamedTuple):
    """What tells one state of a file from another: bytes, modification time, and which file it is."""

    size: int
    mtime_ns: int
    inode: int = 0  # 0 where inode numbers mean nothing (network file systems make them up)


@dataclass(slots=True)
class Candidate:
    """What is known of a path that may become an image to file."""

    seen: float  # when it was first met, by a walk or an event
    due: float  # when to look at it
    signature: Signature | None = None
    since: float = 0.0  # the signature has not changed since
    hold: float = 0.0  # not handed out earlier than this, unless it changes
    complete: bool = False  # a close or a rename into place that was not examined yet
    tries: int = 0  # how often it was found incomplete in this state
    unfinished: bool = False  # it is stable, and its writer is not done with it
    created: bool = False  # an event said that it was created, and none that it was closed
    closed: bool = False  # a close or a rename into place that was examined, and nothing has changed since
    half: bool = False  # in this state it ends too early
    grew: bool = False  # it changed while it was watched, and no event has said since that it was closed


class Settler:
    """The candidates of the inboxes: waiting, or in flight.

    At most ``limit`` are waiting and not held back, and as many are held back by :meth:`again`, so that files which can
    never be dealt with do not take the place of the others.
    """

    def __init__(self, settle_seconds: float, *, patience_seconds: float = 30.0, limit: int = 10_000) -> None:
        if settle_seconds <= 0:
            raise ValueError("settle_seconds must be more than 0")
        self._settle = settle_seconds
        self._patience = patience_seconds
        self._limit = limit
        self._waiting: dict[str, Candidate] = {}
        self._held: set[str] = set()  # those waiting that were put back and have not changed since
        self._in_flight: dict[str, Candidate] = {}
        self._queue: list[tuple[float, str]] = []  # (due, path); entries that no longer match are passed over

    @property
    def waiting(self) -> int:
        """How many candidates are waiting, not counting those in flight."""
        return len(self._waiting)

    @property
    def pressing(self) -> int:
        """How many of those waiting are not held back."""
        return len(self._waiting) - len(self._held)

    def knows(self, path: str) -> bool:
        """Whether this file is waiting or in flight."""
        return path in self._waiting or path in self._in_flight

    @property
    def in_flight(self) -> int:
        """How many candidates are handed out and unanswered."""
        return len(self._in_flight)

    def offer(self, path: str, signature: Signature, now: float) -> bool:
        """A walk met this file and saw what it is; False when there is no room for it."""
        if path in self._in_flight:
            return True  # done() compares signatures: nothing is missed
        candidate = self._admit(path, now)
        if candidate is None:
            return False
        if signature != candidate.signature:
            self._changed(path, candidate, signature, now)
            if not candidate.complete:
                candidate.due = now + self._settle
                self._push(path, candidate)
        return True

    def hint(self, path: str, now: float, *, complete: bool) -> bool:
        """An event named this file, so it is due a look at once; False when there is no room for it.

        ``complete`` says that its writer closed it or renamed it into place: it need not settle.
        """
        if path in self._in_flight:
            return True
        candidate = self._admit(path, now)
        if candidate is None:
            return False
        candidate.complete = candidate.complete or complete
        candidate.created = not candidate.complete and (candidate.created or candidate.signature is None)
        candidate.due = now
        self._push(path, candidate)
        return True

    def next_due(self) -> float | None:
        """When the next candidate is to be looked at; None when none is waiting."""
        while self._queue:
            due, path = self._queue[0]
            candidate = self._waiting.get(path)
            if candidate is not None and candidate.due == due:
                return due
            heapq.heappop(self._queue)
        return None

    def take_due(self, now: float) -> str | None:
        """The next candidate that is due: ``lstat`` it and tell :meth:`look`. None when nothing is due."""
        due = self.next_due()
        return self._queue[0][1] if due is not None and due <= now else None

    def look(self, path: str, signature: Signature | None, now: float, quiet: float = 0.0) -> bool:
        """Judge a waiting candidate by what it is now (None: gone, or none of ours). True: stable, now in flight.

        ``quiet``: seconds without a change or another closing that it needs even when its writer has closed it.
        """
        candidate = self._waiting[path]
        if signature is None:
            del self._waiting[path]
            self._held.discard(path)
            return False
        if signature != candidate.signature:
            self._changed(path, candidate, signature, now)
        # An empty file that was closed is a writer that has not begun (SMB clients create, close, open again).
        complete = candidate.complete and signature.size > 0
        candidate.complete = False
        if complete:
            candidate.closed, candidate.grew = True, False
            if candidate.unfinished:
                candidate.hold = 0.0
            if quiet:
                candidate.since = now
        pause = max(self._settle, quiet)
        settled = now if complete and not quiet else candidate.since + pause
        if now >= max(candidate.hold, settled):
            self._in_flight[path] = self._waiting.pop(path)
            self._held.discard(path)
            return True
        candidate.due = max(candidate.hold, candidate.since + pause)
        self._push(path, candidate)
        if quiet > self._settle and len(self._held) < self._limit:
            self._held.add(path)  # it is not to keep others out
        return False

    def candidate(self, path: str) -> Candidate | None:
        """What is known of a candidate in flight; None when there is none."""
        return self._in_flight.get(path)

    def hold_unfinished(self, path: str, pause: float, now: float) -> bool:
        """Hold back a candidate that was just handed out and is unfinished: like `again`, but a close ends the pause.

        False when it is forgotten instead.
        """
        self._in_flight[path].unfinished = True
        self.again(path, pause, now)
        return path in self._waiting

    def mistrust_events(self) -> None:
        """Events were lost, among them perhaps that a file was closed."""
        for candidate in self._waiting.values():
            candidate.created = False

    def done(self, path: str) -> Signature | None:
        """Forget a candidate in flight; what it was when it was handed out."""
        candidate = self._in_flight.pop(path, None)
        return candidate.signature if candidate is not None else None

    def again(self, path: str, delay: float, now: float) -> None:
        """Hand a candidate in flight out again after ``delay`` seconds, or as soon as it has changed and settled.

        When too many are held back already it is forgotten instead; the next walk meets it again.
        """
        candidate = self._in_flight.pop(path, None)
        if candidate is not None and len(self._held) < self._limit:
            self._put_back(path, candidate, now + delay)

    def incomplete(self, path: str, signature: Signature | None, now: float) -> bool:
        """A candidate in flight ends too early: settle again, each time for longer.

        ``signature`` is what the file is now; None when it is gone, then it is forgotten.
        False when it has been quiet for ``patience_seconds``: nobody writes it any more, it is broken. It then stays
        in flight until :meth:`done`.
        """
        candidate = self._in_flight.get(path)
        if candidate is None:
            return True
        if signature is None:
            del self._in_flight[path]
            return True
        if signature != candidate.signature:
            self._changed(path, candidate, signature, now)
        broken_at = candidate.since + self._patience
        if now >= broken_at:
            return False
        pause = Backoff(self._settle, self._patience).delay(candidate.tries)
        candidate.tries += 1
        self._put_back(path, self._in_flight.pop(path), min(now + pause, broken_at))
        return True

    def oldest(self, now: float) -> float:
        """Seconds since the oldest candidate, waiting or in flight, was first seen; 0 when there is none."""
        first = min((c.seen for store in (self._waiting, self._in_flight) for c in store.values()), default=now)
        return now - first

    def _admit(self, path: str, now: float) -> Candidate | None:
        candidate = self._waiting.get(path)
        if candidate is None and self.pressing < self._limit:
            candidate = self._waiting[path] = Candidate(seen=now, due=now)
        return candidate

    def _changed(self, path: str, candidate: Candidate, signature: Signature, now: float) -> None:
        self._held.discard(path)
        candidate.grew = candidate.grew or candidate.signature is not None
        candidate.closed = candidate.half = False
        candidate.signature, candidate.since, candidate.hold, candidate.tries = signature, now, 0.0, 0

    def _put_back(self, path: str, candidate: Candidate, hold: float) -> None:
        candidate.hold = candidate.due = hold
        self._waiting[path] = candidate
        self._held.add(path)
        self._push(path, candidate)

    def _push(self, path: str, candidate: Candidate) -> None:
        heapq.heappush(self._queue, (candidate.due, path))
