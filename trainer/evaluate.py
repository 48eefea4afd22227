"""Put a checkpoint to images whose class is known, decoding and predicting exactly as the daemon does."""

from __future__ import annotations

import csv
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from tqdm import tqdm

from models import checkpoint as checkpoints
from models.classifier import Classifier, open_classifier
from models.errors import UserError
from models.weights import WeightsStore
from trainer import data, runs
from trainer.data import File, Unreadable, shown
from trainer.features import BATCH, Read, read_all, stacked
from trainer.measure import Measured
from trainer.narrate import say
from trainer.publish import require_as_made
from trainer.report import describe, write_report


@dataclass(frozen=True, kw_only=True)
class EvaluateOptions:
    """What ``evaluate`` was asked for; the command line has the same names."""

    data_dir: Path
    checkpoint: Path
    batch_size: int = 32
    output_dir: Path | None = None
    cache_dir: Path | None = None


@dataclass(frozen=True)
class Classified:
    """The n readable images of a data set, their probabilities (n, classes), and what could not be read."""

    files: list[File]
    sha256: list[str]
    probabilities: np.ndarray[Any, np.dtype[np.float64]]
    unreadable: list[Unreadable]


def evaluate(options: EvaluateOptions) -> dict[str, Any]:
    """Classify, print and write the report; returns what ``--json`` prints. Raises `UserError`."""
    path = checkpoints.resolve(options.checkpoint)
    folders = data.scan(options.data_dir)
    output = options.output_dir or Path("reports") / f"{path.parent.name}-{options.data_dir.resolve().name}"
    runs.require_writable(output, "--output-dir")
    classifier = open_classifier(options.checkpoint, WeightsStore(options.cache_dir))
    if path.name == checkpoints.FILE_NAME:
        require_as_made(path.parent, classifier.digest)
    say("checkpoint", f"{shown(path)}: {len(classifier.classes)} classes, {classifier.metadata.mode}")
    strangers = _match(folders.classes, classifier, options.data_dir)
    found = _classify(folders.files, classifier, options.batch_size)
    known = [at for at, file in enumerate(found.files) if file.label not in strangers]
    if not known:
        raise UserError(f"no image of {options.data_dir} is readable and of a class that the checkpoint knows")
    labels = [classifier.classes.index(found.files[at].label) for at in known]
    measured = Measured(classifier.classes, np.array(labels, np.int64), found.probabilities[known])

    summary = {
        "checkpoint": shown(path),
        "sha256": classifier.digest,
        "data_dir": shown(options.data_dir),
        "figures": measured.figures(),
        "classes": measured.report(),
        "only_in_data": sorted(strangers),
        "only_in_checkpoint": sorted(set(classifier.classes) - set(folders.classes)),
        "fitted_on": _fitted_on(path.parent, found),
        "unreadable": [f"{shown(lost.name)}: {lost.reason}, {lost.message}" for lost in found.unreadable],
        "output_dir": shown(output),
    }
    _write(output, found, known, measured, summary, classifier)
    _tell(measured, found, output)
    if summary["fitted_on"]:
        say(
            "warning",
            f"{summary['fitted_on']} of these images are among those it was fitted on: the figures flatter it",
        )
    return summary


def _match(present: tuple[str, ...], classifier: Classifier, folder: Path) -> set[str]:
    """The data's classes that the checkpoint does not know; says so. Raises `UserError` when it knows none."""
    strangers, absent = set(present) - set(classifier.classes), set(classifier.classes) - set(present)
    if strangers == set(present):
        raise UserError(
            f"no class of {folder} ({', '.join(sorted(present)[:8])}) is known to the checkpoint "
            f"({', '.join(sorted(classifier.classes)[:8])})"
        )
    if strangers:
        say("classes", f"the checkpoint does not know {', '.join(sorted(strangers))}: not counted below")
    if absent:
        say("classes", f"the data has no {', '.join(sorted(absent)[:20])}{' …' if len(absent) > 20 else ''}")
    return strangers


def _classify(files: tuple[File, ...], classifier: Classifier, batch_size: int) -> Classified:
    readable: list[tuple[File, str]] = []
    rows: list[np.ndarray[Any, np.dtype[np.float32]]] = []
    unreadable: list[Unreadable] = []
    waiting: list[Read] = []

    def predict() -> None:
        rows.extend(classifier.probabilities(stacked(waiting)))
        readable.extend((read.file, read.sha256) for read in waiting)
        waiting.clear()

    read: Read
    for read in tqdm(read_all(files, classifier.transforms), "evaluate", len(files), unit=" images", disable=None):
        if read.error is not None:
            unreadable.append(read.error)
            continue
        waiting.append(read)
        if len(waiting) == min(batch_size, BATCH):
            predict()
    if waiting:
        predict()
    probabilities = np.array(rows, np.float64).reshape(len(rows), len(classifier.classes))
    return Classified([file for file, _ in readable], [sha256 for _, sha256 in readable], probabilities, unreadable)


def _fitted_on(run: Path, found: Classified) -> int:
    """How many of the images this run was fitted on, as far as it tells; in the end it is on its held-out ones too."""
    split = runs.read_split(run)
    if split is None:
        return 0
    fitted = split.train | {sha256 for sha256, _ in split.held_out}
    return sum(sha256 in fitted for sha256 in found.sha256)


def _write(
    output: Path,
    found: Classified,
    known: list[int],
    measured: Measured,
    summary: dict[str, Any],
    classifier: Classifier,
) -> None:
    try:
        output.mkdir(parents=True, exist_ok=True)
        runs.write_json(output / "report.json", summary)
        with (output / "predictions.csv").open("w", encoding="utf-8", errors="surrogateescape", newline="") as file:
            rows = csv.writer(file)
            rows.writerow(["file", "true", "predicted", "confidence"])
            for image, probabilities in zip(found.files, found.probabilities, strict=True):
                best = int(probabilities.argmax())
                rows.writerow([image.name, image.label, classifier.classes[best], f"{probabilities[best]:.6f}"])
        write_report(output, measured, [found.files[at].path for at in known])
    except OSError as error:
        raise UserError(f"{output} cannot be written to ({error.strerror}): give another --output-dir") from error


def _tell(measured: Measured, found: Classified, output: Path) -> None:
    for lost in found.unreadable[:10]:
        say("unreadable", f"{shown(lost.name)}: {lost.reason}, {lost.message}")
    if len(found.unreadable) > 10:
        say("", f"and {len(found.unreadable) - 10} more, all of them in report.json")
    print(describe(measured))
    figures = measured.figures()
    say(
        "result",
        f"accuracy {figures['accuracy']:.3f}, log-loss {figures['log_loss']:.3f}, "
        f"calibration error {figures['calibration_error']:.3f} on {int(figures['images'])} images",
    )
    say("written", f"{shown(output)}: report.txt, report.json, predictions.csv, confusion_matrix.png")
