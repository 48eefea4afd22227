"""Keep the audits: which images were drawn, and what was said of them. Each is a file in the state folder."""

from __future__ import annotations

import re
import secrets
import threading
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path

from loguru import logger
from pydantic import BaseModel, ConfigDict, ValidationError

from daemon.monitoring.audits import AUDIT_FILE, AuditHealth
from daemon.review.audit_api import AuditSummary, ClassEstimate, Estimate
from daemon.review.drawing import CONFIDENCE, interval
from daemon.review.refusals import Refusal
from models.errors import UserError
from models.files.atomic import atomic_file
from models.files.ownership import make_folder
from models.text.language import tr

AUDIT_FOLDER = "audits"
_ID = re.compile(r"[0-9]{8}T[0-9]{6}-[0-9a-f]{8}")


class _Kept(BaseModel):
    model_config = ConfigDict(extra="forbid", validate_assignment=True)


class Drawn(_Kept):
    """A drawn image. ``right`` is None until it is judged; ``by_label``: it was, by what a person had said before."""

    id: int
    filed_as: str
    right: bool | None = None
    by_label: bool = False


class KeptAudit(_Kept):
    """An audit as it is kept. ``filed``: by class, how many there were to draw from."""

    id: str
    time: datetime
    since: datetime
    until: datetime
    seed: int
    filed: dict[str, int]
    promised: float | None
    images: list[Drawn]

    def overall(self) -> Estimate:
        """Estimate the share of all that is wrong."""
        return _estimated(self.images, self.promised)

    def classes(self) -> list[ClassEstimate]:
        """Estimate the share of each class that is wrong."""
        return [
            ClassEstimate(
                label=label,
                filed=count,
                **_estimated([drawn for drawn in self.images if drawn.filed_as == label], self.promised).model_dump(),
            )
            for label, count in sorted(self.filed.items())
        ]

    def summary(self) -> AuditSummary:
        """Describe it in the history."""
        return AuditSummary(
            id=self.id,
            time=self.time,
            since=self.since,
            count=len(self.images),
            filed=sum(self.filed.values()),
            overall=self.overall(),
        )


class AuditBook:
    """Audits of one output. Safe in any thread; another process may have a book of its own."""

    def __init__(self, state: Path, now: Callable[[], datetime] = lambda: datetime.now(UTC)) -> None:
        self._state = state
        self._folder = state / AUDIT_FOLDER
        self._now = now
        self._lock = threading.Lock()

    def new_id(self) -> str:
        """Name a new audit."""
        return f"{self._now():%Y%m%dT%H%M%S}-{secrets.token_hex(4)}"

    def all(self) -> list[KeptAudit]:
        """List the audits, newest first."""
        return list(self._newer_than(""))

    def _newer_than(self, name: str) -> Iterator[KeptAudit]:
        """Yield the audits after one of this name, newest first, each read when it is asked for: they may be large."""
        try:
            names = sorted((path.stem for path in self._folder.glob("*.json") if path.stem > name), reverse=True)
        except OSError:
            return
        yield from (audit for name in names if (audit := self._read(name)) is not None)

    def find(self, name: str) -> KeptAudit:
        """Find an audit. Raises `Refusal`."""
        audit = self._read(name)
        if audit is None:
            raise Refusal(404, tr("there is no such audit"))
        return audit

    def keep(self, audit: KeptAudit) -> None:
        """Write an audit, durably, and what the daemon is to report. Raises `UserError`."""
        with self._lock:
            self._write(audit)

    def judge(self, audit: str, image: int, right: bool | None) -> None:
        """Note an answer; None takes it back. Raises `Refusal` and `UserError`."""
        with self._lock:
            kept = self.find(audit)
            drawn = _drawn(kept, image)
            drawn.right, drawn.by_label = right, False
            self._write(kept)

    def filed_as(self, audit: str, image: int) -> str:
        """Return the class that was to be judged. Raises `Refusal`."""
        return _drawn(self.find(audit), image).filed_as

    def _read(self, name: str) -> KeptAudit | None:
        if not _ID.fullmatch(name):
            return None
        path = self._folder / f"{name}.json"
        try:
            return KeptAudit.model_validate_json(path.read_bytes())
        except FileNotFoundError:
            return None
        except (OSError, ValidationError) as error:
            logger.warning(tr("the audit {path} cannot be read: {error}", path=path, error=error))
            return None

    def _write(self, audit: KeptAudit) -> None:
        try:
            make_folder(self._folder)
            with atomic_file(self._folder / f"{audit.id}.json", mode=0o600) as file:
                file.write(audit.model_dump_json().encode())
            self._report(audit)
        except OSError as error:
            raise UserError(
                tr("the audit cannot be written into {folder}: {reason}", folder=self._folder, reason=error)
            ) from error

    def _report(self, audit: KeptAudit) -> None:
        """Tell the daemon of the newest audit with an answer."""
        found = audit.overall()
        if found.share is None or found.low is None or found.high is None:
            return
        if any(drawn.right is not None for later in self._newer_than(audit.id) for drawn in later.images):
            return
        report = AuditHealth(
            time=audit.time.timestamp(),
            answered=found.answered,
            wrong=found.wrong,
            share=found.share,
            low=found.low,
            high=found.high,
            promised=audit.promised,
        )
        with atomic_file(self._state / AUDIT_FILE) as file:
            file.write(report.model_dump_json().encode())


def _drawn(audit: KeptAudit, image: int) -> Drawn:
    for drawn in audit.images:
        if drawn.id == image:
            return drawn
    raise Refusal(404, tr("there is no such image in this audit"))


def _estimated(images: Sequence[Drawn], promised: float | None) -> Estimate:
    answers = [image.right for image in images if image.right is not None]
    wrong = answers.count(False)
    low, high = interval(wrong, len(answers)) if answers else (None, None)
    return Estimate(
        answered=len(answers),
        wrong=wrong,
        share=wrong / len(answers) if answers else None,
        low=low,
        high=high,
        confidence=CONFIDENCE,
        promised=promised,
        is_broken=promised is not None and low is not None and low > promised,
    )
