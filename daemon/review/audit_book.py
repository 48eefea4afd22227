"""Keep the audits: which images were drawn, and what was said of them."""

from __future__ import annotations

from daemon.review.refusals import Refusal
from models.text.language import tr


class AuditBook:
    """Audits of one output. Safe in any thread."""

    def __init__(self) -> None:
        self._filed_as: dict[tuple[str, int], str] = {}
        self._right: dict[tuple[str, int], bool | None] = {}

    def judge(self, audit: str, image: int, right: bool | None) -> None:
        """Note an answer; None takes it back. Raises `Refusal`."""
        self.filed_as(audit, image)
        self._right[audit, image] = right

    def filed_as(self, audit: str, image: int) -> str:
        """Return the class that was to be judged. Raises `Refusal`."""
        if (audit, image) not in self._filed_as:
            raise Refusal(404, tr("there is no such image in this audit"))
        return self._filed_as[audit, image]
