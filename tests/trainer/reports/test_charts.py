from __future__ import annotations

import math
import re
from dataclasses import replace

import numpy as np
import pytest
from matplotlib.lines import Line2D

from tests.trainer.reports.test_confusion_matrix import assert_tidy, texts_of
from trainer.heads.linear import Epoch
from trainer.measuring.labelled_predictions import LabelledPredictions
from trainer.reports.charts import curves, reliability, risk_coverage


def epochs(count: int, best: int) -> list[Epoch]:
    return [
        Epoch(number, 1 / number, 0.3 + 0.01 * abs(number - best), 0.9 - 0.01 * abs(number - best), 1.0)
        for number in range(1, count + 1)
    ]


def predictions(count: int, sharp: float = 2.0) -> LabelledPredictions:
    random = np.random.default_rng(0)
    labels = random.integers(0, 3, count)
    logits = random.normal(0, 1, (count, 3))
    logits[np.arange(count), labels] += sharp
    probabilities = np.exp(logits)
    return LabelledPredictions(["산", "바다", "숲"], labels, probabilities / probabilities.sum(axis=1, keepdims=True))


def points_of(line: Line2D) -> list[list[float]]:
    points: list[list[float]] = np.asarray(line.get_xydata(), np.float64).tolist()
    return points


def said(figure: object) -> str:
    return "\n".join(texts_of(figure))  # type: ignore[arg-type]


@pytest.mark.parametrize("count", [1, 10])
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
    images = predictions(count)
    figure = reliability(images)
    assert_tidy(figure)
    assert f"expected calibration error {images.figures()['calibration_error']:.3f}" in said(figure)
    numbers = [int(text.get_text()) for text in figure.axes[1].texts]
    assert sum(numbers) == count


def test_the_threshold_is_marked_where_it_is() -> None:
    images = replace(predictions(300), unknown=np.arange(300) % 50 == 0)
    counts = images.counts_at(0.8)
    figure = risk_coverage(images, counts)
    assert_tidy(figure)
    share, wrong = counts.filed / 300, counts.wrong / counts.filed
    assert f"with threshold 0.8, {share:.1%} are filed, {wrong:.2%} of them wrongly" in said(figure)
    curve, marked = (
        [tuple(point) for line in figure.axes[0].lines if line.get_marker() == kind for point in points_of(line)]
        for kind in ("None", "o")
    )
    assert marked == [(share, wrong)]
    assert any(point == pytest.approx((share, wrong)) for point in curve)


def test_unknown_images_are_filed_at_no_threshold() -> None:
    images = replace(predictions(200), unknown=np.arange(200) < 20)
    assert "with threshold 0, 90.0% are filed" in said(risk_coverage(images, images.counts_at(0.0)))


def test_a_threshold_that_nothing_reaches() -> None:
    images = predictions(20)
    assert "with threshold 1 nothing is filed" in said(risk_coverage(images, images.counts_at(1.0)))


@pytest.mark.parametrize("name", ["gradient head, tried but not served", "gradient head, half of what is served"])
def test_a_long_name_of_a_stage_is_not_cut_off(name: str) -> None:
    assert_tidy(curves({name: epochs(10, 7), "fine-tune": epochs(3, 1)}))


@pytest.mark.parametrize("low", [0.0, 0.5, 0.9647, 0.999, 1.0])
@pytest.mark.parametrize("span", [0.0, 0.0003, 0.002, 0.006, 0.02, 0.3, 1.0])
def test_shares_are_labelled_in_whole_or_tenth_per_cent(low: float, span: float) -> None:
    accuracies = [low, min(low + span / 3, 1.0), min(low + span, 1.0)]
    figure = curves({"head": [Epoch(at, 0.5, 0.5 - at / 10, share, 1.0) for at, share in enumerate(accuracies, 1)]})
    axis = figure.axes[1].yaxis
    lowest, highest = sorted(axis.get_view_interval())
    places = [place for place in axis.get_major_locator()() if lowest <= place <= highest]
    shares = axis.get_major_formatter().format_ticks(places)  # laying out and drawing them takes ten times as long
    assert 1 < len(shares) < 12
    assert all(re.fullmatch(r"\d+(\.\d)?%", text) for text in shares), shares
    assert len({"." in text for text in shares}) == 1
    assert max(float(text[:-1]) for text in shares) <= 100
    assert len(set(shares)) == len(shares)


def test_few_mistakes_are_labelled_so_too() -> None:
    labels = [text.partition(": ")[2] for text in texts_of(risk_coverage(predictions(500, 6.0), None))]
    assert all(re.fullmatch(r"\d+(\.\d)?%", text) for text in labels if text.endswith("%"))


@pytest.mark.parametrize(("count", "sharp"), [(1, 9.0), (1, -9.0), (50, 9.0)])
def test_hardly_any_image_or_mistake(count: int, sharp: float) -> None:
    assert_tidy(risk_coverage(predictions(count, sharp), None))
