from __future__ import annotations

from dataclasses import replace
from itertools import permutations

import numpy as np
import pytest

from models.deciding.rule import DecisionRule
from trainer.measuring.filing_counts import LevelCounts, ThresholdCounts
from trainer.measuring.labelled_predictions import LabelledPredictions

CLASSES = ["ant", "bee", "고양이", "unused"]
MEASURED = LabelledPredictions(
    CLASSES,
    np.array([0, 0, 1, 2]),
    np.array([[0.7, 0.1, 0.1, 0.1], [0.2, 0.6, 0.1, 0.1], [0.1, 0.8, 0.1, 0.0], [0.2, 0.2, 0.5, 0.1]]),
)


def test_figures_by_hand() -> None:
    figures = MEASURED.figures()
    assert figures["images"] == 4
    assert figures["accuracy"] == 0.75
    assert figures["log_loss"] == pytest.approx(-np.log([0.7, 0.2, 0.8, 0.5]).mean())
    assert figures["macro_f1"] == pytest.approx((2 / 3 + 2 / 3 + 1) / 3)


def test_only_concerned_classes_are_reported() -> None:
    assert MEASURED.occurring_classes == [0, 1, 2]
    assert MEASURED.confusion().tolist() == [[1, 1, 0], [0, 1, 0], [0, 0, 1]]
    assert MEASURED.class_scores()["고양이"]["recall"] == 1.0
    assert "unused" not in MEASURED.class_scores()


def test_precision_recall_and_f1_by_hand() -> None:
    """Two images of the first class, one of them taken for the second, and one of that."""
    report = MEASURED.class_scores()
    assert report["ant"] == pytest.approx({"precision": 1, "recall": 1 / 2, "f1-score": 2 / 3, "support": 2})
    assert report["bee"] == pytest.approx({"precision": 1 / 2, "recall": 1, "f1-score": 2 / 3, "support": 1})


@pytest.mark.parametrize("name", ["macro avg", "weighted avg", "accuracy", "micro avg"])
def test_a_class_may_have_any_name(name: str) -> None:
    named = LabelledPredictions([name, *CLASSES[1:]], MEASURED.labels, MEASURED.probabilities)
    assert named.figures() == MEASURED.figures()
    assert named.class_scores()[name] == MEASURED.class_scores()["ant"]


def test_nothing_held_out_has_no_figures() -> None:
    assert LabelledPredictions(CLASSES, np.array([], np.int64), np.empty((0, 4))).figures() == {}


def test_the_surest_images_are_right_more_often() -> None:
    coverage, risk = MEASURED.risk_coverage()  # sure of bee .8 (right), ant .7 (right), bee .6 (wrong), cat .5 (right)
    assert coverage.tolist() == [0.25, 0.5, 0.75, 1.0]
    assert risk.tolist() == pytest.approx([0, 0, 1 / 3, 1 / 4])
    assert MEASURED.accuracy_at(0.5) == 1.0
    assert MEASURED.accuracy_at(0.51) == pytest.approx(2 / 3)
    assert MEASURED.accuracy_at(1.0) == 0.75


def test_what_the_daemon_files_by_hand() -> None:
    """At 0.6 three images are sure enough, one of them wrong; a strange one is refused however sure it is."""
    strange = replace(MEASURED, unknown=np.array([True, False, False, True]))
    assert MEASURED.counts_at(0.6) == ThresholdCounts(0.6, images=4, filed=3, wrong=1, unknown=0)
    counts = strange.counts_at(0.6)
    assert counts == ThresholdCounts(0.6, images=4, filed=2, wrong=1, unknown=2)
    assert counts.unsure == 0
    assert counts.figures()["filed_share"] == 0.5
    assert counts.figures()["wrong_share_of_filed"] == 0.5
    assert counts.figures()["refused_as_unknown_share"] == 0.5


def test_strange_images_come_last_however_sure_it_is_of_them() -> None:
    """The surest, bee .8 and right, is strange: what is filed before it is ant .7, bee .6 (wrong) and cat .5."""
    surest = MEASURED.confidence.argmax()
    strange = replace(MEASURED, unknown=np.arange(4) == surest)
    coverage, risk = strange.risk_coverage()
    assert risk.tolist() == pytest.approx([0, 1 / 2, 1 / 3, 1 / 4])
    assert strange.accuracy_at(0.5) == 0.5
    for threshold in (0.0, 0.55, 0.65):
        counts = strange.counts_at(threshold)
        at = coverage.tolist().index(counts.filed / counts.images)
        assert risk[at] == pytest.approx(counts.wrong / counts.filed)


