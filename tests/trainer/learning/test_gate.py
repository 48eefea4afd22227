from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from models.checkpoints.head import Pretrained
from models.deciding.rule import DecisionRule
from models.scoring import likeness
from tests.models.small_checkpoints import small_checkpoint
from tests.trainer.clusters import Ints, clusters, folded
from trainer.heads.candidates import Kind
from trainer.heads.recipe import Recipe
from trainer.learning.gate import Before, Recorded, judge, outcomes, probability_of_chance
from trainer.learning.kept import KeptFeatures, as_hashes
from trainer.learning.lesson import FittedLesson, LessonImages, fit_lesson, gather
from trainer.measuring.calibration import log_probabilities

WIDTH = 12
CLASSES = ["a", "b", "c"]


def digest(number: int) -> str:
    return f"{number:064x}"


def kept_of(count: int, *, predicted: Ints | None = None, labels: Ints | None = None) -> KeptFeatures:
    """Images of three clusters, all of which the fit had right unless it is said."""
    features, made = clusters(count, 3, WIDTH, spread=0.3)
    truth = made if labels is None else labels
    return KeptFeatures(
        features.astype(np.float16),
        truth,
        truth if predicted is None else predicted,
        folded(count, 5),
        np.arange(count),
        as_hashes([digest(number) for number in range(count)]),
        CLASSES,
        Recipe(strength=1e-1),
        5,
        0,
    )


def lesson_of(kept: KeptFeatures, answers: dict[str, str | None], count: int = 0) -> FittedLesson:
    """A lesson with ``answers``; ``count`` images beside the data set have features of the classes in turn."""
    features, _ = clusters(max(count, 3), 3, WIDTH, spread=0.3, seed=7)
    new = {digest(1000 + number): row.astype(np.float16) for number, row in enumerate(features[:count])}
    names = sorted({*kept.classes, *(name for name in answers.values() if name is not None)})
    part = small_checkpoint().metadata.parts[0].model_copy(update={"width": WIDTH})
    return fit_lesson(gather(kept, answers, new, names), [part], kept.recipe, None, None)


def before_of(images: LessonImages, right: float) -> Before:
    """A head that had the first share of the images right."""
    count = len(images.labels)
    is_right = np.arange(count) < right * count
    return Before(np.full(count, True), is_right, np.where(is_right, 0.9, 0.1))


def test_the_loss_of_right_images_is_judged_by_an_exact_test() -> None:
    right = np.array([True] * 50 + [False] * 10)
    assert probability_of_chance(right, right) == 1
    before = right.copy()
    before[50:54] = True
    assert probability_of_chance(right, before) == pytest.approx(1 / 16)
    before[54] = True
    assert probability_of_chance(right, before) == pytest.approx(1 / 32)
    assert probability_of_chance(before, right) == 1


def test_answers_win_over_the_data_set_and_what_is_new_keeps_its_fold() -> None:
    kept = kept_of(30)
    answers: dict[str, str | None] = {digest(0): "c", digest(1): None, digest(1000): "a", digest(1001): "d"}
    features = {digest(number): np.zeros(WIDTH, np.float16) for number in (1000, 1001)}
    images = gather(kept, answers, features, ["a", "b", "c", "d"])
    assert images.labels[:2].tolist() == [2, 4]
    assert images.labels[30:].tolist() == [0, 3]
    assert (images.folds[:30] == kept.folds).all()
    assert images.is_labelled.nonzero()[0].tolist() == [0, 1, 30, 31]
    assert images.is_trusted.nonzero()[0].tolist() == [0, *range(2, 30)]
    more = gather(kept, answers | {digest(5): "a"}, features, ["a", "b", "c", "d"])
    assert (more.folds == images.folds).all()


def test_a_lesson_that_has_more_labels_right_passes() -> None:
    kept = kept_of(150)
    fitted = lesson_of(kept, {digest(1000 + number): CLASSES[number % 3] for number in range(30)}, 30)
    judgement = judge(fitted, kept, before_of(fitted.images, 0.97), DecisionRule(0.5), may_win_nothing=False)
    assert judgement.passed
    assert judgement.figures["labelled"]["images"] == 30


