"""Probabilities and strangeness are those of their formulas, whatever the features are."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from models.classifier import Prediction
from models.scoring import head_probabilities, head_strangeness, normalise
from tests.models.checkpoints import small_checkpoint


@pytest.mark.parametrize("normalisation", ["l2", "none"])
@pytest.mark.parametrize("temperature", [0.25, 1.0, 4.0])
@pytest.mark.parametrize("grouped", [True, False])
def test_probabilities_are_those_of_the_formula(normalisation: str, temperature: float, grouped: bool) -> None:
    checkpoint = small_checkpoint(normalisation=normalisation, temperature=temperature)
    head = checkpoint.head if grouped else dataclasses.replace(checkpoint.head, groups=None)
    features = np.random.default_rng(3).normal(scale=5.0, size=(7, 6)).astype(np.float32)

    expected = []
    for row in features.astype(np.float64):
        pieces = [row[:4], row[4:]]
        if normalisation == "l2":
            pieces = [piece / np.sqrt((piece**2).sum()) for piece in pieces]
        inputs = (np.concatenate(pieces) - head.mean) * head.scale
        pairs = zip(head.weight, head.bias, strict=True)
        scores = np.exp([((inputs * weight).sum() + bias) / temperature for weight, bias in pairs])
        outputs = scores / scores.sum()
        expected.append([outputs[[0, 4]].sum(), outputs[[1, 3]].sum(), outputs[2]] if grouped else outputs)

    got = head_probabilities(checkpoint.metadata, head, features)
    assert got.dtype == np.float32
    np.testing.assert_allclose(got, expected, rtol=2e-4, atol=1e-6)
    np.testing.assert_allclose(got.sum(axis=1), 1.0, rtol=1e-5)


@pytest.mark.parametrize("normalisation", ["l2", "none"])
def test_strangeness_is_the_distance_from_the_span_of_the_basis_over_the_limit(normalisation: str) -> None:
    checkpoint = small_checkpoint(normalisation=normalisation)
    metadata, head = checkpoint.metadata, checkpoint.head
    assert head.basis is not None
    features = np.random.default_rng(3).normal(scale=5.0, size=(7, 6)).astype(np.float32)
    got = head_strangeness(metadata, head, features)
    inputs = ((normalise(features, metadata) - head.mean) * head.scale).astype(np.float64)
    nearest = [np.linalg.lstsq(head.basis.T, row, rcond=None)[0] @ head.basis for row in inputs]
    np.testing.assert_allclose(got, np.linalg.norm(inputs - nearest, axis=1) / 3.5, rtol=1e-4)
    np.testing.assert_allclose(got, [head_strangeness(metadata, head, row[None])[0] for row in features], rtol=1e-5)


def test_without_a_basis_nothing_is_strange() -> None:
    checkpoint = small_checkpoint(unknown=None)
    features = np.full((3, 6), 1e6, np.float32)
    assert head_strangeness(checkpoint.metadata, checkpoint.head, features).tolist() == [0, 0, 0]
    assert not Prediction("cat", 0.5).unknown
    assert not Prediction("cat", 0.5, 1.0).unknown
    assert Prediction("cat", 0.99, 1.01).unknown


def test_each_part_is_brought_to_unit_length_for_itself() -> None:
    metadata = small_checkpoint().metadata
    features = np.array([[3, 0, 4, 0, 0, 1e-3], [0, 0, 0, 0, 1e6, 0]], np.float32)
    expected = np.array([[0.6, 0, 0.8, 0, 0, 1], [0, 0, 0, 0, 1, 0]], np.float32)
    np.testing.assert_allclose(normalise(features, metadata), expected, rtol=1e-6)
    np.testing.assert_array_equal(normalise(features, metadata.model_copy(update={"normalisation": "none"})), features)


def test_scores_of_any_size_give_probabilities() -> None:
    checkpoint = small_checkpoint(normalisation="none", temperature=1e-3)
    got = head_probabilities(checkpoint.metadata, checkpoint.head, np.full((2, 6), 1e4, np.float32))
    np.testing.assert_allclose(got.sum(axis=1), 1.0, rtol=1e-5)
