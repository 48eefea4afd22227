"""Ask file systems that may not answer: a call to a share whose server is gone blocks for as long as it takes.

It is made in a thread of its own, which is abandoned if it does not return.
"""

from __future__ import annotations

import math
import os
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import TypeVar

from daemon.files.mounts import remote_mounts

#: Seconds that an answer may take.
LIMIT = 10.0
#: The same, while others wait for it.
SHORT_LIMIT = 5.0
#: Seconds for which an answer holds.
HOLDS = 0.1

T = TypeVar("T")


class NoAnswer(Exception):
    """The file system did not answer in time."""


def in_time(call: Callable[[], T], seconds: float = LIMIT) -> T:
    """Call a function in a thread. Raises `NoAnswer` where it takes too long: the thread is left to itself."""
    return _answer(_begun(call), seconds)


def answers(path: Path, seconds: float = LIMIT) -> bool:
    """Whether the file system of a path answers; that there is no such path, or that it is broken, is an answer."""
    try:
        in_time(lambda: _ask(str(path)), seconds)
    except NoAnswer:
        return False
    return True


def silent_mounts(seconds: float = LIMIT) -> list[str]:
    """List mount points of network file systems that do not answer; all are asked at once."""
    asked = [(mount, _begun(partial(_ask, mount))) for mount in remote_mounts()]
    silent = []
    for mount, future in asked:
        try:
            _answer(future, seconds)
        except NoAnswer:
            silent.append(mount)
    return silent


class Answering:
    """Whether the file system of a path answers, asked again and again; while one call hangs nobody waits for another.

    An answer holds for a moment. A server that goes in this moment is waited for.
    """

    def __init__(self, path: str) -> None:
        self._path = path
        self._holds_until = -math.inf
        self._late: Future[None] | None = None

    def __call__(self) -> bool:
        if self._late is not None and not self._late.done():
            return False
        if time.monotonic() < self._holds_until:
            return True
        self._late = _begun(partial(_ask, self._path))
        try:
            _answer(self._late, SHORT_LIMIT)
        except NoAnswer:
            return False
        self._holds_until = time.monotonic() + HOLDS
        return True


def _begun(call: Callable[[], T]) -> Future[T]:
    future: Future[T] = Future()

    def work() -> None:
        try:
            future.set_result(call())
        except BaseException as error:
            future.set_exception(error)

    threading.Thread(target=work, name="asks", daemon=True).start()
    return future


def _answer(future: Future[T], seconds: float) -> T:
    try:
        return future.result(seconds)
    except TimeoutError as error:
        if future.done():
            raise  # that is what the function raised
        raise NoAnswer from error


def _ask(path: str) -> None:
    with suppress(OSError):
        Path(path).stat()
        os.statvfs(path)  # the kernel keeps no answer to this
