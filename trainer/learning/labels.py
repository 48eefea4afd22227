"""Read what people said of images: a file of labels, the state folder of a daemon, or a folder of class folders."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any

from pydantic import AliasChoices, BaseModel, ConfigDict, Field, PlainValidator, ValidationError, field_validator

from models.deciding.class_tree import ClassTree
from models.errors import UserError
from models.files.leftovers import Leftovers
from models.files.markers import read_kind
from models.text.language import tr
from trainer.data import dataset
from trainer.learning.journal import journals, read_journals

#: A larger file is not taken for a file of labels.
_MOST_BYTES = 1 << 30


def _text(value: object) -> str:
    """Check that a value is a text; pydantic itself refuses file names that are not valid UTF-8."""
    if not isinstance(value, str):
        raise ValueError("it is not a text")
    return value


Text = Annotated[str, PlainValidator(_text)]


#: The labels that a run has learned from, in its folder: a JSON object on each line.
LEARNED_NAME = "labels.jsonl"


class GivenLabel(BaseModel):
    """One label, as ``imagesortd labels --json`` prints it; ``label`` is None for an image of none of the classes.

    The image lay at ``path`` when it was labelled, and lies at ``now``, where that is known. Without a ``sha256`` that
    of the file counts. A label that is ``forgotten`` does not count.
    """

    model_config = ConfigDict(extra="ignore", frozen=True)

    path: Text = ""
    now: Text | None = None
    sha256: str | None = Field(default=None, pattern="^[0-9a-f]{64}$")
    label: Text | None = Field(validation_alias=AliasChoices("label", "class"))
    how: str = ""
    time: datetime = datetime.min.replace(tzinfo=UTC)
    forgotten: bool = False

    @property
    def file(self) -> Path:
        """Where the image lies, as far as that is known."""
        return Path(self.now or self.path)

    @field_validator("time")
    @classmethod
    def _with_zone(cls, time: datetime) -> datetime:
        return time if time.tzinfo else time.replace(tzinfo=UTC)


def read_labels(source: Path, tree: ClassTree | None = None, *, nested: bool = False) -> list[GivenLabel]:
    """Read the labels of a file or a folder; of several for one image, the newest counts. Raises `UserError`.

    Folders of classes are read by the ``tree`` of those in use, or as ``nested`` ones, if these lie in folders.
    """
    given = list(_in_folder(source, tree, nested=nested) if source.is_dir() else _in_file(source))
    newest: dict[str, GivenLabel] = {}
    for label in sorted(given, key=lambda label: label.time):
        newest[label.sha256 or label.path] = label
    return [label for label in newest.values() if not label.forgotten]


def read_learned(run: Path) -> dict[str, str | None]:
    """Return the labels that a run has learned from, by the sha256 of images; none where it is not of a lesson.

    Raises `UserError`.
    """
    if not (run / LEARNED_NAME).exists():
        return {}
    return {label.sha256: label.label for label in _in_file(run / LEARNED_NAME) if label.sha256 is not None}


def _in_folder(root: Path, tree: ClassTree | None, *, nested: bool) -> Iterator[GivenLabel]:
    """Read the state folder of a daemon, or class folders beside which a folder of others has images of no class."""
    if files := journals(root):
        yield from map(GivenLabel.model_validate, read_journals(files))
        return
    negatives = [
        path
        for folder in sorted(root.iterdir())
        if folder.is_dir() and read_kind(folder) == "others"
        for path in dataset.walk(folder, Leftovers())
        if not path.name.startswith(".")
    ]
    try:
        folders = dataset.scan(
            root, nested=nested, tree=tree if tree is not None and tree.inner_folders else None, least_classes=1
        )
        class_files = (*folders.files, *folders.coarse)
    except UserError:
        if not negatives:
            raise
        class_files = ()
    for file in class_files:
        yield GivenLabel(path=str(file.path), label=file.label)
    for path in negatives:
        yield GivenLabel(path=str(path), label=None)


def _in_file(file: Path) -> Iterator[GivenLabel]:
    """Read a JSON list of labels, or a file with a JSON object on each line."""
    try:
        with file.open("rb") as opened:
            data = opened.read(_MOST_BYTES + 1)
    except OSError as error:
        raise UserError(
            tr("the labels {file} cannot be read ({reason}): give another --labels", file=file, reason=error.strerror)
        ) from error
    if len(data) > _MOST_BYTES:
        raise UserError(tr("{file} is too large for a file of labels: give another --labels", file=file))
    for number, item in _items(file, data):
        try:
            yield GivenLabel.model_validate(item)
        except ValidationError as error:
            problem = error.errors()[0]
            where = ".".join(str(step) for step in problem["loc"])
            raise UserError(
                tr(
                    "label {number} of {file} is wrong at {where} ({problem}): a label has path, sha256 and label",
                    number=number,
                    file=file,
                    where=where or "the top",
                    problem=problem["msg"],
                )
            ) from error


def _items(file: Path, data: bytes) -> Iterator[tuple[int, Any]]:
    number = 0
    try:
        if data.lstrip().startswith(b"["):
            yield from enumerate(json.loads(data), 1)
            return
        for line in data.splitlines():
            if line.strip():
                number += 1
                yield number, json.loads(line)
    except (ValueError, RecursionError) as error:
        raise UserError(
            tr(
                "{file} is no file of labels (label {number} is not JSON): give what imagesortd labels --json prints, "
                "or the folder that imagesortd labels export makes",
                file=file,
                number=max(number, 1),
            )
        ) from error
