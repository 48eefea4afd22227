"""Adapting a head of which only the weights are known."""

from __future__ import annotations

from dataclasses import replace
from typing import cast

import numpy as np
import pytest

from models.checkpoints.checkpoint import Checkpoint
from models.checkpoints.metadata import Level
from models.classifier import Classifier
from models.inference.runtime import FeatureExtractor
from models.scoring import score
from tests.models.small_checkpoints import small_checkpoint
from tests.trainer.clusters import Floats, folded
from trainer.heads.recipe import Recipe
from trainer.learning.adaptation import Adaptation, fit_adaptation
from trainer.learning.kept import KeptFeatures, as_hashes
from trainer.learning.lesson import LessonImages, fit_lesson, gather
from trainer.learning.steadiness import FiledImages, Steadiness, asked_for, make_steady, measure

WIDTH, CLASSES = 32, ["a", "b", "c"]
CENTRES = np.random.default_rng(5).normal(0, 1, (6, WIDTH)).astype(np.float32)


def around(centre: int, count: int, seed: int = 0, spread: float = 0.3) -> Floats:
    noise = np.random.default_rng([seed, centre]).normal(0, spread, (count, WIDTH))
    features: Floats = (CENTRES[centre] + noise).astype(np.float32)
    return features


@pytest.fixture(scope="module")
def origin() -> Classifier:
    """A head of three classes."""
    count = 60
    features = np.concatenate([around(label, 20) for label in range(3)])
    labels = np.arange(count) // 20
    kept = KeptFeatures(
        features.astype(np.float16), labels, labels, folded(count, 5), np.arange(count),
        as_hashes([f"{number:064x}" for number in range(count)]), CLASSES, Recipe(strength=1.0), 5, 0,
    )  # fmt: skip
    made = small_checkpoint()
    part = made.metadata.parts[0].model_copy(update={"width": WIDTH})
    fitted = fit_lesson(gather(kept, {}, {}, CLASSES), [part], kept.recipe, None, None)
    metadata = made.metadata.model_copy(
        update={
            "parts": [part], "classes": CLASSES, "threshold": 0.7, "max_error": None, "promises": [], "unknown": None,
            "temperature": fitted.temperature,
        }
    )  # fmt: skip
    head = replace(fitted.head, basis=None)
    return Classifier(Checkpoint(metadata, head, made.golden), cast(FeatureExtractor, None))


def taught_by(origin: Classifier, *taught: tuple[str | None, int], count: int = 10, spread: float = 0.3) -> Adaptation:
    """The head after labels for images around centres."""
    names = sorted({name for name, _ in taught if name is not None})
    labels = [names.index(name) if name is not None else len(names) for name, _ in taught for _ in range(count)]
    features = np.concatenate([around(centre, count, seed=1, spread=spread) for _, centre in taught])
    total = len(labels)
    images = LessonImages(
        features, np.array(labels), folded(total, 5), np.arange(total), [str(at) for at in range(total)], names, 0,
        np.ones(total, bool),
    )  # fmt: skip
    return fit_adaptation(origin, images, Recipe(strength=3e-2))


def folders(origin: Classifier, adapted: Adaptation, features: Floats) -> list[str]:
    probabilities, _ = score(adapted.metadata(origin.metadata), adapted.head, features)
    return [adapted.images.classes[label] for label in probabilities.argmax(axis=1)]


def test_new_classes_are_recognised_and_the_others_are_what_they_were(origin: Classifier) -> None:
    adapted = taught_by(origin, ("d", 3), ("e", 4))
    assert adapted.images.classes == [*CLASSES, "d", "e"]
    assert folders(origin, adapted, around(3, 20, seed=2)).count("d") >= 18
    assert folders(origin, adapted, around(4, 20, seed=2)).count("e") >= 18
    for known in (0, 1, 2):
        features = around(known, 20, seed=2)
        after, _ = score(adapted.metadata(origin.metadata), adapted.head, features)
        before, _ = score(origin.metadata, origin.head, features)
        np.testing.assert_allclose(after[:, :3], before, atol=0.02)


def test_the_labelled_images_are_judged_without_themselves(origin: Classifier) -> None:
    adapted = taught_by(origin, ("d", 3), ("e", 4))
    labels = adapted.images.labels[adapted.judged]
    assert (adapted.probabilities.argmax(axis=1) == labels).mean() > 0.9
    np.testing.assert_allclose(adapted.probabilities.sum(axis=1), 1, atol=1e-5)


def test_what_is_of_none_of_the_classes_takes_probability_from_all(origin: Classifier) -> None:
    adapted = taught_by(origin, ("d", 3), (None, 4))
    near, _ = score(adapted.metadata(origin.metadata), adapted.head, around(4, 20, seed=2))
    assert near.max() < 0.7
    assert adapted.images.is_negative.sum() == 10


def test_images_of_a_class_that_was_mistaken_go_where_people_put_them(origin: Classifier) -> None:
    """No class is new."""
    adapted = taught_by(origin, ("a", 3))
    assert adapted.images.classes == CLASSES
    assert folders(origin, adapted, around(3, 20, seed=2)).count("a") >= 18
    assert folders(origin, adapted, around(1, 20, seed=2)) == ["b"] * 20


