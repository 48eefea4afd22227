"""What every picture is drawn on: a figure without a display, fonts for any script, texts cut to the room they have.

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

from matplotlib import font_manager, rc_context
from matplotlib.backends.backend_agg import FigureCanvasAgg, RendererAgg
from matplotlib.figure import Figure
from matplotlib.font_manager import FontProperties
from matplotlib.layout_engine import ConstrainedLayoutEngine

#: Pixels per inch of every picture.
DPI = 100
#: The two colours that tell apart what is right, or held out, from what is wrong, or trained on.
GOOD, BAD = "#2b6cb0", "#c05621"
GREY = "#666666"

_FONT_PACKAGE, _FONT_FILE, _FONT = "pylopdf_fonts_ko", "NotoSansKR-Regular.otf", "Noto Sans KR"


@cache
def families() -> list[str]:
    """The fonts, in the order in which a character is looked up in them."""
    found = importlib.util.find_spec(_FONT_PACKAGE)
    for folder in (found.submodule_search_locations or []) if found else []:
        if (file := Path(folder) / _FONT_FILE).is_file():
            font_manager.fontManager.addfont(file)
            return ["DejaVu Sans", _FONT]
    return ["DejaVu Sans"]


@contextmanager
def drawing() -> Iterator[None]:
    """Draw in here: our fonts, no formulas in names, and not a word about characters that are in no font."""
    with (
        rc_context({"font.family": families(), "font.size": 9, "axes.unicode_minus": False, "text.parse_math": False}),
        warnings.catch_warnings(),
    ):
        warnings.filterwarnings("ignore", "Glyph .* missing from font", UserWarning)
        yield


def blank(width: float, height: float, gap: float = 0.1) -> Figure:
    """An empty figure of so many inches, whose parts will make room for each other, and ``gap`` around each."""
    figure = Figure(figsize=(width, height), dpi=DPI, layout=ConstrainedLayoutEngine(h_pad=gap, w_pad=gap))
    FigureCanvasAgg(figure)
    return figure


def save(figure: Figure, path: Path) -> None:
    """Write a figure as PNG."""
    with drawing():
        figure.savefig(path, dpi=DPI)


@cache
def _renderer() -> RendererAgg:
    return RendererAgg(1, 1, DPI)  # type: ignore[no-untyped-call]


@cache
def length(text: str, size: float) -> float:
    """How many inches long a text of a font size (in points) is drawn."""
    with drawing():
        width, _, _ = _renderer().get_text_width_height_descent(text, FontProperties(size=size), ismath=False)  # type: ignore[no-untyped-call]
    return float(width) / DPI


def cut(text: str, size: float, room: float) -> str:
    """The text, or as much of its beginning and end as ``room`` inches hold: names often differ only at their end."""
    if length(text, size) <= room:
        return text
    least, most = 0, len(text) - 1
    while least < most:
        middle = (least + most + 1) // 2
        least, most = (middle, most) if length(_without_middle(text, middle), size) <= room else (least, middle - 1)
    return _without_middle(text, least)


def _without_middle(text: str, kept: int) -> str:
    tail = kept // 3
    return f"{text[: kept - tail]}…{text[len(text) - tail :]}"
