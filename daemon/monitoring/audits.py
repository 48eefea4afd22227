"""Read what the last audit has found: the review page writes it, and the daemon reports it.

An audit is a sample of what was filed, judged by a person. Its promise is broken where even the lower end of its exact
interval is above the share of mistakes that the model promised at most.
"""

from __future__ import annotations

from pathlib import Path

from loguru import logger
from pydantic import BaseModel, ConfigDict, ValidationError

from models.text.language import tr

#: What the page writes beside the journal.
AUDIT_FILE = "audit.json"
_LONGEST = 10_000


class AuditHealth(BaseModel):
    """The last audit with an answer: when it was drawn, and the share that is wrong, from ``low`` to ``high``.

    ``promised`` is None where nothing was promised.
    """

    model_config = ConfigDict(frozen=True, extra="ignore")

    time: float
    answered: int
    wrong: int
    share: float
    low: float
    high: float
    promised: float | None

    @property
    def is_broken(self) -> bool:
        """Whether more is wrong than was promised."""
        return self.promised is not None and self.low > self.promised

    @property
    def broken(self) -> dict[str, float]:
        """The values of the sentence about a broken promise; shares in percent."""
        assert self.promised is not None
        return {
            "answered": self.answered,
            "wrong": self.wrong,
            "low": 100 * self.low,
            "high": 100 * self.high,
            "promised": 100 * self.promised,
        }


class AuditFile:
    """The file, read again when it has changed. A promise that is found broken is logged once."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._stamp: tuple[int, int] | None = None
        self._latest: AuditHealth | None = None
        self._logged: float | None = None

    def latest(self) -> AuditHealth | None:
        """Return the last audit; None where there is none that can be read."""
        try:
            status = self._path.stat()
            stamp = status.st_ino, status.st_mtime_ns
            if stamp != self._stamp:
                self._stamp = stamp
                with self._path.open("rb") as file:
                    self._latest = AuditHealth.model_validate_json(file.read(_LONGEST))
                self._log(self._latest)
        except FileNotFoundError:
            self._stamp = self._latest = None
        except (OSError, ValidationError):
            self._latest = None
        return self._latest

    def _log(self, audit: AuditHealth) -> None:
        if audit.is_broken and self._logged != audit.time:
            self._logged = audit.time
            logger.warning("{}", broken_promise(audit))


def broken_promise(audit: AuditHealth) -> str:
    """Say that more is wrong than was promised, and what to do."""
    return tr(
        "the model does not keep its promise: of {answered} audited images {wrong} are wrong, which means that "
        "{low:.3g} to {high:.3g} % of all are, and at most {promised:.3g} % was promised: raise the threshold, or "
        "teach it with the images that were put right",
        **audit.broken,
    )


def found(audit: AuditHealth) -> str:
    """Say what an audit has found."""
    values = {"wrong": audit.wrong, "answered": audit.answered, "low": 100 * audit.low, "high": 100 * audit.high}
    if audit.promised is None:
        return tr("{wrong} of {answered} wrong: {low:.3g} to {high:.3g} %", **values)
    if audit.is_broken:
        return tr(
            "PROMISE BROKEN: {wrong} of {answered} wrong: {low:.3g} to {high:.3g} %, promised at most {promised:.3g} %",
            promised=100 * audit.promised,
            **values,
        )
    return tr(
        "{wrong} of {answered} wrong: {low:.3g} to {high:.3g} %, promised at most {promised:.3g} %",
        promised=100 * audit.promised,
        **values,
    )
