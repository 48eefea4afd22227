"""Keep what a person says of an image that a model has learnt, wherever it lies: nothing is moved."""

from __future__ import annotations

from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field, field_validator

from daemon.files.source import Identity
from daemon.journal.labels import How, Label, WantedLabels
from daemon.operations.classes import class_folder
from daemon.operations.desk import Desk, Operation, Params, explaining_a_busy_journal
from models.text.language import tr

#: Nobody looks for an image of a data set by the state of its file: only its content counts, wherever that lies.
_NO_IDENTITY = Identity(0, 0, 0, 0)


class SeenImage(BaseModel):
    """An image as a person has seen it: its content, and the ``path`` at which it lay, which is never opened."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    sha256: str = Field(pattern=r"^[0-9a-f]{64}$")
    path: str = Field(max_length=4096)

    @field_validator("path")
    @classmethod
    def _is_whole(cls, path: str) -> str:
        if not path.startswith("/") or "\0" in path:
            raise ValueError(tr("the path of an image must begin with /"))
        return path


class LabelParams(Params):
    """The image, and the class as it was typed; ``new``: it may be one that there is not yet."""

    image: SeenImage
    to: str
    new: bool = False


def label_image(desk: Desk, params: LabelParams) -> Operation:
    """Write the label of an image and yield an item with its ``id``. Raises `UserError`.

    An image that people have labelled before lies where it lay then, as far as anybody knows.
    """
    image, target = params.image, class_folder(params.to, desk.settings, new=params.new)
    with explaining_a_busy_journal():
        before = next(desk.journal.labels(WantedLabels(sha256=[image.sha256])), None)
        path, identity = (Path(image.path), _NO_IDENTITY) if before is None else (before.path, before.identity)
        label = Label(sha256=image.sha256, label=target.label, how=How.REVIEWED, path=path, identity=identity)
        desk.journal.write([], labels=[label])
    yield {"id": label.id, "class": target.label, "path": image.path}
    return {"class": target.label}
