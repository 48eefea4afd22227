"""Deliver alarms to one address: in order, each once, again and again until its server takes it."""

from __future__ import annotations

import os
import sqlite3
import threading
import time
from collections.abc import Callable
from pathlib import Path

from loguru import logger
from pydantic import SecretStr

from daemon.alarms.causes import sentence
from daemon.alerts.addresses import Address
from daemon.alerts.ledger import Delivered, LedgerFile
from daemon.alerts.outlet import Message, NotSent, send
from daemon.journal import alarms as rows
from daemon.journal import opening
from daemon.journal.alarms import AlarmEvent
from models.backoff import Backoff
from models.errors import UserError
from models.text.language import tr, trn

#: Seconds between two looks at the journal, and until what could not be sent is tried again.
POLL = 2.0
RETRIES = Backoff(first=10.0, last=3600.0)
#: Events that are kept for a server that is away; one message tells of those beyond.
MOST_PENDING = 20


class Delivery:
    """Delivers what is in the journal to one address; on a thread of its own, so that no server waits for another."""

    def __init__(
        self,
        address: Address,
        journal: Path,
        ledger: LedgerFile,
        *,
        post: Callable[[SecretStr, Message], None] = send,
        wall: Callable[[], float] = time.time,
    ) -> None:
        self.address = address
        self._journal = journal
        self._ledger = ledger
        self._post = post
        self._wall = wall
        self._failures = 0
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name=f"alert {address.number}", daemon=True)

    def start(self) -> None:
        """Begin to deliver."""
        self._thread.start()

    def stop(self) -> None:
        """End after the message that is under way."""
        self._stopping.set()

    def join(self, seconds: float) -> None:
        """Wait for the end."""
        self._thread.join(seconds)

    def step(self) -> float | None:
        """Deliver what is due, one event; return after how many seconds to go on, None where nothing is left.

        Raises `UserError` where the journal cannot be read, or what was sent cannot be written down.
        """
        if not self._journal.exists():
            return None  # the daemon has yet to begin one
        with opening.reading(self._journal) as db:
            delivered = self._ledger.of(self.address.key) or self._begin(db)
            self._skip(db, delivered)
            event = _next(db, delivered)
        if event is None:
            return None
        try:
            self._post(self.address.url, message(event))
        except NotSent as error:
            return self._failed(delivered, str(error))
        if self._failures:
            logger.info(tr("{address}: alarms get through again", address=self.address.name))
        self._failures = 0
        delivered.failing = delivered.why = None
        delivered.sent = self._wall()
        assert event.id is not None
        if event.id in delivered.owed:
            delivered.owed.remove(event.id)
        else:
            delivered.after = event.id
        self._ledger.keep(self.address.key, delivered)
        return 0.0

    def _begin(self, db: sqlite3.Connection) -> Delivered:
        """Send a new address what is wrong now, and from then on what comes."""
        owed = [event.id for event in rows.newest(db) if not event.over and event.id is not None]
        delivered = Delivered(service=self.address.service, after=rows.last_id(db), owed=owed)
        self._ledger.keep(self.address.key, delivered)
        return delivered

    def _skip(self, db: sqlite3.Connection, delivered: Delivered) -> None:
        """Keep only the last of many events, and tell of the others in one message."""
        count = rows.count_after(db, delivered.after)
        if count <= MOST_PENDING:
            return
        skipped = count - MOST_PENDING
        text = trn(
            "1 more alarm began or ended while nothing could be sent: python -m daemon alarms lists it",
            "{count} more alarms began or ended while nothing could be sent: python -m daemon alarms lists them",
            skipped,
        )
        try:
            self._post(self.address.url, Message(_title(over=False), text, over=False))
        except NotSent:
            return  # the next one fails as well, and is counted
        delivered.after = rows.after(db, delivered.after, skipped)[-1].id or delivered.after
        self._ledger.keep(self.address.key, delivered)

    def _failed(self, delivered: Delivered, why: str) -> float:
        """Note a failure, log it once until it has passed, and return when to try again."""
        if delivered.why != why or not self._failures:
            logger.error(tr("{address}: {why}; it is tried again", address=self.address.name, why=why))
        delivered.failing = delivered.failing or self._wall()
        delivered.why = why
        self._ledger.keep(self.address.key, delivered)
        self._failures += 1
        return RETRIES.delay(self._failures - 1)

    def _run(self) -> None:
        said = ""
        while not self._stopping.is_set():
            try:
                pause = self.step()
                said = ""
            except UserError as error:
                pause = POLL
                if str(error) != said:
                    said = str(error)
                    logger.error("{}", said)
            self._stopping.wait(POLL if pause is None else pause)


def _next(db: sqlite3.Connection, delivered: Delivered) -> AlarmEvent | None:
    """Return the event that is sent next."""
    for number in list(delivered.owed):
        found = rows.after(db, number - 1, 1)
        if found and found[0].id == number:
            return found[0]
        delivered.owed.remove(number)  # pruned
    found = rows.after(db, delivered.after, 1)
    return found[0] if found else None


def message(event: AlarmEvent) -> Message:
    """Word an event."""
    text = tr("{what} ({time})", what=sentence(event), time=f"{event.time.astimezone():%Y-%m-%d %H:%M}")
    return Message(_title(over=event.over), text, event.over)


def _title(*, over: bool) -> str:
    host = os.uname().nodename
    return tr("imagesortd on {host}: alarm over", host=host) if over else tr("imagesortd on {host}: alarm", host=host)
