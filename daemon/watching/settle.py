"""Decide which candidates are stable. The time and the result of ``lstat`` are passed in: nothing here does I/O.

A *candidate* is a path that may become an image to file. It is *waiting* until it is handed out, for which it
must be *stable* and not postponed; then it is *in flight* until the caller answers with :meth:`Settler.done`,
:meth:`Settler.again` or :meth:`Settler.ends_early`.
Times are seconds of one monotonic clock. A file's own time stamps are only compared for equality, so a clock that
jumps, or a camera set to 1980, makes no difference.
"""

from __future__ import annotations

import heapq
from dataclasses import dataclass
from typing import NamedTuple

from models.backoff import Backoff


class Signature(NamedTuple):
    """State of a file: size in bytes, modification time and inode number."""

    size: int
    mtime_ns: int
    inode: int = 0  # 0 on network file systems, which make them up


@dataclass(slots=True)
class Candidate:
    """State of one candidate."""

    seen: float  # when a walk or an event first named it
    due: float  # when to examine it
    signature: Signature | None = None
    since: float = 0.0  # the signature has not changed since
    not_before: float = 0.0  # postponed until then, unless it changes
    close_seen: bool = False  # an event named its close or its rename into place, and it was not examined since
    tries: int = 0  # times that it was found to end too early without a change between
    unfinished: bool = False  # stable, but its writer has it open, or may have
    created: bool = False  # an event named its creation, and none its close
    closed: bool = False  # examined after its close or rename into place, and unchanged since
    ends_early: bool = False  # its content was found to end too early, and is unchanged since
    grew: bool = False  # changed while it was waiting or in flight, and no event has named its close since