def test_unknown_images_near_the_labelled_ones_are_known(origin: Classifier) -> None:
    adapted = taught_by(origin, ("d", 3))
    metadata = adapted.metadata(origin.metadata)
    strange = small_checkpoint().metadata.unknown
    basis = np.eye(1, WIDTH, dtype=np.float32)
    assert strange is not None
    strict = metadata.model_copy(update={"unknown": strange.model_copy(update={"limit": 1e-6})})
    head = replace(adapted.head, basis=basis)
    assert score(strict, head, around(3, 5, seed=2))[1].max() < score(strict, head, around(0, 5, seed=2))[1].min()


def in_use_after(origin: Classifier, adapted: Adaptation) -> Classifier:
    """The model that a lesson made."""
    checkpoint = Checkpoint(adapted.metadata(origin.metadata), adapted.head, small_checkpoint().golden)
    return Classifier(checkpoint, cast(FeatureExtractor, None))


def test_filed_images_may_follow_into_a_folder_that_was_not_there_when_they_were_filed(origin: Classifier) -> None:
    """Where people moved some from their folder into it."""
    adapted = taught_by(origin, ("d", 0))
    filed, metadata = FiledImages(around(0, 30, seed=2), ["a"] * 30), adapted.metadata(origin.metadata)
    steady = measure(filed, origin, metadata, adapted.head, {("a", "d")})
    assert steady.changed == 0
    assert steady.asked > 20
    strict = measure(filed, origin, metadata, adapted.head, {("b", "d"), ("a", "e")})
    assert (strict.changed, strict.asked) == (steady.asked, 0)


def test_where_too_many_change_what_was_taught_reaches_less_far(origin: Classifier) -> None:
    """Labelled images that are unlike each other, which makes much near, and filed ones that are somewhat like them."""
    adapted = taught_by(origin, ("d", 3), ("e", 4), spread=1.0)
    features = (CENTRES[0] + 0.3 * around(3, 60, seed=2, spread=1.0)).astype(np.float32)
    classes = [CLASSES[at] for at in score(origin.metadata, origin.head, features)[0].argmax(axis=1)]
    filed = FiledImages(features, classes)

    def measured(lesson: Adaptation) -> Steadiness:
        return measure(filed, origin, lesson.metadata(origin.metadata), lesson.head, set())

    assert measured(adapted).changed > 5
    steady = make_steady(adapted, measured)
    assert measured(steady).is_enough
    assert 0.05 < steady.nearness.limit / adapted.nearness.limit < 1
    assert steady.probabilities.shape == adapted.probabilities.shape
    assert make_steady(steady, measured) is steady
    never = Steadiness(500, 50, 0)
    assert make_steady(adapted, lambda _: never) is adapted, "to be refused as it is"


def test_filed_images_that_may_belong_into_a_new_folder_may_go_to_the_others(origin: Classifier) -> None:
    adapted = taught_by(origin, ("d", 0))
    unsure = adapted.metadata(origin.metadata).model_copy(update={"threshold": 1.0})
    filed = FiledImages(around(0, 30, seed=2), ["a"] * 30)
    steady = measure(filed, origin, unsure, adapted.head, {("a", "d")})
    assert steady.asked > 20
    assert steady.changed == 0
    for known in (1, 2):
        filed = FiledImages(around(known, 30, seed=2), [CLASSES[known]] * 30)
        steady = measure(filed, origin, unsure, adapted.head, set())
        assert steady.changed == steady.images > 20, "nobody taught anything like these"


def test_later_they_follow_those_that_people_moved_out_of_their_folder(origin: Classifier) -> None:
    in_use, adapted = in_use_after(origin, taught_by(origin, ("d", 3))), taught_by(origin, ("d", 0))
    sha256 = [str(at) for at in range(10)]
    moved = dict.fromkeys(sha256, "d")
    rows = {name: row.astype(np.float16) for name, row in zip(sha256, around(0, 10, seed=1), strict=True)}
    asked = asked_for(moved, rows, origin)
    assert asked == {("a", "d")}
    filed, metadata = FiledImages(around(0, 30, seed=2), ["a"] * 30), adapted.metadata(origin.metadata)
    strict = measure(filed, in_use, metadata, adapted.head, set())
    assert strict.changed > 20
    assert not strict.is_enough
    assert measure(filed, in_use, metadata, adapted.head, asked) == Steadiness(strict.images, 0, strict.changed)


def test_images_that_the_model_in_use_would_not_leave_in_their_folder_say_nothing(origin: Classifier) -> None:
    filed = FiledImages(around(0, 10, seed=2), ["b"] * 10)
    adapted = taught_by(origin, ("d", 0))
    assert measure(filed, origin, adapted.metadata(origin.metadata), adapted.head, set()) == Steadiness(0, 0, 0)


def test_nobody_asked_for_images_to_go_from_their_class_into_the_folder_above_it(origin: Classifier) -> None:
    before = origin.metadata.model_copy(update={"classes": ["x/a", "x/b", "c"]})
    in_use = Classifier(Checkpoint(before, origin.head, small_checkpoint().golden), cast(FeatureExtractor, None))
    less_sure = {"threshold": 1.0, "max_error": 0.02, "levels": [Level(depth=1, threshold=0.5)]}
    filed = FiledImages(around(0, 30, seed=2), ["x/a"] * 30)
    steady = measure(filed, in_use, before.model_copy(update=less_sure), origin.head, set())
    assert steady.images > 20
    assert (steady.changed, steady.asked) == (steady.images, 0)


@pytest.mark.parametrize(
    ("images", "changed", "enough"), [(500, 10, True), (500, 11, False), (20, 1, True), (0, 0, True)]
)
def test_one_in_fifty_may_change(images: int, changed: int, enough: bool) -> None:
    assert Steadiness(images, changed, 0).is_enough == enough
