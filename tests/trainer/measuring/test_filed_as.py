"""What images are filed as: their class, the folder above it, or nothing."""

from __future__ import annotations

import numpy as np

from models.classifier import Prediction
from models.deciding.class_tree import ClassTree
from models.deciding.rule import DecisionRule, Fate
from trainer.measuring.filed_as import filed_as

TREE = ClassTree(["animals/cat", "animals/dog", "car"])
PROBABILITIES = np.array([[0.9, 0.05, 0.05], [0.5, 0.4, 0.1], [0.4, 0.2, 0.4], [0.9, 0.05, 0.05]], np.float32)
UNKNOWN = np.array([False, False, False, True])


def test_each_has_a_fate_and_a_folder() -> None:
    assert filed_as(DecisionRule(0.75, levels={1: 0.75}), TREE, PROBABILITIES, UNKNOWN) == [
        (Fate.SURE, "animals/cat"),
        (Fate.ROLLED_UP, "animals"),
        (Fate.UNSURE, None),
        (Fate.UNKNOWN, None),
    ]


def test_it_is_what_the_daemon_decides_one_by_one() -> None:
    rule, groups = DecisionRule(0.75, levels={1: 0.75}), TREE.score(PROBABILITIES)
    for row, (fate, folder) in enumerate(filed_as(rule, TREE, PROBABILITIES, UNKNOWN)):
        prediction = Prediction(
            TREE.classes[int(PROBABILITIES[row].argmax())],
            float(PROBABILITIES[row].max()),
            2.0 if UNKNOWN[row] else 0.0,
            tuple(group.of(row) for group in groups),
        )
        ruling = rule.decide(prediction)
        assert (ruling.fate, ruling.label if ruling.fate.is_of_class else None) == (fate, folder)
