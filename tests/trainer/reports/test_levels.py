"""Nested classes one folder up, in text."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from models.deciding.rule import DecisionRule
from trainer.measuring.labelled_predictions import LabelledPredictions
from trainer.reports.levels import filing_table, folder_table, shared_folder
from trainer.reports.report import describe, write_report

CLASSES = ["animals/cat", "animals/dog", "car"]
IMAGES = LabelledPredictions(
    CLASSES,
    np.array([0, 0, 1, 1, 2, 0]),
    np.array([[0.9, 0.1, 0], [0.5, 0.4, 0.1], [0.9, 0.05, 0.05], [0.1, 0.9, 0], [0.1, 0.1, 0.8], [0.02, 0.03, 0.95]]),
)
COUNTS = IMAGES.counts_by(DecisionRule(0.75, levels={1: 0.85}))


@pytest.mark.parametrize(
    ("one", "other", "folder"),
    [
        ("animals/cat", "animals/dog", "animals"),
        ("a/b/c", "a/b/d", "a/b"),
        ("a/b/c", "a/d", "a"),
        ("cat", "dog", ""),
        ("animals/cat", "things/cat", ""),
    ],
)
def test_the_folder_of_two_classes(one: str, other: str, folder: str) -> None:
    assert shared_folder(one, other) == folder


def test_what_is_filed_where() -> None:
    lines = [line.split() for line in filing_table(IMAGES, COUNTS).splitlines()]
    assert lines[1][-4:] == ["5", "83.3%", "2", "40.00%"]
    assert lines[2] == ["animals/", "1", "16.7%", "0", "0.00%"]


def test_mistakes_within_a_folder_are_named_as_such() -> None:
    line = folder_table(IMAGES).splitlines()[1].split()
    assert line == ["animals/", "5", "0.600", "0.800", "1", "of", "2"]
    confused = [line.split() for line in describe(IMAGES, COUNTS).splitlines()[-2:]]
    assert ["animals/dog", "animals/cat", "animals/", "1"] in confused
    assert ["animals/cat", "car", "1"] in confused


def test_there_is_a_matrix_of_the_folders(tmp_path: Path) -> None:
    for number in range(6):
        Image.new("RGB", (16, 16)).save(tmp_path / f"{number}.png")
    (tmp_path / "confusion_matrix_folders_2.png").touch()  # of an earlier evaluation
    write_report(tmp_path, IMAGES, [tmp_path / f"{number}.png" for number in range(6)], counts=COUNTS)
    assert (tmp_path / "confusion_matrix_folders.png").stat().st_size > 1000
    assert not (tmp_path / "confusion_matrix_folders_2.png").exists()


def test_flat_classes_are_told_as_before() -> None:
    flat = LabelledPredictions(["a", "b", "c"], IMAGES.labels, IMAGES.probabilities)
    text = describe(flat, flat.counts_at(0.75))
    assert "filed into" not in text
    assert "both in" not in text
