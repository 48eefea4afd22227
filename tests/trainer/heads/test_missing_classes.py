from __future__ import annotations

import numpy as np
import pytest

from models.scoring import energies
from tests.trainer.clusters import Floats, Ints
from trainer.data.folds import NEVER
from trainer.heads.choice import Choice
from trainer.heads.choosing import choose_head
from trainer.heads.linear import GradientOptions, to_unit_length
from trainer.heads.missing_classes import MissingClasses
from trainer.heads.unknown import REFUSED_SHARE, Distances, Span, distances_to_span
from trainer.heads.views import Part

OPTIONS = GradientOptions(epochs=5)
WIDTH = 40


def pictures(count: int, classes: int, *, seed: int = 0, only: int | None = None) -> tuple[Floats, Ints]:
    """Features of classes whose centres lie in a few common directions; ``only`` of one class, which is the last."""
    random = np.random.default_rng(seed)
    centres = np.zeros((8, WIDTH))
    centres[:, :8] = 3 * np.eye(8)
    labels = np.arange(count) % classes if only is None else np.full(count, only)
    noise = random.normal(0, 0.3, (count, WIDTH))
    noise[:, :8] += random.normal(0, 0.6, (count, 8))
    return (centres[labels] + noise + 1).astype(np.float32), labels.astype(np.int64)


def chosen(features: Floats, labels: Ints, folds: Ints | None = None) -> Choice:
    folds = np.arange(len(labels)) // 8 % 5 if folds is None else folds
    return choose_head(features.copy(), labels, folds, int(labels.max()) + 1, [Part("one", WIDTH)], OPTIONS)


def refused(choice: Choice, features: Floats, *, energy: bool = True) -> float:
    """The share of raw features that lie beyond the limit, by distance alone or with the energy as well."""
    span = choice.span
    assert span is not None
    unit = features.copy()
    to_unit_length(unit, [WIDTH])
    scaled = choice.scaling.apply(unit)
    scores = distances_to_span(scaled, span.basis)
    if not energy:
        known = distances(choice, span)
        return float((scores > np.quantile(known, 1 - REFUSED_SHARE)).mean())
    logits = choice.head.logits(scaled) / choice.temperature
    return float((scores + span.energy_weight * (energies(logits) - span.usual_energy) > span.limit).mean())


def distances(choice: Choice, span: Span) -> Distances:
    """The distances of the judged images, without the energy."""
    energy = energies(choice.out_of_fold / choice.temperature)
    alone: Distances = span.distances[choice.judged] - span.energy_weight * (energy - span.usual_energy)
    return alone


@pytest.mark.parametrize("classes", [2, 3, 5])
def test_a_class_that_is_missing_is_noticed_more_often_and_known_images_are_not(classes: int) -> None:
    choice = chosen(*pictures(400, classes))
    near, _ = pictures(200, classes, seed=1, only=6)
    known, _ = pictures(1000, classes, seed=2)
    assert refused(choice, near) >= refused(choice, near, energy=False)
    assert refused(choice, near) > 0.5
    assert refused(choice, known) <= 2.5 * REFUSED_SHARE


def test_what_is_like_nothing_known_is_refused_as_before() -> None:
    choice = chosen(*pictures(400, 4))
    far = np.random.default_rng(3).normal(0, 2, (200, WIDTH)).astype(np.float32)
    assert refused(choice, far) >= refused(choice, far, energy=False)
    assert refused(choice, far) > 0.95


def test_the_limit_is_that_of_the_sum_for_images_that_were_held_out() -> None:
    choice = chosen(*pictures(400, 4))
    span = choice.span
    assert span is not None
    assert span.energy_weight > 0
    assert np.mean(~span.known) == pytest.approx(REFUSED_SHARE, abs=0.01)
    assert span.limit > 0


@pytest.mark.parametrize("count", [24, 48])
def test_few_images_have_a_limit_too(count: int) -> None:
    """Then it is the largest sum of a known image, so that none of them is refused."""
    choice = chosen(*pictures(count, 3), np.arange(count) // 3 % 4)
    assert choice.span is not None
    assert choice.span.known.all()
    assert np.isfinite([choice.span.limit, choice.span.energy_weight, choice.span.usual_energy]).all()


def test_images_that_nobody_judges_have_no_strangeness() -> None:
    features, labels = pictures(200, 4)
    folds = np.where(np.arange(200) < 80, 0, NEVER)
    choice = chosen(features, labels, folds)
    assert choice.span is not None
    assert np.isfinite(choice.span.distances[:80]).all()
    assert np.isnan(choice.span.distances[80:]).all()
    assert choice.missing_classes is not None


def test_each_class_is_left_out_in_turn() -> None:
    """One of the classes is a shade of another, so that nobody would notice if it were missing."""
    features, labels = pictures(500, 5)
    features[labels == 4] = features[labels == 3][: (labels == 4).sum()] + 0.05
    choice = chosen(features, labels)
    assert choice.missing_classes is not None
    assert sorted(np.unique(choice.missing_classes.labels)) == [0, 1, 2, 3, 4]
    shares = [choice.missing_classes.filed_share(label, 0.5) for label in range(5)]
    assert min(shares[3:]) > 0.8
    assert (choice.missing_classes.mostly_into(3, 0.5), choice.missing_classes.mostly_into(4, 0.5)) == (4, 3)
    assert max(shares[:3]) < 0.5


def test_what_is_foretold_comes_true() -> None:
    """A class that is left out for the forecast fares as it does once it really is missing."""
    features, labels = pictures(600, 6)
    missing = chosen(features, labels).missing_classes
    assert missing is not None
    foretold = missing.unknown[missing.labels == 5].mean()
    without = chosen(features[labels != 5], labels[labels != 5])
    near, _ = pictures(300, 6, seed=1, only=5)
    assert foretold == pytest.approx(refused(without, near), abs=0.15)


@pytest.mark.parametrize("classes", [1, 2, 3])
def test_with_fewer_than_four_classes_nothing_is_foretold(classes: int) -> None:
    choice = chosen(*pictures(100, classes))
    assert choice.missing_classes is None


def test_many_classes_are_left_out_together() -> None:
    random = np.random.default_rng(0)
    labels = np.arange(480) % 60
    features = (2 * random.normal(size=(60, WIDTH))[labels] + random.normal(size=(480, WIDTH))).astype(np.float32)
    choice = chosen(features, labels, np.arange(480) // 60 % 4)
    assert choice.missing_classes is not None
    assert len(np.unique(choice.missing_classes.labels)) == 60


def test_the_share_of_a_class_that_would_be_filed() -> None:
    confidence, unknown = np.array([0.9, 0.6, 0.4, 0.95, 0.3]), np.array([False, False, False, True, False])
    missing = MissingClasses(np.array([0, 0, 0, 0, 2]), np.array([1, 2, 2, 2, 1]), confidence, unknown)
    assert missing.classes == [0, 2]
    assert (missing.mostly_into(0, 0.5), missing.mostly_into(0, 0.8), missing.mostly_into(0, 0.99)) == (1, 1, None)
    assert missing.mostly_into(0, 0.4) == 2
    assert missing.filed_share(0, 0.5) == 0.5
    assert missing.filed_share(0, 0.8) == 0.25
    assert missing.filed_share(2, 0.3) == 1.0
    assert np.isnan(missing.filed_share(1, 0.5))
