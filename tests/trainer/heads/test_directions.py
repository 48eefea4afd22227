from __future__ import annotations

import numpy as np
import pytest

from tests.trainer.clusters import Floats
from trainer.heads.directions import Directions


def varied(images: int, width: int) -> Floats:
    """Centred features whose variances fall from direction to direction, and these are no axes."""
    random = np.random.default_rng(0)
    rotation = np.linalg.qr(random.normal(size=(width, width)))[0]
    features = (random.normal(size=(images, width)) * np.linspace(3, 0.1, width)) @ rotation
    centred: Floats = (features - features.mean(axis=0)).astype(np.float32)
    return centred


@pytest.mark.parametrize(("images", "width"), [(400, 30), (40, 300), (1500, 300)])
def test_they_are_orthonormal_and_the_steepest_come_first(images: int, width: int) -> None:
    features = varied(images, width)
    found = Directions.from_features(features)
    assert found.basis.T @ found.basis == pytest.approx(np.eye(len(found.variances)), abs=1e-3)
    assert sorted(found.variances.tolist(), reverse=True) == found.variances.tolist()
    assert (features @ found.basis).var(axis=0)[:5] == pytest.approx(found.variances[:5], rel=0.3)


def test_of_few_images_they_hold_all_there_is() -> None:
    features = varied(40, 300)
    found = Directions.from_features(features)
    assert found.basis.shape == (300, 39)
    assert features @ found.basis @ found.basis.T == pytest.approx(features, abs=1e-3)
    assert found.rest == pytest.approx(0, abs=1e-3)


def test_what_they_leave_is_shared_by_all_others() -> None:
    features = varied(1000, 300)
    found = Directions.from_features(features)
    total = found.variances.sum() + found.rest * (300 - len(found.variances))
    assert total == pytest.approx(features.var(axis=0).sum(), rel=1e-2)


def test_features_without_any_variance_have_none() -> None:
    found = Directions.from_features(np.zeros((5, 8), np.float32))
    assert np.isfinite(found.basis).all()
    assert found.rest == 0
