from __future__ import annotations

import numpy as np
import pytest

from trainer.heads.missing_classes import MissingClasses
from trainer.reports.missing_classes import missing_class_lines, missing_figures, missing_sentence

CLASSES = ["맑음", "cloudy", "rain", "snow\n"]


def missing() -> MissingClasses:
    """Were it missing, of 맑음 none were filed, of cloudy half, of snow all; rain was not tried."""
    labels = np.array([0, 0, 1, 1, 1, 1, 3])
    confidence = np.array([0.9, 0.4, 0.9, 0.8, 0.3, 0.7, 0.6])
    unknown = np.array([True, False, False, False, False, True, False])
    return MissingClasses(labels, np.array([1, 2, 2, 2, 0, 0, 1]), confidence, unknown)


def test_classes_are_named_whose_absence_would_not_be_noticed_the_worst_first() -> None:
    first, second = missing_class_lines(missing(), CLASSES, 0.5)
    assert first.startswith("snow")
    assert "\n" not in first
    assert first.endswith("about 100% of these images would be filed wrongly, most of them into cloudy")
    assert second.startswith("cloudy: ")
    assert second.endswith("about 50% of these images would be filed wrongly, most of them into rain")


def test_at_another_threshold_other_shares_are_filed() -> None:
    (line,) = missing_class_lines(missing(), CLASSES, 0.85)
    assert "about 25%" in line
    assert "about 8% would be filed" in missing_sentence(missing(), 0.85)
    assert "about 50% would be filed" in missing_sentence(missing(), 0.5)


def test_the_figures_have_every_class_that_was_tried() -> None:
    figures = missing_figures(missing(), CLASSES, 0.5)
    assert figures["filed_share"] == pytest.approx(0.5)
    assert figures["threshold"] == 0.5
    assert list(figures["classes"]) == ["맑음", "cloudy", "snow\n"]
    assert figures["classes"]["cloudy"] == {
        "images": 4,
        "filed_share": 0.5,
        "mostly_filed_into": "rain",
        "refused_as_unknown_share": 0.25,
    }
    assert figures["classes"]["맑음"]["mostly_filed_into"] is None
