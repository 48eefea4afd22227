"""What the page asks and is answered of audits."""

from __future__ import annotations

from datetime import datetime

from pydantic import AwareDatetime, Field

from daemon.review.api import Image, Reply, Request


class NewAudit(Request):
    """A draw: ``count`` of the images that were filed into class folders since ``since``. ``seed``: for the same one
    again."""

    count: int = Field(ge=1, le=2000)
    since: AwareDatetime = Field(strict=False)
    seed: int | None = Field(default=None, ge=0, lt=1 << 53)


class AuditImage(Reply):
    """An image of an audit. ``filed_as``: the class that is to be judged. ``right`` is None until it is answered."""

    image: Image | None
    id: int
    filed_as: str
    right: bool | None


class Estimate(Reply):
    """The share that is wrong among those answered, 0 to 1, with its exact interval of ``confidence`` 0.95.

    All are None where nothing was answered. ``promised``: the share that the model's threshold promises at most.
    ``is_broken``: even ``low`` is above it.
    """

    answered: int
    wrong: int
    share: float | None
    low: float | None
    high: float | None
    confidence: float
    promised: float | None
    is_broken: bool


class ClassEstimate(Estimate):
    """The same for one class. ``filed``: its images among which was drawn."""

    label: str
    filed: int


class Audit(Reply):
    """One audit. Its images are in the order in which they are to be answered: any number from the first on is a
    sample."""

    id: str
    time: datetime
    since: datetime
    until: datetime
    seed: int
    filed: int
    images: list[AuditImage]
    overall: Estimate
    classes: list[ClassEstimate]


class AuditSummary(Reply):
    """One audit of the history."""

    id: str
    time: datetime
    since: datetime
    count: int
    filed: int
    overall: Estimate


class Audits(Reply):
    """All audits, newest first."""

    audits: list[AuditSummary]
