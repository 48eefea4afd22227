from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import binom

from trainer.measuring.measure import LabelledPredictions
from trainer.measuring.thresholds import (
    CERTAINTY,
    STANDARD_MAX_ERRORS,
    choose_thresholds,
    find_promise,
    images_needed,
    thresholds_for,
)

Confidence = npt.NDArray[np.float64]
Right = npt.NDArray[np.bool_]


def predictions(confidence: Confidence, right: Right, unknown: Right | None = None) -> LabelledPredictions:
    """Images of a hundred classes, the first of which is predicted so surely."""
    others = np.repeat((1 - confidence)[:, None] / 99, 99, axis=1)
    return LabelledPredictions(
        [f"{at}" for at in range(100)], np.where(right, 0, 1), np.column_stack([confidence, others]), unknown
    )


#: 200 images: of 40 it is not sure enough, of the others 4 are wrong, and 10 of these are unknown, 2 of them wrong.
SOME = predictions(np.repeat([0.4, 0.9], [40, 160]), np.arange(200) % 40 != 39, np.arange(200) >= 190)


def drawn(random: np.random.Generator, count: int, worst: float, shape: float) -> tuple[Confidence, Right]:
    """Images of any confidence in 0..1, of which ``worst * (1 - confidence) ** shape`` are wrong."""
    confidence = random.random(count)
    return confidence, random.random(count) >= worst * (1 - confidence) ** shape


def drawn_surely(random: np.random.Generator, count: int) -> tuple[Confidence, Right]:
    """The same, of more than a hundredth, as the most probable of a hundred classes is."""
    confidence, right = drawn(random, count, 0.5, 4.0)
    return np.maximum(confidence, 0.0101), right


def true_risk(threshold: float, worst: float, shape: float) -> float:
    """The share of mistakes among the images from ``threshold`` on: the mean of what `drawn` draws by."""
    return float(worst * (1 - threshold) ** shape / (shape + 1))


