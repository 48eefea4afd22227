from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest

from trainer.data.audit import ImageFinding
from trainer.data.dataset import Sample
from trainer.heads.growth import Growth
from trainer.measuring.labelled_predictions import LabelledPredictions
from trainer.reports.advice import advice, suspicions


def flipped(share: float = 0.05) -> tuple[LabelledPredictions, set[int]]:
    """300 images of three classes that a good head judged, some of them with a wrong label; and which those are."""
    random = np.random.default_rng(0)
    true = np.arange(300) % 3
    logits = random.normal(0, 1, (300, 3)) + 5.5 * np.eye(3)[true]
    wrong = random.choice(300, int(300 * share), replace=False)
    labels = true.copy()
    labels[wrong] = (labels[wrong] + 1) % 3
    probabilities = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
    return LabelledPredictions(["a", "b", "c"], labels, probabilities), set(wrong.tolist())


def samples(predictions: LabelledPredictions) -> list[Sample]:
    names = [f"{predictions.classes[label]}/{at}.jpg" for at, label in enumerate(predictions.labels.tolist())]
    return [Sample(Path(name), name, name.split("/")[0], name) for name in names]


def test_wrong_labels_are_found_and_little_else() -> None:
    predictions, wrong = flipped()
    found = suspicions(predictions)
    listed = {each.position for each in found}
    assert len(wrong & listed) >= 0.8 * len(wrong)
    assert len(wrong & listed) >= 0.6 * len(listed)
    assert {each.position for each in found[:5]} <= wrong
    assert all(each.probability > each.own and each.other != predictions.labels[each.position] for each in found[:5])


def test_no_label_is_called_wrong_whose_own_class_is_likelier() -> None:
    probabilities = np.array([[0.55, 0.45], [0.95, 0.05], [0.45, 0.55], [0.7, 0.3], [0.6, 0.4]])
    found = suspicions(LabelledPredictions(["a", "b"], np.array([0, 0, 1, 1, 1]), probabilities))
    assert found == []  # b's own have .42 on average, and the first image has .45, but .55 of its own


def test_a_label_is_called_wrong_only_where_the_other_class_is_clearly_likelier() -> None:
    """Half of b's own images are hardly told from a, so .51 of b is as much as they have."""
    probabilities = np.array([[0.49, 0.51], [0.95, 0.05], [0.5, 0.5], [0.48, 0.52], [0.9, 0.1], [0.2, 0.8]])
    found = suspicions(LabelledPredictions(["a", "b"], np.array([0, 0, 1, 1, 0, 0]), probabilities))
    assert [each.position for each in found] == [5]


def test_the_likeliest_comes_first() -> None:
    probabilities = np.array([[0.9, 0.1], [0.8, 0.2], [0.1, 0.9], [0.3, 0.7], [0.95, 0.05]])
    found = suspicions(LabelledPredictions(["a", "b"], np.array([0, 0, 1, 0, 1]), probabilities))
    assert [(each.position, each.other) for each in found] == [(4, 0), (3, 1)]


def test_nothing_judged_has_nothing_to_say() -> None:
    text = advice(LabelledPredictions(["a", "b"], np.empty(0, np.int64), np.empty((0, 2))), [], [])
    assert "no label looks wrong" in text
    assert "no image lies under two labels" in text
    assert "no class stands out" in text
    assert "unknown: too few images or mistakes" in text
    assert "unknown: fewer than four classes" in text


def test_classes_are_named_whose_absence_would_hardly_be_noticed() -> None:
    predictions, _ = flipped()
    text = advice(predictions, samples(predictions), [], missing=["sea: half of it"])
    assert "kind that has no class, judging by each class left out in turn:\n  sea: half of it\n" in text
    text = advice(predictions, samples(predictions), [], missing=[])
    assert "nearly all would be refused, whatever class were missing" in text


def test_the_text_names_images_labels_and_classes() -> None:
    predictions, wrong = flipped(0.3)
    text = advice(predictions, samples(predictions), [ImageFinding("two-labels", "a/x\n.jpg", "a", "under a, b")])
    first = suspicions(predictions)[0]
    line = text.splitlines()[1]
    assert line.startswith(f"  {samples(predictions)[first.position].name}: {predictions.classes[first.other]} (")
    assert "  a/x\\n.jpg: under a, b\n" in text
    assert " images are recognised, " in text
    assert wrong


def test_guesses_put_no_label_under_suspicion() -> None:
    random = np.random.default_rng(0)
    logits = random.normal(0, 1, (120, 3))
    probabilities = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
    predictions = LabelledPredictions(["a", "b", "c"], np.arange(120) % 3, probabilities)
    assert predictions.is_no_better_than_chance
    assert suspicions(predictions)
    text = advice(predictions, samples(predictions), [])
    assert "unknown: nothing shows that the classes are told apart at all" in text
    assert " rather than " not in text


def test_a_long_list_is_cut() -> None:
    findings = [ImageFinding("two-labels", f"{number}.jpg", "a", "") for number in range(150)]
    text = advice(*(lambda predictions: (predictions, samples(predictions)))(flipped()[0]), findings)
    assert "99.jpg" in text
    assert "100.jpg" not in text
    assert "  and 50 more\n" in text


def test_what_more_images_would_bring_is_said_of_all_and_of_the_class_that_gains() -> None:
    predictions, _ = flipped()
    mistakes = np.zeros((2, 300), np.float32)
    for row, count in enumerate((80, 40)):
        mistakes[row, np.flatnonzero(predictions.labels == 1)[:count]] = 1
    text = advice(predictions, samples(predictions), [], Growth(mistakes))
    right = predictions.right.mean()  # of the head that is served, as in the report
    assert f"({right:.1%} are now, about {1 - (1 - right) * 0.5**0.5:.1%} then)" in text
    assert not re.search(r"likely (\d+) to \1\)", text)
    images = int((predictions.labels == 1).sum())
    own = int((~predictions.right & (predictions.labels == 1)).sum())
    assert f"  b: {images} more images would prevent about {own * 11.7 / 40:.0f} of its {own} mistakes\n" in text
    assert "  a: " not in text


@pytest.mark.parametrize(("before", "after"), [(60, 55), (60, 50), (60, 30), (60, 10)])
def test_a_range_of_one_number_is_not_told_as_a_range(before: int, after: int) -> None:
    predictions, _ = flipped(0.1)
    mistakes = np.zeros((2, 300), np.float32)
    for row, count in enumerate((before, after)):
        mistakes[row, :count] = 1
    text = advice(predictions, samples(predictions), [], Growth(mistakes))
    assert not re.search(r"likely (\d+) to \1\)", text)
    assert "would be right" in text
