"""Short JSON messages between the daemon and a decoder.

Nothing is ever unpickled: a decoder that a hostile image has taken over can return wrong pixels, and that is all.
"""

from __future__ import annotations

import json
import select
import socket
from collections.abc import Mapping
from typing import Any

from models.text.language import tr

# Bytes; a path of 4,096 bytes may take six times as many.
_LONGEST = 1 << 16


class Channel:
    """One end of a message socket. Every method raises `OSError` when the other side is gone."""

    def __init__(self, connection: socket.socket, timeout: float | None = None) -> None:
        """``timeout``: how many seconds `receive` may take; None: any number."""
        self._connection = connection
        self._connection.settimeout(timeout)

    def send(self, message: Mapping[str, object]) -> None:
        """Send a message."""
        self._connection.sendall(json.dumps(message).encode("ascii"))

    def receive(self) -> dict[str, Any]:
        """Receive the next message; raises `ValueError` for an invalid one, and `TimeoutError`."""
        text = self._connection.recv(_LONGEST)
        if not text:
            raise ConnectionError(tr("the other side has ended"))
        return parsed(text)

    def is_idle(self) -> bool:
        """Whether the other side is alive, and no message of it is pending."""
        poll = select.poll()
        poll.register(self._connection, select.POLLIN)
        return not poll.poll(0)

    def shut(self) -> None:
        """Shut the connection down at once, also for a thread that blocks on it."""
        try:
            self._connection.shutdown(socket.SHUT_RDWR)
        except OSError:
            return  # the other side was faster

    def close(self) -> None:
        """Close the descriptor."""
        self._connection.close()


def parsed(text: bytes) -> dict[str, Any]:
    """Parse untrusted JSON into an object; raises `ValueError` where it is anything else."""
    try:
        message = json.loads(text)
    except RecursionError:
        raise ValueError("brackets without end") from None
    if not isinstance(message, dict):
        raise ValueError("no object")
    return message
