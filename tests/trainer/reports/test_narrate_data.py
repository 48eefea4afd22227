from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from trainer.data.dataset import DataSet, Sample, Unreadable
from trainer.data.features import Extracted
from trainer.reports.narrate_data import division, images


def data_set(labels: Sequence[int], folds: Sequence[int]) -> DataSet:
    names = ["ant", "bee", "cat"]
    samples = [Sample(Path(f"{number}"), f"{number}", names[label], "") for number, label in enumerate(labels)]
    return DataSet(names, samples, np.array(labels), np.array(folds), [])


def test_a_class_that_is_lost_with_its_images_is_named(capsys: pytest.CaptureFixture[str]) -> None:
    lost = [Unreadable(f"{label}/x.jpg", label, "empty", "The file is empty.") for label in ("bee", "dog")]
    found = replace(data_set([0, 0, 1, 1], [0, 1, 0, 1]), classes=["ant", "bee"], unreadable=lost)
    images(found, Extracted(found.samples, np.empty((4, 1), np.float32), [], lost, 0, 0.1), [], parted=0)
    assert "warning: dog: no image can be read, so it is none of the classes\n" in capsys.readouterr().out


def test_it_is_said_who_judges_whom(capsys: pytest.CaptureFixture[str]) -> None:
    division(data_set([0, 0, 1, 1, 2, 2], [0, 2, 2, 0, 2, 0]), verbose=True)
    assert capsys.readouterr().out == (
        "folds      2: each of 6 images is judged by heads that were fitted on the other folds\n"
    )


def test_classes_of_unequal_size_are_mentioned(capsys: pytest.CaptureFixture[str]) -> None:
    division(data_set([0, 0, 0, 0, 0, 1, 1, 2, 2], [0, 1, 0, 1, 0, 1, 0, 1, 0]), verbose=True)
    assert "the classes have 2 to 5 images; heads are fitted as if all had equally many" in capsys.readouterr().out


def test_a_class_that_nothing_can_be_told_of_is_named(capsys: pytest.CaptureFixture[str]) -> None:
    division(data_set([0, 0, 1, 1, 2], [0, 1, 0, 1, -1]), verbose=True)
    assert "warning: cat: one image only" in capsys.readouterr().out


def test_images_that_cannot_be_held_out_since_all_are_alike_are_counted(capsys: pytest.CaptureFixture[str]) -> None:
    division(data_set([0, 0, 0, 1, 1, 1, 2], [-1, -1, 0, -1, -1, -1, -1]), verbose=True)
    assert "warning: 5 images look nearly alike, as those of a camera that stands still do" in capsys.readouterr().out


def test_images_that_judge_others_nearly_like_them_are_counted(capsys: pytest.CaptureFixture[str]) -> None:
    found = data_set([0, 0, 1, 1], [0, 1, 0, 1])
    images(found, Extracted(found.samples, np.empty((4, 1), np.float32), [], [], 0, 0.1), [], parted=3)
    assert "warning: 3 images look nearly alike, as those of a camera that stands still" in capsys.readouterr().out


def test_without_any_fold_it_is_said_why(capsys: pytest.CaptureFixture[str]) -> None:
    division(data_set([0, 1, 2], [-1, -1, -1]), verbose=True)
    assert "folds      none: no class has two different images" in capsys.readouterr().out
