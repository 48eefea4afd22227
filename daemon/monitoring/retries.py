"""Images that could not be filed: when each is tried again, and what is logged about it."""

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
class _Trouble:
    cause: str
    failures: int


class Retries:
    """Log each failure cause once until it clears, and say when each image is tried again."""

    def __init__(self) -> None:
        self._of: dict[Path, _Trouble] = {}
        self._causes: Counter[str] = Counter()
        self._unsettled = False  # it was said that something is wrong, and not yet that it is no more

    def failed(self, path: Path, sentence: str) -> None:
        """Note that an image could not be filed; ``sentence`` says why, and may name it."""
        before = self._of.get(path)
        cause = sentence.replace(shown(str(path)), "")
        is_known = cause in self._causes
        self.over(path)
        self._of[path] = _Trouble(cause, 1 if before is None else before.failures + 1)
        self._causes[cause] += 1
        if not is_known:
            self._unsettled = True
            logger.bind(file=str(path)).error(
                tr("{sentence} It stays in the inbox and is tried again.", sentence=sentence)
            )
        elif before is None:
            logger.bind(file=str(path)).info("{}", shown(sentence))  # as for any image, a line

    def delay(self, path: Path) -> float:
        """Return the seconds until an image is tried again, after `failed`."""
        return BACKOFF.delay(self._of[path].failures - 1)

    def over(self, path: Path) -> None:
        """Forget an image that was dealt with, or is gone."""
        trouble = self._of.pop(path, None)
        if trouble is not None:
            self._causes[trouble.cause] -= 1
            if not self._causes[trouble.cause]:
                del self._causes[trouble.cause]

    def filed(self, path: Path) -> None:
        """Note that an image was filed; log that filing works again once no failed image is left."""
        self.over(path)
        while self._of and not os.path.lexists(first := next(iter(self._of))):
            self.over(first)  # somebody took it away
        if self._of:
            self._of[first] = self._of.pop(first)  # it is there; the next look is at another one
        if self._unsettled and not self._of:
            self._unsettled = False
            logger.info(tr("filing works again"))
