from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from tests.trainer.clusters import clusters, task
from trainer.heads.gradient import fit_gradient
from trainer.heads.linear import Epoch, GradientOptions, Linear
from trainer.measuring.calibration import accuracy, log_loss


@pytest.mark.parametrize("classes", [2, 5])
def test_it_learns(classes: int) -> None:
    made = task(300, classes)
    heads, _ = fit_gradient(made, GradientOptions(epochs=20))
    check, truth = clusters(200, classes, seed=1)
    assert len(heads) == 4
    assert accuracy(heads[-1].logits(check), truth) > 0.9
    assert accuracy(made.out_of_fold(heads), made.labels) > 0.9


def test_a_seed_gives_the_same_heads_again_and_another_seed_others() -> None:
    heads = [fit_gradient(task(100, 3), GradientOptions(epochs=2, seed=seed))[0][-1].weight for seed in (4, 4, 5)]
    assert (heads[0] == heads[1]).all()
    assert (heads[0] != heads[2]).any()


def test_early_stopping_restores_the_epoch_that_was_best_out_of_fold() -> None:
    made = task(60, 4, width=60, spread=3.0)
    epochs: list[Epoch] = []
    heads, best = fit_gradient(made, GradientOptions(epochs=60, lr=0.1, patience=3), epochs.append)
    assert len(epochs) < 60
    losses = [epoch.held_out_loss for epoch in epochs]
    assert best == int(np.argmin(losses)) + 1
    logits = made.out_of_fold(heads)
    assert log_loss(logits, made.labels) == pytest.approx(losses[best - 1])
    assert accuracy(logits, made.labels) == epochs[best - 1].held_out_accuracy


def test_patience_zero_never_stops() -> None:
    epochs: list[Epoch] = []
    made = task(40, 4, width=60, spread=3.0)
    fit_gradient(made, GradientOptions(epochs=30, lr=0.1, patience=0), epochs.append)
    assert len(epochs) == 30


def test_a_head_learns_nothing_from_the_fold_it_judges() -> None:
    made = task(90, 3)
    wrong = made.labels.copy()
    wrong[made.folds == 1] = np.roll(wrong[made.folds == 1], 1)
    options = GradientOptions(epochs=1)
    heads, others = (
        fit_gradient(dataclasses.replace(made, labels=labels), options)[0] for labels in (made.labels, wrong)
    )
    assert np.abs(heads[1].weight - others[1].weight).max() < 1e-6
    assert np.abs(heads[0].weight - others[0].weight).max() > 1e-3


def test_it_begins_from_the_head_it_is_given() -> None:
    start = Linear(np.eye(3, 12, dtype=np.float32), np.zeros(3, np.float32))
    (head,), _ = fit_gradient(task(60, 3, folds=0, start=start), GradientOptions(epochs=1, lr=1e-6))
    assert np.abs(head.weight - start.weight).max() < 1e-3


def test_the_losses_of_the_epochs_are_what_the_heads_lose() -> None:
    epochs: list[Epoch] = []
    (head,), last = fit_gradient(task(300, 3, folds=0), GradientOptions(epochs=4, lr=1e-2), epochs.append)
    assert last == 4
    assert [epoch.train_loss for epoch in epochs] == sorted((epoch.train_loss for epoch in epochs), reverse=True)
    assert epochs[0].train_loss < np.log(3) * 1.2
    assert np.isnan(epochs[-1].held_out_loss)
    assert head.weight.shape == (3, 12)
