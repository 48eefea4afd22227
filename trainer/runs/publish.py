"""Publishing: which run the daemon serves, what it served before, and the way back."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Literal

from loguru import logger

from models import checkpoint as checkpoints
from models.classifier import Classifier, open_classifier
from models.errors import CheckpointError, UserError
from models.groups import starter_groups
from models.markers import taken, taken_names
from models.text.language import mark, tr, trn
from models.weights import WeightsStore
from trainer.runs.proof import require_as_made
from trainer.runs.publications import HISTORY, Publication, note, standing
from trainer.runs.retention import KEEP, alone, retain
from trainer.tables import listed

#: Class folders that are listed when they go.
_LISTED = 30

#: What serves where no run is published, in words.
STARTER = mark("the starter model")


def publish(run: Path, store: WeightsStore, *, keep: int = KEEP) -> Classifier:
    """Open a run's checkpoint, prove it and point the daemon at it; then let go of old runs, see `retain`.

    Raises `CheckpointError` when it does not compute what it did when it was made, or is not the file it was then, and
    `WeightsUnavailable` when the weights of a backbone are not to be had.
    """
    proved = prove(run, store)
    if (why := refusal(run.parent, proved.classes)) is not None:
        raise UserError(tr("{name} is not published: {why}", name=run.name, why=why))
    with alone(run.parent):
        _point(run, proved.digest, rollback=False)
        if removed := retain(run.parent, keep, needed(run.parent, run.name)):
            logger.info(
                tr("old runs were removed, the newest {keep} stay: {names}", keep=keep, names=", ".join(removed))
            )
    return proved


def refusal(folder: Path, classes: Sequence[str]) -> str | None:
    """Why a daemon would refuse a checkpoint of these classes that is published in ``folder``, if it would."""
    names = taken_names(folder)
    name = taken(classes, names)
    if name is None:
        return None
    return tr(
        "it has a class {name}, and the daemon's folders for other images are called {names}: if a daemon filled the "
        "folder {name}, take that folder out of the data set; if it is a class of yours, give its folder another name, "
        "or give others_dir or quarantine_dir another name in the daemon's settings and start it with --checkpoint "
        "{folder} once",
        name=name,
        names=tr("{first} and {second}", first=names[0], second=names[1]),
        folder=folder,
    )


@dataclass(frozen=True)
class Leaving:
    """The class folders of the model that serves now, by ``model``, which a new one has no class for."""

    model: str
    classes: list[str]
    folder: Path

    def sentences(self) -> list[str]:
        """What that means, and how to keep them; nothing where none goes."""
        if not self.classes:
            return []
        return [
            trn(
                "warning: {count} class folder of {model} will get no more pictures: {names}",
                "warning: {count} class folders of {model} will get no more pictures: {names}",
                len(self.classes),
                model=self.model,
                names=listed(self.classes, _LISTED),
            ),
            tr("such pictures go to the nearest of the new classes or to others/; what was filed stays where it is"),
            tr(
                "to keep them, give each a folder of pictures in the data set and fit again; "
                "to go back: python -m trainer rollback --output-dir {folder}",
                folder=self.folder,
            ),
        ]


def leaving(folder: Path, classes: Sequence[str]) -> Leaving:
    """Which class folders the model that ``folder`` publishes has, or else the starter, and a new one has not."""
    model, before = tr(STARTER), starter_groups(_language())[0]
    with contextlib.suppress(CheckpointError):
        pointer = checkpoints.read_pointer(folder)
        if pointer is not None:
            model = tr("the run {run}, which serves now,", run=pointer.run)
            before = checkpoints.load(folder).metadata.classes
    return Leaving(model, sorted(set(before) - set(classes)), folder)


def _language() -> Literal["en", "ko"]:
    """That of messages, which the daemon's starter model has, too."""
    return "ko" if os.environ.get("LANGUAGE") == "ko" else "en"


def needed(folder: Path, current: str) -> set[str]:
    """The current run, and the one to go back to."""
    return {current, *[entry.run for entry in standing(folder) if entry.run != current][-1:]}


def rollback(folder: Path, store: WeightsStore, *, starter: bool = False) -> tuple[str, str]:
    """Point back at what was published before the current run; returns the names of both runs (now, before).

    The earlier run is proved as `publish` proves one. Before the first one served the starter model, which ``starter``
    goes back to at once. Raises `UserError` when there is nothing to go back to.
    """
    pointer = checkpoints.read_pointer(folder)
    if pointer is None:
        raise UserError(tr("nothing is published in {folder}: there is nothing to roll back", folder=folder))
    before = [entry for entry in standing(folder) if entry.run != pointer.run]
    if starter or not before:
        with alone(folder):
            _point_at_starter(folder)
        return STARTER, pointer.run
    target = before[-1]
    proved = prove(folder / target.run, store)
    if proved.digest != target.sha256:
        raise CheckpointError(
            tr("the checkpoint of run {run} is not the file that was published: publish another", run=target.run)
        )
    with alone(folder):
        _point(folder / target.run, proved.digest, rollback=True)
    return target.run, pointer.run


def prove(run: Path, store: WeightsStore) -> Classifier:
    """Open the checkpoint of a run as the daemon would; raises `UserError` where it is no good."""
    classifier = open_classifier(run / checkpoints.FILE_NAME, store)
    require_as_made(run, classifier.digest)
    return classifier


def _point(run: Path, sha256: str, *, rollback: bool) -> None:
    """Point the daemon at a run and note it in the history. Raises `UserError` where the disk is full, say."""
    now = datetime.now(UTC).isoformat(timespec="milliseconds")  # two in a second are two
    try:
        checkpoints.publish(run, sha256, now)
    except OSError as error:
        raise UserError(
            tr(
                "{name} is not published, and the daemon goes on as before: {file} cannot be written "
                "({reason}); once it can: python -m trainer publish {run}",
                name=run.name,
                file=run.parent / checkpoints.POINTER,
                reason=error.strerror,
                run=run,
            )
        ) from error
    entry = Publication(run=run.name, sha256=sha256, published=now, rollback=rollback)
    try:
        note(run.parent, entry)
    except OSError as error:
        raise UserError(
            tr(
                "{name} is published, but {file} cannot be written ({reason}), so that rollback will "
                "not know of it; once it can: python -m trainer publish {run}",
                name=run.name,
                file=run.parent / HISTORY,
                reason=error.strerror,
                run=run,
            )
        ) from error


def _point_at_starter(folder: Path) -> None:
    """Point the daemon at the starter model and note it in the history. Raises `UserError` as `_point` does."""
    now = datetime.now(UTC).isoformat(timespec="milliseconds")
    try:
        checkpoints.publish_starter(folder, now)
        note(folder, Publication(run="", sha256="", published=now, rollback=True))
    except OSError as error:
        raise UserError(
            tr(
                "{folder} cannot be written to ({reason}): mend that, and roll back again",
                folder=folder,
                reason=error.strerror,
            )
        ) from error
