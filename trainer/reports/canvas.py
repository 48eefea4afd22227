"""Figures without a display, with fonts for any script and texts cut to the space they have.

Class names in Hangul are drawn as Hangul on a machine with no fonts installed: DejaVu Sans comes with Matplotlib, and
Noto Sans KR (kana and Chinese characters included) with the package pylopdf-fonts-ko. What is in neither is drawn as
a box.
"""

from __future__ import annotations

import importlib.util
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path

import numpy as np
from matplotlib import font_manager, rc_context
from matplotlib.backends.backend_agg import FigureCanvasAgg, RendererAgg
from matplotlib.figure import Figure
from matplotlib.font_manager import FontProperties
from matplotlib.layout_engine import ConstrainedLayoutEngine
from PIL import Image

#: Pixels per inch of every figure.
DPI = 100
#: The colours of what is right or held out, and of what is wrong or trained on.
GOOD, BAD = "#2b6cb0", "#c05621"
GREY = "#666666"

_FONT_PACKAGE, _FONT_FILE, _FONT = "pylopdf_fonts_ko", "NotoSansKR-Regular.otf", "Noto Sans KR"


@cache
def families() -> list[str]:
    """Return the fonts, in the order in which a character is looked up in them."""
    spec = importlib.util.find_spec(_FONT_PACKAGE)
    for folder in (spec.submodule_search_locations or []) if spec else []:
        if (file := Path(folder) / _FONT_FILE).is_file():
            font_manager.fontManager.addfont(file)
            return ["DejaVu Sans", _FONT]
    return ["DejaVu Sans"]


@contextmanager
def drawing() -> Iterator[None]:
    """Draw with our fonts, without formulas in names, and without warnings about characters that are in no font."""
    with (
        rc_context({"font.family": families(), "font.size": 9, "axes.unicode_minus": False, "text.parse_math": False}),
        warnings.catch_warnings(),
    ):
        warnings.filterwarnings("ignore", "Glyph .* missing from font", UserWarning)
        yield


def blank(width: float, height: float, gap: float = 0.1) -> Figure:
    """Make an empty figure of this size in inches, laid out automatically with ``gap`` around each part."""
    return Figure(figsize=(width, height), dpi=DPI, layout=ConstrainedLayoutEngine(h_pad=gap, w_pad=gap))


def save(figure: Figure, path: Path) -> None:
    """Write a figure as PNG.

    Matplotlib's ``savefig`` draws twice, the first time to lay out; drawing once does both, and gives the same pixels.
    """
    canvas = FigureCanvasAgg(figure)
    with drawing():
        canvas.draw()  # type: ignore[no-untyped-call]
    pixels = np.asarray(canvas.buffer_rgba())  # type: ignore[no-untyped-call]
    Image.fromarray(pixels).save(path, dpi=(DPI, DPI))


@cache
def _renderer() -> RendererAgg:
    return RendererAgg(1, 1, DPI)  # type: ignore[no-untyped-call]


@cache
def length(text: str, size: float) -> float:
    """Return the length in inches of a text in a font size (in points)."""
    with drawing():
        width, _, _ = _renderer().get_text_width_height_descent(text, FontProperties(size=size), ismath=False)  # type: ignore[no-untyped-call]
    return float(width) / DPI


def cut(text: str, size: float, room: float) -> str:
    """Cut the middle out of a text until it fits into ``room`` inches; names often differ only at their end."""
    if length(text, size) <= room:
        return text
    least, most = 0, len(text) - 1
    while least < most:
        middle = (least + most + 1) // 2
        least, most = (middle, most) if length(_without_middle(text, middle), size) <= room else (least, middle - 1)
    return _without_middle(text, least)


def _without_middle(text: str, count: int) -> str:
    tail = count // 3
    return f"{text[: count - tail]}…{text[len(text) - tail :]}"
