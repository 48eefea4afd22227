"""The daemon files what ``evaluate`` predicts, file for file, and as well as the trainer promised."""

from __future__ import annotations

import csv
import os
import shutil
from collections import defaultdict
from pathlib import Path

import pytest

from tests.pictures import files_below
from tests.processes import run


def scenes(shared_data: Path, folder: Path, *, of_each_fold: int | None) -> tuple[Path, Path]:
    """intel_scenes6 as a training set (folds 0 to 3) and a test set (fold 4)."""
    taken: dict[tuple[str, str], int] = defaultdict(int)
    with (shared_data / "intel_scenes6.csv").open(encoding="utf-8") as table:
        for row in csv.DictReader(table):
            key = (row["cls"], row["fold"])
            taken[key] += 1
            if of_each_fold is None or taken[key] <= of_each_fold:
                target = folder / ("test" if row["fold"] == "4" else "train") / row["file"]
                target.parent.mkdir(parents=True, exist_ok=True)
                shutil.copy(shared_data / "intel_scenes6" / row["file"], target)
    return folder / "train", folder / "test"


def fit_and_evaluate(cwd: Path, train: Path, test: Path) -> tuple[float, dict[str, str]]:
    """Accuracy on the test set, and the predicted class of each of its files."""
    done = run("trainer", "fit", "--data-dir", str(train), "--mode", "efficientnet_lite0", cwd=cwd)
    assert done.returncode == 0, done.stderr
    arguments = ["--data-dir", str(test), "--checkpoint", "checkpoints", "--output-dir", "report"]
    done = run("trainer", "evaluate", *arguments, cwd=cwd)
    assert done.returncode == 0, done.stderr
    with (cwd / "report" / "predictions.csv").open(encoding="utf-8") as table:
        rows = list(csv.DictReader(table))
    right = sum(row["label"] == row["predicted"] for row in rows)
    return right / len(rows), {Path(row["file"]).name: row["predicted"] for row in rows}


def file_all(cwd: Path, test: Path) -> dict[str, str]:
    """Throw the test set into an inbox; the folder each file ends in."""
    (cwd / "inbox").mkdir()
    for path in test.rglob("*.jpg"):
        os.link(path, cwd / "inbox" / path.name)
    done = run("daemon", "--once", "--threshold", "0", cwd=cwd)
    assert done.returncode == 0, done.stderr
    return {name: folder for folder, names in files_below(cwd / "sorted").items() for name in names}


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_the_daemon_files_what_evaluate_predicts(shared_data: Path, tmp_path: Path) -> None:
    train, test = scenes(shared_data, tmp_path, of_each_fold=10)
    accuracy, predicted = fit_and_evaluate(tmp_path, train, test)
    assert accuracy > 0.75
    assert len(predicted) == 60
    assert file_all(tmp_path, test) == predicted


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_on_all_scenes_accuracy_is_what_was_measured(shared_data: Path, tmp_path: Path) -> None:
    train, test = scenes(shared_data, tmp_path, of_each_fold=None)
    accuracy, predicted = fit_and_evaluate(tmp_path, train, test)
    assert accuracy >= 0.91
    assert file_all(tmp_path, test) == predicted
