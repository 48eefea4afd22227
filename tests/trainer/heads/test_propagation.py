from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from models.checkpoints.checkpoint import Pretrained
from tests.trainer.clusters import Floats, Ints, clusters, unit_length
from trainer.data.folds import NEVER, Folds, assign
from trainer.heads.candidates import View, logistic_candidate
from trainer.heads.choice import Choice
from trainer.heads.choosing import choose_head
from trainer.heads.linear import GradientOptions
from trainer.heads.propagation import Propagation, neighbour_graph, propagate, unlabelled_inputs
from trainer.heads.views import Part, class_likenesses, view_as_classes, view_of_all_parts, view_of_part

CLASSES, WIDTH = 4, 40
PARTS = [Part("one", WIDTH)]


def drawn(count: int, seed: int, spread: float = 2.0) -> tuple[Floats, Ints]:
    """Clusters of which a few labelled images tell little, since their noise has as many directions as features."""
    features, labels = clusters(count, CLASSES, WIDTH, spread, seed)
    return unit_length(features, WIDTH), labels


def folds_of(labels: Ints, seed: int = 0) -> Folds:
    return assign([f"{number}" for number in range(len(labels))], [str(label) for label in labels], 5, seed)


def redrawn(labels: Ints) -> list[Folds]:
    return [folds_of(labels, seed) for seed in range(1, 5)]


def tried(labelled: int, unlabelled: Floats) -> Propagation:
    features, labels = drawn(labelled, seed=1)
    view = view_of_all_parts(features, labels, CLASSES, folds_of(labels), PARTS)
    return propagate(view, logistic_candidate(view), unlabelled, PARTS, redrawn(labels))


def misleading(count: int) -> Floats:
    """Images nearer to the first and third class, that push what is learned over to the second and fourth."""
    features, labels = drawn(2000, seed=3)
    centres = np.stack([features[labels == label].mean(axis=0) for label in range(CLASSES)])
    random = np.random.default_rng(4)
    towards = random.integers(0, 2, count) * 2
    images = 0.55 * centres[towards] + 0.45 * centres[towards + 1] + random.normal(0, 0.01, (count, WIDTH))
    return unit_length(images.astype(np.float32), WIDTH)


def test_images_that_lie_in_clusters_are_learned_from() -> None:
    propagation = tried(24, drawn(400, seed=2)[0])
    assert propagation.is_taken
    assert propagation.images == 400
    assert propagation.losses.mean() < propagation.plain_losses.mean()


def test_what_is_learned_from_them_holds_for_new_images() -> None:
    features, labels = drawn(24, seed=1)
    choices = [chosen(features, labels, more) for more in (None, drawn(400, seed=2)[0])]
    new, truth = drawn(400, seed=5)
    plain, better = (accuracy_on(choice, new, truth) for choice in choices)
    assert better > plain + 0.02
    assert "unlabelled images" in choices[1].label
    assert "unlabelled images help clearly" in choices[1].reason
    assert choices[1].winner in [candidate.name for candidate in choices[1].candidates]


def chosen(features: Floats, labels: Ints, unlabelled: Floats | None) -> Choice:
    return choose_head(
        features.copy(),
        labels,
        folds_of(labels),
        CLASSES,
        PARTS,
        GradientOptions(epochs=3),
        redrawn_folds=redrawn(labels),
        unlabelled=unlabelled,
    )


def accuracy_on(choice: Choice, features: Floats, labels: Ints) -> float:
    return float((choice.head.logits(choice.scaling.apply(features)).argmax(axis=1) == labels).mean())


@pytest.mark.parametrize(
    ("more_right", "more_loss", "is_taken"),
    [(0.0, 0.01, True), (-0.05, 0.01, True), (0.05, 0.01, False), (0.0, 0.0, False), (0.0, -0.01, False)],
)
def test_they_are_not_learned_from_where_the_head_served_otherwise_is_better(
    more_right: float, more_loss: float, is_taken: bool
) -> None:
    """However clearly they help a logistic head, judged by the same images in the same folds."""
    propagation = tried(20, drawn(400, seed=2)[0])
    candidate = propagation.candidate
    best = replace(candidate, accuracy=candidate.accuracy + more_right, losses=candidate.losses + more_loss)
    compared = replace(propagation, best=best)
    assert compared.helps_clearly
    assert compared.is_taken == is_taken