def test_equally_sure_images_count_their_mistakes_first() -> None:
    predictions = LabelledPredictions(["a", "b"], np.array([0, 1, 0]), np.full((3, 2), 0.5))
    assert predictions.risk_coverage()[1].tolist() == pytest.approx([1, 1 / 2, 1 / 3])


def test_the_interval_of_the_accuracy() -> None:
    low, high = MEASURED.interval()
    assert (low, high) == pytest.approx(
        (0.194120, 0.993691), abs=1e-6
    )  # exact interval of 3 in 4, as in R's binom.test


def test_the_brier_score_by_hand() -> None:
    predictions = LabelledPredictions(["a", "b"], np.array([0, 1]), np.array([[0.8, 0.2], [1.0, 0.0]]))
    assert predictions.brier() == pytest.approx((0.08 + 2) / 2)


def test_bins_of_equal_count_from_unsure_to_sure() -> None:
    unsure, sure = MEASURED.reliability(2)
    assert unsure == pytest.approx((0.55, 0.5, 2))
    assert sure == pytest.approx((0.75, 1.0, 2))
    assert len(MEASURED.reliability()) == 4
    assert LabelledPredictions(CLASSES, np.array([], np.int64), np.empty((0, 4))).reliability() == []


def images(labels: list[int], predicted: list[int], classes: int = 2) -> LabelledPredictions:
    return LabelledPredictions(CLASSES[:classes], np.array(labels, np.int64), np.eye(classes)[predicted])


def test_guessing_is_dealing_out_the_predictions_at_random() -> None:
    labels, predicted = [0, 0, 0, 1, 1, 2, 2], [0, 0, 1, 1, 0, 2, 0]
    deals = [np.mean(np.array(labels) == deal) * 7 for deal in permutations(predicted)]
    assert images(labels, predicted, 3).chance_agreement() == pytest.approx((np.mean(deals), np.std(deals)))


def test_labels_that_say_nothing_are_guessed() -> None:
    random = np.random.default_rng(0)
    draws = []
    for _ in range(400):
        labels, predicted = random.integers(0, 4, (2, 200)).tolist()
        draws.append(images(labels, predicted, 4).is_no_better_than_chance)
    assert np.mean(draws) == pytest.approx(0.95, abs=0.03)


@pytest.mark.parametrize(
    ("labels", "predicted", "guessing"),
    [
        pytest.param([0, 1], [0, 1], False, id="all right, however few"),
        pytest.param([0, 0, 1, 1], [0, 1, 1, 0], True, id="half of two classes right"),
        pytest.param([0] * 95 + [1] * 5, [0] * 100, True, id="all taken for the largest class"),
        pytest.param([0] * 95 + [1] * 5, [0] * 94 + [1] * 6, False, id="the small class recognised"),
        pytest.param([0] * 5 + [1] * 5, [0] * 4 + [1] * 5 + [0], False, id="eight of ten"),
        pytest.param([0] * 5 + [1] * 5, [0] * 3 + [1] * 5 + [0] * 2, True, id="six of ten"),
        pytest.param([], [], False, id="nothing judged"),
    ],
)
def test_whether_it_may_be_guessing(labels: list[int], predicted: list[int], guessing: bool) -> None:
    assert images(labels, predicted).is_no_better_than_chance == guessing


NESTED = LabelledPredictions(
    ["a/x", "a/y", "b"],
    np.array([0, 1, 2, 2]),
    np.array([[0.8, 0.1, 0.1], [0.5, 0.4, 0.1], [0.3, 0.3, 0.4], [0.2, 0.6, 0.2]]),
)


def test_an_inner_folder_is_right_for_all_classes_below_it() -> None:
    counts = NESTED.counts_by(DecisionRule(0.75, levels={1: 0.75}))
    assert counts.levels == (LevelCounts(0, 0.75, 1, 0), LevelCounts(1, 0.75, 2, 1))
    assert (counts.filed, counts.wrong, counts.unsure) == (3, 1, 1)
    assert counts.figures()["levels"][1] == {
        "depth": 1,
        "threshold": 0.75,
        "filed": 2,
        "wrong": 1,
        "filed_share": 0.5,
        "wrong_share_of_filed": 0.5,
    }
    assert NESTED.counts_at(0.75).inner == ()
    assert "levels" not in NESTED.counts_at(0.75).figures()


def test_predictions_one_folder_up() -> None:
    above = NESTED.seen_from(1)
    assert list(above.classes) == ["a", "b"]
    assert above.labels.tolist() == [0, 0, 1, 1]
    assert above.probabilities[:, 0] == pytest.approx([0.9, 0.9, 0.6, 0.8])
    assert NESTED.mistakes_within(1).tolist() == [False, True, False, False]
