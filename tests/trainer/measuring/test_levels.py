"""Thresholds of inner folders: found on what classes leave over, promised for themselves, and told."""

from __future__ import annotations

import numpy as np
import pytest

from models.checkpoints.metadata import Level, Promise
from models.deciding.rule import NOWHERE, DecisionRule
from tests.models.small_checkpoints import small_checkpoint
from trainer.measuring.labelled_predictions import LabelledPredictions
from trainer.measuring.levels import find_levels, lapsed_levels
from trainer.measuring.thresholds import Thresholds, thresholds_for

CLASSES = ["animals/cat", "animals/dog", "car", "ship"]


def predictions(surely: int, unsurely: int, *, wrong: int = 0, elsewhere: int = 0) -> LabelledPredictions:
    """Images that classes are sure of, then cats that could be dogs, of which so many are dogs, or ships."""
    count = surely + unsurely
    random = np.random.default_rng(0)
    probabilities = np.full((count, 4), 0.005)
    labels = np.zeros(count, np.int64)
    for row in range(surely):
        labels[row] = row % 4
        probabilities[row, row % 4] = 0.985 + random.uniform(0, 0.001)
    for row in range(surely, count):
        cat = random.uniform(0.5, 0.6)
        probabilities[row] = [cat, 0.985 - cat, 0.01, 0.005]
    labels[surely : surely + wrong] = 1
    labels[count - elsewhere :] = 3
    return LabelledPredictions(CLASSES, labels, probabilities)


def made(images: LabelledPredictions, asked: float | None) -> Thresholds:
    count = len(images.labels)
    return thresholds_for(images, np.arange(count), asked, [""] * count)


def test_what_is_sure_of_no_class_is_promised_for_its_folder() -> None:
    images = predictions(200, 200, wrong=90)
    found = made(images, 0.02)
    (level,) = found.levels
    assert level.promise is not None
    assert (level.depth, level.promise.max_error, level.promise.certainty) == (1, 0.02, 0.95)
    counts = found.counts(images)
    assert [each.depth for each in counts.levels] == [0, 1]
    assert (counts.filed, counts.wrong, counts.unsure) == (400, 0, 0)
    assert counts.inner[0].filed >= 199  # the threshold of classes lies just below the surest of these
    assert level.promise.coverage == pytest.approx(counts.inner[0].filed / 400)
    assert "go there (at most 2 % of those filed are wrong, 95 % certain): " in " ".join(found.sentences(images))


def test_the_folder_is_judged_by_what_no_class_files() -> None:
    """All sure images are right about their folder, too, but these are not filed there."""
    images = predictions(400, 60, wrong=30, elsewhere=12)
    assert made(images, 0.02).levels == [Level(depth=1)]


def test_where_nothing_can_be_promised_nothing_is_rolled_up_and_that_is_told() -> None:
    images = predictions(200, 30, wrong=14)
    found = made(images, 0.01)
    assert found.levels == [Level(depth=1)]
    assert found.rule(CLASSES).levels == {}
    assert (
        "no image goes into a folder above its class (animals/), since it cannot be promised that at most 1 % "
        "are wrong there" in found.sentences(images)
    )


def test_few_images_make_an_estimate() -> None:
    images = predictions(200, 60, wrong=28)
    (level,) = made(images, 0.02).levels
    assert level.promise is not None
    assert level.promise.certainty in (0.8, None)
    assert level.promise.max_error == 0.02


def test_no_level_promises_more_mistakes_than_classes_do() -> None:
    images = predictions(400, 200, wrong=90, elsewhere=8)  # 4 % of those left are not animals
    found = made(images, 0.02)
    assert found.kept_promise is not None
    assert found.kept_promise.max_error == 0.02
    assert all(level.promise is None or level.promise.max_error == 0.02 for level in found.levels)


def test_unknown_images_are_filed_nowhere() -> None:
    images = predictions(100, 200, wrong=90)
    strange = LabelledPredictions(CLASSES, images.labels, images.probabilities, np.full(300, True))
    levels = find_levels(strange, np.arange(300), 0.9, [0.02])
    assert levels == [Level(depth=1)]
    assert (strange.places(DecisionRule(0.0, levels={1: 0.0})) == NOWHERE).all()


def test_near_duplicates_count_once() -> None:
    images = predictions(200, 200, wrong=90)
    copies = np.concatenate([np.arange(200), np.full(200, 200)])
    found = thresholds_for(images, copies, 0.02, [""] * 400)
    assert found.levels == [Level(depth=1)]


def test_without_a_share_the_threshold_is_that_of_folders_too() -> None:
    images = predictions(10, 10, wrong=4)
    found = made(images, None)
    assert found.levels == ()
    assert found.rule(CLASSES) == DecisionRule(0.5, levels={1: 0.5})
    given = found.with_given(0.8, insisted=False)
    assert given.rule(CLASSES) == DecisionRule(0.8, levels={1: 0.8})
    assert (
        "80 % sure belong in the folder above their class (animals/) go there: 10 of 20 judged images, 0 of them"
        in (" ".join(given.sentences(images)))
    )


def test_flat_classes_have_no_levels() -> None:
    images = LabelledPredictions(["a", "b"], np.zeros(200, np.int64), np.tile([0.99, 0.01], (200, 1)))
    found = made(images, 0.02)
    assert (list(found.levels), found.rule(["a", "b"]).levels) == ([], {})
    assert not any("folder above" in sentence for sentence in found.sentences(images))


def test_two_depths_are_found_from_the_deepest_up() -> None:
    classes = ["a/x/1", "a/x/2", "a/y/1", "a/y/2", "b"]
    probabilities = np.concatenate(
        [np.tile([0.45, 0.5, 0.02, 0.02, 0.01], (200, 1)), np.tile([0.25, 0.2, 0.3, 0.24, 0.01], (200, 1))]
    )
    labels = np.concatenate([np.arange(200) % 2, np.arange(200) % 4]).astype(np.int64)
    images = LabelledPredictions(classes, labels, probabilities)
    levels = find_levels(images, np.arange(400), 0.9, [0.02])
    assert [level.depth for level in levels] == [2, 1]
    counts = images.counts_by(DecisionRule(0.9, levels={level.depth: level.threshold or 0 for level in levels}))
    assert [(each.depth, each.filed, each.wrong) for each in counts.inner] == [(2, 200, 0), (1, 200, 0)]


def test_a_lapsed_promise_leaves_the_thresholds() -> None:
    promise = Promise(max_error=0.02, certainty=0.95, threshold=0.75, coverage=0.1)
    before = small_checkpoint(
        classes=["a/x/1", "a/x/2", "c"], levels=[Level(depth=2, threshold=0.75, promise=promise)]
    ).metadata
    assert lapsed_levels(before, before.classes) == [Level(depth=2, threshold=0.75)]
    assert lapsed_levels(before, ["a", "b"]) == []
