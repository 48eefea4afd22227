from __future__ import annotations

import numpy as np
import pytest

from trainer.measuring.calibration import accuracy, calibration_error, fit_temperature, log_loss, log_probabilities


def made_up(
    count: int, seed: int = 0
) -> tuple[np.ndarray[tuple[int, int], np.dtype[np.float64]], np.ndarray[tuple[int], np.dtype[np.int64]]]:
    """Logits whose softmax is exactly right, and labels drawn from it."""
    random = np.random.default_rng(seed)
    logits = random.normal(0, 2, (count, 4))
    probabilities = np.exp(log_probabilities(logits))
    labels = np.array([random.choice(4, p=row) for row in probabilities], np.int64)
    return logits, labels


@pytest.mark.parametrize("factor", [0.3, 1.0, 4.0])
def test_the_temperature_undoes_a_factor(factor: float) -> None:
    logits, labels = made_up(4000)
    assert fit_temperature(logits * factor, labels) == pytest.approx(factor, rel=0.1)


def test_with_few_images_the_temperature_stays_near_one() -> None:
    logits, labels = made_up(3)
    labels = logits.argmax(axis=1)  # all right: without a prior it would go to zero
    assert 0.3 < fit_temperature(logits, labels) < 1.0


def test_the_calibration_error_tells_right_confidence_from_too_much() -> None:
    logits, labels = made_up(5000)
    assert calibration_error(np.exp(log_probabilities(logits)), labels) < 0.03
    assert calibration_error(np.exp(log_probabilities(logits * 5)), labels) > 0.1


def test_log_loss_and_accuracy_by_hand() -> None:
    logits, labels = np.log([[0.5, 0.5], [0.25, 0.75]]), np.array([0, 0])
    assert log_loss(logits, labels) == pytest.approx((np.log(2) + np.log(4)) / 2)
    assert accuracy(logits, labels) == 0.5


def test_huge_logits_are_no_trouble() -> None:
    assert log_loss(np.array([[1e5, 0.0]]), np.array([1])) == pytest.approx(1e5)
