from __future__ import annotations

import numpy as np
import pytest

from trainer.measure import Measured

CLASSES = ["ant", "bee", "고양이", "unused"]
MEASURED = Measured(
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
    assert MEASURED.concerned == [0, 1, 2]
    assert MEASURED.confusion().tolist() == [[1, 1, 0], [0, 1, 0], [0, 0, 1]]
    assert MEASURED.report()["고양이"]["recall"] == 1.0
    assert "고양이" in MEASURED.report_text()
    assert "unused" not in MEASURED.report_text()


def test_nothing_held_out_has_no_figures() -> None:
    assert Measured(CLASSES, np.array([], np.int64), np.empty((0, 4))).figures() == {}
