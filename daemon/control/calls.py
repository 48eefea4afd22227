"""A call of a peer, from its line to its answer: the server's thread hands it to the work loop, which answers it."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from typing import Protocol

from loguru import logger

from daemon.control import protocol
from daemon.control.protocol import FAULT, Request
from daemon.journal.journal import JournalBusy
from models.errors import UserError
from models.text.language import Language, reason, speaking, tr


class Outlet(Protocol):
    """Takes the lines for a peer, in any thread."""

    def put(self, line: bytes) -> None:
        """Send a line as soon as the peer takes it."""
        ...

    def has_room(self) -> bool:
        """Whether the peer has taken enough of what was sent."""
        ...


class Call:
    """Call of one method by one peer. It is answered once, by whichever thread is first; later answers are dropped."""

    def __init__(self, request: Request, language: Language, outlet: Outlet) -> None:
        self.request = request
        self.language = language
        #: The peer has gone away: nobody waits for the answer.
        self.is_lost = False
        self._outlet = outlet
        self._over = False
        self._lock = threading.Lock()

    @property
    def is_over(self) -> bool:
        """Whether it was answered, or nobody waits for that."""
        return self._over or self.is_lost

    @property
    def has_room(self) -> bool:
        """Whether the peer takes more items now."""
        return self._outlet.has_room()

    def item(self, item: Mapping[str, object]) -> None:
        """Send a part of the answer. Raises TypeError and ValueError for what JSON cannot hold."""
        self._put(protocol.encode({"id": self.request.id, "item": item}), is_last=False)

    def working(self) -> None:
        """Tell the peer that the work goes on."""
        self._put(protocol.encode({"id": self.request.id}), is_last=False)

    def result(self, result: Mapping[str, object]) -> None:
        """Answer it. Raises TypeError and ValueError for what JSON cannot hold."""
        self._put(protocol.encode({"id": self.request.id, "result": result}), is_last=True)

    def fail(self, sentence: str, exit_code: int) -> None:
        """Answer that it failed."""
        self._put(protocol.encode({"id": self.request.id, **protocol.error(sentence, exit_code)}), is_last=True)

    def failed(self, error: Exception) -> None:
        """Answer by the error that ended it; one that is our fault is logged."""
        with speaking(self.language):
            known = as_user_error(error)
            if known is not None:
                self.fail(str(known), known.exit_code)
                return
            if isinstance(error, OSError):
                sentence = tr("the daemon could not do that: {error}", error=reason(error))
            else:
                sentence = tr("the daemon could not do that because of an internal error: see its log")
        log_fault(self.request.method, error)
        self.fail(sentence, FAULT)

    def _put(self, line: bytes, *, is_last: bool) -> None:
        with self._lock:
            if self.is_over:
                return
            self._outlet.put(line)
            self._over = is_last  # after that: the server may close a connection once its call is over and all is sent


def as_user_error(error: Exception) -> UserError | None:
    """Return an error as the user is told of it, with the exit code of the command; None for a fault of ours."""
    if isinstance(error, JournalBusy):
        return UserError(tr("the journal cannot be used now ({error}): run this again for what is left", error=error))
    return error if isinstance(error, UserError) else None


#: What was logged already: a client that tries again and again must not fill the log with one traceback.
_logged: set[tuple[str, str]] = set()
_MOST_LOGGED = 100


def log_fault(method: str, error: Exception) -> None:
    """Log a failed call, each failure with its traceback once."""
    cause = (protocol.shortened(method), protocol.shortened(f"{type(error).__name__}: {error}"))
    is_new = cause not in _logged and len(_logged) < _MOST_LOGGED
    _logged.add(cause) if is_new else None
    text = tr("a command could not be carried out: {method} ({error})", method=cause[0], error=cause[1])
    logger.opt(exception=error if is_new else None).error("{}", text)
