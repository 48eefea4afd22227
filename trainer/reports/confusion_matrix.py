"""Draw the confusion matrix, legible for two classes and for a hundred."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes
from matplotlib.colors import PowerNorm
from matplotlib.figure import Figure

from models.text.language import tr
from trainer.measuring.labelled_predictions import Confusion
from trainer.reports.canvas import GREY, blank, cut, drawing, length

#: With more classes than this, cells are hardly higher than a line of text and their numbers small.
_LARGE = 30
#: With more classes than this, cells have no numbers, and only some classes have their names written.
_MAX_NAMED = 120
#: The most numbers that are written: each takes a millisecond or two.
_MAX_NUMBERS = 1500
#: The most inches for a name.
_MAX_NAME = 2.2
#: Inches between the two panels, and around them.
_GAP = 0.5


def confusion_matrix(counts: Confusion, classes: Sequence[str]) -> Figure:
    """Draw images by true class (rows) and predicted class (columns), as counts and as shares of each row.

    ``counts`` (classes, classes). Long class names are cut; small shares are coloured more strongly than they deserve.
    Lines part the classes of different folders, where they lie in folders.
    """
    size = 9 if len(classes) <= _LARGE else 7
    names = [cut(name, size, _MAX_NAME) for name in classes]
    shares = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    panels = (
        _Panel(
            tr("images"), counts / max(int(counts.max(initial=0)), 1), [[f"{n or ''}" for n in row] for row in counts]
        ),
        _Panel(tr("share of the true class, %"), shares, [[_percent(share) for share in row] for row in shares]),
    )
    label, side = max(length(name, size) for name in names), _side(counts)
    is_horizontal = label < 0.9 * side / len(names)
    with drawing():
        figure = blank(2 * (side + label + _GAP), side + (0.2 if is_horizontal else label) + 1.2 * _GAP)
        for axes, panel in zip(figure.subplots(1, 2), panels, strict=True):
            _draw_names(axes, panel.title, names, size, is_horizontal)
            _draw_cells(axes, panel, side / len(names))
            _part_folders(axes, classes)
        # Matplotlib lays out once while it draws, when axes of a fixed shape are not yet in their final place: with
        # many classes the label below them would be cut off.
        if (engine := figure.get_layout_engine()) is not None:
            engine.execute(figure)
    return figure


@dataclass(frozen=True)
class _Panel:
    title: str
    shades: npt.NDArray[np.float64]
    texts: list[list[str]]


def _side(counts: Confusion) -> float:
    """Return the side of a panel in inches: its cells hold a number or, with many classes, are as high as a line."""
    classes = len(counts)
    if classes <= _LARGE:
        return max(3.2, max(0.4, 0.2 + length(f"{counts.max(initial=0)}", 9)) * classes)
    return max(0.17 * min(classes, _MAX_NAMED), 0.4 * _LARGE)


def _percent(share: float) -> str:
    return f"{100 * share:.0f}" if share >= 0.005 else ""


def _draw_names(axes: Axes, title: str, names: list[str], size: float, is_horizontal: bool) -> None:
    axes.set_title(title)
    axes.set_xlabel(tr("predicted"))
    axes.set_ylabel(tr("true"))
    ticks = range(0, len(names), -(-len(names) // _MAX_NAMED))
    tick_names = [names[index] for index in ticks]
    axes.set_xticks(ticks, tick_names, rotation=0 if is_horizontal else 90, fontsize=size)
    axes.set_yticks(ticks, tick_names, fontsize=size)


def _part_folders(axes: Axes, classes: Sequence[str]) -> None:
    """Draw lines between classes that do not lie in the same folder, if any lie in folders."""
    above = [name.rpartition("/")[0] for name in classes]
    for position, (one, other) in enumerate(pairwise(above)):
        if one != other:
            axes.axhline(position + 0.5, color=GREY, linewidth=0.8)
            axes.axvline(position + 0.5, color=GREY, linewidth=0.8)


def _draw_cells(axes: Axes, panel: _Panel, cell: float) -> None:
    """Colour the cells, each ``cell`` inches wide, and write their numbers into them."""
    axes.imshow(panel.shades, cmap="Blues", norm=PowerNorm(0.5, 0, 1), interpolation="nearest", aspect="equal")
    if len(panel.texts) > _MAX_NAMED or np.count_nonzero(panel.shades) > _MAX_NUMBERS:
        return
    for row, column in np.argwhere(panel.shades).tolist():
        text = panel.texts[row][column]
        colour = "white" if panel.shades[row, column] > 0.35 else "black"
        size = min(9.0, 60 * cell, 9 * 0.85 * cell / max(length(text, 9), 1e-6))
        number = axes.text(column, row, text, ha="center", va="center", fontsize=size, color=colour)
        number.set_in_layout(False)  # it stays within its cell, and laying out thousands takes seconds
