"""The JSON interface between the review page and its server: every request and answer.

All addresses begin with the path prefix that the server was started with (``session.prefix``; mostly empty), and all
but the first two need the session's cookie. Errors are `Problem` with a status of 400 (the request is wrong), 401 (no
session: open a new link), 403 (another host or origin), 404, 409, 413 (too large), 415 (not JSON) or 503.

====================================== ======================================== ==================================
``GET /enter/TOKEN``                   the one-time link                        303 to ``/`` with the cookie
``POST /api/password``                 `Password`                               `Entered`, with the cookie
``GET /``                              the page                                 ``page/index.html``
``GET /page/NAME``                     a script, a style sheet or an icon       the file in ``page/``
``GET /thumbnails/ID/SIZE``            ``?v=VERSION``, SIZE 256 or 1024         a JPEG; 404 gone, 409 changed,
                                                                                415 unreadable
``GET /thumbnails/learnt/NUMBER/SIZE`` an image of the model's data set         the same
``GET /api/session``                                                            `Session`
``GET /api/words``                                                              the page's sentences by their English
``GET /api/changes``                   ``?since=REVISION&keys=KEY,KEY``         `Changes`, when there are some or
                                                                                after 25 seconds
``POST /api/decisions``                `Decisions`                              `DecisionStates`
``GET /api/classes``                                                            `Classes`
``GET /api/unsure``                    ``?after=GROUP&limit=20&images=12``      `UnsurePage`
``GET /api/unsure/group``              ``?group=ID&after=IMAGE&limit=60``       `ImagePage`
``GET /api/class``                     ``?name=CLASS&order=least-sure``         `ClassPage`; also ``after``, ``limit``;
                                                                                orders: `ClassOrdering`
``GET /api/quarantine``                ``?reason=REASON&after=IMAGE&limit=60``  `QuarantinePage`
``GET /api/live``                      ``?minutes=10&after=IMAGE&limit=60``     `ImagePage`
``GET /api/audits``                                                             `Audits`
``POST /api/audits``                   `NewAudit`                               `Audit`
``GET /api/audit``                     ``?audit=ID``                            `Audit`
``GET /api/model``                                                              `ModelState`
``GET /api/model/cell``                ``?actual=CLASS&predicted=CLASS``        `LearntPage`; also ``after``, ``limit``
``POST /api/model/task``               `ModelTask`                              `TaskState`
====================================== ======================================== ==================================

Those of audits are in `audit_api`, those of the model in `model_api`. ``after`` is the id of the last image that the
page has; an empty ``next`` means that there are no more.
"""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

#: Decisions in one request, images of one page, and groups of one page, at most.
MOST_DECISIONS, MOST_IMAGES, MOST_GROUPS = 200, 200, 50
#: Pixels of the longer side of a thumbnail.
SIZES = (256, 1024)

#: In which order the images of a class are shown.
ClassOrdering = Literal["least-sure", "most-unlike", "newest"]
#: The name that the page gives to a decision: a new one for each, such as ``crypto.randomUUID()``.
Key = Annotated[str, Field(min_length=8, max_length=64, pattern=r"^[A-Za-z0-9_-]+$")]
_Name = Annotated[str, Field(min_length=1, max_length=700)]  # as long as the path of a class may be
#: The version of an image's content, which its thumbnail's address and a decision on it have to name.
_Version = Annotated[str, Field(max_length=64, pattern=r"^[0-9a-f]*$")]


class Request(BaseModel):
    """A request; names and types are checked, and nothing else may be in it."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)


class Reply(BaseModel):
    """An answer."""

    model_config = ConfigDict(frozen=True)


class Problem(Reply):
    """Why a request was refused: one sentence in the reader's language. It is text, never HTML."""

    sentence: str


class Password(Request):
    """The password that is asked for where the page is served to other machines."""

    password: Annotated[str, Field(max_length=1024)]


class Entered(Reply):
    """The cookie is set: load the page again."""

    entered: bool = True


class Session(Reply):
    """What the page needs to begin. ``others``: the folder of the pile, which stands for "none of the classes".

    ``daemon``: whether one runs; else decisions are carried out by this process. ``threshold``: the one in force, if it
    is known. ``model``: the run in use.
    """

    prefix: str
    language: Literal["en", "ko"]
    output: str
    others: str
    daemon: bool
    revision: int
    model: str | None
    threshold: float | None
    most_decisions: int = MOST_DECISIONS


# Images


class Image(Reply):
    """An image that was filed.

    ``name`` is to be shown as text, and nothing else can be done with it: control characters are escaped. ``folder``:
    the class folder that it lies in, or the others. ``label``, ``confidence``: what the model took it for, which may be
    None. ``version``: that of its content, which a decision on it and the address of its thumbnail have to name.
    ``waiting``: the class of a decision that has not been carried out yet.
    """

    id: int
    version: str
    name: str
    folder: str | None
    label: str | None
    confidence: float | None
    time: datetime
    waiting: str | None = None


class ImagePage(Reply):
    """Some images, in order; ``next`` is the next page's ``after``, None at the end. ``total`` may be known."""

    images: list[Image]
    next: int | None
    total: int | None = None


