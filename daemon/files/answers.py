"""Ask file systems that may not answer: a call to a share whose server is gone blocks for as long as it takes.

It is made in a thread of its own, which is left to itself then.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from concurrent.futures import Future
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import TypeVar

from daemon.files.mounts import remote_mounts

#: Seconds that an answer may take.
LIMIT = 10.0

T = TypeVar("T")


class NoAnswer(Exception):
    """The file system did not answer in time."""


def in_time(call: Callable[[], T], seconds: float = LIMIT) -> T:
    """What a function returns or raises; `NoAnswer` where that takes too long: its thread is then left to itself."""
    return _begun(call, seconds)()


def answers(path: Path, seconds: float = LIMIT) -> bool:
    """Whether the file system of a path answers; that there is no such path, or that it is broken, is an answer."""
    try:
        in_time(lambda: _ask(str(path)), seconds)
    except NoAnswer:
        return False
    return True


def silent_mounts(seconds: float = LIMIT) -> list[str]:
    """Where the network file systems are mounted that do not answer; all are asked at once."""
    asked = [(mount, _begun(partial(_ask, mount), seconds)) for mount in remote_mounts()]
    silent = []
    for mount, answer in asked:
        try:
            answer()
        except NoAnswer:
            silent.append(mount)
    return silent


def _begun(call: Callable[[], T], seconds: float) -> Callable[[], T]:
    future: Future[T] = Future()

    def work() -> None:
        try:
            future.set_result(call())
        except BaseException as error:
            future.set_exception(error)

    threading.Thread(target=work, name="asks", daemon=True).start()

    def result() -> T:
        try:
            return future.result(seconds)
        except TimeoutError as error:
            if future.done():
                raise  # that is what the function raised
            raise NoAnswer from error

    return result


def _ask(path: str) -> None:
    with suppress(OSError):
        Path(path).stat()
        os.statvfs(path)  # of this the kernel has no memory
