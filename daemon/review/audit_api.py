"""Requests and answers about audits, between the review page and its server."""

from __future__ import annotations

from datetime import datetime

from pydantic import AwareDatetime, Field

from daemon.review.api import Image, Reply, Request


class NewAudit(Request):
    """A draw of ``count`` images among those that were filed into class folders since ``since``.

    The same ``seed`` draws the same images again.
    """

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

    The three are None where nothing was answered. ``promised``: the share that the model's threshold promises at most.
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
    """The same for one class. ``filed``: how many images of it the draw was made from."""

    label: str
    filed: int


class Audit(Reply):
    """One audit. Its images are in the order in which they are to be answered.

    The order is random, so that the first ones, however many, are a random sample, too.
    """

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
