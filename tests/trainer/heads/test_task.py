from __future__ import annotations

import numpy as np
import pytest

from tests.trainer.clusters import clusters, task
from trainer.data.folds import NEVER
from trainer.heads.directions import Inputs
from trainer.heads.linear import Linear
from trainer.heads.task import FittingTask


def test_an_image_has_no_weight_for_the_head_that_judges_it() -> None:
    features, labels = clusters(6, 2)
    made = FittingTask(Inputs(features), labels, 2, np.array([0, 2, 0, 2, NEVER, 2]))
    assert made.judging_folds == [0, 2]
    assert made.groups == 3
    assert (made.weights > 0).tolist() == [
        [False, True, True],
        [True, False, True],
        [False, True, True],
        [True, False, True],
        [True, True, True],
        [True, False, True],
    ]
    assert made.judged.tolist() == [True, True, True, True, False, True]


def test_images_of_equal_classes_count_alike() -> None:
    assert (task(60, 3).weights[:, -1] == 1).all()


def test_classes_count_alike_for_every_head_whatever_it_is_not_fitted_on() -> None:
    """Or else the class of an image that is held out would seem rare where there are few."""
    features, labels = clusters(8, 2)
    folds = np.where(np.arange(8) < 3, np.where(labels == 0, 0, 1), 2)
    made = FittingTask(Inputs(features), labels, 2, folds)
    for weights in made.weights.T:
        shares = [float(weights[labels == label].sum()) for label in range(2)]
        assert shares[0] == pytest.approx(shares[1])
        assert weights[weights > 0].mean() == pytest.approx(1)


def test_classes_count_alike_but_not_where_a_single_image_would_count_for_hundreds() -> None:
    labels = np.repeat(np.arange(3), (200, 50, 1))
    weights = FittingTask(Inputs(clusters(251, 3)[0]), labels, 3, np.full(251, NEVER)).weights[:, 0]
    shares = [float(weights[labels == label].sum()) for label in range(3)]
    assert weights.mean() == pytest.approx(1)
    assert shares[1] == pytest.approx(shares[0])
    assert shares[2] == pytest.approx(shares[0] / 10)


def test_out_of_fold_each_image_is_judged_by_its_own_folds_head() -> None:
    made = task(30, 2)
    heads = [Linear(np.zeros((2, 12), np.float32), np.array([number, 0], np.float32)) for number in range(4)]
    assert (made.out_of_fold(heads)[:, 0] == made.folds).all()


def test_heads_add_up_with_what_they_start_from() -> None:
    start = Linear(np.ones((2, 12), np.float32), np.array([1, 2], np.float32))
    made = task(30, 2, start=start)
    heads = made.make_heads(np.zeros((12, 4, 2), np.float32), np.zeros((4, 2), np.float32))
    assert len(heads) == 4
    assert all((head.weight == start.weight).all() and (head.bias == start.bias).all() for head in heads)
    assert (made.offset == start.logits(made.scaled).astype(np.float32)).all()


def test_for_a_comparison_fewer_folds_judge_and_no_head_is_fitted_on_all() -> None:
    made = task(300, 3)
    few = made.judged_by(150)
    assert few.judging_folds == [0, 1]
    assert few.groups == 2
    assert (few.judged == np.isin(made.folds, [0, 1])).all()
    assert (few.weights[:, 0] == made.weights[:, 0]).all()
    assert made.judged_by(10_000).judging_folds == made.judging_folds
