"""The confusion matrix, legible for two classes and for a hundred."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes
from matplotlib.colors import PowerNorm
from matplotlib.figure import Figure

from trainer.canvas import blank, cut, drawing, length

Counts = npt.NDArray[np.int64]

#: With more classes than these, cells are as high as a line of text and their numbers small; ...
_LARGE = 30
#: ... with more than these they have no numbers; ...
_NUMBERED = 60
#: ... and with more than these not each has its name written.
_NAMED = 120
#: Inches for a name, at most.
_NAME = 2.2
#: Inches between the two panels, and around them.
_GAP = 0.5


def confusion_matrix(counts: Counts, classes: Sequence[str]) -> Figure:
    """Images by true class (rows) and predicted class (columns), as counts and as shares of each row.

    ``counts`` (classes, classes). Long class names are cut; small shares are coloured more strongly than in proportion.
    """
    size = 9 if len(classes) <= _LARGE else 7
    names = [cut(name, size, _NAME) for name in classes]
    shares = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    panels = (
        _Panel("images", counts / max(int(counts.max(initial=0)), 1), [[f"{n or ''}" for n in row] for row in counts]),
        _Panel("share of the true class, %", shares, [[_percent(share) for share in row] for row in shares]),
    )
    label, side = max(length(name, size) for name in names), _side(counts)
    with drawing():
        figure = blank(2 * (side + label + _GAP), side + label + 2 * _GAP)
        for axes, panel in zip(figure.subplots(1, 2), panels, strict=True):
            _draw(axes, panel, names, side / len(names), size)
    return figure


@dataclass(frozen=True)
class _Panel:
    title: str
    shades: npt.NDArray[np.float64]
    texts: list[list[str]]


def _side(counts: Counts) -> float:
    """The side of one panel in inches: of cells that hold a number, else of cells as high as a line of text."""
    classes = len(counts)
    if classes <= _LARGE:
        return max(3.2, max(0.4, 0.2 + length(f"{counts.max(initial=0)}", 9)) * classes)
    return (0.25 if classes <= _NUMBERED else 0.17) * min(classes, _NAMED)


def _percent(share: float) -> str:
    return f"{100 * share:.0f}" if share >= 0.005 else ""


def _draw(axes: Axes, panel: _Panel, names: list[str], cell: float, size: float) -> None:
    count = len(names)
    axes.imshow(panel.shades, cmap="Blues", norm=PowerNorm(0.5, 0, 1), interpolation="nearest", aspect="equal")
    axes.set_title(panel.title)
    axes.set_xlabel("predicted")
    axes.set_ylabel("true")
    ticks = range(0, count, -(-count // _NAMED))
    named = [names[index] for index in ticks]
    upright = max(length(name, size) for name in named) < 0.9 * cell
    axes.set_xticks(ticks, named, rotation=0 if upright else 90, fontsize=size)
    axes.set_yticks(ticks, named, fontsize=size)
    if count > _NUMBERED:
        return
    for row, column in zip(*np.nonzero(panel.shades), strict=True):
        text = panel.texts[row][column]
        colour = "white" if panel.shades[row, column] > 0.35 else "black"
        fitting = min(9.0, 9 * 0.85 * cell / max(length(text, 9), 1e-6))
        number = axes.text(column, row, text, ha="center", va="center", fontsize=fitting, color=colour)
        number.set_in_layout(False)  # within its cell: laying out thousands of them takes seconds
