from __future__ import annotations

import math

import numpy as np
import pytest

from tests.trainer.test_plots import assert_tidy, texts_of
from trainer.charts import curves, reliability, risk_coverage
from trainer.heads import Epoch
from trainer.measure import Measured


def epochs(count: int, best: int) -> list[Epoch]:
    return [
        Epoch(number, 1 / number, 0.3 + 0.01 * abs(number - best), 0.9 - 0.01 * abs(number - best), 1.0)
        for number in range(1, count + 1)
    ]


def measured(count: int, sharp: float = 2.0) -> Measured:
    random = np.random.default_rng(0)
    labels = random.integers(0, 3, count)
    logits = random.normal(0, 1, (count, 3))
    logits[np.arange(count), labels] += sharp
    probabilities = np.exp(logits)
    return Measured(["산", "바다", "숲"], labels, probabilities / probabilities.sum(axis=1, keepdims=True))


def said(figure: object) -> str:
    return "\n".join(texts_of(figure))  # type: ignore[arg-type]


@pytest.mark.parametrize("count", [1, 2, 10, 300])
def test_every_stage_has_its_row_and_its_best_epoch_marked(count: int) -> None:
    figure = curves({"head": epochs(count, 1), "fine-tune": epochs(10, 7), "nothing": []})
    assert_tidy(figure)
    assert len(figure.axes) == 4
    assert "best: epoch 1, loss 0.300" in said(figure)
    assert "best: epoch 7, accuracy 0.900" in said(figure)


def test_without_held_out_images_only_the_training_loss_is_drawn() -> None:
    figure = curves({"head": [Epoch(1, 0.5, math.nan, math.nan, 1.0), Epoch(2, 0.4, math.nan, math.nan, 1.0)]})
    assert_tidy(figure)
    assert "no image was held out" in said(figure)
    assert "best" not in said(figure)


@pytest.mark.parametrize("count", [1, 5, 300, 20_000])
def test_reliability_counts_every_image_and_gives_the_error(count: int) -> None:
    images = measured(count)
    figure = reliability(images)
    assert_tidy(figure)
    assert f"expected calibration error {images.figures()['calibration_error']:.3f}" in said(figure)
    numbers = [int(text.get_text()) for text in figure.axes[1].texts]
    assert sum(numbers) == count


def test_the_threshold_is_marked_where_it_is() -> None:
    images = measured(300)
    filed, wrong = images.above(0.8)
    figure = risk_coverage(images, 0.8)
    assert_tidy(figure)
    assert f"threshold 0.8: {filed / 300:.1%} reach it, {wrong / filed:.2%} of them wrong" in said(figure)
    marked = [line for line in figure.axes[0].lines if line.get_marker() == "o"]
    assert [(line.get_xdata()[0], line.get_ydata()[0]) for line in marked] == [(filed / 300, wrong / filed)]  # type: ignore[index]


def test_a_threshold_that_nothing_reaches() -> None:
    assert "threshold 1: nothing reaches it" in said(risk_coverage(measured(20), 1.0))


@pytest.mark.parametrize(("count", "sharp"), [(1, 9.0), (1, -9.0), (50, 9.0)])
def test_hardly_any_image_or_mistake(count: int, sharp: float) -> None:
    assert_tidy(risk_coverage(measured(count, sharp), None))
