"""One peer of the control socket: what it has sent, what it has not taken yet, and how long it may take."""

from __future__ import annotations

import math
import select
import socket
import threading
from collections.abc import Callable

from daemon.control import protocol
from daemon.control.calls import Call
from daemon.control.protocol import LONGEST_LINE, PATIENCE, Malformed
from models.text.language import Language, tr

#: Bytes read at a time, and bytes that a peer has not taken at which it gets no more items.
_CHUNK = 65536
_ENOUGH = 1 << 18


class Peer:
    """Belongs to the server's thread, but for `put` and `has_room`. ``wake`` lets that thread send."""

    def __init__(
        self,
        connection: socket.socket,
        wake: Callable[[], None],
        clock: Callable[[], float],
        *,
        patience: float = PATIENCE,
    ) -> None:
        self.connection = connection
        #: Language that it wants to be answered in; None until it has greeted.
        self.language: Language | None = None
        self.call: Call | None = None
        #: It gets what is to be sent, and then it is closed.
        self.is_ending = False
        #: It had not taken enough for more items; whoever sees that it has now clears this, and tells the work loop.
        self.was_full = False
        self.last_sent = self._since = clock()  # `_since`: the beginning of its time for a line
        self._clock = clock
        self._patience = patience
        self._unread = bytearray()
        self._searched = 0  # of `_unread`, without a line's end
        self._at_end = False
        self._unsent = bytearray()
        self._lock = threading.Lock()
        self._wake = wake

    # --- in any thread

    def put(self, line: bytes) -> None:
        """Send a line as soon as the peer takes it."""
        with self._lock:
            if not self._unsent:
                self.last_sent = self._clock()
            self._unsent += line
            self.was_full = self.was_full or not self.has_room()
        self._wake()

    def has_room(self) -> bool:
        """Whether the peer has taken enough of what was sent."""
        return len(self._unsent) < _ENOUGH

    # --- in the server's thread

    @property
    def events(self) -> int:
        """What to wait for; that it goes away is told anyway."""
        reads = self._listens() and not self._at_end
        return (select.POLLIN if reads else 0) | (select.POLLOUT if self._unsent else 0)

    @property
    def may_have_line(self) -> bool:
        """Whether `next_line` is to be asked: what was read has not been searched to its end."""
        return self._listens() and self._searched < len(self._unread)

    def _listens(self) -> bool:
        return self.call is None and not self.is_ending and self.has_room()

    @property
    def is_done(self) -> bool:
        """Whether it can be closed: nothing is to be sent, and nothing more comes."""
        over = self.is_ending or (self._at_end and not self.may_have_line)
        return over and not self._unsent and self.call is None

    def deadline(self) -> float:
        """Return the time by which it must have sent a line, or taken some of what it is sent."""
        if self._unsent:
            return self.last_sent + self._patience
        return math.inf if self.call is not None else self._since + self._patience

    def idle_since(self) -> float:
        """Return since when it might have sent a line; infinite while it waits for an answer."""
        return math.inf if self.call is not None or self.is_ending else self._since

    def listen_again(self) -> None:
        """Its call is over, or it has greeted: it may send the next line."""
        self.call = None
        self._since = self._clock()

    def receive(self) -> None:
        """Read what it has sent, up to a limit. Raises OSError."""
        try:
            chunk = self.connection.recv(min(_CHUNK, LONGEST_LINE + 1 - len(self._unread)))
        except BlockingIOError:
            return
        self._at_end = not chunk
        self._unread += chunk

    def next_line(self) -> bytes | None:
        """Take the next line, if there is a whole one. Raises `Malformed` where it is too long."""
        end = self._unread.find(b"\n", self._searched)
        if end < 0:
            self._searched = len(self._unread)
            if self._searched > LONGEST_LINE:
                raise Malformed(tr("a line is longer than {most} bytes", most=LONGEST_LINE))
            return None
        line = bytes(self._unread[:end])
        del self._unread[: end + 1]
        self._searched = 0
        return line

    def send(self) -> None:
        """Send what it takes now. Raises OSError."""
        with self._lock:
            if not self._unsent:
                return
            try:
                sent = self.connection.send(self._unsent)
            except BlockingIOError:
                return
            del self._unsent[:sent]
            self.last_sent = self._clock()

    def end(self, sentence: str, *, is_busy: bool = False) -> None:
        """Send why the connection ends, as the last line."""
        if not self.is_ending:
            self.is_ending = True
            self._unread.clear()
            self.put(protocol.encode({"id": None, **protocol.error(sentence, protocol.MISUSE, is_busy=is_busy)}))

    def close(self) -> None:
        """End the connection, and let nobody wait for an answer that nobody gets."""
        if self.call is not None:
            self.call.is_lost = True
            self.call = None
        self.connection.close()