def test_a_head_that_is_better_without_them_is_served_though_they_help_a_logistic_one() -> None:
    features, labels = drawn(20, seed=1)
    plain, refused = (chosen(features, labels, more) for more in (None, drawn(400, seed=2)[0]))
    assert refused.propagation is not None
    assert refused.propagation.helps_clearly
    assert refused.propagation.best.loss < refused.propagation.candidate.loss
    assert not refused.propagation.is_taken
    assert (refused.winner, refused.reason, refused.temperature) == (plain.winner, plain.reason, plain.temperature)


def test_they_are_not_tried_where_a_class_has_no_judged_image() -> None:
    features, labels = drawn(20, seed=1)
    folds = np.where(labels == 3, NEVER, folds_of(labels))
    choice = choose_head(features, labels, folds, CLASSES, PARTS, GradientOptions(), unlabelled=drawn(400, seed=2)[0])
    assert choice.judged.any()
    assert choice.propagation is None


@pytest.mark.parametrize("labelled", [20, 120])
def test_images_that_mislead_are_not_learned_from(labelled: int) -> None:
    propagation = tried(labelled, misleading(400))
    assert not propagation.is_taken


def test_a_choice_that_does_not_learn_from_them_is_the_same_as_without_them() -> None:
    features, labels = drawn(120, seed=1)
    plain, refused = (chosen(features, labels, more) for more in (None, misleading(200)))
    assert refused.propagation is not None
    assert not refused.propagation.is_taken
    assert (refused.winner, refused.reason, refused.temperature) == (plain.winner, plain.reason, plain.temperature)
    assert (refused.head.weight == plain.head.weight).all()
    assert len(refused.candidates) == len(plain.candidates) + 1


def test_no_head_knows_a_label_that_it_is_judged_by() -> None:
    """Labels that mean nothing are not recognised out of fold, though images like each lie among the unlabelled."""
    features, _ = drawn(120, seed=1)
    labels = np.random.default_rng(0).permutation(np.arange(120) % CLASSES)
    view = view_of_all_parts(features.copy(), labels, CLASSES, folds_of(labels), PARTS)
    propagation = propagate(view, logistic_candidate(view), features, PARTS, [])
    assert propagation.candidate.accuracy < 0.45
    assert not propagation.is_taken


def test_without_judged_images_they_are_not_tried() -> None:
    features, labels = drawn(20, seed=1)
    folds = np.full(20, NEVER)
    choice = choose_head(features, labels, folds, CLASSES, PARTS, GradientOptions(), unlabelled=drawn(40, seed=2)[0])
    assert choice.propagation is None


def test_one_unlabelled_image_is_enough_to_try() -> None:
    assert tried(20, drawn(1, seed=2)[0]).images == 1


def test_the_graph_joins_images_of_one_cluster() -> None:
    features, labels = drawn(80, seed=1, spread=0.2)
    rows, columns = neighbour_graph(features).nonzero()
    assert (rows != columns).all()
    assert (labels[rows] == labels[columns]).mean() > 0.95


def test_inputs_are_made_as_those_of_the_labelled_images_were() -> None:
    features, labels = drawn(40, seed=1)
    random = np.random.default_rng(0)
    pretrained = Pretrained.rounded(random.normal(size=(30, WIDTH)).astype(np.float32), np.zeros(30, np.float32))
    part = Part("one", WIDTH, pretrained=pretrained)
    raw = features * 3
    plain = view_of_all_parts(raw.copy(), labels, CLASSES, folds_of(labels), [part])
    assert unlabelled_inputs(raw.copy(), [part], plain) == pytest.approx(plain.task.scaled, abs=1e-5)
    likenesses = class_likenesses(raw, part)
    assert likenesses is not None
    classes: View = view_as_classes(likenesses, part, plain)
    assert unlabelled_inputs(raw.copy(), [part], classes) == pytest.approx(classes.task.scaled, abs=1e-5)


def test_inputs_of_one_of_two_parts_are_its_own() -> None:
    features, labels = drawn(40, seed=1)
    noise = np.random.default_rng(0).normal(size=(40, 7)).astype(np.float32)
    parts = [Part("noise", 7), Part("one", WIDTH)]
    both = np.concatenate([noise, features], axis=1)
    whole = view_of_all_parts(both.copy(), labels, CLASSES, folds_of(labels), parts)
    assert unlabelled_inputs(both.copy(), parts, whole) == pytest.approx(whole.task.scaled, abs=1e-5)
    one = view_of_part(whole, parts, 1)
    assert unlabelled_inputs(both.copy(), parts, one) == pytest.approx(one.task.scaled, abs=1e-5)
