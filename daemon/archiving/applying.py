"""Count what became of the images of a manifest, whatever files them."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field

from loguru import logger

from daemon.filing.filer import Action
from daemon.filing.status import Status
from models.errors import UserError
from models.text.language import tr

#: What may become of an image so that nothing is left to do.
DONE = frozenset({Status.FILED, Status.PLANNED, Status.ALREADY, Status.REFUSED, Status.HELD})


@dataclass
class Applied:
    """Counts images by what became of them, and filed ones by folder. Nothing was decided of ``unread`` ones."""

    statuses: Counter[Status] = field(default_factory=Counter)
    folders: Counter[str] = field(default_factory=Counter)
    unread: int = 0

    def add(self, uri: str, status: Status, folder: str, why: str, sentence: str | None = None) -> None:
        """Count an image. Log why it stays, if it does, by a ``sentence`` that names it, if there is one."""
        self.statuses[status] += 1
        if status in (Status.FILED, Status.PLANNED):
            self.folders[folder] += 1
        elif status not in DONE:
            logger.warning("{}", sentence or tr("{path} is left behind: {detail}", path=uri, detail=why))

    @property
    def left(self) -> int:
        """Images that are left behind."""
        return self.unread + sum(count for status, count in self.statuses.items() if status not in DONE)


def require_move(action: Action, image: object) -> None:
    """Raise `UserError` unless an image that lies in the output is moved: its copy would be archived the next time."""
    if action != "move":
        raise UserError(
            tr(
                "{path} lies in the output, and would be there twice: give another --output, or --action move",
                path=image,
            )
        )
