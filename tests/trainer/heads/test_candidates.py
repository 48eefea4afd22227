from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from tests.trainer.clusters import task
from trainer.heads import candidates
from trainer.heads.candidates import CandidateHead, View
from trainer.heads.linear import GradientOptions, Linear, Scaling
from trainer.heads.logistic import fit_logistic
from trainer.measuring.calibration import accuracy, log_loss

PLAIN = Scaling(np.zeros(12, np.float32), np.ones(12, np.float32))


@pytest.fixture(scope="module")
def view() -> View:
    return View("one", (0,), task(150, 3, spread=0.9), PLAIN)


@pytest.fixture(scope="module")
def found(view: View) -> list[CandidateHead]:
    options = GradientOptions(epochs=3)
    return [
        candidates.logistic_candidate(view),
        candidates.gradient_candidate(view, options, None),
        candidates.discriminant_candidate(view),
    ]


def test_a_candidate_is_named_and_judged_out_of_fold(view: View, found: list[CandidateHead]) -> None:
    assert [candidate.name.partition(",")[0] for candidate in found] == [
        "one: logistic",
        "one: gradient",
        "one: discriminant",
    ]
    for candidate in found:
        assert len(candidate.heads) == view.task.groups
        logits = view.task.out_of_fold(candidate.heads)
        assert candidate.loss == pytest.approx(log_loss(logits, view.task.labels, candidate.temperature))
        assert candidate.accuracy == accuracy(logits, view.task.labels)


def test_the_strength_is_the_best_of_the_grid(view: View, found: list[CandidateHead]) -> None:
    losses = []
    for strength in candidates.STRENGTHS:
        (heads,) = fit_logistic(view.task, [strength])
        losses.append(view.candidate_from("", heads).loss)
    assert found[0].loss == pytest.approx(min(losses), abs=0.01)


def test_no_weaker_penalty_than_the_usual_one_is_taken_for_a_gain_by_chance() -> None:
    made = task(150, 3, spread=0.9)
    random = np.random.default_rng(0)
    for _ in range(5):
        given = dataclasses.replace(made, labels=random.permutation(made.labels))
        strength = candidates.logistic_candidate(View("", (0,), given, PLAIN)).strength
        assert strength is not None
        assert strength <= candidates.USUAL_STRENGTH


def test_a_weak_penalty_is_fitted_from_where_it_was_judged() -> None:
    view = View("", (0,), task(60, 3, spread=0.9), PLAIN)
    chosen = candidates.logistic_candidate(view)
    assert chosen.strength == candidates.STRENGTHS[-1]
    *_, judged = fit_logistic(view.task, candidates.STRENGTHS)
    for head, expected in zip(chosen.heads, judged, strict=True):
        np.testing.assert_allclose(head.weight, expected.weight)


def test_the_strongest_penalty_is_kept_where_many_images_show_that_it_is_best() -> None:
    view = View("", (0,), task(1200, 3, spread=2), PLAIN)
    strongest, usual, *_ = candidates.STRENGTHS
    losses = [candidates.logistic_candidate(view, [strength]).loss for strength in (strongest, usual)]
    assert losses[0] < losses[1] < 1.01 * losses[0]
    assert candidates.logistic_candidate(view).strength == strongest


def test_the_mean_weighs_both_by_their_temperatures(view: View, found: list[CandidateHead]) -> None:
    mean = candidates.mean_candidate(view, "mean", *found[:2])
    expected = sum(candidate.out_of_fold / candidate.temperature for candidate in found[:2]) / 2
    assert mean.name == "one: mean"
    assert mean.out_of_fold == pytest.approx(expected, rel=1e-3, abs=1e-3)


def test_heads_that_begin_from_texts_say_so() -> None:
    texts = Linear(np.ones((3, 12), np.float32), np.zeros(3, np.float32))
    begun = View("", (0,), task(60, 3), PLAIN, texts).starting_from_texts()
    assert candidates.logistic_candidate(begun).name.startswith("logistic from texts, C")
    assert candidates.gradient_candidate(begun, GradientOptions(epochs=2), None).name == "gradient from texts, 2 epochs"
    assert candidates.gradient_candidate(begun, GradientOptions(epochs=1), None).name == "gradient from texts, 1 epoch"
