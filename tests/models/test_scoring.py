"""Probabilities and strangeness are those of their formulas, whatever the features are."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from models.checkpoints.head import NO_CLASS
from models.checkpoints.metadata import Unknown
from models.classifier import Prediction
from models.scoring import energies, head_probabilities, head_strangeness, normalise, score
from tests.models.small_checkpoints import small_checkpoint


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


@pytest.mark.parametrize("normalisation", ["l2", "none"])
def test_energy_makes_an_image_stranger_where_no_class_stands_out(normalisation: str) -> None:
    plain = small_checkpoint(normalisation=normalisation)
    told = Unknown(limit=3.5, refused=0.01, energy_weight=0.8, usual_energy=-2.0)
    metadata, head = plain.metadata.model_copy(update={"unknown": told}), plain.head
    features = np.random.default_rng(3).normal(scale=5.0, size=(7, 6)).astype(np.float32)
    got = head_strangeness(metadata, head, features)
    inputs = ((normalise(features, metadata) - head.mean) * head.scale).astype(np.float64)
    logits = (inputs @ head.weight.T + head.bias) / metadata.temperature
    energy = -np.log(np.exp(logits - logits.mean(axis=1, keepdims=True)).sum(axis=1))
    distances = 3.5 * head_strangeness(plain.metadata, head, features)
    expected = np.maximum(distances + 0.8 * (energy + 2.0), 0) / 3.5
    assert (expected > 0).any()
    assert not np.allclose(expected, distances / 3.5, rtol=0.01)
    np.testing.assert_allclose(got, expected, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(got, [head_strangeness(metadata, head, row[None])[0] for row in features], rtol=1e-5)


def test_energy_is_the_same_whatever_all_logits_have_in_common() -> None:
    logits = np.random.default_rng(0).normal(size=(5, 4))
    np.testing.assert_allclose(energies(logits + np.array([[0], [1e6], [-1e6], [3], [7]])), energies(logits), atol=1e-8)
    assert energies(np.array([[9.0, 0, 0]])) < energies(np.array([[1.0, 0, 0]])) < energies(np.zeros((1, 3)))


def test_judging_gives_what_both_give_alone() -> None:
    told = Unknown(limit=3.5, refused=0.01, energy_weight=0.8, usual_energy=-2.0)
    for checkpoint in (small_checkpoint(), small_checkpoint(unknown=told), small_checkpoint(unknown=None)):
        features = np.random.default_rng(3).normal(scale=5.0, size=(7, 6)).astype(np.float32)
        probabilities, strangeness = score(checkpoint.metadata, checkpoint.head, features)
        np.testing.assert_array_equal(probabilities, head_probabilities(checkpoint.metadata, checkpoint.head, features))
        np.testing.assert_array_equal(strangeness, head_strangeness(checkpoint.metadata, checkpoint.head, features))


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


def test_what_an_output_of_no_class_takes_is_of_no_class_and_makes_nothing_less_strange() -> None:
    plain = small_checkpoint()
    told = Unknown(limit=3.5, refused=0.01, energy_weight=0.8, usual_energy=-2.0)
    metadata = plain.metadata.model_copy(update={"unknown": told})
    features = np.random.default_rng(3).normal(scale=5.0, size=(7, 6)).astype(np.float32)
    groups = np.array([0, 1, 2, NO_CLASS, NO_CLASS])
    head = dataclasses.replace(plain.head, groups=groups)
    outputs = head_probabilities(
        metadata.model_copy(update={"classes": list("abcde")}), dataclasses.replace(plain.head, groups=None), features
    )
    np.testing.assert_allclose(head_probabilities(metadata, head, features), outputs[:, :3], rtol=1e-5)
    rest = dataclasses.replace(head, weight=head.weight[:3], bias=head.bias[:3], groups=None)
    np.testing.assert_allclose(
        head_strangeness(metadata, head, features), head_strangeness(metadata, rest, features), rtol=1e-5
    )
