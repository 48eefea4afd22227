from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from models.checkpoints.checkpoint import Head
from tests.trainer.clusters import clusters, unit_length
from trainer.heads.linear import Linear, Scaling


def test_each_part_is_scaled_to_unit_length() -> None:
    features = unit_length(np.array([[3, 4, 5, 12]], np.float32), 2, 2)
    assert features[0].tolist() == pytest.approx([0.6, 0.8, 5 / 13, 12 / 13])
    assert not np.isnan(unit_length(np.zeros((1, 4), np.float32), 4)).any()


def test_scaling_gives_every_part_the_same_weight() -> None:
    random = np.random.default_rng(0)
    features = np.concatenate([random.normal(5, 100, (500, 3)), random.normal(0, 0.01, (500, 7))], 1).astype(np.float32)
    scaling = Scaling.from_features(features, [3, 7])
    scaled = scaling.apply(features)
    assert np.abs(scaled.mean(axis=0)).max() < 1e-3
    assert scaled[:, :3].var() == pytest.approx(1, rel=0.01)
    assert scaled[:, 3:].var() == pytest.approx(1, rel=0.01)
    assert len(set(scaling.scale[:3].tolist())) == 1


def random_head(seed: int) -> Linear:
    random = np.random.default_rng(seed)
    return Linear(random.normal(size=(3, 12)).astype(np.float32), random.normal(size=3).astype(np.float32))


def test_heads_that_are_added_and_averaged_add_and_average_their_logits() -> None:
    features, _ = clusters(50, 3)
    one, other = random_head(1), random_head(2)
    logits, others = one.logits(features), other.logits(features)
    expected = (logits / 2 + others / 0.5) / 2
    assert one.divided_by(2).averaged_with(other.divided_by(0.5)).logits(features) == pytest.approx(
        expected, rel=1e-4, abs=1e-4
    )
    assert one.added_to(other).logits(features) == pytest.approx(logits + others, rel=1e-4, abs=1e-4)


def test_a_chosen_head_fits_a_checkpoints_head() -> None:
    assert {field.name for field in dataclasses.fields(Linear)} | {
        field.name for field in dataclasses.fields(Scaling)
    } <= {field.name for field in dataclasses.fields(Head)}