def test_a_lesson_that_wins_nothing_does_not_pass_unless_labels_were_taken_back() -> None:
    kept = kept_of(150)
    fitted = lesson_of(kept, {digest(1000 + number): CLASSES[number % 3] for number in range(30)}, 30)
    perfect = replace(before_of(fitted.images, 1), probability=np.ones(180))
    assert not judge(fitted, kept, perfect, DecisionRule(0.5), may_win_nothing=False).passed
    assert judge(fitted, kept, perfect, DecisionRule(0.5), may_win_nothing=True).passed
    hesitant = replace(before_of(fitted.images, 1), probability=np.full(180, 0.4))
    assert judge(fitted, kept, hesitant, DecisionRule(0.5), may_win_nothing=False).passed, (
        "as many are right, and surer"
    )


@pytest.mark.parametrize(("count", "passes"), [(20, False), (190, True)])
def test_where_few_images_judge_their_loss_has_to_be_clearly_lower(count: int, passes: bool) -> None:
    """It wins with labelled images hardly more than it loses with the others: with few of them that may be chance."""
    kept = kept_of(count)
    fitted = lesson_of(kept, {digest(1000 + number): CLASSES[number % 3] for number in range(12)}, 12)
    _, probability = outcomes(fitted, DecisionRule(0.5))
    lost = -np.log(probability[:count]).sum()
    less_sure = np.exp(-1.1 * lost / 12) * probability
    before = replace(before_of(fitted.images, 1), probability=np.where(fitted.images.is_labelled, less_sure, 1))
    judgement = judge(fitted, kept, before, DecisionRule(0.5), may_win_nothing=False)
    assert judgement.passed == passes
    assert ("more labels will tell" in judgement.reason) != passes
    assert judge(fitted, kept, before, DecisionRule(0.5), may_win_nothing=True).passed


def test_a_lesson_that_loses_labelled_images_does_not_pass_although_labels_were_taken_back() -> None:
    kept = kept_of(150)
    answers: dict[str, str | None] = {digest(1000 + number): CLASSES[(number + 1) % 3] for number in range(12)}
    fitted = lesson_of(kept, answers, 12)  # which contradict the data set
    judgement = judge(fitted, kept, before_of(fitted.images, 1), DecisionRule(0.5), may_win_nothing=True)
    assert judgement.figures["data_set"]["right"] == judgement.figures["data_set"]["images"]
    assert not judgement.passed
    assert "nothing is won" in judgement.reason


def test_a_lesson_that_loses_the_data_set_does_not_pass() -> None:
    kept = kept_of(150)
    wrong: dict[str, str | None] = {digest(1000 + number): CLASSES[(number + 1) % 3] for number in range(120)}
    fitted = lesson_of(kept, wrong, 120)
    judgement = judge(fitted, kept, before_of(fitted.images, 150 / 270), DecisionRule(0.5), may_win_nothing=False)
    assert not judgement.passed
    assert "more than chance is lost" in judgement.reason


def test_small_losses_of_many_lessons_do_not_add_up() -> None:
    """The head in use has lost as much as this one, but the fit had all of it right."""
    fit_right = kept_of(150)
    random = np.random.default_rng(0)
    noisy = np.where(random.random(150) < 0.3, (fit_right.labels + 1) % 3, fit_right.labels)
    fitted = lesson_of(
        kept_of(150, labels=noisy), {digest(1000 + number): CLASSES[number % 3] for number in range(9)}, 9
    )
    kept = kept_of(150, predicted=noisy, labels=noisy)
    in_use = before_of(fitted.images, 0.5)
    assert not judge(fitted, kept, in_use, DecisionRule(0.5), may_win_nothing=False).passed


@pytest.mark.parametrize(
    ("label", "predicted", "at_most"),
    [("a", "a", 0.7), ("b", "b", 0.8), ("b", "a", 0.2), ("b", "", 0.8), ("d", "a", 0.0), ("", "a", 0.2)],
)
def test_a_label_that_was_changed_is_judged_in_favour_of_the_head_before(
    label: str, predicted: str, at_most: float
) -> None:
    """Nothing but the probability of the label of then is known; without any, a lesson would be won by what stayed."""
    recorded = Recorded("", "a", predicted, 0.7, 0, 0.8)
    assert recorded.at_most(label, CLASSES) == pytest.approx(at_most)


