"""How many mistakes can be promised, and what is promised in place of what cannot."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import binom

from models.checkpoints.promises import CERTAINTY
from trainer.measuring.promises import (
    LOWER_CERTAINTY,
    find_estimate,
    find_promise,
    images_needed,
    most_promising_size,
    nearest_promise,
    promise_instead,
    surest_only,
)

Confidence = npt.NDArray[np.float64]
Right = npt.NDArray[np.bool_]


def drawn(random: np.random.Generator, count: int, worst: float, shape: float) -> tuple[Confidence, Right]:
    """Images of any confidence in 0..1, of which ``worst * (1 - confidence) ** shape`` are wrong."""
    confidence = random.random(count)
    return confidence, random.random(count) >= worst * (1 - confidence) ** shape


def sure_then_unsure(sure: int, unsure: int) -> Confidence:
    """Images of a confidence above 0.997, and others of one below 0.7."""
    return np.concatenate([np.linspace(0.9999, 0.997, sure), np.linspace(0.7, 0.5, unsure)])


def true_risk(threshold: float, worst: float, shape: float) -> float:
    """The share of mistakes among the images from ``threshold`` on: the mean of what `drawn` draws by."""
    return float(worst * (1 - threshold) ** shape / (shape + 1))


@settings(max_examples=10, deadline=None, derandomize=True)
@given(
    worst=st.floats(0.02, 1.0),
    shape=st.floats(0.0, 6.0),
    count=st.integers(60, 3000),
    max_error=st.sampled_from((0.01, 0.02, 0.05, 0.1)),
)
def test_a_promise_holds_in_95_of_100_draws(worst: float, shape: float, count: int, max_error: float) -> None:
    random = np.random.default_rng(0)
    broken = 0
    for _ in range(150):
        made = find_promise(*drawn(random, count, worst, shape), max_error)
        broken += made is not None and true_risk(made.threshold, worst, shape) > max_error
    assert broken <= binom.ppf(1 - 1e-6, 150, 1 - CERTAINTY)


def test_at_a_risk_just_above_what_is_allowed_the_doubt_is_used_up_but_not_exceeded() -> None:
    """The hardest case: whatever the threshold, a little more than 5 % are wrong, so that every promise is a lie."""
    random = np.random.default_rng(1)
    lies = sum(find_promise(*drawn(random, 1000, 0.051, 0.0), 0.05) is not None for _ in range(600))
    assert 0 < lies <= binom.ppf(1 - 1e-6, 600, 1 - CERTAINTY)


def test_most_images_are_filed_where_few_are_wrong() -> None:
    random = np.random.default_rng(2)
    made = find_promise(*drawn(random, 3000, 1.0, 3.0), 0.05)
    best = 1 - (0.05 * 4) ** (1 / 3)  # where the true risk is what is allowed
    assert made is not None
    assert best < made.threshold < best + 0.1
    assert made.coverage == pytest.approx(1 - made.threshold, abs=0.05)


@pytest.mark.parametrize(("max_error", "needed"), [(0.01, 299), (0.02, 149), (0.05, 59), (0.1, 29)])
def test_it_takes_so_many_images_without_a_mistake(max_error: float, needed: int) -> None:
    assert images_needed(max_error) == needed
    for count, possible in ((needed - 1, False), (needed, True)):
        confidence = np.linspace(0.5, 1, count)
        assert (find_promise(confidence, np.full(count, True), max_error) is not None) == possible


def test_where_nothing_is_wrong_everything_is_filed() -> None:
    made = find_promise(np.linspace(0.4, 1, 500), np.full(500, True), 0.05)
    assert made is not None
    assert (made.threshold, made.coverage) == (0.0, 1.0)


def test_one_mistake_among_the_surest_does_not_end_it() -> None:
    confidence, right = sure_then_unsure(2000, 1000), np.full(3000, True)
    right[0] = False
    right[2000::3] = False
    made = find_promise(confidence, right, 0.01)
    assert made is not None
    assert made.coverage > 0.5


def test_equally_sure_images_are_filed_together_or_not_at_all() -> None:
    confidence = np.repeat([0.9, 0.6], 500)
    right = np.concatenate([np.full(500, True), np.arange(500) % 4 > 0])
    made = find_promise(confidence, right, 0.05)
    assert made is not None
    assert made.coverage == 0.5
    assert np.float32(0.6) < made.threshold <= np.float32(0.9)


def test_probabilities_that_are_all_one_and_partly_wrong_promise_nothing() -> None:
    assert find_promise(np.ones(1000), np.arange(1000) % 2 == 0, 0.05) is None


def test_images_that_are_not_filed_whatever_the_threshold_do_not_count_as_mistakes() -> None:
    confidence = np.concatenate([np.linspace(0.5, 1, 500), np.full(100, -1.0)])
    right = np.concatenate([np.full(500, True), np.full(100, False)])
    made = find_promise(confidence, right, 0.01)
    assert made is not None
    assert made.threshold == 0.0
    assert made.coverage == pytest.approx(500 / 600)


@pytest.mark.parametrize("wrong", [1, 2, 3])
def test_a_few_mislabelled_images_among_the_surest_cost_no_promise(wrong: int) -> None:
    confidence, right = sure_then_unsure(1800, 600), np.full(2400, True)
    right[np.arange(1, wrong + 1) * 70] = False
    right[1800::3] = False
    made = find_promise(confidence, right, 0.01)
    assert made is not None
    assert made.coverage > 0.7


@pytest.mark.parametrize("max_error", [0.01, 0.02, 0.05, 0.1])
@pytest.mark.parametrize("count", [0, 1, 10, 1000])
def test_the_first_test_is_where_the_confidence_gives_it_the_best_chance_whatever_is_right(
    count: int, max_error: float
) -> None:
    confidence = np.random.default_rng(count).permutation(np.linspace(0.5, 1, count))
    first = most_promising_size(confidence, max_error)
    assert 0 < first < count / 7 + 2 or count == 0
    assert most_promising_size(np.concatenate([confidence, np.full(count, -1.0)]), max_error) == first
    assert most_promising_size(np.full(count, 1.0), max_error) == count


def test_an_estimate_counts_one_mistake_more_than_there_were() -> None:
    confidence = np.linspace(1, 0.5, 99)
    assert find_estimate(confidence[:98], np.full(98, True), 0.01) is None
    made = find_estimate(confidence, np.full(99, True), 0.01)
    assert made is not None
    assert (made.certainty, made.threshold, made.coverage) == (None, 0.5, 1.0)
    right = np.arange(99) != 90
    made = find_estimate(confidence, right, 0.02)
    assert made is not None
    assert made.coverage == pytest.approx(99 / 99)
    made = find_estimate(confidence, right, 0.015)
    assert made is not None
    assert made.coverage == pytest.approx(90 / 99)
    assert made.threshold == np.float32(confidence[89])


def test_equally_sure_images_are_estimated_together_and_those_never_filed_are_not() -> None:
    confidence = np.concatenate([np.full(200, 0.9), np.full(100, 0.6), np.full(20, -1.0)])
    right = np.concatenate([np.full(200, True), np.arange(100) < 50, np.full(20, True)])
    made = find_estimate(confidence, right, 0.01)
    assert made is not None
    assert made.threshold == np.float32(0.9)
    made = find_estimate(confidence, np.full(320, True), 0.01)
    assert made is not None
    assert made.coverage == pytest.approx(300 / 320)


@pytest.mark.parametrize(
    ("count", "mistakes", "max_error", "certainty"),
    [
        (200, [], 0.01, LOWER_CERTAINTY),  # 161 without a mistake will do
        (120, [], 0.01, None),  # 99 will do
        (70, [], 0.05, CERTAINTY),  # not enough to estimate 1 %
        (40, [], 0.08, CERTAINTY),
        (20, [], None, None),
        (0, [], None, None),
        (2400, range(0, 2400, 20), 0.07, CERTAINTY),  # one label in twenty is wrong
    ],
)
def test_the_strictest_that_the_images_give_is_taken_step_by_step(
    count: int, mistakes: list[int], max_error: float | None, certainty: float | None
) -> None:
    right = np.full(count, True)
    right[list(mistakes)] = False
    made = promise_instead(np.linspace(0.999, 0.9, count), right, 0.01)
    if max_error is None:
        assert made is None
        return
    assert made is not None
    assert made.max_error == max_error
    assert made.certainty == certainty


@settings(max_examples=40, deadline=None, derandomize=True)
@given(
    seed=st.integers(0, 10_000),
    worst=st.floats(0.02, 1.0),
    shape=st.floats(0.0, 6.0),
    count=st.integers(1, 3000),
    requested=st.sampled_from((0.001, 0.01, 0.02, 0.05, 0.2)),
)
def test_in_place_of_a_promise_nothing_laxer_is_taken_than_the_next_that_can_be_made(
    seed: int, worst: float, shape: float, count: int, requested: float
) -> None:
    confidence, right = drawn(np.random.default_rng(seed), count, worst, shape)
    made, last = promise_instead(confidence, right, requested), nearest_promise(confidence, right, requested)
    assert made is None or made.max_error >= requested
    if last is not None:
        assert made is not None
        assert made.threshold >= last.threshold


def test_where_nothing_can_be_promised_only_what_the_head_is_sure_of_is_filed_and_nothing_judged_wrong() -> None:
    confidence = np.linspace(0.6, 0.95, 8)
    assert surest_only(confidence, np.full(8, True), 0.01) == 0.99
    assert surest_only(confidence, np.full(8, True), 0.2) == 0.8
    assert surest_only(confidence, np.full(8, True), 0.9) == 0.5
    above = surest_only(confidence, np.arange(8) != 7, 0.2)
    assert 0.95 < above < 0.951
    assert surest_only(np.ones(2), np.array([True, False]), 0.01) == 1.0
    assert surest_only(np.array([-1.0]), np.array([False]), 0.01) == 0.99
    assert surest_only(np.empty(0), np.empty(0, np.bool_), 0.01) == 0.99
