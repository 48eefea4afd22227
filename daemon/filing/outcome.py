"""Outcome of one image, for everything but the pipeline and the filer."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from daemon.filing.status import Status
from models.decision import Fate

if TYPE_CHECKING:
    from models.classifier import Prediction


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """Outcome of one image; ``detail`` is a sentence where it was not simply filed.

    ``fate``: what was decided of one that was classified, whether it could then be moved or not.
    """

    path: Path
    status: Status
    prediction: Prediction | None = None
    fate: Fate | None = None
    destination: Path | None = None
    reason: str | None = None
    detail: str | None = None

    @property
    def comes_again(self) -> bool:
        """Whether the image is handed out again: this was one attempt of several, see `WorkLoop`."""
        return self.status in (Status.RETRY, Status.CHANGED, Status.STOPPED)