def test_negatives_are_one_more_output_and_neither_trusted_nor_known() -> None:
    kept = kept_of(150)
    fitted = lesson_of(kept, {digest(number): None for number in range(0, 30, 3)})  # ten of class a
    assert fitted.head.groups is not None
    assert fitted.head.groups.tolist() == [0, 1, 2, -1]
    assert fitted.probabilities.shape == (int(fitted.judged.sum()), 3)
    assert (fitted.probabilities.sum(axis=1) <= 1 + 1e-9).all()
    whole = np.exp(log_probabilities(fitted.candidate.out_of_fold, fitted.temperature))
    assert fitted.probabilities == pytest.approx(whole[:, :3])
    assert not fitted.is_unknown[fitted.images.is_negative[fitted.judged]].any()
    assert fitted.images.is_trusted.sum() == 140


@pytest.mark.parametrize("kind", ["logistic", "gradient", "mean", "discriminant"])
@pytest.mark.parametrize("from_texts", [False, True])
def test_every_kind_of_head_is_fitted_again_with_a_new_class(kind: Kind, from_texts: bool) -> None:
    kept = replace(kept_of(150), recipe=Recipe(kind=kind, strength=1e-1, shrinkage=0.3, epochs=20, lr=1e-2))
    random = np.random.default_rng(1)
    features = {digest(1000 + number): random.normal(-3, 0.3, WIDTH).astype(np.float16) for number in range(20)}
    images = gather(kept, dict.fromkeys(features, "d"), features, [*CLASSES, "d"])
    part = small_checkpoint().metadata.parts[0].model_copy(update={"width": WIDTH})
    texts = random.normal(0, 0.1, (4, WIDTH)).astype(np.float32) if from_texts else None
    fitted = fit_lesson(images, [part], kept.recipe, None, texts)
    right = fitted.probabilities.argmax(axis=1) == images.labels[fitted.judged]
    assert right.mean() > 0.95
    assert right[images.is_labelled[fitted.judged]].mean() > 0.9


def test_a_head_on_pretrained_classes_is_fitted_again_on_them() -> None:
    kept = kept_of(150)
    weight = np.random.default_rng(2).normal(0, 0.3, (8, WIDTH)).astype(np.float32)
    pretrained = Pretrained.rounded(weight, np.zeros(8, np.float32))
    part = small_checkpoint().metadata.parts[0].model_copy(update={"width": WIDTH})
    answers: dict[str, str | None] = {digest(1000 + number): CLASSES[number % 3] for number in range(30)}
    features, _ = clusters(30, 3, WIDTH, spread=0.3, seed=7)
    new = {digest(1000 + number): row.astype(np.float16) for number, row in enumerate(features)}
    fitted = fit_lesson(gather(kept, answers, new, CLASSES), [part], kept.recipe, pretrained, None)
    assert fitted.head.pretrained is pretrained
    served = (likeness(kept.features.astype(np.float32), pretrained) - fitted.head.mean) * fitted.head.scale
    logits = served @ fitted.head.weight.T + fitted.head.bias
    assert (logits.argmax(axis=1) == kept.labels).mean() > 0.95


@pytest.mark.parametrize(("count", "is_outgrown"), [(40, False), (80, True)])
def test_a_recipe_that_was_chosen_by_few_images_is_given_up_for_a_better_one(count: int, is_outgrown: bool) -> None:
    """Pretrained classes that tell nothing apart, by which the fit had nevertheless gone."""
    kept = replace(kept_of(60), recipe=Recipe(as_classes=True))
    features, truth = clusters(count, 3, WIDTH, spread=0.3, seed=7)
    new = {digest(1000 + number): row.astype(np.float16) for number, row in enumerate(features)}
    answers = {digest(1000 + number): CLASSES[label] for number, label in enumerate(truth.tolist())}
    part = small_checkpoint().metadata.parts[0].model_copy(update={"width": WIDTH})
    useless = Pretrained.rounded(np.zeros((4, WIDTH), np.float32), np.zeros(4, np.float32))
    fitted = fit_lesson(gather(kept, answers, new, CLASSES), [part], kept.recipe, useless, None)
    assert (fitted.head.pretrained is None) == is_outgrown
    assert (fitted.predictions(fitted.images.is_trusted).right.mean() > 0.9) == is_outgrown
    assert fitted.candidate.kind == ("mean" if is_outgrown else "logistic")