class Settler:
    """Candidates of the inboxes, waiting or in flight.

    At most ``limit`` are active (waiting and not postponed), and as many are postponed, so that files that fail again
    and again do not keep out others.
    """

    def __init__(self, settle_seconds: float, *, patience_seconds: float = 30.0, limit: int = 10_000) -> None:
        if settle_seconds <= 0:
            raise ValueError("settle_seconds must be more than 0")
        self._settle = settle_seconds
        self._patience = patience_seconds
        self._limit = limit
        self._waiting: dict[str, Candidate] = {}
        self._postponed: set[str] = set()  # waiting, put back by the caller, and unchanged since
        self._in_flight: dict[str, Candidate] = {}
        self._queue: list[tuple[float, str]] = []  # (due, path); outdated entries are skipped

    @property
    def waiting(self) -> int:
        """Number of waiting candidates, without those in flight."""
        return len(self._waiting)

    @property
    def active(self) -> int:
        """Number of waiting candidates that are not postponed."""
        return len(self._waiting) - len(self._postponed)

    def knows(self, path: str) -> bool:
        """Whether this file is waiting or in flight."""
        return path in self._waiting or path in self._in_flight

    @property
    def in_flight(self) -> int:
        """Number of candidates that are handed out and unanswered."""
        return len(self._in_flight)

    def offer(self, path: str, signature: Signature, now: float) -> bool:
        """Add or update a file that a walk has met; False when there is no room for it."""
        if path in self._in_flight:
            return True  # done() compares signatures: nothing is missed
        candidate = self._admit(path, now)
        if candidate is None:
            return False
        if signature != candidate.signature:
            self._note_change(path, candidate, signature, now)
            if not candidate.close_seen:
                candidate.due = now + self._settle
                self._push(path, candidate)
        return True

    def hint(self, path: str, now: float, *, close_seen: bool) -> bool:
        """Add or update a file that an event has named: it is due at once. False when there is no room for it.

        ``close_seen``: its writer closed it or renamed it into place, so it need not settle.
        """
        if path in self._in_flight:
            return True
        candidate = self._admit(path, now)
        if candidate is None:
            return False
        candidate.close_seen = candidate.close_seen or close_seen
        candidate.created = not candidate.close_seen and (candidate.created or candidate.signature is None)
        candidate.due = now
        self._push(path, candidate)
        return True

    def next_due(self) -> float | None:
        """Return when the next candidate is due; None when none is waiting."""
        while self._queue:
            due, path = self._queue[0]
            candidate = self._waiting.get(path)
            if candidate is not None and candidate.due == due:
                return due
            heapq.heappop(self._queue)
        return None

    def next_due_path(self, now: float) -> str | None:
        """Return, without removing it, the next candidate to ``lstat`` and :meth:`examine`; None when none is due."""
        due = self.next_due()
        return self._queue[0][1] if due is not None and due <= now else None

    def examine(self, path: str, signature: Signature | None, now: float, quiet: float = 0.0) -> bool:
        """Examine a waiting candidate that is due; True if it is stable: it is in flight then.

        ``signature``: its present state; None: it is gone, or not part of an inbox. ``quiet``: seconds without a change
        or another close that it needs even after its writer has closed it.
        """
        candidate = self._waiting[path]
        if signature is None:
            del self._waiting[path]
            self._postponed.discard(path)
            return False
        if signature != candidate.signature:
            self._note_change(path, candidate, signature, now)
        # The writer of an empty file that was closed has not begun: SMB clients create, close and open it again.
        is_closed = candidate.close_seen and signature.size > 0
        candidate.close_seen = False
        if is_closed:
            candidate.closed, candidate.grew = True, False
            if candidate.unfinished:
                candidate.not_before = 0.0
            if quiet:
                candidate.since = now
        pause = max(self._settle, quiet)
        settled = now if is_closed and not quiet else candidate.since + pause
        if now >= max(candidate.not_before, settled):
            self._in_flight[path] = self._waiting.pop(path)
            self._postponed.discard(path)
            return True
        candidate.due = max(candidate.not_before, candidate.since + pause)
        self._push(path, candidate)
        if quiet > self._settle and len(self._postponed) < self._limit:
            self._postponed.add(path)  # so that it does not keep others out
        return False

    def in_flight_candidate(self, path: str) -> Candidate | None:
        """Return a candidate in flight; None if there is none of that path."""
        return self._in_flight.get(path)

    def hold_unfinished(self, path: str, pause: float, now: float) -> bool:
        """Hold back an unfinished candidate in flight, like `again`, but only until it is closed.

        False when there is no room: it is forgotten instead.
        """
        self._in_flight[path].unfinished = True
        self.again(path, pause, now)
        return path in self._waiting

    def mistrust_events(self) -> None:
        """Forget creations that events named: events were lost, perhaps that of a close."""
        for candidate in self._waiting.values():
            candidate.created = False

    def done(self, path: str) -> Signature | None:
        """Forget a candidate in flight; return its state when it was handed out."""
        candidate = self._in_flight.pop(path, None)
        return candidate.signature if candidate is not None else None

    def again(self, path: str, delay: float, now: float) -> None:
        """Hold back a candidate in flight for ``delay`` seconds, or until it has changed and settled.

        When too many are postponed already it is forgotten instead; the next walk finds it again.
        """
        candidate = self._in_flight.pop(path, None)
        if candidate is not None and len(self._postponed) < self._limit:
            self._put_back(path, candidate, now + delay)

    def ends_early(self, path: str, signature: Signature | None, now: float) -> bool:
        """Let a candidate in flight that ends too early settle again, each time for longer.

        ``signature``: its present state; None: it is gone, and is forgotten. False when it has not changed for
        ``patience_seconds``: then it is broken, and stays in flight until :meth:`done`.
        """
        candidate = self._in_flight.get(path)
        if candidate is None:
            return True
        if signature is None:
            del self._in_flight[path]
            return True
        if signature != candidate.signature:
            self._note_change(path, candidate, signature, now)
        broken_at = candidate.since + self._patience
        if now >= broken_at:
            return False
        pause = Backoff(self._settle, self._patience).delay(candidate.tries)
        candidate.tries += 1
        self._put_back(path, self._in_flight.pop(path), min(now + pause, broken_at))
        return True

    def oldest(self, now: float) -> float:
        """Return the seconds since the oldest candidate was first seen, waiting or in flight; 0 when there is none."""
        first = min((c.seen for store in (self._waiting, self._in_flight) for c in store.values()), default=now)
        return now - first

    def _admit(self, path: str, now: float) -> Candidate | None:
        candidate = self._waiting.get(path)
        if candidate is None and self.active < self._limit:
            candidate = self._waiting[path] = Candidate(seen=now, due=now)
        return candidate

    def _note_change(self, path: str, candidate: Candidate, signature: Signature, now: float) -> None:
        self._postponed.discard(path)
        candidate.grew = candidate.grew or candidate.signature is not None
        candidate.closed = candidate.ends_early = False
        candidate.signature, candidate.since, candidate.not_before, candidate.tries = signature, now, 0.0, 0

    def _put_back(self, path: str, candidate: Candidate, not_before: float) -> None:
        candidate.not_before = candidate.due = not_before
        self._waiting[path] = candidate
        self._postponed.add(path)
        self._push(path, candidate)

    def _push(self, path: str, candidate: Candidate) -> None:
        heapq.heappush(self._queue, (candidate.due, path))
