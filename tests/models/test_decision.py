"""Filed, unsure or unknown, by one rule for everybody."""

from __future__ import annotations

import numpy as np
import pytest

from models.decision import Fate, Rule, are_unknown


@pytest.mark.parametrize(
    ("rule", "confidence", "unknown", "fate"),
    [
        (Rule(0.75), 0.75, False, Fate.SURE),
        (Rule(0.7), 0.69, False, Fate.UNSURE),
        (Rule(0.7), 0.99, True, Fate.UNKNOWN),
        (Rule(0.7), 0.1, True, Fate.UNKNOWN),
        (Rule(0.0, refuses_unknown=False), 0.1, True, Fate.SURE),
        (Rule(0.7, refuses_unknown=False), 0.1, True, Fate.UNSURE),
        (Rule(float(np.float32(0.9))), float(np.float32(0.9)), False, Fate.SURE),
        (Rule(float(np.float32(0.9))), float(np.float32(0.9)) - 1e-12, False, Fate.SURE),
    ],
)
def test_the_fate_of_an_image(rule: Rule, confidence: float, unknown: bool, fate: Fate) -> None:
    assert rule.fate(confidence, unknown=unknown) is fate


def test_an_image_on_the_edge_is_still_known() -> None:
    assert are_unknown(np.array([0.0, 1.0, 1.01])).tolist() == [False, False, True]
