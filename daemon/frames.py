"""What the daemon and a decoder say to each other: short JSON heads, and raw bytes behind some of them.

Nothing is ever unpickled: a decoder that a hostile image has taken over can tell wrong pixels, and that is all.
"""

from __future__ import annotations

import json
import math
import select
import socket
import struct
from collections.abc import Mapping
from typing import Any

_LENGTH = struct.Struct("!I")
_LONGEST = 1 << 18

# Seconds of one turn of waiting. Turns are counted, not the clock: a daemon that was itself stopped for an hour has
# waited one turn, and does not blame the image.
_TURN = 0.25


class Channel:
    """One end of a stream socket. Every method raises `OSError` where the other side is gone."""

    def __init__(self, connection: socket.socket) -> None:
        self._connection = connection
        self._turns = math.inf

    def allow(self, seconds: float) -> None:
        """From now on, waiting for the other side so long altogether ends in a `TimeoutError`."""
        self._turns = math.ceil(seconds / _TURN)
        self._connection.settimeout(_TURN)

    def send(self, head: Mapping[str, object], *body: memoryview) -> None:
        """Send a head, and the bytes that belong to it."""
        text = json.dumps(head).encode("ascii")
        self._connection.sendall(_LENGTH.pack(len(text)) + text)
        for part in body:
            self._connection.sendall(part)

    def receive(self) -> dict[str, Any]:
        """The next head; raises `ValueError` where it is none."""
        length = bytearray(_LENGTH.size)
        self.fill(memoryview(length))
        (size,) = _LENGTH.unpack(length)
        if size > _LONGEST:
            raise ValueError(f"a head of {size} bytes")
        text = bytearray(size)
        self.fill(memoryview(text))
        head = json.loads(text)
        if not isinstance(head, dict):
            raise ValueError("a head that is no object")
        return head

    def fill(self, view: memoryview) -> None:
        """Receive exactly as many bytes as ``view`` has."""
        while view:
            try:
                count = self._connection.recv_into(view)
            except TimeoutError:
                self._turns -= 1
                if self._turns <= 0:
                    raise
                continue
            if count == 0:
                raise ConnectionError("the other side has ended")
            view = view[count:]

    def is_silent(self) -> bool:
        """Whether the other side is there, and has said nothing unasked."""
        waiting = select.poll()
        waiting.register(self._connection, select.POLLIN)
        return not waiting.poll(0)

    def shut(self) -> None:
        """End the talk at once, also for a thread that waits in it."""
        try:
            self._connection.shutdown(socket.SHUT_RDWR)
        except OSError:
            return  # the other side was faster

    def close(self) -> None:
        """Give the descriptor back."""
        self._connection.close()
