"""Near duplicates among labelled images: one fold, one image in the gate, and no judge that has seen their like."""

from __future__ import annotations

from collections.abc import Sequence
from typing import cast

import numpy as np
import pytest

from models.classifier import Classifier
from models.deciding.rule import DecisionRule
from models.inference.runtime import FeatureExtractor
from tests.models.small_checkpoints import small_checkpoint
from tests.trainer.clusters import Ints, clusters, folded
from trainer.data.perceptual_hash import PerceptualHash
from trainer.heads.recipe import Recipe
from trainer.learning.gate import Before, Recorded, judge, judge_before
from trainer.learning.kept import Half, KeptFeatures, LabelledFeatures, as_hashes
from trainer.learning.lesson import LessonImages, fit_lesson, gather

WIDTH, FOLDS = 6, 5
CLASSES = ["a", "b", "c"]


def digest(number: int) -> str:
    return f"{number:064x}"


def look(scene: int) -> PerceptualHash:
    """What pictures of one scene have in common."""
    random = np.random.default_rng(scene)
    bits = int(random.integers(0, 2**63))
    return PerceptualHash(64, 64, False, 40.0, bits, random.bytes(192), random.bytes(575))


def kept_of(count: int) -> KeptFeatures:
    features, labels = clusters(count, 3, WIDTH, spread=0.3)
    hashes = as_hashes([digest(number) for number in range(count)])
    folds, numbers = folded(count, FOLDS), np.arange(count)
    recipe = Recipe(strength=1e-1)
    return KeptFeatures(features.astype(np.float16), labels, labels, folds, numbers, hashes, CLASSES, recipe, FOLDS, 0)


def labelled(
    scenes: Sequence[int], names: Sequence[str]
) -> tuple[dict[str, str | None], dict[str, Half], dict[str, PerceptualHash]]:
    """Images of some scenes, whose features are those of another class."""
    features, _ = clusters(3 * len(scenes), 3, WIDTH, spread=0.1, seed=5)
    sha256 = [digest(1000 + number) for number in range(len(scenes))]
    return (
        dict(zip(sha256, names, strict=True)),
        {each: -features[3 * number].astype(np.float16) for number, each in enumerate(sha256)},
        {each: look(scene) for each, scene in zip(sha256, scenes, strict=True)},
    )


def gathered(kept: KeptFeatures, scenes: Sequence[int], names: Sequence[str]) -> tuple[LessonImages, Ints]:
    """The images of a lesson, and the folds of those labelled."""
    answers, features, looks = labelled(scenes, names)
    images = gather(kept, answers, features, sorted({*CLASSES, *names}), looks)
    return images, images.folds[len(kept.labels) :]


def test_near_duplicates_share_a_fold_whatever_they_are_called() -> None:
    kept = kept_of(30)
    images, folds = gathered(kept, [1] * 6 + [2] * 6 + [3, 4, 5], ["d"] * 6 + ["a"] * 6 + ["d"] * 3)
    assert len(set(folds[:6])) == 1
    assert len(set(folds[6:12])) == 1
    assert len(set(images.pictures)) == 30 + 5
    assert len(set(folds[[0, *range(12, 15)]])) > 1, "there is a fold that judges d, and one that it is fitted on"
    mixed = gathered(kept, [1] * 6 + [2, 3], ["d"] * 3 + ["a"] * 3 + ["d"] * 2)[1]
    assert len(set(mixed[:6])) == 1, "a burst of a known class and a new one"


def test_a_class_that_is_one_burst_is_divided() -> None:
    """Else nothing could be said of it."""
    images, folds = gathered(kept_of(30), [1] * 10, ["d"] * 10)
    assert set(folds) > {0}
    assert len(set(images.pictures[30:])) == 1
    assert len(set(gathered(kept_of(30), [1] * 10, ["a"] * 10)[1])) == 1, "others tell what a is"


def test_a_burst_counts_as_one_image() -> None:
    kept = kept_of(150)
    answers, features, looks = labelled([1] * 10, ["d"] * 10)
    images = gather(kept, answers, features, [*CLASSES, "d"], looks)
    part = small_checkpoint().metadata.parts[0].model_copy(update={"width": WIDTH})
    fitted = fit_lesson(images, [part], kept.recipe, None, None)
    right = np.arange(len(images.labels)) < 150
    before = Before(np.full(len(right), True), right, np.where(right, 0.9, 0.1))
    judgement = judge(fitted, kept, before, DecisionRule(0.5), may_win_nothing=False)
    counts = judgement.figures["labelled"]
    assert (counts["images"], counts["near_duplicates"]) == (1, 9)
    assert counts["right"] == 1
    assert judgement.passed
    assert "near duplicates count as one image" in judgement.reason


@pytest.fixture
def in_use() -> Classifier:
    return Classifier(small_checkpoint(), cast(FeatureExtractor, None))


def told(in_use: Classifier, scenes: Sequence[int], names: Sequence[str], recorded: dict[str, Recorded]) -> list[bool]:
    """Which of the labelled images the head in use judges."""
    kept = kept_of(30)
    answers, features, looks = labelled(scenes, names)
    images = gather(kept, answers, features, sorted({*CLASSES, *names}), looks)
    return [bool(each) for each in judge_before(recorded, in_use, images, features).is_told[30:]]


def test_what_the_head_in_use_has_seen_the_like_of_does_not_judge(in_use: Classifier) -> None:
    names = ["d"] * 4
    assert told(in_use, [1, 1, 2, 3], names, {}) == [True] * 4
    judged = {digest(1000): Recorded("", "d", "d", 0.9, fold=2)}
    assert told(in_use, [1, 1, 2, 3], names, judged) == [True, False, True, True]


def test_what_was_judged_by_its_like_then_does_not_judge_unless_it_is_so_now(in_use: Classifier) -> None:
    burst = {digest(1000 + number): Recorded("", "d", "d", 0.9, fold=number) for number in range(3)}
    assert told(in_use, [1, 1, 1], ["d"] * 3, burst) == [True] * 3
    assert told(in_use, [1, 1, 1, 2, 3], ["d"] * 5, burst) == [False] * 3 + [True] * 2
    together = {sha256: Recorded("", "d", "d", 0.9, fold=1) for sha256 in burst}
    assert told(in_use, [1, 1, 1, 2, 3], ["d"] * 5, together) == [True] * 5


def test_perceptual_hashes_are_kept_where_they_are_known() -> None:
    features = {digest(number): np.zeros(WIDTH, np.float16) for number in range(3)}
    kept = LabelledFeatures.of(features, {digest(1): look(7)}, WIDTH)
    assert kept.perceptual_hashes == {digest(1): look(7)}
    assert list(kept.by_sha256) == sorted(features)
    assert LabelledFeatures.of({}, {}, WIDTH).by_sha256 == {}
