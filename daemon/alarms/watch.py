"""Raise alarms: a thread judges what may be wrong, the work loop writes to the journal what began and what is over.

The thread reads the journal and asks the drives, so that neither holds up an image.
"""

from __future__ import annotations

import json
import threading
import time
from collections import Counter, OrderedDict, deque
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path

from loguru import logger

from daemon.alarms.causes import (
    ACCUSTOMED,
    ENDING,
    NOT_WATCHED,
    Cause,
    Trouble,
    begun,
    over,
    seconds_since,
    sentence,
)
from daemon.alarms.inbox_record import Arrival
from daemon.alarms.observer import ACCUSTOMED_SECONDS, Observer, Verdict, Watched
from daemon.alarms.status import AlarmHealth, AlarmsHealth
from daemon.config import Settings
from daemon.filing.outcome import Outcome
from daemon.filing.status import Status
from daemon.journal.alarms import AlarmEvent, is_sent
from daemon.journal.journal import Journal, JournalBusy
from models.errors import UserError
from models.text.language import tr

#: Seconds between two judgements, and until the next one after a fault of our own.
TICK, _AFTER_FAULT = 5.0, 600.0
#: What is over begins again after so many seconds at the earliest.
_REST = 3600.0
#: Seconds between two notes that the inboxes are watched, and how long nobody may have watched them.
_NOTE_SECONDS, _LONGEST_GAP = 600.0, 7200.0
#: The journal's note of since when the inboxes have been watched without such a gap, and until when.
NOTE = "alarms watched"
_MOST_PENDING, _MOST_RETRIED = 100_000, 1_000
_JOIN_SECONDS = 3.0
#: What is wrong that only the work loop knows, by its cause; None where nothing is.
Question = Callable[[], Mapping[str, object] | None]


