from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import pytest

from trainer.measuring.labelled_predictions import LabelledPredictions
from trainer.measuring.thresholds import Thresholds, choose_thresholds, thresholds_for

Confidence = npt.NDArray[np.float64]
Right = npt.NDArray[np.bool_]


def predictions(confidence: Confidence, right: Right, unknown: Right | None = None) -> LabelledPredictions:
    """Images of a hundred classes, the first of which is predicted so surely."""
    others = np.repeat((1 - confidence)[:, None] / 99, 99, axis=1)
    return LabelledPredictions(
        [f"{at}" for at in range(100)], np.where(right, 0, 1), np.column_stack([confidence, others]), unknown
    )


def names(count: int) -> list[str]:
    return [f"{at}.jpg" for at in range(count)]


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


def test_the_promises_that_can_be_made_are_made_and_said() -> None:
    random = np.random.default_rng(3)
    images = predictions(*drawn_surely(random, 2000))
    made = thresholds_for(images, np.arange(2000), 0.03, names(2000))
    assert [each.max_error for each in made.promises] == [0.01, 0.02, 0.03, 0.05, 0.1]
    assert made.kept_promise == made.promises[2]
    assert made.remedy is None
    assert [each.threshold for each in made.promises] == sorted(
        (each.threshold for each in made.promises), reverse=True
    )
    served, *others = made.sentences(images)
    assert served.startswith(
        f"images it is less than {100 * made.promises[2].threshold:.3g} % sure of go to others/ (at most 3 % of "
        f"those filed are wrong, 95 % certain): of 2000 judged images {round(2000 * made.promises[2].coverage)} ("
    )
    for sentence, other in zip(others, [*made.promises[:2], *made.promises[3:]], strict=True):
        typed = float(sentence.removeprefix("with --threshold ").partition(", ")[0])
        assert other.threshold <= typed < other.threshold + 2e-4
        assert sentence.endswith(
            f", {images.counts_at(typed).filed / 2000:.1%} of the judged images are filed; "
            f"at most {100 * other.max_error:g} % of what is filed will be wrong (95 % certain)"
        )


def test_without_a_promise_the_usual_threshold_is_in_force_and_the_others_are_there_to_be_set() -> None:
    made = choose_thresholds(np.linspace(0.4, 1, 500), np.full(500, True), None, names(500))
    served, *others = made.sentences(SOME)
    assert served == (
        "images it is less than 50 % sure of go to others/ (the default threshold, since --max-error is not "
        "given): of 200 judged images 150 (75.0%) are filed, 3 of them wrongly (2.00%)"
    )
    assert others == [
        "with --threshold 0.0001 (files all but what is unlike anything it was taught), 95.0% of the judged images are "
        "filed; "
        "at most 1 % of what is filed will be wrong (95 % certain)"
    ]  # and not the same threshold again for 2, 5 and 10 %


def test_a_threshold_of_nothing_is_not_told_as_one() -> None:
    images = predictions(np.linspace(0.4, 1, 500), np.full(500, True), np.arange(500) < 5)
    served, *_ = thresholds_for(images, np.arange(500), 0.05, names(500)).sentences(images)
    assert served == (
        "only images unlike anything it was taught go to others/ (at most 5 % of those filed are wrong, 95 % "
        "certain): of 500 judged images 495 (99.0%) are filed, 0 of them wrongly (0.00%)"
    )


@pytest.mark.parametrize(
    ("count", "told"),
    [(0, "no image could be judged to tell how many that are"), (20, "of 20 judged images none is filed")],
)
def test_where_nothing_is_filed_nothing_is_said_of_mistakes(count: int, told: str) -> None:
    images = predictions(np.full(count, 0.9), np.full(count, True), np.full(count, True))
    assert thresholds_for(images, np.arange(count), None, names(count)).sentences(images)[0].endswith(f": {told}")


def said(count: int, requested: float, wrong: Sequence[int] = (), least: float = 0.7) -> tuple[Thresholds, str]:
    """What is made of so many images, and the first sentence up to what becomes of them: its one about promises."""
    right = np.full(count, True)
    right[list(wrong)] = False
    images = predictions(np.linspace(0.999, least, count), right)
    made = thresholds_for(images, np.arange(count), requested, names(count))
    return made, made.sentences(images)[0].partition("): of ")[0]


def test_a_promise_that_is_less_certain_says_so_and_how_many_images_would_make_it_certain() -> None:
    made, sentence = said(250, 0.01)
    assert sentence == (
        "images it is less than 70 % sure of go to others/ (at most 1 % of those filed are wrong, but only 80 % "
        "certain; promising 1 % with 95 % certainty takes about 54 more images like these"
    ).replace("images it is less than 70 % sure of", "only images unlike anything it was taught")
    assert made.kept_promise == made.promises[0]
    assert (made.promises[0].max_error, made.promises[0].certainty) == (0.01, 0.8)
    assert [each.max_error for each in made.promises] == [0.01, 0.02, 0.05, 0.1]


