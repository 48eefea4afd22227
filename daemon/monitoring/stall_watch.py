"""Log from a second thread when the work loop makes no progress, mostly because a share's server does not answer.

A call to such a server may block without limit, so the thread that made it cannot log that itself.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import NamedTuple

from loguru import logger

from daemon.monitoring.messages import shown
from daemon.monitoring.monitor import Monitor
from daemon.watching.presence import PendingCall
from models.text.language import tr

#: Seconds after which a file system that does not answer is named.
LATE = 10.0
#: Seconds without progress of any kind.
STALLED = 60.0
_PACE = 2.0


class Stall(NamedTuple):
    """No progress: the inbox that does not answer, if that is the cause, and since when."""

    inbox: str | None
    since: float

    def sentence(self, now: float) -> str:
        """Say what is wrong, and what to do."""
        seconds = now - self.since
        if self.inbox is None:
            return tr("no progress for {seconds:.0f} s: perhaps a drive or a server does not answer", seconds=seconds)
        return tr(
            "inbox '{path}' has not answered for {seconds:.0f} s, and blocks all work: look at its server or drive",
            path=shown(self.inbox),
            seconds=seconds,
        )


def find_stall(asked: PendingCall | None, progress: float | None, now: float) -> Stall | None:
    """Find out whether the work loop is stuck, from its pending call and the time of its last step. In any thread."""
    if asked is not None and now - asked.since >= LATE:
        return Stall(asked.inbox, asked.since)
    if progress is not None and now - progress >= STALLED:
        return Stall(None, progress)
    return None


class StallWatch:
    """Checks the work loop every other second, from its own thread, inside a ``with`` statement."""

    def __init__(
        self,
        monitor: Monitor,
        asked: Callable[[], PendingCall | None],
        *,
        clock: Callable[[], float] = time.monotonic,
        pace: float = _PACE,
    ) -> None:
        self._pace = pace
        self._monitor = monitor
        self._asked = asked
        self._clock = clock
        #: The stall that was reported.
        self._reported: Stall | None = None
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._run, name="stalls", daemon=True)

    def __enter__(self) -> StallWatch:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._over.set()
        self._thread.join()

    def check(self) -> None:
        """Report a stall once, to the log and the status file, and to the log when it is over."""
        now = self._clock()
        stall = find_stall(self._asked(), self._monitor.last_step, now)
        if stall != self._reported:
            self._report(stall, now)
        self._reported = stall

    def _report(self, stall: Stall | None, now: float) -> None:
        if stall is None:
            logger.warning(tr("the work goes on"))
            return
        self._monitor.stalled(stall.inbox, now - stall.since)
        logger.error("{}", stall.sentence(now))

    def _run(self) -> None:
        while not self._over.wait(self._pace):
            self.check()


@contextmanager
def logged_if_late(inbox: Path, seconds: float = LATE) -> Iterator[None]:
    """Log when the body takes long: for calls to an inbox before the work loop runs."""

    def report() -> None:
        logger.error("{}", Stall(str(inbox), 0.0).sentence(seconds))

    timer = threading.Timer(seconds, report)
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        timer.cancel()
