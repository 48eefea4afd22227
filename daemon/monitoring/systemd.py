"""Notify systemd, as sd_notify(3) does, over the datagram socket it names in ``$NOTIFY_SOCKET``."""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Callable, MutableMapping

from loguru import logger

from models.text.language import tr

#: Seconds that a message may take; systemd reads at once, so longer means that nobody does.
_TIMEOUT_S = 2.0
#: Watchdog pings in one watchdog interval, as long as there is progress.
_SIGNS = 4
#: Seconds between two signs of a start that takes long, and within which the next one comes at the latest.
_START_SIGNS, _START_SECONDS = 5.0, 60.0
_LONGEST_STATUS = 500


class Notifier:
    """Speaks to systemd; without a socket every method does nothing.

    ``watchdog_seconds`` is the interval within which systemd wants to hear from `alive`; None when it does not.
    """

    def __init__(
        self,
        address: str | None = None,
        watchdog_seconds: float | None = None,
        *,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._clock = clock
        self._next_sign = -1.0
        self._status = ""
        self._failed = False
        self._socket: socket.socket | None = None
        self._address = ""
        self.watchdog_seconds = watchdog_seconds if address else None
        if address:
            # A leading @ stands for the zero byte of the abstract name space.
            self._address = "\0" + address[1:] if address.startswith("@") else address
            self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC)
            self._socket.settimeout(_TIMEOUT_S)

    @classmethod
    def from_environment(cls, environment: MutableMapping[str, str] = os.environ) -> Notifier:
        """Make the notifier that systemd asks for, and take its variables out: no child process speaks for us."""
        address = environment.pop("NOTIFY_SOCKET", None)
        interval = environment.pop("WATCHDOG_USEC", None)
        process = environment.pop("WATCHDOG_PID", None)
        if not address or address[0] not in "/@":
            return cls()
        meant = process is None or process == str(os.getpid())
        seconds = int(interval) / 1e6 if meant and interval and interval.isdecimal() and int(interval) else None
        return cls(address, seconds)

    @property
    def sign_seconds(self) -> float | None:
        """Longest time between two calls of `alive`, in seconds; None without a watchdog."""
        return None if self.watchdog_seconds is None else self.watchdog_seconds / _SIGNS

    @property
    def is_heard(self) -> bool:
        """Whether systemd listens."""
        return self._socket is not None

    def still_starting(self, seconds: float) -> None:
        """Tell systemd that the start goes on, and to expect the next message within so many seconds."""
        self._send(f"EXTEND_TIMEOUT_USEC={int((seconds + _TIMEOUT_S) * 2e6)}")

    def gets_on(self) -> None:
        """Tell systemd that a long start makes progress. May be called as often as `alive`."""
        if self._clock() >= self._next_sign:
            self._next_sign = self._clock() + _START_SIGNS
            self.still_starting(_START_SECONDS)

    def ready(self) -> None:
        """Tell systemd that the service files images, or does so again after `reloading`."""
        self._send("READY=1")

    def reloading(self) -> None:
        """Tell systemd that the configuration is being read again, until `ready`."""
        self._send(f"RELOADING=1\nMONOTONIC_USEC={time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1000}")

    def stopping(self) -> None:
        """Tell systemd that the service is stopping."""
        self._send("STOPPING=1")

    def status(self, sentence: str) -> None:
        """Send a line for ``systemctl status``, if it has changed."""
        line = " ".join(sentence.split())[:_LONGEST_STATUS]
        if line != self._status:
            self._status = line
            self._send(f"STATUS={line}")

    def alive(self) -> None:
        """Ping the watchdog: there was progress. May be called often, by the work itself and never by a timer."""
        interval = self.sign_seconds
        if interval is None or self._clock() < self._next_sign:
            return
        self._next_sign = self._clock() + interval
        self._send("WATCHDOG=1")

    def close(self) -> None:
        """Close the socket."""
        if self._socket is not None:
            self._socket.close()
            self._socket = None

    def _send(self, message: str) -> None:
        if self._socket is None:
            return
        try:
            self._socket.sendto(message.encode("utf-8", "replace"), socket.MSG_NOSIGNAL, self._address)
        except OSError as error:
            if not self._failed:
                logger.warning(tr("cannot notify systemd: {error}", error=error))
            self._failed = True
        else:
            self._failed = False
