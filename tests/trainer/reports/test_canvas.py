from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image

from trainer.reports.canvas import blank, cut, drawing, families, length, save


def drawn(text: str, path: Path) -> np.ndarray[tuple[int, ...], np.dtype[np.uint8]]:
    with drawing():
        figure = blank(3, 1)
        figure.text(0.5, 0.5, text)
    save(figure, path)
    return np.asarray(Image.open(path).convert("L"))


def test_hangul_is_in_the_fonts_that_install_with_the_program() -> None:
    from fontTools.ttLib import TTFont  # type: ignore[import-untyped]
    from matplotlib import font_manager

    assert families() == ["DejaVu Sans", "Noto Sans KR"]
    characters = set(TTFont(font_manager.findfont(families()[1], fallback_to_default=False)).getBestCmap())
    assert characters >= set(map(ord, "고양이강아지힣뷁ㄱㅎ"))


def test_hangul_is_drawn_as_hangul_not_as_boxes(tmp_path: Path) -> None:
    cat, dog = drawn("고양이", tmp_path / "cat.png"), drawn("강아지", tmp_path / "dog.png")
    boxes = [drawn(text, tmp_path / "box.png") for text in ("\U000f0000" * 3, "\U000f0001" * 3)]
    assert (boxes[0] == boxes[1]).all()  # what is in no font looks all the same
    assert cat.shape != dog.shape or (cat != dog).any()


def test_a_dollar_sign_is_no_formula(tmp_path: Path) -> None:
    assert drawn("a$b$ \\frac{", tmp_path / "text.png").min() < 128


def test_a_text_that_fits_is_left_alone_and_another_loses_its_middle() -> None:
    assert cut("cat", 9, 1.0) == "cat"
    short = cut("a very long name of a class, number 1", 9, 1.5)
    assert short.startswith("a very")
    assert short.endswith("r 1")
    assert "…" in short
    assert 1.2 < length(short, 9) <= 1.5
    assert cut("cat", 9, 0.0) == "…"
