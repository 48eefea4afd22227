"""Filed, rolled up, unsure or unknown, by one rule for everybody."""

from __future__ import annotations

import numpy as np
import pytest

from models.classifier import Prediction
from models.deciding.rule import AT_CLASS, NOWHERE, DecisionRule, Fate, GroupProbability, are_unknown


@pytest.mark.parametrize(
    ("rule", "confidence", "unknown", "fate"),
    [
        (DecisionRule(0.75), 0.75, False, Fate.SURE),
        (DecisionRule(0.7), 0.69, False, Fate.UNSURE),
        (DecisionRule(0.7), 0.99, True, Fate.UNKNOWN),
        (DecisionRule(0.7), 0.1, True, Fate.UNKNOWN),
        (DecisionRule(0.0, refuses_unknown=False), 0.1, True, Fate.SURE),
        (DecisionRule(0.7, refuses_unknown=False), 0.1, True, Fate.UNSURE),
        (DecisionRule(float(np.float32(0.9))), float(np.float32(0.9)), False, Fate.SURE),
        (DecisionRule(float(np.float32(0.9))), float(np.float32(0.9)) - 1e-12, False, Fate.SURE),
    ],
)
def test_the_fate_of_an_image(rule: DecisionRule, confidence: float, unknown: bool, fate: Fate) -> None:
    assert rule.decide(Prediction("cat", confidence, 2.0 if unknown else 0.0)) == (fate, "cat", confidence)


def test_an_image_on_the_edge_is_still_known() -> None:
    assert are_unknown(np.array([0.0, 1.0, 1.01])).tolist() == [False, False, True]


BIRDS, ANIMALS = GroupProbability("animals/birds", 0.8, 2), GroupProbability("animals", 0.95, 1)


@pytest.mark.parametrize(
    ("rule", "confidence", "strangeness", "fate", "label"),
    [
        (DecisionRule(0.5, levels={1: 0.9, 2: 0.7}), 0.5, 0, Fate.SURE, "animals/birds/owl"),
        (DecisionRule(0.6, levels={1: 0.9, 2: 0.7}), 0.5, 0, Fate.ROLLED_UP, "animals/birds"),
        (DecisionRule(0.6, levels={1: 0.9, 2: 0.85}), 0.5, 0, Fate.ROLLED_UP, "animals"),
        (DecisionRule(0.6, levels={1: 0.9}), 0.5, 0, Fate.ROLLED_UP, "animals"),
        (DecisionRule(0.6, levels={1: 0.96, 2: 0.85}), 0.5, 0, Fate.UNSURE, "animals/birds/owl"),
        (DecisionRule(0.6), 0.5, 0, Fate.UNSURE, "animals/birds/owl"),
        (DecisionRule(0.6, levels={1: 0.9}), 0.5, 2, Fate.UNKNOWN, "animals/birds/owl"),
        (DecisionRule(0.6, refuses_unknown=False, levels={1: 0.9}), 0.5, 2, Fate.ROLLED_UP, "animals"),
    ],
)
def test_an_image_that_is_sure_of_no_class_goes_into_the_deepest_sure_folder(
    rule: DecisionRule, confidence: float, strangeness: float, fate: Fate, label: str
) -> None:
    ruling = rule.decide(Prediction("animals/birds/owl", confidence, strangeness, (BIRDS, ANIMALS)))
    assert (ruling.fate, ruling.label) == (fate, label)
    assert ruling.confidence == {"animals": 0.95, "animals/birds": 0.8}.get(label, confidence)
    assert ruling.fate.is_of_class is (fate in (Fate.SURE, Fate.ROLLED_UP))


def test_the_places_of_many_images() -> None:
    confidence = np.array([0.9, 0.4, 0.4, 0.4, 0.9])
    unknown = np.array([False, False, False, False, True])
    groups = [(2, np.array([0.9, 0.75, 0.3, 0.3, 0.9])), (1, np.array([0.9, 0.9, 0.75, 0.5, 0.9]))]
    assert DecisionRule(0.5, levels={1: 0.75, 2: 0.75}).places(confidence, unknown, groups).tolist() == [
        AT_CLASS,
        2,
        1,
        NOWHERE,
        NOWHERE,
    ]
