"""Show the progress of a long job: a bar on a terminal, a line a minute in a log."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable

from loguru import logger

from models.text.language import tr

_LINE_SECONDS = 60.0
#: With fewer images or seconds left, no line is logged.
_FEW, _SHORT = 16, 30.0


class Progress:
    """Shows how many images are done and left, at what speed, and the time left.

    A job begins when something is left and ends when nothing is. ``shows_bar``: on a terminal, where nothing else is
    read from the same stream; lines of the log are written above the bar, see `daemon.monitoring.logs`.
    """

    def __init__(self, *, shows_bar: bool, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._bar: Bar | None = Bar() if shows_bar else None
        self._since: tuple[float, int] | None = None  # when the line before was due, and how many were done by then

    def update(self, done: int, left: int, *, about: bool = False) -> None:
        """Show how many images are done since the start and how many are left; ``about``: an estimate."""
        if self._bar is not None:
            self._bar.show(done, left)
            return
        now = self._clock()
        if not left:
            self._since = None
        elif self._since is None:
            self._since = (now, done)
        elif now >= self._since[0] + _LINE_SECONDS:
            began, before = self._since
            self._since = (now, done)
            rate = (done - before) / (now - began)
            if rate and left >= _FEW and left / rate >= _SHORT:
                values = {"done": done, "left": left, "rate": rate, "time": duration(left / rate)}
                if about:
                    line = tr("{done} done, about {left} left, {rate:.1f} images/s: {time} to go", **values)
                else:
                    line = tr("{done} done, {left} left, {rate:.1f} images/s: {time} to go", **values)
                logger.info("{}", line)

    def close(self) -> None:
        """Remove the bar."""
        if self._bar is not None:
            self._bar.close()


class Count:
    """Logs once a minute how many images are done and at what speed, where nobody knows how many are left."""

    def __init__(self, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._since = (clock(), 0)

    def update(self, done: int) -> None:
        """Say how many images are done since the start, if a minute has passed."""
        began, before = self._since
        now = self._clock()
        if now < began + _LINE_SECONDS or done == before:
            return
        self._since = (now, done)
        logger.info(tr("{done} images so far, {rate:.1f} images/s", done=done, rate=(done - before) / (now - began)))


class Bar:
    """A bar on standard error for as long as something is left."""

    def __init__(self) -> None:
        self._bar: object | None = None
        self._before = 0

    def show(self, done: int, left: int) -> None:
        """Draw the bar, at most ten times a second, or take it away; a few images are not worth one."""
        if not left:
            self.close()
            return
        if self._bar is None and left < _FEW:
            return
        from tqdm import tqdm

        if self._bar is None:
            self._before = done
            layout = tr("{n_fmt} of {total_fmt} |{bar}| {rate_noinv_fmt}, {remaining} to go")
            self._bar = tqdm(total=left, file=sys.stderr, bar_format=layout, unit="", leave=False, dynamic_ncols=True)
        bar = self._bar
        assert isinstance(bar, tqdm)
        bar.total = done - self._before + left
        bar.update(done - self._before - bar.n)

    def close(self) -> None:
        """Take the bar away, if there is one."""
        if self._bar is not None:
            self._bar.close()  # type: ignore[attr-defined]
            self._bar = None


def bar_fits(*, as_json: bool, log_json: bool) -> bool:
    """Whether people look at standard error, and nothing that programs read goes there."""
    return sys.stderr.isatty() and not log_json and not (as_json and sys.stdout.isatty())


def duration(seconds: float) -> str:
    """Word a duration."""
    whole = int(seconds)
    if whole < 120:
        return tr("{count} s", count=whole)
    if whole < 7200:
        return tr("{count} min", count=whole // 60)
    return tr("{hours} h {minutes} min", hours=whole // 3600, minutes=whole % 3600 // 60)
