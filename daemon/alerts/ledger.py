"""Remember which events each address has got, across restarts, in a small file beside the journal."""

from __future__ import annotations

import threading
from pathlib import Path

from pydantic import BaseModel, ConfigDict, ValidationError

from models.errors import UserError
from models.files.atomic import atomic_file
from models.text.language import tr

LEDGER_FILE = "alerts.json"
_LARGEST = 1 << 20


class Delivered(BaseModel):
    """What one address has got: all events up to ``after``, except those in ``owed``.

    ``failing``: the time since when nothing can be sent to it, and ``why``; None where that works. ``sent``: the time
    of the last message that it got.
    """

    model_config = ConfigDict(extra="ignore")

    service: str
    after: int
    owed: list[int] = []
    failing: float | None = None
    why: str | None = None
    sent: float | None = None


class Ledger(BaseModel):
    """All addresses by their keys, for one ``journal``."""

    model_config = ConfigDict(extra="ignore")

    journal: str | None = None
    addresses: dict[str, Delivered] = {}


def read_ledger(path: Path) -> Ledger:
    """Read a ledger; an empty one where there is none that can be read."""
    try:
        with path.open("rb") as file:
            return Ledger.model_validate_json(file.read(_LARGEST))
    except (OSError, ValidationError):
        return Ledger()


class LedgerFile:
    """The file of the process that sends; safe in several threads."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._lock = threading.Lock()
        self._ledger = read_ledger(path)

    def use_journal(self, journal: str | None, keys: set[str]) -> None:
        """Begin anew with another journal, and forget addresses that are no longer used."""
        with self._lock:
            if journal != self._ledger.journal:
                self._ledger = Ledger(journal=journal)
            for key in self._ledger.addresses.keys() - keys:
                del self._ledger.addresses[key]

    def of(self, key: str) -> Delivered | None:
        """Return a copy of what an address has got; None for a new one."""
        with self._lock:
            found = self._ledger.addresses.get(key)
            return None if found is None else found.model_copy(deep=True)

    def keep(self, key: str, delivered: Delivered) -> None:
        """Write down what an address has got, durably: it gets nothing twice after a restart. Raises `UserError`."""
        with self._lock:
            self._ledger.addresses[key] = delivered.model_copy(deep=True)
            try:
                with atomic_file(self._path, mode=0o600) as file:
                    file.write(self._ledger.model_dump_json().encode())
            except OSError as error:
                raise UserError(
                    tr("{path} cannot be written: {reason}", path=self._path, reason=error.strerror)
                ) from error
