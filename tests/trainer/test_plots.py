from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from trainer import plots


def draw(names: list[str], path: Path) -> np.ndarray[tuple[int, ...], np.dtype[np.uint8]]:
    counts = np.random.default_rng(0).poisson(0.3, (len(names), len(names))) + np.diag(range(10, 10 + len(names)))
    plots.confusion_matrix(counts.astype(np.int64), names, path)
    return np.asarray(Image.open(path).convert("L"))


@pytest.mark.parametrize("count", [1, 2, 6, 40, 130])
def test_any_number_of_classes_is_drawn_with_a_margin(tmp_path: Path, count: int) -> None:
    picture = draw([f"class {index}" for index in range(count)], tmp_path / "matrix.png")
    edge = np.concatenate([picture[:5].ravel(), picture[-5:].ravel(), picture[:, :5].ravel(), picture[:, -5:].ravel()])
    assert edge.min() == 255  # nothing reaches the edge, so nothing is cut off
    assert picture.min() < 100
    assert max(picture.shape) < 6000


def test_long_names_are_cut_and_leave_room_for_the_matrix(tmp_path: Path) -> None:
    picture = draw(["n" * 200, "힣" * 80], tmp_path / "matrix.png")
    assert picture.shape[0] > 500
    assert plots._short("n" * 200) == "n" * 27 + "…"


def test_hangul_is_in_the_fonts_that_install_with_the_program() -> None:
    from fontTools.ttLib import TTFont  # type: ignore[import-untyped]
    from matplotlib import font_manager

    families = plots._families()
    assert families == ["DejaVu Sans", "Noto Sans KR"]
    characters = set(TTFont(font_manager.findfont(families[1], fallback_to_default=False)).getBestCmap())
    assert characters >= set(map(ord, "고양이강아지힣뷁ㄱㅎ"))


def test_hangul_is_drawn_as_hangul_not_as_boxes(tmp_path: Path) -> None:
    pictures = [draw([name, "b"], tmp_path / f"{index}.png") for index, name in enumerate(("고양이", "강아지"))]
    boxes = [
        draw([name, "b"], tmp_path / f"{index}.png") for index, name in enumerate(("\U000f0000" * 3, "\U000f0001" * 3))
    ]
    assert (boxes[0] == boxes[1]).all()  # what is in no font looks all the same
    assert pictures[0].shape == pictures[1].shape
    assert (pictures[0] != pictures[1]).any()


def test_a_dollar_sign_is_no_formula(tmp_path: Path) -> None:
    plain = draw(["a$b$", "c"], tmp_path / "matrix.png")
    assert plain.shape