def test_an_estimate_is_not_called_a_promise() -> None:
    made, sentence = said(130, 0.01)
    assert sentence == (
        "images it is less than 70 % sure of go to others/ (by estimate about 1 % of those filed are wrong, which is "
        "not certain; promising 1 % with 95 % certainty takes about 190 more images like these"
    )
    assert made.promises[0].certainty is None
    assert [each.max_error for each in made.promises] == [0.01, 0.05, 0.1]
    assert "at most 1 %" not in " ".join(made.sentences(SOME))


def test_a_promise_of_more_mistakes_says_what_it_is() -> None:
    made, sentence = said(75, 0.01)
    assert sentence.endswith(
        "(at most 4 % of those filed are wrong, 95 % certain; 1 % cannot be promised; "
        "promising 1 % with 95 % certainty takes about 240 more images like these"
    )
    assert made.kept_promise is not None
    assert made.threshold == made.kept_promise.threshold


def test_where_nothing_can_be_promised_only_the_surest_are_filed_and_the_sentence_says_why() -> None:
    made, sentence = said(8, 0.01)
    assert sentence == (
        "images it is less than 99 % sure of go to others/ (only the surest are filed, since at most 1 % wrong was "
        "asked for and nothing can be promised; promising 1 % with 95 % certainty takes about 310 more images like "
        "these"
    )
    assert (made.threshold, made.own, made.kept_promise, made.promises) == (0.99, 0.99, None, [])


def test_a_threshold_is_not_rounded_to_certainty() -> None:
    confidence = np.concatenate([np.full(20, 0.99999), np.full(5, 0.9999)])
    images = predictions(confidence, np.arange(25) < 20)
    sentence = thresholds_for(images, np.arange(25), 0.01, names(25)).sentences(images)[0]
    assert sentence.startswith("images it is less than 99.99 % sure of go to others/ (only the surest")


def test_labels_that_stand_in_the_way_of_a_promise_are_named() -> None:
    made, sentence = said(400, 0.01, wrong=[3, 40])
    assert sentence.endswith(
        "; promising 1 % with 95 % certainty takes that these labels are corrected, if they are wrong: 3.jpg; 40.jpg"
    ) or ("that these labels are corrected, if they are wrong: 3.jpg" in sentence)
    assert made.remedy is not None
    assert made.remedy.labels[0] == "3.jpg"


@pytest.mark.parametrize("is_chance", [False, True])
def test_where_many_of_the_surest_are_wrong_the_advice_lists_them_unless_nothing_can_be_told(is_chance: bool) -> None:
    confidence, right = np.linspace(0.999, 0.9, 1000), np.arange(1000) % 20 != 0
    images = predictions(confidence, right)
    if not is_chance:  # images of two classes, not of one that is always predicted
        labels, sure = np.arange(1000) % 2, np.column_stack([confidence, 1 - confidence])
        sure[(labels == 1) == right] = sure[(labels == 1) == right, ::-1]
        images = LabelledPredictions(["a", "b"], labels, sure)
    assert images.is_no_better_than_chance == is_chance
    made = thresholds_for(images, np.arange(1000), 0.01, names(1000))
    sentence = made.sentences(images)[0].partition("): of ")[0]
    assert sentence.count("cannot be promised") == 1
    assert sentence.endswith(
        "; 1 % cannot be promised; so many of the surest are wrong that more images like these would not help"
        + ("" if is_chance else ": advice.txt lists the labels to look at")
    )
    assert made.kept_promise is not None
    assert made.kept_promise.max_error == 0.08


def test_a_threshold_that_files_next_to_nothing_is_warned_of_with_what_would_file_more() -> None:
    def warning(confidence: Confidence, requested: float, right: Right | None = None) -> list[str]:
        count = len(confidence)
        images = predictions(confidence, np.full(count, True) if right is None else right)
        made = thresholds_for(images, np.arange(count), requested, names(count))
        return [sentence for sentence in made.sentences(images) if sentence.startswith("warning")]

    assert warning(np.linspace(0.97, 0.6, 24), 0.01) == [
        "warning: with this threshold every image goes to others/; --max-error 10% instead, or without a promise "
        "--threshold 0.5, would file 24 of the 24 judged images, 0 of them wrongly"
    ]
    assert warning(np.linspace(0.97, 0.45, 12), 0.01) == [
        "warning: with this threshold every image goes to others/; --max-error 10% instead would file 12 of the 12 "
        "judged images, 0 of them wrongly; without a promise, --threshold 0.5 instead would file 10, 0 of them wrongly"
    ]
    assert warning(np.linspace(0.8, 0.6, 8), 0.1, np.arange(8) != 0) == [
        "warning: with this threshold every image goes to others/; without a promise, --threshold 0.5 instead would "
        "file 8 of the 8 judged images, 1 of them wrongly"
    ]
    assert warning(np.full(8, 0.3), 0.1, np.arange(8) != 0) == [
        "warning: with this threshold every image goes to others/"
    ]
    assert warning(np.linspace(0.9, 0.6, 500), 0.05) == []
    assert warning(np.empty(0), 0.05) == []


