"""Draw the curves of a fit, the reliability of confidence, and risk over coverage."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator, MultipleLocator, PercentFormatter

from models.text.language import mark, tr
from trainer.heads.linear import Epoch
from trainer.measuring import bounds
from trainer.measuring.filing_counts import ThresholdCounts
from trainer.measuring.labelled_predictions import LabelledPredictions
from trainer.reports.canvas import BAD, GOOD, GREY, blank, drawing

#: The number of bars, each an equal part of the confidences from 0 to 1.
_BARS = 10
#: Steps between the ticks of shares; the most ticks, and the least span of an axis.
_STEPS = (0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2)
_MAX_TICKS, _MIN_SPAN = 8, 0.004


def curves(stages: Mapping[str, Sequence[Epoch]]) -> Figure:
    """Draw loss and accuracy over the epochs of every stage with epochs (at least one), with the best epoch marked."""
    drawn = {name: epochs for name, epochs in stages.items() if epochs}
    with drawing():
        figure = blank(10, 4 * len(drawn), gap=0.12)
        for (name, epochs), pair in zip(drawn.items(), figure.subplots(len(drawn), 2, squeeze=False), strict=True):
            _losses(pair[0], name, epochs)
            _accuracies(pair[1], name, epochs)
    return figure


def _losses(axes: Axes, name: str, epochs: Sequence[Epoch]) -> None:
    numbers, held_out = [epoch.number for epoch in epochs], [epoch.held_out_loss for epoch in epochs]
    axes.plot(numbers, [epoch.train_loss for epoch in epochs], color=BAD, marker=".", label=tr("trained on"))
    if np.isfinite(held_out).any():
        axes.plot(numbers, held_out, color=GOOD, marker=".", label=tr("held out"))
    _mark(axes, epochs, held_out, mark("best: epoch {epoch}, loss {value:.3f}"))
    axes.set_title(tr("{name}\nlog-loss (lower is better)", name=name))
    axes.set_ylim(bottom=0)


def _accuracies(axes: Axes, name: str, epochs: Sequence[Epoch]) -> None:
    accuracies = [epoch.held_out_accuracy for epoch in epochs]
    axes.set_title(tr("{name}\naccuracy on held-out images", name=name))
    if not np.isfinite(accuracies).any():
        axes.set_axis_off()
        axes.text(0.5, 0.5, tr("no image was held out"), ha="center", va="center", transform=axes.transAxes, color=GREY)
        return
    axes.plot([epoch.number for epoch in epochs], accuracies, color=GOOD, marker=".", label=tr("held out"))
    _mark(axes, epochs, accuracies, mark("best: epoch {epoch}, accuracy {value:.3f}"))
    _percents(axes, *axes.get_ylim())


def _mark(axes: Axes, epochs: Sequence[Epoch], values: Sequence[float], said: str) -> None:
    """Ring the epoch with the lowest held-out loss, whose weights are kept, with a label by the template ``said``."""
    held_out = np.array([epoch.held_out_loss for epoch in epochs])
    if np.isfinite(held_out).any():
        best = int(np.nanargmin(held_out))
        text = tr(said, epoch=epochs[best].number, value=values[best])
        axes.plot([epochs[best].number], [values[best]], "ko", markersize=11, markerfacecolor="none", label=text)
    axes.set_xlabel(tr("epoch"))
    axes.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
    axes.grid(alpha=0.3)
    _legend(axes)


def _percents(axes: Axes, low: float, high: float) -> None:
    """Scale the axis from ``low`` to ``high`` or a little wider, in steps of whole or tenths of per cent."""
    middle, span = (low + high) / 2, max(high - low, _MIN_SPAN)
    low, high = max(middle - span / 2, 0.0), min(middle + span / 2, 1 + 0.02 * span)
    step = next(step for step in _STEPS if (high - low) / step <= _MAX_TICKS)
    axes.set_ylim(low, high)
    axes.yaxis.set_major_locator(MultipleLocator(step))
    axes.yaxis.set_major_formatter(PercentFormatter(1, decimals=0 if step >= 0.01 else 1))


def _legend(axes: Axes) -> None:
    """Put the legend below the axes, where nothing is drawn."""
    axes.legend(ncols=3, frameon=False, loc="upper center", bbox_to_anchor=(0.5, -0.16))


def reliability(predictions: LabelledPredictions) -> Figure:
    """Draw accuracy by confidence with 95 % intervals, beside the ideal, and below it the number of images.

    The bars are of equal width; the calibration error in the title is over bins of equal count. Takes at least one
    image.
    """
    part = np.minimum((predictions.confidence * _BARS).astype(int), _BARS - 1)
    images = np.bincount(part, minlength=_BARS)
    right = np.bincount(part, weights=predictions.right, minlength=_BARS).astype(int)
    middles = (np.arange(_BARS) + 0.5) / _BARS
    with drawing():
        figure = blank(6.2, 6.6)
        upper, lower = figure.subplots(2, 1, sharex=True, height_ratios=[3, 1])
        is_filled = images > 0
        share = right[is_filled] / images[is_filled]
        intervals = np.array([bounds.interval(*pair) for pair in zip(right[is_filled], images[is_filled], strict=True)])
        errors = np.abs(intervals.T - share)
        upper.bar(middles[is_filled], share, 0.9 / _BARS, color=GOOD, alpha=0.7, label=tr("accuracy"))
        upper.errorbar(
            middles[is_filled], share, errors, color="black", linestyle="none", capsize=3, label=tr("95 % interval")
        )
        upper.plot([0, 1], [0, 1], color=GREY, linestyle="--", label=tr("perfect calibration"))
        upper.set_title(tr("expected calibration error {error:.3f}", error=predictions.figures()["calibration_error"]))
        upper.set_ylabel(tr("share of images that are right"))
        upper.yaxis.set_major_formatter(PercentFormatter(1))
        upper.set_ylim(0, 1.02)
        upper.set_xlim(0, 1)
        _draw_counts(lower, middles.tolist(), images.tolist())
        figure.legend(*upper.get_legend_handles_labels(), loc="outside lower center", ncols=3, frameon=False)
    return figure


def _draw_counts(axes: Axes, middles: Sequence[float], images: Sequence[int]) -> None:
    axes.bar(middles, images, 0.9 / _BARS, color=GREY)
    for middle, count in zip(middles, images, strict=True):
        if count:
            axes.text(middle, count, f"{count}", ha="center", va="bottom", fontsize=8)
    axes.set_ylim(0, 1.25 * max(images))
    axes.set_ylabel(tr("images"))
    axes.set_xlabel(tr("confidence of the prediction"))
    axes.yaxis.set_major_locator(MaxNLocator(3, integer=True))
    axes.xaxis.set_major_formatter(PercentFormatter(1))


def risk_coverage(predictions: LabelledPredictions, counts: ThresholdCounts | None) -> Figure:
    """Draw the share of mistakes among the surest images over the share that is filed, with the threshold marked."""
    coverage, risk = predictions.risk_coverage()
    with drawing():
        figure = blank(6.4, 4.6)
        axes = figure.subplots()
        axes.plot(coverage, risk, color=GOOD, drawstyle="steps-post")
        if counts is not None:
            _mark_threshold(axes, counts)
        text = tr(
            "if all {count} images were filed, {risk:.2%} of them would be wrong", count=len(coverage), risk=risk[-1]
        )
        axes.set_title(text)
        axes.set_xlabel(tr("share of the images that is filed, the surest first"))
        axes.set_ylabel(tr("wrong among them"))
        axes.xaxis.set_major_formatter(PercentFormatter(1))
        axes.set_xlim(0, 1)
        _percents(axes, 0, min(max(1.1 * float(risk.max()), 0.01), 1.02))
        axes.grid(alpha=0.3)
        if counts is not None:
            _legend(axes)
    return figure


def _mark_threshold(axes: Axes, counts: ThresholdCounts) -> None:
    at_class = counts.at_class
    if not at_class.filed:
        text = tr("with threshold {threshold:.3g} nothing is filed", threshold=counts.threshold)
        axes.plot([], [], "o", color=BAD, label=text)
        return
    share, wrong = at_class.filed / counts.images, at_class.wrong / at_class.filed
    said = (
        mark("with threshold {threshold:.3g}, {share:.1%} are filed into a class, {wrong:.2%} of them wrongly")
        if counts.inner
        else mark("with threshold {threshold:.3g}, {share:.1%} are filed, {wrong:.2%} of them wrongly")
    )
    text = tr(said, threshold=counts.threshold, share=share, wrong=wrong)
    axes.plot([share], [wrong], "o", color=BAD, label=text, clip_on=False)
    axes.axvline(share, color=BAD, linewidth=0.8, linestyle="--")
