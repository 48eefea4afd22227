"""Pictures of what a classifier confuses, drawn without a display, in any script.

Class names in Hangul are drawn as Hangul on a machine with no fonts installed: DejaVu Sans comes with Matplotlib, and
Noto Sans KR (kana and Chinese characters included) with the package pylopdf-fonts-ko.
"""

from __future__ import annotations

import importlib.util
import unicodedata
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np
import numpy.typing as npt
from matplotlib import font_manager, rc_context
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import PowerNorm
from matplotlib.figure import Figure

Counts = npt.NDArray[np.int64]

_FONT_PACKAGE, _FONT_FILE, _FONT = "pylopdf_fonts_ko", "NotoSansKR-Regular.otf", "Noto Sans KR"
#: More classes than these get no number in their cells, and with more than these not each has its name written.
_NUMBERED = 30
_NAMED = 120
_LONGEST_NAME = 28


@cache
def _families() -> list[str]:
    found = importlib.util.find_spec(_FONT_PACKAGE)
    for folder in (found.submodule_search_locations or []) if found else []:
        if (file := Path(folder) / _FONT_FILE).is_file():
            font_manager.fontManager.addfont(file)
            return ["DejaVu Sans", _FONT]
    return ["DejaVu Sans"]


def confusion_matrix(counts: Counts, classes: Sequence[str], path: Path) -> None:
    """Draw images by true class (rows) and predicted class (columns), as counts and as shares of each row, to a PNG.

    ``counts`` (classes, classes). Long class names are cut; small shares are coloured more strongly than in proportion.
    """
    names = [_short(name) for name in classes]
    shares = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    left = _Panel(
        "images", counts / max(int(counts.max(initial=0)), 1), [[f"{n or ''}" for n in row] for row in counts]
    )
    right = _Panel("share of the true class, %", shares, [[_percent(share) for share in row] for row in shares])
    with rc_context({"font.family": _families(), "axes.unicode_minus": False}), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # a script in neither font is drawn as boxes
        label = max(_inches(name) for name in names)
        side = _side(len(names))
        figure = Figure(figsize=(2 * (side + label + 0.9), side + label + 1.1), layout="constrained")
        FigureCanvasAgg(figure)
        for axes, panel in zip(figure.subplots(1, 2), (left, right), strict=True):
            _draw(axes, panel, names, side / len(names))
        figure.savefig(path, dpi=100, bbox_inches="tight", pad_inches=0.2)


@dataclass(frozen=True)
class _Panel:
    title: str
    shades: npt.NDArray[np.float64]
    texts: list[list[str]]


def _side(classes: int) -> float:
    """The side of one panel in inches: of cells that hold a number, else of cells as high as a line of text."""
    return max(3.2, 0.5 * classes) if classes <= _NUMBERED else 0.17 * min(classes, _NAMED)


def _inches(name: str) -> float:
    """About how long a name is drawn."""
    return sum(0.14 if unicodedata.east_asian_width(character) in "WF" else 0.085 for character in name)


def _percent(share: float) -> str:
    return f"{100 * share:.0f}" if share >= 0.005 else ""


def _draw(axes: Axes, panel: _Panel, names: list[str], cell: float) -> None:
    count = len(names)
    axes.imshow(panel.shades, cmap="Blues", norm=PowerNorm(0.5, 0, 1), interpolation="nearest", aspect="equal")
    axes.set_title(panel.title)
    axes.set_xlabel("predicted")
    axes.set_ylabel("true")
    ticks = range(0, count, -(-count // _NAMED))
    named = [names[index] for index in ticks]
    size = 9 if count <= _NUMBERED else 7
    upright = max(_inches(name) for name in named) < 0.9 * cell
    axes.set_xticks(ticks, named, rotation=0 if upright else 90, fontsize=size, parse_math=False)
    axes.set_yticks(ticks, named, fontsize=size, parse_math=False)
    if count > _NUMBERED:
        return
    for row, column in np.ndindex(count, count):
        text = panel.texts[row][column]
        colour = "white" if panel.shades[row, column] > 0.35 else "black"
        axes.text(column, row, text, ha="center", va="center", fontsize=9 if len(text) < 5 else 7, color=colour)


def _short(name: str) -> str:
    return name if len(name) <= _LONGEST_NAME else f"{name[: _LONGEST_NAME - 1]}…"
