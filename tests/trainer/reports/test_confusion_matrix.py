from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.text import Text
from matplotlib.transforms import Bbox
from PIL import Image

from trainer.reports import confusion_matrix
from trainer.reports.canvas import DPI, drawing, save

HANGUL = ["건물", "숲", "빙하", "산", "바다", "거리"]
ODD = ["a$b$", "_{x}", "🐶🦊", "ไทย", "عربى", "\U000f0000", "鳥", "n" * 200, "힣" * 80, "W" * 40, "a\u0301" * 30]


def texts_of(figure: Figure) -> dict[str, Bbox]:
    """Where every text of a figure lies, in pixels, in the order in which they were drawn."""
    canvas = FigureCanvasAgg(figure)
    with drawing():
        canvas.draw()  # type: ignore[no-untyped-call]
        hidden = _beyond_the_axes(figure)
        texts = [
            text
            for text in figure.findobj(Text)
            if text.get_visible() and text.get_text().strip() and text not in hidden
        ]
        return {f"{number}: {text.get_text()}": text.get_window_extent() for number, text in enumerate(texts)}


def _beyond_the_axes(figure: Figure) -> set[Text]:
    """The labels of ticks that Matplotlib has ready but does not draw."""
    return {
        tick.label1
        for axes in figure.axes
        for axis in (axes.xaxis, axes.yaxis)
        for tick in axis.get_major_ticks()
        if not axes.axison or not min(axis.get_view_interval()) <= tick.get_loc() <= max(axis.get_view_interval())
    }


def assert_tidy(figure: Figure) -> None:
    """No text lies on another, none is cut off, and the picture is no larger than a program shows."""
    boxes = texts_of(figure)
    names, page = list(boxes), np.array(figure.bbox.get_points())
    corners = np.array([(box.x0, box.y0, box.x1, box.y1) for box in boxes.values()])
    low, high = corners[:, :2], corners[:, 2:]
    inside = (low >= page[0] - 1).all(axis=1) & (high <= page[1] + 1).all(axis=1)
    assert inside.all(), names[int(inside.argmin())]
    shared = np.minimum(high[:, None], high) - np.maximum(low[:, None], low)
    both = np.triu((shared > 1).all(axis=2), 1)
    assert not both.any(), [names[at] for at in np.argwhere(both)[0]]
    assert (page[1] - page[0]).max() < 60 * DPI


def matrix(names: list[str], most: int = 10) -> Figure:
    random = np.random.default_rng(0)
    counts = random.poisson(2 / len(names), (len(names), len(names))) + np.diag(np.full(len(names), most))
    return confusion_matrix.confusion_matrix(counts.astype(np.int64), names)


def pixels(figure: Figure, path: Path) -> np.ndarray[tuple[int, ...], np.dtype[np.uint8]]:
    save(figure, path)
    return np.asarray(Image.open(path).convert("L"))


@pytest.mark.parametrize("count", [1, 2, 6, *(pytest.param(count, marks=pytest.mark.slow) for count in (30, 61, 130))])
def test_any_number_of_classes_is_drawn_with_a_margin(tmp_path: Path, count: int) -> None:
    figure = matrix([f"class {index}" for index in range(count)])
    assert_tidy(figure)
    picture = pixels(figure, tmp_path / "matrix.png")
    edge = np.concatenate([picture[:5].ravel(), picture[-5:].ravel(), picture[:, :5].ravel(), picture[:, -5:].ravel()])
    assert edge.min() == 255  # nothing reaches the edge, so nothing is cut off
    assert picture.min() < 100


def test_what_is_drawn_once_is_not_cut_off_below(tmp_path: Path) -> None:
    """The other tests draw twice, which puts everything in its place."""
    names = [f"아주 긴 이름을 가진 사진 모음 {index}" for index in range(45)]
    picture = pixels(confusion_matrix.confusion_matrix(np.diag(np.full(45, 3)), names), tmp_path / "matrix.png")
    assert picture[-4:].min() == 255


@pytest.mark.parametrize("names", [HANGUL, ODD, ODD[-4:-2], [name * 30 for name in HANGUL]], ids=len)
def test_names_in_any_script_and_of_any_length(names: list[str]) -> None:
    assert_tidy(matrix(names))


def test_large_counts_fit_their_cells() -> None:
    assert_tidy(matrix(HANGUL, 123_456))
    assert_tidy(matrix([f"{number}" for number in range(31)], 99_999))


def test_every_name_and_count_is_there() -> None:
    texts = [text.partition(": ")[2] for text in texts_of(matrix(HANGUL, 1000))]
    assert [text for text in texts if text in HANGUL] == 4 * HANGUL
    assert sum(text.startswith("100") and len(text) == 4 for text in texts) == 6


def test_images_of_one_class_only_are_drawn() -> None:
    assert_tidy(confusion_matrix.confusion_matrix(np.array([[3, 0], [0, 0]]), ["a", "b"]))
