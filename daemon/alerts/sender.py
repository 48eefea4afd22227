"""Send alarms to all addresses until told to stop, and follow the settings and the journal when they change."""

from __future__ import annotations

import os
import sqlite3
import threading
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path

from loguru import logger

from daemon.alerts.addresses import Address
from daemon.alerts.delivery import POLL, Delivery
from daemon.alerts.ledger import LEDGER_FILE, LedgerFile
from daemon.files.locks import lock_descriptor
from daemon.journal import alarms as rows
from daemon.journal import opening
from models.errors import UserError
from models.files.ownership import make_file, make_folder
from models.text.language import tr

#: Seconds to wait at the end for messages that are being sent.
_JOIN_SECONDS = 5.0


class AlertSender:
    """Sends the alarms of the journal at ``journal`` to the addresses that ``load`` gives.

    They are loaded again when what ``stamps`` returns has changed, as it does with their files.
    """

    def __init__(
        self, journal: Path, load: Callable[[], Sequence[Address]], stamps: Callable[[], object] = lambda: None
    ) -> None:
        self._journal = journal
        self._load = load
        self._stamps = stamps
        self._stopping = threading.Event()
        self._deliveries: list[Delivery] = []
        self._identity: str | None = None

    def stop(self) -> None:
        """End soon. Safe in a signal handler."""
        self._stopping.set()

    def run(self) -> None:
        """Send until `stop` is called. Raises `UserError` where another process sends, or the addresses are wrong."""
        descriptor = self._lock()
        try:
            ledger = LedgerFile(self._journal.with_name(LEDGER_FILE))
            stamp = self._stamps()
            addresses = list(self._load())
            self._begin(addresses, ledger)
            while not self._stopping.wait(POLL):
                if (now := self._stamps()) != stamp:
                    stamp = now
                    addresses = self._loaded(addresses)
                if addresses != [delivery.address for delivery in self._deliveries] or self._has_other_journal():
                    self._end()
                    self._begin(addresses, ledger)
        finally:
            self._end()
            os.close(descriptor)

    def run_once(self) -> int:
        """Send what is due, each message tried once; return how many addresses have not got all of it."""
        descriptor = self._lock()
        try:
            ledger = LedgerFile(self._journal.with_name(LEDGER_FILE))
            addresses = list(self._load())
            self._use(ledger, addresses)
            left = 0
            for address in addresses:
                delivery = Delivery(address, self._journal, ledger)
                while (pause := delivery.step()) == 0.0:
                    pass
                left += pause is not None
            return left
        finally:
            os.close(descriptor)

    def _begin(self, addresses: Sequence[Address], ledger: LedgerFile) -> None:
        self._use(ledger, addresses)
        self._deliveries = [Delivery(address, self._journal, ledger) for address in addresses]
        names = ", ".join(address.service for address in addresses)
        logger.info(
            tr("alarms are sent to {names}", names=names) if names else tr("there is no address to send alarms to")
        )
        for delivery in self._deliveries:
            delivery.start()

    def _use(self, ledger: LedgerFile, addresses: Sequence[Address]) -> None:
        self._identity = self._known_identity()
        ledger.use_journal(self._identity, {address.key for address in addresses})

    def _end(self) -> None:
        for delivery in self._deliveries:
            delivery.stop()
        for delivery in self._deliveries:
            delivery.join(_JOIN_SECONDS)
        self._deliveries = []

    def _loaded(self, before: list[Address]) -> list[Address]:
        """Load the addresses again; where the settings are wrong, keep those in use."""
        try:
            return list(self._load())
        except UserError as error:
            logger.error(tr("the settings in use stay: {error}", error=error))
            return before

    def _has_other_journal(self) -> bool:
        """Whether the journal was set aside, and a new one begun: its events have other numbers."""
        return self._known_identity() not in (None, self._identity)

    def _known_identity(self) -> str | None:
        with suppress(UserError, sqlite3.Error), opening.reading(self._journal) as db:
            return rows.identity(db)
        return None

    def _lock(self) -> int:
        path = rows.sender_lock(self._journal)
        try:
            make_folder(path.parent)
            descriptor = make_file(path, 0o600)
        except OSError as error:
            raise UserError(
                tr(
                    "{path} cannot be written ({reason}): run this as the daemon's user",
                    path=path,
                    reason=error.strerror,
                )
            ) from error
        if not lock_descriptor(descriptor):
            os.close(descriptor)
            raise UserError(tr("another process sends these alarms already: stop it first"))
        return descriptor
