"""Keep track of images that could not be filed: when each is tried again, and what is logged."""

from __future__ import annotations

import os
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

from loguru import logger

from daemon.monitoring.messages import shown
from models.backoff import Backoff
from models.text.language import tr

#: Seconds until an image is tried again.
BACKOFF = Backoff(first=5.0, last=300.0)


@dataclass(frozen=True, slots=True)
class _Failure:
    cause: str
    failures: int


class Retries:
    """Logs each cause of failure once until it clears, and tells when each image is tried again."""

    def __init__(self) -> None:
        self._failures: dict[Path, _Failure] = {}
        self._causes: Counter[str] = Counter()
        self._reported = False  # a failure was logged, and not yet that filing works again

    def failed(self, path: Path, sentence: str) -> None:
        """Note that an image could not be filed; ``sentence`` says why, and may name it."""
        before = self._failures.get(path)
        cause = sentence.replace(shown(str(path)), "")
        is_known = cause in self._causes
        self.over(path)
        self._failures[path] = _Failure(cause, 1 if before is None else before.failures + 1)
        self._causes[cause] += 1
        if not is_known:
            self._reported = True
            logger.bind(file=str(path)).error(
                tr("{sentence} It stays in the inbox and is tried again.", sentence=sentence)
            )
        elif before is None:
            logger.bind(file=str(path)).info("{}", shown(sentence))  # one line, as for every image

    def delay(self, path: Path) -> float:
        """Return the seconds until an image is tried again, after `failed`."""
        return BACKOFF.delay(self._failures[path].failures - 1)

    def over(self, path: Path) -> None:
        """Forget an image that was dealt with, or is gone."""
        failure = self._failures.pop(path, None)
        if failure is not None:
            self._causes[failure.cause] -= 1
            if not self._causes[failure.cause]:
                del self._causes[failure.cause]

    def filed(self, path: Path) -> None:
        """Note that an image was filed; log that filing works again once no failed image is left."""
        self.over(path)
        while self._failures and not os.path.lexists(first := next(iter(self._failures))):
            self.over(first)  # it was taken away
        if self._failures:
            self._failures[first] = self._failures.pop(first)  # it is there; next time another one is checked
        if self._reported and not self._failures:
            self._reported = False
            logger.info(tr("filing works again"))
