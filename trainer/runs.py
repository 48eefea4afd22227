"""Run folders: one folder per fit, which appears complete or not at all and never changes afterwards."""

from __future__ import annotations

import contextlib
import csv
import fcntl
import json
import os
import shutil
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from models.atomic import sync_folder
from models.errors import UserError
from models.ownership import make_folder
from models.text.jsontext import json_text
from models.text.language import tr
from trainer.data import DataSet, Mask
from trainer.folds import NEVER
from trainer.heads import Epoch
from trainer.measure import Measured

#: What a fit measured, and the sha256 its checkpoint has.
METRICS = "metrics.json"

_HIDDEN = ".run."

TRAIN, HELD_OUT, UNREADABLE = "train", "held-out", "unreadable"

Setting = str | int | float | bool | None


def require_writable(folder: Path, option: str) -> None:
    """Raise `UserError` now, rather than after hours, if ``folder`` could not be made or written to."""
    existing = next(path for path in (folder.absolute(), *folder.absolute().parents) if path.exists())
    if not (existing.is_dir() and os.access(existing, os.W_OK | os.X_OK)):
        raise UserError(tr("{folder} cannot be written to: give another {option}", folder=folder, option=option))


def create(checkpoints: Path, mode: str, now: datetime, fill: Callable[[Path], None]) -> Path:
    """Make ``checkpoints/<YYYYmmdd-HHMMSS-mode>``: ``fill`` writes into a hidden folder that then takes this name.

    The name has the time of ``now`` as its clock shows it. Hidden folders of fits that were killed are removed.
    Raises `UserError` when the folder cannot be written to, or is full.
    """
    try:
        make_folder(checkpoints)
        hidden, lock = _make_hidden(checkpoints)
    except OSError as error:
        raise UserError(
            tr(
                "{checkpoints} cannot be written to ({reason}): give another --output-dir",
                checkpoints=checkpoints,
                reason=error.strerror,
            )
        ) from error
    try:
        _clean(checkpoints)
        hidden.chmod(0o755)
        fill(hidden)
        sync_folder(hidden)
        return _take_name(hidden, checkpoints / f"{now:%Y%m%d-%H%M%S}-{mode}")
    except OSError as error:
        raise UserError(
            tr(
                "the run cannot be written to {checkpoints} ({reason})",
                checkpoints=checkpoints,
                reason=error.strerror or error,
            )
        ) from error
    finally:
        shutil.rmtree(hidden, ignore_errors=True)
        os.close(lock)


def _make_hidden(checkpoints: Path) -> tuple[Path, int]:
    """A new hidden folder, and a descriptor that holds the lock on it (flock) as long as this process lives."""
    while True:
        hidden = Path(tempfile.mkdtemp(dir=checkpoints, prefix=_HIDDEN))
        lock = os.open(hidden, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        with contextlib.suppress(OSError):  # a file system without locks: nothing is ever removed there
            fcntl.flock(lock, fcntl.LOCK_EX)
        if hidden.is_dir():
            return hidden, lock
        os.close(lock)  # somebody took it for a left-over before it was locked


def _clean(checkpoints: Path) -> None:
    """Remove the hidden folders that nobody holds the lock on."""
    for hidden in checkpoints.glob(f"{_HIDDEN}*"):
        with contextlib.suppress(OSError):
            lock = os.open(hidden, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                shutil.rmtree(hidden, ignore_errors=True)
            finally:
                os.close(lock)


def _take_name(hidden: Path, name: Path) -> Path:
    """Rename to ``name``, or to it with a number where that is taken: a rename never replaces a filled folder."""
    run, number = name, 2
    while True:
        try:
            hidden.rename(run)
        except FileExistsError:
            pass
        except OSError as error:
            if not run.exists():
                raise UserError(
                    tr("the run folder {run} cannot be made ({reason})", run=run, reason=error.strerror)
                ) from error
        else:
            sync_folder(run.parent)
            return run
        run, number = name.with_name(f"{name.name}-{number}"), number + 1


def write_history(path: Path, stages: Mapping[str, Sequence[Epoch]]) -> None:
    """One row for each epoch of each stage."""
    with path.open("w", encoding="utf-8", newline="") as file:
        rows = csv.writer(file)
        rows.writerow(["stage", "epoch", "train_loss", "held_out_loss", "held_out_accuracy", "seconds"])
        for stage, epochs in stages.items():
            for epoch in epochs:
                losses = (epoch.train_loss, epoch.held_out_loss, epoch.held_out_accuracy)
                rows.writerow([stage, epoch.number, *(f"{value:.6f}" for value in losses), f"{epoch.seconds:.2f}"])


def write_settings(path: Path, settings: Mapping[str, Setting]) -> None:
    """The settings as TOML; what has no value is left out."""
    lines = [f"{name} = {_toml(value)}\n" for name, value in settings.items() if value is not None]
    path.write_text("".join(lines), encoding="utf-8")


def _toml(value: str | int | float | bool) -> str:
    if isinstance(value, str):  # TOML's basic strings are JSON's, but for one control character
        return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007F")
    return json.dumps(value)


def write_json(path: Path, content: object) -> None:
    """A JSON file for people and programs."""
    path.write_text(json_text(content, indent=1) + "\n", encoding="utf-8")


_SPLIT = ["file", "label", "sha256", "side", "fold", "predicted", "confidence", "true_probability", "reason"]


def write_split(path: Path, images: DataSet, judged: Mask, measured: Measured) -> None:
    """The fold of every image, and what heads that never saw the ``judged`` ones (n,) made of them.

    These were held out of the heads they are ``measured`` by; the others were only ever fitted on.
    """
    numbers = iter(range(len(measured.labels)))
    predicted, confidence, true = measured.predicted, measured.confidence, measured.true_probability
    with path.open("w", encoding="utf-8", errors="surrogateescape", newline="") as file:
        rows = csv.writer(file)
        rows.writerow(_SPLIT)
        for sample, fold, out in zip(images.samples, images.folds.tolist(), judged.tolist(), strict=True):
            row: list[Any] = [sample.name, sample.label, sample.sha256]
            if out:
                at = next(numbers)
                row += [HELD_OUT, fold, measured.classes[predicted[at]], f"{confidence[at]:.6f}", f"{true[at]:.6f}", ""]
            else:
                row += [TRAIN, "" if fold == NEVER else fold, "", "", "", ""]
            rows.writerow(row)
        for lost in images.unreadable:
            rows.writerow([lost.name, lost.label, "", UNREADABLE, "", "", "", "", f"{lost.reason}: {lost.message}"])


@dataclass(frozen=True)
class Split:
    """What a run's ``split.csv`` tells: pictures (sha256) it was fitted on, and what it made of those held out.

    ``held_out`` gives, for each picture and label, whether the prediction was right and the label's probability.
    """

    train: frozenset[str]
    held_out: Mapping[tuple[str, str], tuple[bool, float]]


def read_split(run: Path) -> Split | None:
    """Read it back; None where it is missing or not to be understood (a checkpoint that came from elsewhere)."""
    try:
        with (run / "split.csv").open(encoding="utf-8", errors="surrogateescape", newline="") as file:
            rows = list(csv.DictReader(file))
        return Split(
            frozenset(row["sha256"] for row in rows if row["side"] == TRAIN),
            {
                (row["sha256"], row["label"]): (row["predicted"] == row["label"], float(row["true_probability"]))
                for row in rows
                if row["side"] == HELD_OUT
            },
        )
    except (OSError, ValueError, KeyError, csv.Error):
        return None
