"""Outcome of one image, for everything but the pipeline and the filer."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from daemon.filing.status import Status
from models.deciding.rule import Fate


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """Outcome of one image; ``detail`` is a sentence where it was not simply filed.

    ``action``: what is done with it. ``label``, ``confidence`` and ``fate``: what was decided of one that was
    classified, whether it could then be moved or not. ``folder``: that of its class, or of other images, below the
    output; it was to go to the one ``inside``. ``elsewhere``: the output that it went to, where that is not the main
    one. ``duplicate_of``: it has the same bytes as the filed image that lies there, and is of no class.
    """

    path: Path
    status: Status
    action: str = "move"
    label: str | None = None
    confidence: float | None = None
    fate: Fate | None = None
    folder: str | None = None
    inside: str = ""
    elsewhere: Path | None = None
    destination: Path | None = None
    reason: str | None = None
    duplicate_of: Path | None = None
    detail: str | None = None

    @property
    def place(self) -> str:
        """Return where an image that was filed lies below the output; its whole path where it lies in another one."""
        assert self.destination is not None
        if self.elsewhere is not None:
            return str(self.destination)
        return "/".join(filter(None, (self.folder, self.inside, self.destination.name)))

    @property
    def comes_again(self) -> bool:
        """Whether the image is handed out again: this was one attempt of several, see `WorkLoop`."""
        return self.status in (Status.RETRY, Status.CHANGED, Status.STOPPED)
