"""Publishing: which run the daemon serves, what it served before, and the way back."""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import BinaryIO, Literal

from loguru import logger
from pydantic import BaseModel, ValidationError

from models import checkpoint as checkpoints
from models.checkpoint import Checkpoint
from models.classifier import Classifier, open_classifier
from models.errors import CheckpointError, UserError
from models.groups import starter_groups
from models.markers import taken, taken_names
from models.text.language import mark, tr, trn
from models.weights import WeightsStore
from trainer.retention import KEEP, alone, retain
from trainer.runs import METRICS
from trainer.tables import listed, table

#: Class folders that are listed when they go.
_LISTED = 30

#: What serves where no run is published, in words.
STARTER = mark("the starter model")

#: Beside the runs: every publication and every step back, one JSON object a line.
HISTORY = "published.jsonl"


class Entry(BaseModel):
    """One line of the history."""

    run: str
    sha256: str
    published: str
    rollback: bool = False


@dataclass(frozen=True)
class Listed:
    """One run folder; ``checkpoint`` is None where it cannot be used, and ``problem`` says why."""

    run: Path
    current: bool
    checkpoint: Checkpoint | None
    problem: str = ""


def publish(run: Path, store: WeightsStore, *, keep: int = KEEP) -> Classifier:
    """Open a run's checkpoint, prove it and point the daemon at it; then let go of old runs, see `retain`.

    Raises `CheckpointError` when it does not compute what it did when it was made, or is not the file it was then, and
    `WeightsUnavailable` when the weights of a backbone are not to be had.
    """
    proved = _prove(run, store)
    if (why := refusal(run.parent, proved.classes)) is not None:
        raise UserError(tr("{name} is not published: {why}", name=run.name, why=why))
    with alone(run.parent):
        _point(run, proved.digest, rollback=False)
        if removed := retain(run.parent, keep, _needed(run.parent, run.name)):
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
        "it has a class {name}, and the daemon's folders for other images are called {names}: give the class folder "
        "another name and fit again; or give others_dir or quarantine_dir another name in the daemon's settings, and "
        "start it with --checkpoint {folder} once",
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


def _needed(folder: Path, current: str) -> set[str]:
    """The current run, and the one to go back to."""
    return {current, *[entry.run for entry in _stack(folder) if entry.run != current][-1:]}


def rollback(folder: Path, store: WeightsStore, *, starter: bool = False) -> tuple[str, str]:
    """Point back at what was published before the current run; returns the names of both runs (now, before).

    The earlier run is proved as `publish` proves one. Before the first one served the starter model, which ``starter``
    goes back to at once. Raises `UserError` when there is nothing to go back to.
    """
    pointer = checkpoints.read_pointer(folder)
    if pointer is None:
        raise UserError(tr("nothing is published in {folder}: there is nothing to roll back", folder=folder))
    before = [entry for entry in _stack(folder) if entry.run != pointer.run]
    if starter or not before:
        with alone(folder):
            _point_at_starter(folder)
        return STARTER, pointer.run
    target = before[-1]
    proved = _prove(folder / target.run, store)
    if proved.digest != target.sha256:
        raise CheckpointError(
            tr("the checkpoint of run {run} is not the file that was published: publish another", run=target.run)
        )
    with alone(folder):
        _point(folder / target.run, proved.digest, rollback=True)
    return target.run, pointer.run


def _prove(run: Path, store: WeightsStore) -> Classifier:
    classifier = open_classifier(run / checkpoints.FILE_NAME, store)
    require_as_made(run, classifier.digest)
    return classifier


def require_as_made(run: Path, sha256: str) -> None:
    """Raise `CheckpointError` where a run's checkpoint, now of this ``sha256``, was another file when it was made.

    The run folder records what it was; where that says nothing, what was first published under the run's name does. A
    run of which nothing is recorded passes.
    """
    made = _sha256_when_made(run)
    if made is None:
        made = next((entry.sha256 for entry in _entries(run.parent) if entry.run == run.name), sha256)
    if sha256 != made:
        raise CheckpointError(
            tr(
                "the checkpoint of run {name} is damaged: it is not the file that was made (its sha256 "
                "begins {sha256}, not {made}); use another run, or fit again",
                name=run.name,
                sha256=sha256[:12],
                made=made[:12],
            )
        )


def _sha256_when_made(run: Path) -> str | None:
    try:
        metrics = json.loads((run / METRICS).read_bytes())
    except FileNotFoundError:  # a checkpoint that came from elsewhere
        return None
    except (OSError, ValueError, RecursionError) as error:
        raise CheckpointError(
            tr(
                "{file} is damaged, so nothing tells whether the checkpoint is whole: use another run, or fit again",
                file=run / METRICS,
            )
        ) from error
    made = metrics.get("sha256") if isinstance(metrics, dict) else None
    return made if isinstance(made, str) else None


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
    entry = Entry(run=run.name, sha256=sha256, published=now, rollback=rollback)
    try:
        _note(run.parent, entry)
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
        _note(folder, Entry(run="", sha256="", published=now, rollback=True))
    except OSError as error:
        raise UserError(
            tr(
                "{folder} cannot be written to ({reason}): mend that, and roll back again",
                folder=folder,
                reason=error.strerror,
            )
        ) from error


