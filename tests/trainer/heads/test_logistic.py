from __future__ import annotations

import dataclasses
import gc
import weakref

import numpy as np
import pytest

from tests.trainer.clusters import clusters, task
from trainer.heads.directions import Inputs
from trainer.heads.linear import Linear
from trainer.heads.logistic import fit_logistic
from trainer.measuring.calibration import log_probabilities


@pytest.mark.parametrize("classes", [2, 4])
@pytest.mark.parametrize("strength", [1e-3, 0.1])
def test_every_head_is_scikit_learns(classes: int, strength: float) -> None:
    from sklearn.linear_model import LogisticRegression

    made = task(200, classes)
    (heads,) = fit_logistic(made, [strength])
    for group, head in enumerate(heads):
        rows = made.folds != group
        # Of two classes it makes one row of weights, with the penalty of two that are each half of it.
        reference = LogisticRegression(C=strength * (2 if classes == 2 else 1), max_iter=1000, tol=1e-6)
        reference.fit(made.scaled[rows], made.labels[rows], sample_weight=made.weights[rows, group])
        own = np.exp(log_probabilities(head.logits(made.scaled)))
        assert own == pytest.approx(reference.predict_proba(made.scaled), abs=0.02)


def test_rare_classes_count_as_scikit_learns_weights() -> None:
    from sklearn.linear_model import LogisticRegression

    features, labels = clusters(200, 4)
    kept = np.flatnonzero((labels != 3) | (np.arange(200) < 40))
    made = dataclasses.replace(
        task(1, 4, folds=0), inputs=Inputs(features[kept]), labels=labels[kept], folds=kept * 0 - 1
    )
    ((head,),) = fit_logistic(made, [0.1])
    reference = LogisticRegression(C=0.1, max_iter=1000, tol=1e-6)
    reference.fit(made.scaled, made.labels, sample_weight=made.weights[:, 0])
    assert np.exp(log_probabilities(head.logits(features))) == pytest.approx(
        reference.predict_proba(features), abs=0.02
    )


def test_a_path_of_strengths_ends_where_each_alone_would() -> None:
    made = task(200, 3)
    *_, path = fit_logistic(made, [1e-3, 1e-2, 1e-1])
    (alone,) = fit_logistic(made, [1e-1])
    for one, other in zip(path, alone, strict=True):
        assert np.exp(log_probabilities(one.logits(made.scaled))) == pytest.approx(
            np.exp(log_probabilities(other.logits(made.scaled))), abs=0.03
        )


def test_with_a_strong_penalty_it_stays_at_the_head_it_starts_from() -> None:
    start = Linear(np.eye(3, 12, dtype=np.float32), np.zeros(3, np.float32))
    ((head,),) = fit_logistic(task(60, 3, folds=0, start=start), [1e-7])
    assert np.abs(head.weight - start.weight).max() < 0.01


def test_features_are_let_go_of_with_their_task() -> None:
    """The features of a view that lost would stay beside the next one's until the garbage is collected."""
    gc.disable()
    try:
        made = task(60, 3)
        features = weakref.ref(made.scaled)
        list(fit_logistic(made, [0.1]))
        del made
        assert features() is None
    finally:
        gc.enable()


@pytest.mark.parametrize("strength", [3e-3, 1.0])
def test_more_directions_than_are_taken_first_are_fitted_to_the_end(strength: float) -> None:
    from sklearn.linear_model import LogisticRegression

    made = task(400, 4, width=320, spread=2.5, folds=0)
    ((head,),) = fit_logistic(made, [strength])
    reference = LogisticRegression(C=strength, max_iter=2000, tol=1e-6).fit(made.scaled, made.labels)
    own = np.exp(log_probabilities(head.logits(made.scaled)))
    assert own == pytest.approx(reference.predict_proba(made.scaled), abs=0.02)
    ((rough,),) = fit_logistic(made, [strength], full=False)
    assert rough.weight.shape == (4, 320)
    assert np.linalg.matrix_rank(rough.weight - head.weight) > 0