class AlarmWatch:
    """Alarms of one daemon, whose journal lies at ``path``. All but the thread is for the work loop.

    ``ask`` gives what only the work loop knows, by the trouble that it would be with some settings.
    """

    def __init__(
        self,
        settings: Settings,
        journal: Journal,
        path: Path,
        ask: Callable[[Settings], Mapping[Trouble, Question]],
        *,
        wall: Callable[[], float] = time.time,
        tick: float = TICK,
    ) -> None:
        self._journal = journal
        self._path = path
        self._ask_by = ask
        self._ask = ask(settings)
        self._wall = wall
        self._tick = tick
        self._watched = Watched.from_settings(settings, path.parent)
        self._observer = Observer(self._watched, path)
        self._arrivals: deque[tuple[Path, Arrival]] = deque(maxlen=_MOST_PENDING)
        self._retried: OrderedDict[Path, None] = OrderedDict()
        self._verdicts: Mapping[Trouble, Verdict] | None = None
        self._newest: dict[Trouble, AlarmEvent] | None = None
        self._begun: Mapping[Trouble, float] = {}
        self._usual_from: Mapping[Trouble, float] = {}
        self._since = self._until = self._noted_at = wall()
        self._counts: Counter[str] = Counter()
        self._due = 0.0
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="alarms", daemon=True)

    def __enter__(self) -> AlarmWatch:
        """Begin: take up the alarms that were not over when the last daemon ended."""
        self._recall_watching()
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        """End, and note until when the inboxes were watched."""
        self._stopping.set()
        self._thread.join(_JOIN_SECONDS)
        self._note_watching()

    def outcome(self, outcome: Outcome) -> None:
        """Note a picture that has come; one that is tried again and again has come once."""
        if outcome.status is Status.RETRY:
            if outcome.path in self._retried:
                return
            self._retried[outcome.path] = None
            if len(self._retried) > _MOST_RETRIED:
                self._retried.popitem(last=False)
        elif outcome.status not in (Status.FILED, Status.LEFT, Status.REFUSED):
            return
        to_others = outcome.destination is not None and outcome.folder == self._watched.others.name
        arrival = Arrival(self._wall(), to_others, outcome.reason is not None)
        self._arrivals.append((outcome.path, arrival))

    def adopt(self, settings: Settings) -> None:
        """Go by other settings."""
        self._watched = Watched.from_settings(settings, self._watched.state)
        self._ask = self._ask_by(settings)
        self._due = 0.0

    def turn(self) -> None:
        """Once a second at most: write what began to be wrong, and what is over."""
        now = time.monotonic()
        if now < self._due:
            return
        self._due = now + 1.0
        try:
            self._write_changes()
            if abs(self._until - self._noted_at) >= _NOTE_SECONDS:
                self._note_watching()
        except JournalBusy as error:
            logger.debug("alarms are written later: {}", error)

    def health(self) -> AlarmsHealth:
        """Summarise what is wrong now."""
        active = [event for event in (self._newest or {}).values() if not event.over]
        now = [AlarmHealth.from_event(event) for event in sorted(active, key=lambda event: event.time)]
        return AlarmsHealth(now=now, begun=dict(self._counts))

    # --- the work loop

    def _write_changes(self) -> None:
        if self._newest is None:
            self._newest = {_trouble(event): event for event in self._journal.alarms() if event.cause in list(Cause)}
            self._publish()
        events = [*self._endings(), *self._beginnings()]
        if not events:
            return
        self._journal.identity()  # by which the sender knows this journal
        self._journal.write_alarms(events)
        for event in events:
            self._newest[_trouble(event)] = event
            self._counts[event.cause] += not event.over
            _log(event)
        if self._watched.has_addresses and not is_sent(self._path):
            logger.warning(tr("nobody sends alarms: start python -m daemon alerts, too"))
        self._publish()

    def _publish(self) -> None:
        """Let the thread know what is wrong."""
        assert self._newest is not None
        events = self._newest.items()
        self._begun = {trouble: event.time.timestamp() for trouble, event in events if not event.over}
        self._usual_from = {
            trouble: event.time.timestamp() - ACCUSTOMED_SECONDS
            for trouble, event in events
            if event.over and event.details.get(ENDING) == ACCUSTOMED
        }

    def _verdict(self, trouble: Trouble) -> Verdict | None:
        """Return what is known of a trouble now, None while it is not known."""
        if trouble in self._ask:
            details = self._ask[trouble]()
            return Verdict(details is not None, details or {})
        return None if self._verdicts is None else self._verdicts.get(trouble)

    def _endings(self) -> list[AlarmEvent]:
        events = []
        for trouble in self._begun:
            verdict = self._verdict(trouble)
            if not self._watched.has(trouble) or (trouble.cause in _ASKED and trouble not in self._ask):
                verdict = Verdict(False, {ENDING: NOT_WATCHED})
            if verdict is not None and not verdict.wrong:
                assert self._newest is not None
                events.append(over(trouble, {**self._newest[trouble].details, **verdict.details}))
        return events

    def _beginnings(self) -> list[AlarmEvent]:
        events = []
        for trouble in {**(self._verdicts or {}), **self._ask}:
            if trouble in self._begun or not self._watched.has(trouble) or self._is_resting(trouble):
                continue
            verdict = self._verdict(trouble)
            if verdict is not None and verdict.wrong:
                events.append(begun(trouble, verdict.details))
        return events

    def _is_resting(self, trouble: Trouble) -> bool:
        assert self._newest is not None
        event = self._newest.get(trouble)
        return event is not None and 0 <= seconds_since(event) < _REST

    def _recall_watching(self) -> None:
        with suppress(JournalBusy, ValueError, TypeError, KeyError):
            noted = json.loads(self._journal.noted(NOTE) or "{}")
            since, until = float(noted["since"]), float(noted["until"])
            if since <= until <= self._wall() < until + _LONGEST_GAP:
                self._since = since

    def _note_watching(self) -> None:
        with suppress(JournalBusy):
            self._noted_at = self._until
            self._journal.note(NOTE, json.dumps({"since": self._since, "until": self._until}))

    # --- the thread

    def _run(self) -> None:
        while not self._stopping.is_set():
            pause = self._tick
            try:
                self._judge()
            except UserError as error:
                logger.debug("what may be wrong is judged later: {}", error)
            except Exception:
                logger.exception(tr("internal error while looking for alarms; filing goes on"))
                pause = _AFTER_FAULT
            self._stopping.wait(pause)

    def _judge(self) -> None:
        now = self._wall()
        if not 0 <= now - self._until < _LONGEST_GAP:
            self._since = now  # the machine slept, or its clock was set
        self._until = now
        self._observer.watched = self._watched
        self._observer.learn(now, self._begun, self._usual_from)
        while self._arrivals:
            self._observer.arrived(*self._arrivals.popleft())
        self._verdicts = self._observer.judge(now, self._since, self._begun)


#: What only the work loop knows.
_ASKED = (Cause.PROMISE, Cause.PROBATION)


def _trouble(event: AlarmEvent) -> Trouble:
    return Trouble(Cause(event.cause), event.subject)


def _log(event: AlarmEvent) -> None:
    if not Cause(event.cause).is_logged_elsewhere:
        if event.over:
            logger.info(tr("alarm over: {what}", what=sentence(event)))
        else:
            logger.warning(tr("ALARM: {what}", what=sentence(event)))
