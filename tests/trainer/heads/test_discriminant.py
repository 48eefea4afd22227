from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from tests.trainer.clusters import clusters, task
from trainer.heads.directions import Inputs
from trainer.heads.discriminant import fit_discriminant
from trainer.measuring.calibration import accuracy


@pytest.mark.parametrize("classes", [2, 4])
def test_every_head_is_scikit_learns(classes: int) -> None:
    from sklearn.discriminant_analysis import LinearDiscriminantAnalysis

    made = task(300, classes)
    (heads,) = fit_discriminant(made, [0.3])
    for group, head in enumerate(heads):
        rows = made.folds != group
        reference = LinearDiscriminantAnalysis(solver="lsqr", shrinkage=0.3, priors=np.full(classes, 1 / classes))
        # scikit-learn shrinks each class's covariance and weighs them by the priors: nearly the same with equal classes
        reference.fit(made.scaled[rows], made.labels[rows])
        assert (head.logits(made.scaled).argmax(axis=1) == reference.predict(made.scaled)).mean() > 0.97


def test_it_learns_from_fewer_images_than_features() -> None:
    made = task(30, 3, width=60)
    check, truth = clusters(200, 3, width=60, seed=1)
    for heads in fit_discriminant(made, [0.3, 0.9]):
        assert accuracy(heads[-1].logits(check), truth) > 0.9


def test_a_class_that_is_wholly_held_out_spoils_nothing() -> None:
    made = task(60, 3)
    made.folds[:] = np.where(made.labels == 2, 0, 1)
    (heads,) = fit_discriminant(made, [0.3])
    assert all(np.isfinite(head.weight).all() and np.isfinite(head.bias).all() for head in heads)


def test_one_image_a_class_is_enough() -> None:
    made = task(3, 3, folds=0)
    for ((head,),) in (fit_discriminant(made, [0.3]), fit_discriminant(made, [0.9])):
        assert accuracy(head.logits(made.scaled), made.labels) == 1


@pytest.mark.parametrize(("images", "width", "rank"), [(400, 300, 300), (60, 300, 59), (400, 20, 20)])
def test_in_all_directions_it_has_the_whole_covariance(images: int, width: int, rank: int) -> None:
    made = task(images, 3, width=width, folds=0)
    centred = Inputs(made.scaled - made.scaled.mean(axis=0))
    made = replace(made, inputs=centred.in_all_directions())
    assert made.inputs.directions.basis.shape == (width, rank), "few centred images lie in fewer directions"
    ((head,),) = fit_discriminant(made, [0.3])
    means = np.stack([made.scaled[made.labels == label].mean(axis=0) for label in range(3)])
    within = made.scaled - means[made.labels]
    shrunk = 0.7 * within.T @ within / images + 0.3 * max(within.var(), 0.1) * np.eye(width)
    # The logits of Gaussians are ten times as large.
    assert 10 * head.weight @ shrunk == pytest.approx(means, abs=0.02)
