from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from trainer.data import DataSet, Sample
from trainer.narrate import division


def data_set(labels: Sequence[int], folds: Sequence[int]) -> DataSet:
    names = ["ant", "bee", "cat"]
    samples = [Sample(Path(f"{number}"), f"{number}", names[label], "") for number, label in enumerate(labels)]
    return DataSet(names, samples, np.array(labels), np.array(folds), [])


def test_it_is_said_who_judges_whom(capsys: pytest.CaptureFixture[str]) -> None:
    division(data_set([0, 0, 1, 1, 2, 2], [0, 2, 2, 0, 2, 0]))
    assert capsys.readouterr().out == (
        "folds      2: each of 6 images is judged by heads that were fitted on the other folds\n"
    )


def test_classes_of_unequal_size_are_mentioned(capsys: pytest.CaptureFixture[str]) -> None:
    division(data_set([0, 0, 0, 0, 0, 1, 1, 2, 2], [0, 1, 0, 1, 0, 1, 0, 1, 0]))
    assert "the classes have 2 to 5 images; heads are fitted as if each had as many" in capsys.readouterr().out


def test_a_class_that_nothing_can_be_told_of_is_named(capsys: pytest.CaptureFixture[str]) -> None:
    division(data_set([0, 0, 1, 1, 2], [0, 1, 0, 1, -1]))
    assert "warning: cat: one picture only" in capsys.readouterr().out


def test_without_any_fold_it_is_said_why(capsys: pytest.CaptureFixture[str]) -> None:
    division(data_set([0, 1, 2], [-1, -1, -1]))
    assert "folds      none: no class has two different pictures" in capsys.readouterr().out
