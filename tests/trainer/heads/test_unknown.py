from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pytest

from trainer.data.folds import NEVER
from trainer.heads.directions import Inputs
from trainer.heads.unknown import REFUSED_SHARE, Span, distances_to_span, fit_span

WIDTH, VARYING = 60, 5
Array = npt.NDArray[np.float32]


def pictures(random: np.random.Generator, count: int, *, alike: bool = True) -> Array:
    """Features that vary in the first few directions if they are alike, else in the others; and noise in all."""
    features = random.normal(scale=0.1, size=(count, WIDTH))
    part = slice(VARYING) if alike else slice(VARYING, None)
    features[:, part] += random.normal(size=features[:, part].shape)
    return features.astype(np.float32)


def learned(count: int, seed: int = 0, folds: int = 5) -> Span:
    features = pictures(np.random.default_rng(seed), count)
    span = fit_span(Inputs(features - features.mean(axis=0)), np.arange(count) % folds)
    assert span is not None
    return span


def test_the_basis_is_orthonormal_and_is_where_known_images_vary() -> None:
    basis = learned(400).basis
    assert basis.dtype == np.float32
    np.testing.assert_allclose(basis @ basis.T, np.eye(len(basis)), atol=1e-5)
    assert np.linalg.norm(basis[:, :VARYING], axis=0) == pytest.approx(np.ones(VARYING), abs=0.05)


def test_other_images_are_farther_than_known_ones() -> None:
    span = learned(400)
    other = pictures(np.random.default_rng(1), 200, alike=False)
    assert (distances_to_span(other, span.basis) > span.limit).all()


@pytest.mark.parametrize("count", [40, 100, 200])
def test_so_many_known_images_are_refused_on_average_as_was_said(count: int) -> None:
    random = np.random.default_rng(2)
    refused = []
    for seed in range(30):
        span = learned(count, seed)
        refused.append((distances_to_span(pictures(random, 200), span.basis) > span.limit).mean())
    assert np.mean(refused) <= max(REFUSED_SHARE, 1 / count) * (1 + 4 / 30**0.5)  # four standard errors


def test_each_image_is_measured_by_a_basis_that_never_saw_it() -> None:
    """One odd image would be near a basis made of it."""
    features = pictures(np.random.default_rng(3), 200)
    features[17] = 0
    features[17, -1] = 1000
    span = fit_span(Inputs(features), np.arange(200) % 5)
    assert span is not None
    assert span.distances[17] > 800
    assert distances_to_span(features[17:18], span.basis)[0] < 100
    assert not span.known[17]
    assert span.known.sum() >= 197


def test_images_that_nobody_judges_count_as_known() -> None:
    features = pictures(np.random.default_rng(4), 200)
    folds = np.where(np.arange(200) < 40, 0, NEVER)
    span = fit_span(Inputs(features), folds)
    assert span is not None
    assert np.isfinite(span.distances[:40]).all()
    assert np.isnan(span.distances[40:]).all()
    assert span.known[40:].all()


@pytest.mark.parametrize("folds", [np.full(100, NEVER), np.arange(15) % 5, np.zeros(100, np.int64)])
def test_with_too_few_images_nothing_is_told(folds: npt.NDArray[np.int64]) -> None:
    assert fit_span(Inputs(pictures(np.random.default_rng(5), len(folds))), folds) is None
