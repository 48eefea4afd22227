from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest

from models.checkpoints import checkpoint as checkpoints
from models.weights.store import WeightsStore
from trainer.data.dataset import Sample
from trainer.fit import FitOutcome
from trainer.measuring.against_published import compare_with_published
from trainer.measuring.labelled_predictions import LabelledPredictions
from trainer.measuring.split_file import HELD_OUT, TRAIN

CLASSES = ["circle", "cross", "square"]


def samples(shapes: Path, count: int) -> list[Sample]:
    """Held-out circles whose pictures carry made-up hashes."""
    return [Sample(shapes / "circle" / f"{n:03}.png", f"{n}", "circle", f"{n:064x}") for n in range(count)]


def predictions(right: int, count: int, sure: float = 0.8, classes: list[str] = CLASSES) -> LabelledPredictions:
    rows = np.full((count, len(classes)), (1 - sure) / (len(classes) - 1))
    for row in range(count):
        rows[row, 0 if row < right else 1] = sure
    return LabelledPredictions(classes, np.zeros(count, np.int64), rows)


@pytest.fixture
def folder(fitted: FitOutcome, tmp_path: Path) -> Path:
    """The published run, and a ``split.csv`` in which it held out 10 made-up circles, 8 of which it had right."""
    shutil.copytree(fitted.run.parent, tmp_path / "runs")
    head = "file,label,sha256,side,predicted,confidence,true_probability,reason"
    lines = [
        f"{n},circle,{n:064x},{HELD_OUT},{'circle' if n < 8 else 'cross'},0.8,{0.8 if n < 8 else 0.1},"
        for n in range(10)
    ]
    split = tmp_path / "runs" / fitted.run.name / "split.csv"
    split.write_text("\n".join([head, *lines, f"x,circle,{10:064x},{TRAIN},,,,"]) + "\n")
    return tmp_path / "runs"


@pytest.mark.parametrize(("right", "publish"), [(7, False), (8, True), (9, True)])
def test_what_has_fewer_right_on_the_same_images_is_kept_back(
    folder: Path, shapes: Path, store: WeightsStore, right: int, publish: bool
) -> None:
    verdict = compare_with_published(folder, samples(shapes, 10), predictions(right, 10), store)
    assert verdict.publish is publish
    assert f"of 10 images that neither had seen when it classified them, it has {right} right" in verdict.reason


def test_with_equally_many_right_the_log_loss_decides(folder: Path, shapes: Path, store: WeightsStore) -> None:
    assert not compare_with_published(folder, samples(shapes, 10), predictions(8, 10, sure=0.4), store).publish


def test_a_mistake_is_as_bad_in_the_record_of_six_digits_as_when_it_is_measured(
    folder: Path, fitted: FitOutcome, shapes: Path, store: WeightsStore
) -> None:
    split = folder / fitted.run.name / "split.csv"
    split.write_text(split.read_text().replace(",cross,0.8,0.1,", ",cross,1.000000,0.000000,"))
    new = predictions(8, 10, sure=0.6)
    new.probabilities[8:] = [4e-7, 1 - 5e-7, 1e-7]
    verdict = compare_with_published(folder, samples(shapes, 10), new, store)
    assert not verdict.publish, verdict.reason


def test_images_the_current_one_was_fitted_on_do_not_count(folder: Path, shapes: Path, store: WeightsStore) -> None:
    verdict = compare_with_published(folder, samples(shapes, 11), predictions(8, 11), store)  # the eleventh is wrong
    assert (verdict.publish, "of 10 images" in verdict.reason) == (True, True)


def test_images_that_are_new_to_the_current_one_are_put_to_it(folder: Path, shapes: Path, store: WeightsStore) -> None:
    verdict = compare_with_published(folder, samples(shapes, 14), predictions(8, 14), store)
    assert "of 13 images" in verdict.reason  # ten recorded, three classified now, one was fitted on


def test_of_many_images_that_are_new_to_it_only_some_are_put_to_it(
    folder: Path, shapes: Path, store: WeightsStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("trainer.measuring.against_published.MAX_CLASSIFIED", 2)
    verdict = compare_with_published(folder, samples(shapes, 20), predictions(8, 20), store)
    assert "of 12 images" in verdict.reason


def test_other_classes_do_not_compare_and_are_named(folder: Path, shapes: Path, store: WeightsStore) -> None:
    verdict = compare_with_published(
        folder, samples(shapes, 10), predictions(0, 10, classes=["circle", "cross", "star"]), store
    )
    assert verdict.publish
    assert "new: star; gone: square" in verdict.reason


def test_nothing_published_is_nothing_to_lose(tmp_path: Path, shapes: Path, store: WeightsStore) -> None:
    assert compare_with_published(tmp_path, samples(shapes, 1), predictions(0, 1), store).publish


def test_a_damaged_current_checkpoint_is_replaced(
    folder: Path, fitted: FitOutcome, shapes: Path, store: WeightsStore
) -> None:
    (folder / fitted.run.name / checkpoints.FILE_NAME).write_bytes(b"damaged")
    verdict = compare_with_published(folder, samples(shapes, 10), predictions(0, 10), store)
    assert verdict.publish
    assert "cannot be used" in verdict.reason


def test_what_no_image_tells_of_does_not_replace_what_is_known_to_be_right(
    folder: Path, shapes: Path, store: WeightsStore
) -> None:
    verdict = compare_with_published(folder, [], predictions(0, 0), store)
    assert not verdict.publish
    assert "its accuracy is unknown, because no image was held out" in verdict.reason


@pytest.mark.parametrize(("right", "publish"), [(0, False), (1, True)])
def test_without_a_common_image_the_recorded_accuracies_decide(
    folder: Path, shapes: Path, store: WeightsStore, right: int, publish: bool
) -> None:
    fitted_on = [Sample(shapes / "circle" / "000.png", "x", "circle", f"{10:064x}")]
    verdict = compare_with_published(folder, fitted_on, predictions(right, 1), store)
    assert verdict.publish is publish
    assert "on its own held-out images" in verdict.reason
