"""Publish runs to the daemon, and roll back to what was published before."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from loguru import logger

from models.checkpoints import checkpoint as checkpoints
from models.classifier import Classifier, open_classifier
from models.errors import CheckpointError, UserError
from models.files.markers import first_reserved, reserved_names
from models.groups import starter_groups
from models.text.language import in_use, mark, tr, trn
from models.weights.store import WeightsStore
from trainer.runs.proof import require_unchanged
from trainer.runs.publications import HISTORY, Publication, active_publications, append_publication
from trainer.runs.retention import KEEP, publishing_lock, retain
from trainer.tables import listed

#: The most class folders that are listed.
_LISTED = 30

#: What the daemon serves where no run is published.
STARTER = mark("the starter model")
#: What the lineage of runs calls it.
STARTER_NAME = "starter"


class Superseded(UserError):
    """Another run was published meanwhile in the place of the one that this was to follow."""


def publish(run: Path, store: WeightsStore, *, keep: int = KEEP, after: str | None = None) -> Classifier:
    """Open and check a run's checkpoint, point the daemon at it, and remove old runs (see `retain`).

    ``after`` is the name of the run that it follows, "" for the starter model: `Superseded` is raised where that is
    published no longer. Raises
    `CheckpointError` when the checkpoint fails its golden samples or is not the file that was written, and
    `WeightsUnavailable` when the weights of a backbone cannot be obtained.
    """
    proved = prove(run, store)
    if (why := refusal_reason(run.parent, proved.classes)) is not None:
        raise UserError(tr("{name} is not published: {why}", name=run.name, why=why))
    with publishing_lock(run.parent):
        if after is not None and (current_run(run.parent) or "") != after:
            raise Superseded(
                tr(
                    "{name} is not published, since another run was published in place of {run}",
                    name=run.name,
                    run=after or tr(STARTER),
                )
            )
        _point_at_run(run, proved.digest, rollback=False)
        if removed := retain(run.parent, keep, runs_to_keep(run.parent, run.name)):
            logger.info(
                tr("old runs were removed, the newest {keep} stay: {names}", keep=keep, names=", ".join(removed))
            )
    return proved


def refusal_reason(folder: Path, classes: Sequence[str]) -> str | None:
    """Return why a daemon would refuse a checkpoint with these classes published in ``folder``, or None."""
    names = reserved_names(folder)
    name = first_reserved(classes, names)
    if name is None:
        return None
    return tr(
        "it has a class {name}, and the daemon's folders for other images are called {names}: if a daemon filled the "
        "folder {name}, take that folder out of the data set; if it is a class of yours, give its folder another name, "
        "or give others_dir, quarantine_dir or duplicates_dir another name in the daemon's settings and start it with "
        "--checkpoint {folder} once",
        name=name,
        names=tr("{first} and {second}", first=", ".join(names[:-1]), second=names[-1]),
        folder=folder,
    )


@dataclass(frozen=True)
class DroppedClasses:
    """The classes of the model that serves now, described by ``model``, that a new one lacks."""

    model: str
    classes: list[str]
    folder: Path

    def sentences(self) -> list[str]:
        """Say what that means and how to keep the classes; empty where none is dropped."""
        if not self.classes:
            return []
        return [
            trn(
                "warning: {count} class folder of {model} will get no more images: {names}",
                "warning: {count} class folders of {model} will get no more images: {names}",
                len(self.classes),
                model=self.model,
                names=listed(self.classes, _LISTED),
            ),
            tr("such images go to the nearest of the new classes or to others/; what was filed stays where it is"),
            tr(
                "to keep them, give each a folder of images in the data set and fit again; to go back: python "
                "-m trainer rollback --output-dir {folder}",
                folder=self.folder,
            ),
        ]


def find_dropped_classes(folder: Path, classes: Sequence[str]) -> DroppedClasses:
    """Find the classes that the published model of ``folder``, or else the starter, has and a new one lacks."""
    model, served_classes = tr(STARTER), starter_groups(in_use())[0]
    with contextlib.suppress(CheckpointError):
        pointer = checkpoints.read_pointer(folder)
        if pointer is not None:
            model = tr("the run {run}, which serves now,", run=pointer.run)
            served_classes = checkpoints.load(folder).metadata.classes
    return DroppedClasses(model, sorted(set(served_classes) - set(classes)), folder)


def current_run(folder: Path) -> str | None:
    """Return the name of the run that is published in ``folder``; None where there is none."""
    pointer = checkpoints.read_pointer(folder)
    return None if pointer is None else pointer.run


def runs_to_keep(folder: Path, current: str) -> set[str]:
    """Return the current run, and the one that a rollback goes back to."""
    return {current, *[entry.run for entry in active_publications(folder) if entry.run != current][-1:]}


def rollback(folder: Path, store: WeightsStore, *, starter: bool = False) -> tuple[str, str]:
    """Point back at what was published before the current run; return the names of both (now, before).

    The earlier run is checked as in `publish`. Before the first run the daemon served the starter model; ``starter``
    goes straight back to it. Raises `UserError` when there is nothing to go back to.
    """
    pointer = checkpoints.read_pointer(folder)
    if pointer is None:
        raise UserError(tr("nothing is published in {folder}: there is nothing to roll back", folder=folder))
    earlier = [entry for entry in active_publications(folder) if entry.run != pointer.run]
    if starter or not earlier:
        with publishing_lock(folder):
            _point_at_starter(folder)
        return STARTER, pointer.run
    target = earlier[-1]
    proved = prove(folder / target.run, store)
    if proved.digest != target.sha256:
        raise CheckpointError(
            tr("the checkpoint of run {run} is not the file that was published: publish another", run=target.run)
        )
    with publishing_lock(folder):
        _point_at_run(folder / target.run, proved.digest, rollback=True)
    return target.run, pointer.run


def prove(run: Path, store: WeightsStore) -> Classifier:
    """Open the checkpoint of a run as the daemon does; raises `UserError` where that fails."""
    classifier = open_classifier(run / checkpoints.FILE_NAME, store)
    require_unchanged(run, classifier.digest)
    return classifier


def _point_at_run(run: Path, sha256: str, *, rollback: bool) -> None:
    """Point the daemon at a run and record it in the history. Raises `UserError`, for instance on a full disk."""
    now = datetime.now(UTC).isoformat(timespec="milliseconds")  # tells two publications in one second apart
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
        append_publication(run.parent, entry)
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
    """Point the daemon at the starter model and record that in the history. Raises `UserError`."""
    now = datetime.now(UTC).isoformat(timespec="milliseconds")
    try:
        checkpoints.publish_starter(folder, now)
        append_publication(folder, Publication(run="", sha256="", published=now, rollback=True))
    except OSError as error:
        raise UserError(
            tr(
                "{folder} cannot be written to ({reason}): mend that, and roll back again",
                folder=folder,
                reason=error.strerror,
            )
        ) from error