def test_a_warning_says_whether_all_or_nearly_all_is_refused() -> None:
    images = predictions(np.linspace(0.9, 0.6, 100), np.full(100, True))
    made = choose_thresholds(images.confidence, images.right, None, names(100)).with_given(0.89, insisted=False)
    assert made.sentences(images)[1] == (
        "warning: with this threshold nearly every image goes to others/; without a promise, --threshold 0.5 instead "
        "would file 100 of the 100 judged images, 0 of them wrongly"
    )


def test_each_threshold_is_listed_with_its_strictest_promise_whatever_was_asked_for() -> None:
    images = predictions(np.linspace(0.97, 0.6, 60), np.full(60, True))
    plain, asked = (thresholds_for(images, np.arange(60), requested, names(60)) for requested in (None, 0.01))
    assert asked.kept_promise is not None
    assert asked.kept_promise.max_error == 0.05
    assert asked.kept_promise.threshold > 0.9
    offers = [
        "with --threshold 0.0001 (files all but what is unlike anything it was taught), 100.0% of the judged images "
        "are filed; at most 5 % of what is filed will be wrong (95 % certain)"
    ]
    for made in (plain, asked, asked.with_given(0.7, insisted=True)):
        assert [line for line in made.sentences(images) if line.startswith("with")] == offers


def test_a_threshold_in_force_for_a_less_certain_promise_is_listed_with_its_certain_one() -> None:
    images = predictions(np.linspace(0.97, 0.6, 250), np.full(250, True))
    made = thresholds_for(images, np.arange(250), 0.01, names(250))
    assert made.kept_promise is not None
    assert (made.kept_promise.max_error, made.kept_promise.certainty) == (0.01, 0.8)
    (offer,) = made.sentences(images)[1:]
    assert offer.endswith("at most 2 % of what is filed will be wrong (95 % certain)")


def test_a_given_threshold_is_in_force_unless_it_files_more_than_what_was_asked_for() -> None:
    plain = choose_thresholds(np.linspace(0.4, 1, 500), np.full(500, True), None, names(500))
    made = plain.with_given(0.7, insisted=False)
    assert (made.threshold, made.own, made.promises) == (0.7, 0.7, plain.promises)
    assert made.sentences(SOME)[0].startswith(
        "images it is less than 70 % sure of go to others/ (the threshold that was given): of 200 "
    )
    asked, _ = said(8, 0.01)
    laxer = asked.with_given(0.5, insisted=False)
    assert (laxer.threshold, laxer.requested) == (0.99, 0.01)
    first, second, *_ = laxer.sentences(SOME)
    assert first == asked.sentences(SOME)[0]
    assert second == (
        "--threshold 0.5 is not used, since it files more than --max-error allows: "
        "to use it all the same, add --publish always"
    )
    for threshold, insisted in ((0.5, True), (0.999, False)):
        made = asked.with_given(threshold, insisted=insisted)
        assert (made.threshold, made.requested, made.kept_promise, made.remedy) == (threshold, None, None, None)


def test_copies_of_a_picture_count_once_and_unknown_images_are_not_filed() -> None:
    probabilities = np.column_stack([np.linspace(0.5, 1, 100), np.linspace(0.5, 0, 100)])
    images = LabelledPredictions(["a", "b"], np.zeros(100, np.int64), probabilities, np.arange(100) % 2 == 1)
    pictures = np.arange(100)
    made = thresholds_for(images, pictures, None, names(100))
    assert made.judged == 100
    assert made.promises[0].coverage == 0.5
    copied = thresholds_for(images, pictures % 50, 0.05, names(100))
    assert copied.judged == 50
    assert copied.kept_promise is not None
    assert (copied.kept_promise.max_error, copied.kept_promise.certainty, copied.kept_promise.coverage) == (
        0.05,
        None,
        0.5,
    )


def test_where_nothing_was_judged_nothing_is_promised() -> None:
    made = choose_thresholds(np.empty(0), np.empty(0, np.bool_), None, [])
    assert (made.promises, made.threshold) == ([], 0.5)
    made = choose_thresholds(np.empty(0), np.empty(0, np.bool_), 0.05, [])
    assert (made.promises, made.threshold) == ([], 0.95)
