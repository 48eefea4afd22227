"""What the page asks and is answered of the model in use."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Literal

from pydantic import Field

from daemon.review.api import Reply, Request


class Lesson(Reply):
    """What the model learnt last: its accuracy before and after, on the same images it never learnt from."""

    time: datetime | None
    before: float | None
    after: float | None
    images: int | None
    says: str


class Ancestor(Reply):
    """A checkpoint from which the one in use was made, or which was in use before.

    ``parent_digest``: of the checkpoint that it was made from itself, None where it was made from none.
    """

    parent_digest: str | None
    run: str
    time: datetime | None
    is_in_use: bool
    can_roll_back: bool


class LearntImage(Reply):
    """An image of the model's data set. ``number`` is for its thumbnail; ``name`` is shown as text.

    ``version``: of its content, sent back with a decision. ``is_labelled``: a person has said what it is, which is
    ``said``, None for none of the classes. ``advice`` says why its label may be wrong, where it may be; ``advised`` is
    the class that is advised.
    """

    number: int
    version: str
    name: str
    actual: str
    predicted: str
    confidence: float | None
    is_labelled: bool = False
    said: str | None = None
    advised: str | None = None
    advice: str | None = None


class LearntPage(Reply):
    """Some images behind a cell of the confusion matrix."""

    images: list[LearntImage]
    next: int | None


class ModelState(Reply):
    """The model in use. ``matrix[i][j]``: held-out images of class i that were taken for class j.

    ``says`` is a sentence where there is no report of the model, such as for the starter model; the lists are empty
    then. ``threshold``: what is filed, and what is promised of it; ``inner_folders``: the same of folders of classes.
    ``is_excerpt``: the matrix has only some of many classes, those that are confused most.
    """

    digest: str | None
    run: str | None
    says: str
    threshold: str
    inner_folders: list[str]
    accuracy: float | None
    classes: list[str]
    matrix: list[list[int]]
    is_excerpt: bool = False
    lesson: Lesson | None
    lineage: list[Ancestor]
    likely_wrong: list[LearntImage]
    task: TaskState | None


class ModelTask(Request):
    """What is to be done with the model. ``run``: to roll back to; None: to the one before."""

    task: Literal["learn", "roll-back"]
    run: Annotated[str, Field(max_length=255, pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$")] | None = None


class TaskState(Reply):
    """A task: one at a time. ``says``: what it has said last."""

    task: Literal["learn", "roll-back"]
    state: Literal["running", "done", "failed"]
    says: str
