"""End the work of a command at the next safe point."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def stopped_by_signals(stopped: threading.Event) -> Iterator[None]:
    """Let the first Ctrl-C or SIGTERM end the work at the next safe point, and a second one at once.

    Beside the main thread, which alone may say what signals do, they do what they did.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    defaults = {signal.SIGINT: signal.default_int_handler, signal.SIGTERM: signal.SIG_DFL}
    # Other handlers are not ours, or the signal is ignored, as by nohup.
    ours = {number: default for number, default in defaults.items() if signal.getsignal(number) is default}

    def stop(*_: object) -> None:
        stopped.set()
        restore()

    def restore() -> None:
        for number, default in ours.items():
            signal.signal(number, default)

    for number in ours:
        signal.signal(number, stop)
    try:
        yield
    finally:
        restore()
