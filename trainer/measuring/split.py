"""``split.csv`` of a run: which images it was fitted on, and what it made of those held out."""

from __future__ import annotations

import csv
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from trainer.data.dataset import DataSet, Mask
from trainer.data.folds import NEVER
from trainer.measuring.measure import Measured

TRAIN, HELD_OUT, UNREADABLE = "train", "held-out", "unreadable"

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
