"""Obey the signals that end a daemon, or that have it read its settings again."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable


def obey_signals(stop: Callable[[], None], reconfigure: Callable[[], None]) -> None:
    """Call ``stop`` at SIGTERM and SIGINT; at SIGHUP ``reconfigure``, or ``stop`` if the terminal is gone."""
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop())
    if signal.getsignal(signal.SIGHUP) is signal.SIG_IGN:
        return  # of nohup
    in_terminal = _has_terminal()

    def hung_up(*_: object) -> None:
        # A terminal that is closed sends SIGHUP, too: it is gone then.
        if in_terminal and not _has_terminal():
            stop()
        else:
            reconfigure()

    signal.signal(signal.SIGHUP, hung_up)


def _has_terminal() -> bool:
    try:
        os.close(os.open("/dev/tty", os.O_RDONLY | os.O_NOCTTY | os.O_NONBLOCK))
    except OSError:
        return False
    return True
