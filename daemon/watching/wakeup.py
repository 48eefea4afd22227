"""End a wait from another thread or from a signal handler."""

from __future__ import annotations

import contextlib
import math
import os
import select


class Wakeup:
    """A pipe to wait on. ``set`` takes no lock, so a signal handler may call it in the middle of ``wait``."""

    def __init__(self) -> None:
        self._read, self._write = os.pipe()
        os.set_blocking(self._read, False)
        os.set_blocking(self._write, False)
        self._poll = select.poll()
        self._poll.register(self._read, select.POLLIN)
        self._closed = False

    def set(self) -> None:
        """End the present wait, or else the next one."""
        if not self._closed:
            with contextlib.suppress(BlockingIOError):  # full: the wait is ended already
                os.write(self._write, b"\0")

    def wait(self, seconds: float) -> None:
        """Wait until ``set`` is called, for at most ``seconds``."""
        if self._poll.poll(math.ceil(seconds * 1000)):
            self.clear()

    def fileno(self) -> int:
        """Return the descriptor that can be read once ``set`` was called: to wait for it and for others."""
        return self._read

    def clear(self) -> None:
        """Forget the calls of ``set`` so far."""
        with contextlib.suppress(BlockingIOError):
            os.read(self._read, 65536)

    def close(self) -> None:
        """Close the pipe; ``set`` does nothing from now on."""
        if not self._closed:
            self._closed = True
            os.close(self._read)
            os.close(self._write)
