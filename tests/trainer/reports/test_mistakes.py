from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.trainer.reports.test_confusion_matrix import ODD, assert_tidy, texts_of
from trainer.measuring.labelled_predictions import LabelledPredictions
from trainer.reports.mistakes import MAX_IMAGES, contact_sheet


def predictions(wrong: int, right: int = 4, classes: tuple[str, str] = ("개미", "벌")) -> LabelledPredictions:
    """So many mistakes, each surer than the one before, and images that are right."""
    sure = np.concatenate([np.linspace(0.6, 0.99, wrong), np.full(right, 0.1)])
    return LabelledPredictions(classes, np.zeros(wrong + right, np.int64), np.stack([1 - sure, sure], axis=1))


@pytest.fixture
def paths(tmp_path: Path) -> list[Path]:
    files = [tmp_path / f"{number:03}.png" for number in range(60)]
    for number, file in enumerate(files):
        Image.new("RGB", (8 + number, 9), (4 * number, 0, 0)).save(file)
    return files


def lines(wrong: int, paths: list[Path]) -> list[str]:
    figure = contact_sheet(predictions(wrong), paths[: wrong + 4])
    assert_tidy(figure)
    return [text.partition(": ")[2] for text in texts_of(figure)]


def test_no_mistake_is_said(paths: list[Path]) -> None:
    assert lines(0, paths) == ["none of 4 images is taken for another class"]


def test_one_mistake(paths: list[Path]) -> None:
    assert lines(1, paths) == ["1 of 5 images is taken for another class", "000.png", "true: 개미", "60 % sure: 벌"]


def test_of_many_mistakes_the_surest_are_shown(paths: list[Path]) -> None:
    title, *texts = lines(50, paths)
    assert title == f"50 of 54 images are taken for another class; the {MAX_IMAGES} surest of these mistakes"
    assert texts[::3] == [f"{number:03}.png" for number in range(49, 49 - MAX_IMAGES, -1)]
    assert texts[2::3][:2] == ["99 % sure: 벌", "98 % sure: 벌"]


def test_files_that_cannot_be_read_any_more_are_left_out(paths: list[Path]) -> None:
    paths[2].unlink()
    paths[1].write_bytes(b"no image")
    title, *texts = lines(3, paths)
    assert title == "3 of 7 images are taken for another class; the 1 surest of these mistakes"
    assert texts[0] == "000.png"
    paths[0].unlink()
    assert lines(3, paths) == [
        "3 of 7 images are taken for another class, and no file of theirs can be read any more",
    ]


@pytest.mark.parametrize("name", ODD)
def test_any_name_stays_in_its_place(name: str, tmp_path: Path) -> None:
    files = [tmp_path / f"{number} {name[:60]}.png" for number in range(3)]
    for file in files:
        Image.new("L", (5, 5)).save(file)
    assert_tidy(contact_sheet(predictions(3, 0, (name, "n" * 99)), files))


def test_whatever_the_daemon_decodes_is_shown_upright(shared_data: Path, tmp_path: Path) -> None:
    Image.new("CMYK", (40, 30), (255, 0, 0, 0)).save(tmp_path / "cmyk.jpg")
    turned = sorted((shared_data / "exif_orientation18").rglob("Landscape_*.jpg"))[:3]
    heic = next((shared_data / "nasty_heif_avif" / "examples").rglob("example.heic"))
    files = [tmp_path / "cmyk.jpg", heic, *turned]
    figure = contact_sheet(predictions(len(files), 0), files)
    assert_tidy(figure)
    shown = [axes.get_images()[0].get_array() for axes in figure.axes]
    assert len(shown) == len(files)
    upright = [np.asarray(picture, float) for picture in shown[: len(turned)]]
    assert all(np.abs(picture - upright[0]).mean() < 12 for picture in upright)