class ClassPage(ImagePage):
    """Some images of a class. ``is_ordered``: they have been compared; till then ``progress`` is the share that has."""

    is_ordered: bool = True
    progress: float = 1.0


class LikelyClass(Reply):
    """A class that a group may be of, and the share of the group's images that look like it most, 0 to 1."""

    label: str
    share: float


class Group(Reply):
    """Images of the pile that look alike, or are like no others, or are new and in no group yet.

    ``id``: of this group in this grouping, which the server remembers for a while.
    """

    id: int
    kind: Literal["alike", "unlike", "new"]
    count: int
    likely: list[LikelyClass]
    images: list[Image]


class UnsurePage(Reply):
    """The pile, the largest group first. ``total``: images in it.

    ``grouping`` counts up whenever the groups are made anew, also while a large pile is being looked at; ``is_grouped``
    is False until they are first, and then there is one group with all images, newest first. ``progress``: the share of
    the pile that was looked at; ``left``: images that have yet to be; ``trouble``: why they cannot be.
    """

    total: int
    grouping: int
    is_grouped: bool
    progress: float
    left: int
    trouble: str | None
    groups: list[Group]
    next: int | None


class Class(Reply):
    """A class. ``count``: images in its folder that were filed there; ``is_learnt``: the model knows it.

    ``is_inner``: it is a folder above classes, and an image directly in it is of one of them, nobody knows of which.
    """

    name: str
    count: int
    is_learnt: bool
    is_inner: bool = False


class Classes(Reply):
    """All classes, those of the model and those of class folders, in the order of their names."""

    classes: list[Class]
    others: str


class QuarantinedImage(Image):
    """An image that could not be read: ``reason`` is the name of the folder, ``says`` what it means, ``note`` more."""

    reason: str
    says: str
    note: str | None


class Reason(Reply):
    """A reason why images lie in the quarantine."""

    reason: str
    count: int
    says: str


class QuarantinePage(Reply):
    """Some images of the quarantine, newest first, and all reasons there are."""

    images: list[QuarantinedImage]
    next: int | None
    reasons: list[Reason]


# Decisions


class LabelDecision(Request):
    """An image is of a class; ``to`` None: it is none of the classes. ``new``: the class may be a new one."""

    kind: Literal["label"]
    key: Key
    id: int
    version: _Version
    to: _Name | None
    new: bool = False


class LearntDecision(Request):
    """An image of the model's data set is of a class: a label of people, which wins over that of the data set.

    ``id`` is its number, and ``version`` its content.
    """

    kind: Literal["learnt"]
    key: Key
    id: int
    version: _Version
    to: _Name | None
    new: bool = False


class AuditDecision(Request):
    """The answer for an image of an audit: ``right``, or wrong; ``to``: the class that it is of, where that is said.

    None, where it is wrong, says nothing about its class. What was filed into an inner folder is right if its class
    lies in there.
    """

    kind: Literal["audit"]
    key: Key
    id: int
    version: _Version
    audit: str = Field(max_length=64)
    right: bool
    to: _Name | None = None
    new: bool = False


class TakeBackDecision(Request):
    """What an earlier decision did is taken back. ``of``: its key."""

    kind: Literal["take-back"]
    key: Key
    of: Key


class UndoDecision(Request):
    """An image goes back to its inbox, and is held there."""

    kind: Literal["undo"]
    key: Key
    id: int
    version: _Version


class RetryDecision(Request):
    """A quarantined image goes back to its inbox, and is classified again."""

    kind: Literal["retry"]
    key: Key
    id: int
    version: _Version


Decision = Annotated[
    LabelDecision | LearntDecision | AuditDecision | TakeBackDecision | UndoDecision | RetryDecision,
    Field(discriminator="kind"),
]


class Decisions(Request):
    """A batch, in the order in which they were made. A key that was sent before is answered and not done again."""

    decisions: list[Decision] = Field(min_length=1, max_length=MOST_DECISIONS)


class DecisionState(Reply):
    """What became of a decision.

    ``waiting``: it is kept, and carried out as soon as that can be. ``done``. ``refused``: it cannot be carried out,
    and ``says`` why; the image stays as it is. ``unknown``: the server was restarted since and has lost it if it was
    not done: send it again. ``can_take_back``: a `TakeBackDecision` may name it.
    """

    key: str
    state: Literal["waiting", "done", "refused", "unknown"]
    id: int | None
    says: str
    can_take_back: bool = False


class DecisionStates(Reply):
    """The state of each decision of a batch, in its order, and the revision with them."""

    decisions: list[DecisionState]
    revision: int


class Changes(Reply):
    """What has changed. ``revision`` counts up with each change of the images or of the decisions.

    ``decisions``: the states of the ``keys`` that were asked about. ``decided``: ids of images on which any page has
    decided, or whose decision was carried out, since ``since``: the grid drops them, or asks for them again.
    ``waiting``: decisions in the queue, and ``trouble`` why they wait, where that is known. ``model``: the run in use.
    """

    revision: int
    decisions: list[DecisionState]
    decided: list[int]
    waiting: int
    trouble: str | None
    daemon: bool
    model: str | None
