"""``split.csv`` of a run: the images it was fitted on, and its predictions for those held out."""

from __future__ import annotations

import csv
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from trainer.data.dataset import DataSet, Mask
from trainer.data.folds import NEVER
from trainer.measuring.labelled_predictions import LabelledPredictions

FILE_NAME = "split.csv"
TRAIN, HELD_OUT, UNREADABLE = "train", "held-out", "unreadable"

#: Smaller probabilities count as this in comparisons: in the six digits of the file they are 0, which would make the
#: mistakes of the current run worse than the same mistakes of a new one.
LEAST_PROBABILITY = 1e-6

#: The columns of the file.
COLUMNS = ["file", "label", "sha256", "side", "fold", "predicted", "confidence", "true_probability", "reason"]


def write_split(path: Path, images: DataSet, judged: Mask, predictions: LabelledPredictions) -> None:
    """Write the fold of every image, and the out-of-fold ``predictions`` for the ``judged`` ones (n,).

    Images that are not judged were only ever fitted on.
    """
    positions = iter(range(len(predictions.labels)))
    predicted, confidence, true = predictions.predicted, predictions.confidence, predictions.true_probability
    with path.open("w", encoding="utf-8", errors="surrogateescape", newline="") as file:
        rows = csv.writer(file)
        rows.writerow(COLUMNS)
        for sample, fold, is_judged in zip(images.samples, images.folds.tolist(), judged.tolist(), strict=True):
            row: list[Any] = [sample.name, sample.label, sample.sha256]
            if is_judged:
                position = next(positions)
                label = predictions.classes[predicted[position]]
                row += [HELD_OUT, fold, label, f"{confidence[position]:.6f}", f"{true[position]:.6f}", ""]
            else:
                row += [TRAIN, "" if fold == NEVER else fold, "", "", "", ""]
            rows.writerow(row)
        for unreadable in images.unreadable:
            reason = f"{unreadable.reason}: {unreadable.message}"
            rows.writerow([unreadable.name, unreadable.label, "", UNREADABLE, "", "", "", "", reason])


@dataclass(frozen=True)
class Split:
    """The content of ``split.csv``: the images (sha256) only fitted on, and the predictions for held-out ones.

    ``held_out`` gives, for each image and label, whether the prediction was right and the label's probability.
    """

    never_held_out: frozenset[str]
    held_out: Mapping[tuple[str, str], tuple[bool, float]]


def read_rows(run: Path) -> list[dict[str, str]]:
    """Read the rows of the split of a run. Raises `OSError`, `ValueError` or `csv.Error`."""
    with (run / FILE_NAME).open(encoding="utf-8", errors="surrogateescape", newline="") as file:
        reader = csv.DictReader(file)
        rows = list(reader)
    if reader.fieldnames is None:
        raise ValueError("there is no header")
    if any(None in row or None in row.values() for row in rows):
        raise ValueError("a row is truncated")
    return rows


def read_split(run: Path) -> Split | None:
    """Read the split of a run; None where it is missing or unreadable, as with a checkpoint from elsewhere."""
    try:
        rows = read_rows(run)
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