@settings(max_examples=10, deadline=None, derandomize=True)
@given(
    worst=st.floats(0.02, 1.0),
    shape=st.floats(0.0, 6.0),
    count=st.integers(60, 3000),
    max_error=st.sampled_from(STANDARD_MAX_ERRORS),
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
    confidence, right = np.linspace(1, 0, 3000), np.full(3000, True)
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


def test_the_promises_that_can_be_made_are_made_and_said() -> None:
    random = np.random.default_rng(3)
    images = predictions(*drawn_surely(random, 2000))
    made = thresholds_for(images, np.arange(2000), 0.03)
    assert [each.max_error for each in made.promises] == [0.01, 0.02, 0.03, 0.05, 0.1]
    assert made.requested_promise == made.promises[2]
    assert [each.threshold for each in made.promises] == sorted(
        (each.threshold for each in made.promises), reverse=True
    )
    served, *others = made.sentences(images)
    assert served.startswith(
        f"pictures it is less than {100 * made.promises[2].threshold:.3g} % sure of go to others/ (at most 3 % of "
        f"those filed are wrong, 95 % certain): of 2000 judged images {round(2000 * made.promises[2].coverage)} ("
    )
    for sentence, other in zip(others, [*made.promises[:2], *made.promises[3:]], strict=True):
        typed = float(sentence.removeprefix("with --threshold ").partition(", ")[0])
        assert other.threshold <= typed < other.threshold + 2e-4
        assert sentence.endswith(
            f", {images.filing(typed).filed / 2000:.1%} of the judged images are filed; "
            f"at most {100 * other.max_error:g} % of what is filed will be wrong (95 % certain)"
        )


def test_without_a_promise_the_usual_threshold_is_in_force_and_the_others_are_there_to_be_set() -> None:
    made = choose_thresholds(np.linspace(0.4, 1, 500), np.full(500, True), None)
    served, *others = made.sentences(SOME)
    assert served == (
        "pictures it is less than 50 % sure of go to others/ (the usual threshold, since none was asked for by "
        "--max-error): of 200 judged images 150 (75.0%) are filed, 3 of them wrongly (2.00%)"
    )
    assert others == [
        "with --threshold 0.0001, 95.0% of the judged images are filed; "
        "at most 1 % of what is filed will be wrong (95 % certain)"
    ]  # and not the same threshold again for 2, 5 and 10 %


def test_a_threshold_of_nothing_is_not_told_as_one() -> None:
    images = predictions(np.linspace(0.4, 1, 500), np.full(500, True), np.arange(500) < 5)
    served, *_ = thresholds_for(images, np.arange(500), 0.05).sentences(images)
    assert served == (
        "only pictures unlike anything it was taught go to others/ (at most 5 % of those filed are wrong, 95 % "
        "certain): of 500 judged images 495 (99.0%) are filed, 0 of them wrongly (0.00%)"
    )


def test_the_threshold_that_is_named_is_that_of_the_checkpoint() -> None:
    for asked in (None, 0.01, 0.1):
        made = choose_thresholds(np.linspace(0.4, 1, 100), np.full(100, True), asked)
        kept = None if made.requested_promise is None else made.requested_promise.threshold
        assert made.threshold == (0.5 if kept is None else kept)
        assert (kept is None) == (asked != 0.1)


@pytest.mark.parametrize(
    ("count", "told"),
    [(0, "no image could be judged to tell how many that are"), (20, "of 20 judged images none is filed")],
)
def test_where_nothing_is_filed_nothing_is_said_of_mistakes(count: int, told: str) -> None:
    images = predictions(np.full(count, 0.9), np.full(count, True), np.full(count, True))
    assert choose_thresholds(np.empty(0), np.empty(0, np.bool_), None).sentences(images)[0].endswith(f": {told}")


def test_with_too_few_images_the_number_that_it_takes_is_said() -> None:
    made = choose_thresholds(np.linspace(0.5, 1, 200), np.full(200, True), 0.01)
    assert made.requested_promise is None
    assert [each.max_error for each in made.promises] == [0.02, 0.05, 0.1]
    refusal, served, *_ = made.sentences(SOME)
    assert refusal == (
        "at most 1 % wrong cannot be promised: that takes 299 images without a mistake, and only 200 could be judged"
    )
    assert served.startswith(
        "pictures it is less than 50 % sure of go to others/ (the usual threshold): of 200 judged images 150 (75.0%)"
    )


def test_with_too_many_mistakes_it_is_said() -> None:
    confidence = np.linspace(0.5, 1, 1000)
    images = LabelledPredictions(["a", "b"], np.arange(1000) % 2, np.column_stack([confidence, 1 - confidence]))
    made = thresholds_for(images, np.arange(1000), 0.1)
    assert made.promises == []
    assert "there are too many mistakes among the surest of the 1000 judged images" in made.sentences(images)[0]


def test_with_few_mistakes_among_few_images_it_is_said_that_they_are_too_few() -> None:
    probabilities = np.column_stack([np.linspace(0.6, 1, 87), np.linspace(0.4, 0, 87)])
    wrong = np.isin(np.arange(87), [40, 85]).astype(np.int64)
    made = thresholds_for(LabelledPredictions(["a", "b"], wrong, probabilities), np.arange(87), 0.05)
    assert made.requested_promise is None
    assert made.sentences(LabelledPredictions(["a", "b"], wrong, probabilities))[0] == (
        "at most 5 % wrong cannot be promised: 2 of 87 images are filed wrongly, and so few images are not enough to "
        "be sure"
    )


def test_copies_of_a_picture_count_once_and_unknown_images_are_not_filed() -> None:
    probabilities = np.column_stack([np.linspace(0.5, 1, 100), np.linspace(0.5, 0, 100)])
    images = LabelledPredictions(["a", "b"], np.zeros(100, np.int64), probabilities, np.arange(100) % 2 == 1)
    pictures = np.arange(100)
    made = thresholds_for(images, pictures, None)
    assert made.judged == 100
    assert made.promises[0].coverage == 0.5
    copied = thresholds_for(images, pictures % 50, 0.05)
    assert copied.judged == 50
    assert copied.requested_promise is None


def test_where_nothing_was_judged_nothing_is_promised() -> None:
    assert choose_thresholds(np.empty(0), np.empty(0, np.bool_), None).promises == []
