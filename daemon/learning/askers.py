"""Those who want a lesson now, and wait for what comes of it."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from typing import Protocol

from models.text.language import Language, speaking


class Asker(Protocol):
    """Somebody who wants a lesson, such as a `daemon.control.calls.Call`. It is told in another thread than its own."""

    language: Language

    @property
    def is_over(self) -> bool:
        """Whether nobody waits any more."""
        ...

    def item(self, item: Mapping[str, object]) -> None:
        """Take a part of the answer."""
        ...

    def result(self, result: Mapping[str, object]) -> None:
        """Take the answer."""
        ...

    def failed(self, error: Exception) -> None:
        """Take the error in place of an answer."""
        ...


class Askers:
    """Everybody who waits for the lesson that runs, or for the next one. Safe in any thread."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._askers: list[Asker] = []

    def __bool__(self) -> bool:
        return bool(self._askers)

    def add(self, asker: Asker) -> None:
        """Have somebody told of the lesson."""
        with self._lock:
            self._askers.append(asker)

    def tell(self, item: Mapping[str, object]) -> None:
        """Tell them how it goes."""
        with self._lock:
            askers = list(self._askers)
        _each(askers, lambda asker: asker.item(item))

    def answer(self, give: Callable[[Asker], None]) -> None:
        """Answer them, each in its language; they wait no more."""
        with self._lock:
            askers, self._askers = self._askers, []
        _each(askers, give)


def _each(askers: list[Asker], tell: Callable[[Asker], None]) -> None:
    for asker in askers:
        if not asker.is_over:
            with speaking(asker.language):
                tell(asker)