def _note(folder: Path, entry: Entry) -> None:
    with (folder / HISTORY).open("a+b") as file:
        file.write(_end_of_torn_line(file) + entry.model_dump_json().encode() + b"\n")
        file.flush()
        os.fsync(file.fileno())


def _end_of_torn_line(history: BinaryIO) -> bytes:
    """The newline that is missing after a line whose writing was cut short, so that the next one stands alone."""
    if history.seek(0, os.SEEK_END) == 0:
        return b""
    history.seek(-1, os.SEEK_END)
    return b"" if history.read(1) == b"\n" else b"\n"


def _entries(folder: Path) -> list[Entry]:
    """The history, oldest first. A line that was cut off is passed over, and only that one."""
    try:
        lines = (folder / HISTORY).read_bytes().split(b"\n")
    except FileNotFoundError:
        return []
    entries = []
    for line in lines:
        with contextlib.suppress(ValidationError):
            entries.append(Entry.model_validate_json(line))
    return entries


def _stack(folder: Path) -> list[Entry]:
    """What was published and not rolled back since, oldest first."""
    stack: list[Entry] = []
    for entry in _entries(folder):
        if entry.rollback:
            while stack and stack[-1].run != entry.run:
                stack.pop()
        else:
            stack = [kept for kept in stack if kept.run != entry.run] + [entry]
    return stack


def list_runs(folder: Path) -> list[Listed]:
    """Every run folder with a checkpoint, oldest first. Raises `UserError` when there is no such folder."""
    if not folder.is_dir():
        raise UserError(tr("there is no folder {folder}: make a checkpoint with python -m trainer fit", folder=folder))
    pointer = checkpoints.read_pointer(folder)
    listed = []
    for run in sorted(path for path in folder.iterdir() if not path.name.startswith(".")):
        if not (run / checkpoints.FILE_NAME).is_file():
            continue
        current = pointer is not None and pointer.run == run.name
        try:
            found = checkpoints.read(run / checkpoints.FILE_NAME)
            require_as_made(run, found.digest)
            listed.append(Listed(run, current, found))
        except CheckpointError as error:
            listed.append(Listed(run, current, None, str(error)))
    return listed


def as_rows(listed: list[Listed]) -> list[dict[str, object]]:
    """What ``list`` prints about each run."""
    rows = []
    for each in listed:
        row: dict[str, object] = {"run": each.run.name, "current": each.current, "problem": each.problem}
        if each.checkpoint is not None:
            metadata = each.checkpoint.metadata
            row |= {
                "mode": metadata.mode,
                "classes": len(metadata.classes),
                "images": int(metadata.metrics.get("all_images", 0)),
                "accuracy": metadata.metrics.get("accuracy"),
                "fine_tuned": bool(each.checkpoint.backbones),
                "created": metadata.created,
                "megabytes": round((each.run / checkpoints.FILE_NAME).stat().st_size / 1e6, 2),
            }
        rows.append(row)
    return rows


def print_rows(rows: list[dict[str, object]]) -> None:
    """The runs as a table; the current one is marked with an asterisk."""
    if not rows:
        print(tr("no run has a checkpoint yet: make one with python -m trainer fit"))
        return
    usable = [row for row in rows if not row["problem"]]
    lines = iter(table([_header(), *map(_cells, usable)], words=2).splitlines())
    header = next(lines)
    if usable:
        print(f"  {header}")
    for row in rows:
        mark = "*" if row["current"] else " "
        print(f"{mark} {row['run']}: {row['problem']}" if row["problem"] else f"{mark} {next(lines)}")


def _header() -> list[str]:
    return [tr("run"), tr("mode"), tr("classes"), tr("images"), tr("held-out accuracy"), "MB", tr("made")]


def _cells(row: dict[str, object]) -> list[str]:
    accuracy = tr("unknown") if row["accuracy"] is None else f"{row['accuracy']:.3f}"
    mode = tr("{mode}, fine-tuned", mode=row["mode"]) if row["fine_tuned"] else str(row["mode"])
    numbers = [f"{row['classes']}", f"{row['images']}", accuracy, f"{row['megabytes']:.2f}"]
    return [str(row["run"]), mode, *numbers, _in_utc(str(row["created"]))]


def _in_utc(created: str) -> str:
    """An ISO 8601 time with its offset from UTC, to the minute and in UTC."""
    try:
        return f"{datetime.fromisoformat(created).astimezone(UTC):%Y-%m-%d %H:%M} UTC"
    except ValueError:  # nothing was recorded, or another program wrote it
        return tr("at an unknown time")
