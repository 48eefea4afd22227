from __future__ import annotations

import numpy as np
import pytest

from tests.trainer.clusters import Floats, Ints, clusters, folded, unit_length
from trainer.data.folds import NEVER
from trainer.heads.choice import Choice
from trainer.heads.choosing import choose_head, clearly_lower
from trainer.heads.linear import GradientOptions
from trainer.heads.views import Part
from trainer.measuring.calibration import accuracy, log_loss

OPTIONS = GradientOptions(epochs=5)


def one_part(spread: float = 0.8) -> tuple[Floats, Ints, Ints]:
    features, labels = clusters(300, 3, spread=spread)
    return unit_length(features, 12), labels, folded(300)


def two_parts(noise: float, *, useful: bool = True) -> tuple[Floats, Ints, Ints]:
    """A part that tells the classes apart, and one with that much noise on the same, or of nothing but noise."""
    good, labels = clusters(300, 3, spread=0.8)
    other, _ = clusters(300, 3, spread=noise, seed=5)
    if not useful:
        other = np.random.default_rng(5).normal(size=other.shape).astype(np.float32)
    return unit_length(np.concatenate([good, other], axis=1), 12, 12), labels, folded(300)


def chosen_of_two(features: Floats, labels: Ints, folds: Ints, *, drop: bool) -> Choice:
    return choose_head(features, labels, folds, 3, [Part("one", 12), Part("two", 12)], OPTIONS, drop_parts=drop)


def test_the_choice_is_explained_and_every_image_is_judged_by_a_head_that_never_saw_it() -> None:
    features, labels, folds = one_part()
    folds[:5] = NEVER
    choice = choose_head(features.copy(), labels, folds, 3, [Part("one", 12)], OPTIONS)
    assert choice.winner in [candidate.name for candidate in choice.candidates]
    assert "its loss is" in choice.reason
    assert choice.judged.sum() == 295
    assert choice.out_of_fold.shape == (295, 3)
    start = choice.start.head.logits(choice.start.scaling.apply(features[folds == 0]))
    out_of_fold = choice.out_of_fold[folds[folds != NEVER] == 0]
    assert out_of_fold / choice.temperature == pytest.approx(start, rel=1e-4, abs=1e-4)
    assert (choice.head.weight != choice.start.head.weight).any()


def test_labels_that_mean_nothing_cannot_be_learned_out_of_fold() -> None:
    features, labels, folds = one_part()
    choice = choose_head(features, np.random.default_rng(0).permutation(labels), folds, 3, [Part("one", 12)], OPTIONS)
    assert all(candidate.loss > 0.95 * np.log(3) for candidate in choice.candidates)


def test_without_folds_there_is_a_head_all_the_same() -> None:
    features, labels, folds = one_part()
    choice = choose_head(features.copy(), labels, np.full_like(folds, NEVER), 3, [Part("one", 12)], OPTIONS)
    assert accuracy(choice.head.logits(choice.scaling.apply(features)), labels) > 0.8
    assert (choice.temperature, len(choice.out_of_fold)) == (1.0, 0)


def test_one_fold_alone_may_judge() -> None:
    features, labels, folds = one_part()
    choice = choose_head(features, labels, np.where(folds == 0, 0, NEVER), 3, [Part("one", 12)], OPTIONS)
    assert (choice.judged == (folds == 0)).all()


def test_a_part_alone_is_served_where_the_other_only_disturbs() -> None:
    choice = chosen_of_two(*two_parts(1, useful=False), drop=True)
    assert choice.parts == (0,)
    assert choice.head.weight.shape == (3, 12)
    assert choice.scaling.mean.shape == (12,)
    assert "not clearly better than this one alone" in choice.reason


def test_two_parts_are_served_where_they_are_clearly_better_together() -> None:
    choice = chosen_of_two(*two_parts(0.9), drop=True)
    assert choice.parts == (0, 1)
    assert "all parts together are clearly better than the best single one, " in choice.reason


def test_parts_that_were_asked_for_stay_and_it_is_said_that_one_would_do() -> None:
    choice = chosen_of_two(*two_parts(1, useful=False), drop=False)
    assert choice.parts == (0, 1)
    assert choice.head.weight.shape == (3, 24)
    assert "one alone would do as well: fit with --drop-parts" in choice.reason
    assert {candidate.parts for candidate in choice.candidates} == {(0,), (1,), (0, 1)}


def test_texts_that_fit_help_and_texts_that_mean_nothing_do_no_harm() -> None:
    random = np.random.default_rng(0)
    texts = unit_length(random.normal(size=(6, 32)).astype(np.float32), 32)
    labels = np.arange(24) % 6
    features = unit_length((texts[labels] + random.normal(0, 0.25, (24, 32))).astype(np.float32), 32)
    folds = np.repeat(np.arange(4), 6)
    truth = np.repeat(np.arange(6), 50)
    check = unit_length((texts[truth] + random.normal(0, 0.25, (300, 32))).astype(np.float32), 32)

    def loss(read: Floats | None) -> tuple[float, Choice]:
        choice = choose_head(features.copy(), labels, folds, 6, [Part("one", 32, read)], OPTIONS)
        logits = choice.head.logits(choice.scaling.apply(check))
        return log_loss(logits, truth, choice.temperature), choice

    (plain, _), (helped, with_texts), (misled, _) = loss(None), loss(texts), loss(texts[[1, 2, 3, 4, 5, 0]])
    assert helped < 0.8 * plain
    assert any("from texts" in candidate.name for candidate in with_texts.candidates)
    assert misled < 1.1 * plain


def test_lower_by_chance_is_not_clearly_lower() -> None:
    random = np.random.default_rng(0)
    losses = random.exponential(1, 200)
    assert clearly_lower(losses - 0.1, losses)
    uneven = losses - np.where(np.arange(200) % 2, 1, -0.75)  # by two standard errors
    assert clearly_lower(uneven, losses)
    assert not clearly_lower(uneven, losses, standard_errors=3)
    assert not clearly_lower(losses, losses)
    assert not clearly_lower(losses - 5e-4, losses)
    assert not clearly_lower(losses[:1] - 0.5, losses[:1])
    assert not clearly_lower(losses + random.normal(0, 1, 200) + 0.02, losses)
