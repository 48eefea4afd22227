from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from models.checkpoint import Head
from trainer.calibrate import accuracy
from trainer.choose import choose, clearly_lower
from trainer.heads import Epoch, GradientOptions, Linear, Scaling, fit_gradient, fit_logistic, unit_length

Floats = np.ndarray[tuple[int, ...], np.dtype[np.float32]]
Ints = np.ndarray[tuple[int, ...], np.dtype[np.int64]]


def clusters(count: int, classes: int, width: int = 12, spread: float = 0.6, seed: int = 0) -> tuple[Floats, Ints]:
    """Features around one centre a class, in turn."""
    random = np.random.default_rng(seed)
    centres = np.random.default_rng(99).normal(0, 1, (classes, width))
    labels = np.arange(count) % classes
    return (centres[labels] + random.normal(0, spread, (count, width))).astype(np.float32), labels.astype(np.int64)


def test_each_part_is_scaled_to_unit_length() -> None:
    features = unit_length(np.array([[3, 4, 5, 12]], np.float32), [2, 2])
    assert features[0].tolist() == pytest.approx([0.6, 0.8, 5 / 13, 12 / 13])
    assert not np.isnan(unit_length(np.zeros((1, 4), np.float32), [4])).any()


def test_scaling_gives_every_part_the_same_weight() -> None:
    random = np.random.default_rng(0)
    features = np.concatenate([random.normal(5, 100, (500, 3)), random.normal(0, 0.01, (500, 7))], 1).astype(np.float32)
    scaling = Scaling.of(features, [3, 7])
    scaled = scaling.apply(features)
    assert np.abs(scaled.mean(axis=0)).max() < 1e-3
    assert scaled[:, :3].var() == pytest.approx(1, rel=0.01)
    assert scaled[:, 3:].var() == pytest.approx(1, rel=0.01)
    assert len(set(scaling.scale[:3].tolist())) == 1


@pytest.mark.parametrize("classes", [2, 5])
def test_both_heads_learn(classes: int) -> None:
    train, labels = clusters(300, classes)
    check, truth = clusters(200, classes, seed=1)
    gradient, _ = fit_gradient(train, labels, classes, GradientOptions(epochs=20))
    logistic = fit_logistic(train, labels, classes, 0.1)
    assert accuracy(gradient.logits(check), truth) > 0.9
    assert accuracy(logistic.logits(check), truth) > 0.9


def test_a_binary_logistic_head_has_scikit_learns_probabilities() -> None:
    from sklearn.linear_model import LogisticRegression

    train, labels = clusters(100, 2)
    head = fit_logistic(train, labels, 2, 0.1)
    logits = head.logits(train)
    own = np.exp(logits[:, 1]) / np.exp(logits).sum(axis=1)
    assert own == pytest.approx(
        LogisticRegression(C=0.1, max_iter=300).fit(train, labels).predict_proba(train)[:, 1], abs=1e-3
    )


def test_a_seed_gives_the_same_head_again_and_another_seed_another() -> None:
    train, labels = clusters(100, 3)
    heads = [fit_gradient(train, labels, 3, GradientOptions(epochs=2, seed=seed))[0].weight for seed in (4, 4, 5)]
    assert (heads[0] == heads[1]).all()
    assert (heads[0] != heads[2]).any()


def test_early_stopping_restores_the_best_epoch() -> None:
    train, labels = clusters(40, 4, width=60, spread=3.0)
    held_out = clusters(400, 4, width=60, spread=3.0, seed=1)
    epochs: list[Epoch] = []
    head, best = fit_gradient(
        train, labels, 4, GradientOptions(epochs=60, lr=0.1, patience=3), held_out=held_out, on_epoch=epochs.append
    )
    assert len(epochs) < 60
    losses = [epoch.held_out_loss for epoch in epochs]
    assert best == int(np.argmin(losses)) + 1
    assert accuracy(head.logits(held_out[0]), held_out[1]) == epochs[best - 1].held_out_accuracy


def test_patience_zero_never_stops() -> None:
    train, labels = clusters(40, 4, width=60, spread=3.0)
    epochs: list[Epoch] = []
    options = GradientOptions(epochs=30, lr=0.1, patience=0)
    fit_gradient(train, labels, 4, options, held_out=clusters(40, 4, width=60, seed=1), on_epoch=epochs.append)
    assert len(epochs) == 30


def test_the_mean_of_two_heads_is_the_mean_of_their_logits() -> None:
    train, labels = clusters(50, 3)
    one, other = fit_logistic(train, labels, 3, 0.1), fit_logistic(train, labels, 3, 1e-3)
    expected = (one.logits(train) / 2 + other.logits(train) / 0.5) / 2
    assert one.over(2).mean(other.over(0.5)).logits(train) == pytest.approx(expected, rel=1e-4, abs=1e-4)


def chosen(
    spread: float = 0.8, seed: int = 0, held: float = 0.3
) -> tuple[Floats, Ints, np.ndarray[tuple[int], np.dtype[np.bool_]]]:
    features, labels = clusters(300, 3, spread=spread, seed=seed)
    mask = np.random.default_rng(0).random(300) < held
    return unit_length(features, [12]), labels, mask


def test_the_choice_is_explained_and_its_logits_are_of_a_head_that_never_saw_the_images() -> None:
    features, labels, held = chosen()
    choice = choose(features, labels, held, 3, [12], GradientOptions(epochs=5))
    assert choice.winner in [candidate.name for candidate in choice.candidates]
    assert "chance" in choice.reason
    again = choose(features[~held], labels[~held], np.zeros(int((~held).sum()), bool), 3, [12], GradientOptions())
    assert again.held_out.shape == (0, 3)
    trained = choice.trained.logits(choice.trained_scaling.apply(features[held]))
    assert (trained == choice.held_out).all()
    assert (choice.head.weight != choice.trained.weight).any()
    flipped = labels.copy()
    flipped[held] = (labels[held] + 1) % 3
    other = choose(features, flipped, held, 3, [12], GradientOptions(epochs=5, patience=0))
    logistic = [next(c for c in made.candidates if c.name.startswith("logistic")) for made in (choice, other)]
    strength = {candidate.name for candidate in logistic}
    if len(strength) == 1:  # what was held out did not take part in the fit
        assert (logistic[0].head.weight == logistic[1].head.weight).all()


def test_without_held_out_images_there_is_a_head_all_the_same() -> None:
    features, labels, held = chosen()
    choice = choose(features, labels, np.zeros_like(held), 3, [12], GradientOptions())
    assert accuracy(choice.head.logits(choice.scaling.apply(features)), labels) > 0.8
    assert choice.temperature == 1.0


def test_lower_by_chance_is_not_clearly_lower() -> None:
    random = np.random.default_rng(0)
    losses = random.exponential(1, 200)
    assert clearly_lower(losses - 0.1, losses)
    assert not clearly_lower(losses, losses)
    assert not clearly_lower(losses + random.normal(0, 1, 200) + 0.02, losses)


def test_a_chosen_head_fits_a_checkpoints_head() -> None:
    assert {field.name for field in dataclasses.fields(Linear)} | {
        field.name for field in dataclasses.fields(Scaling)
    } == {field.name for field in dataclasses.fields(Head)} - {"groups"}
