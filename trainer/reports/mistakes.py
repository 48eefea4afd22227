"""Draw a contact sheet of the worst mistakes: each image with its true class, the predicted one and its confidence."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure

from models.decoding.images import Crop, Transform, decode
from models.errors import ImageError
from models.text.language import tr, trn
from trainer.data.dataset import shown
from trainer.data.threads import map_ahead
from trainer.measuring.labelled_predictions import LabelledPredictions
from trainer.reports.canvas import BAD, GOOD, GREY, blank, cut, drawing, length
from trainer.reports.levels import shared_folder

#: The most images on a sheet, and the number in a row.
MAX_IMAGES = 36
_ROW = 6
#: The side of an image in pixels; in inches the width of its cell, its own height and that of each text line.
_PIXELS = 170
_WIDTH, _PICTURE, _LINE = 2.1, 1.7, 0.17
_SIZE = 8

#: The middle of the image, about what a backbone sees of it.
_TRANSFORM = Transform(resize=_PIXELS, crop=_PIXELS, interpolation="bicubic", mean=(0, 0, 0), std=(1, 1, 1))


@dataclass(frozen=True)
class _Cell:
    crop: Crop
    texts: tuple[str, str, str]


def contact_sheet(predictions: LabelledPredictions, paths: Sequence[Path]) -> Figure:
    """Draw the mistakes with the highest confidence. ``paths`` (n,) are the files of the images in ``predictions``.

    Files that can no longer be read are left out.
    """
    wrong = np.flatnonzero(~predictions.right)
    worst = wrong[np.argsort(-predictions.confidence[wrong], kind="stable")]
    cells = list(islice(_cells(predictions, paths, worst.tolist()), MAX_IMAGES))
    return _sheet(_title(len(wrong), len(predictions.labels), len(cells)), cells)


def _title(wrong: int, images: int, drawn: int) -> str:
    if not wrong:
        return tr("none of {images} images is taken for another class", images=images)
    if not drawn:
        return trn(
            "{count} of {images} images is taken for another class, and its file cannot be read any more",
            "{count} of {images} images are taken for another class, and no file of theirs can be read any more",
            wrong,
            images=images,
        )
    if drawn < wrong:
        return tr(
            "{count} of {images} images are taken for another class; the {drawn} surest of these mistakes",
            count=wrong,
            images=images,
            drawn=drawn,
        )
    return trn(
        "{count} of {images} images is taken for another class",
        "{count} of {images} images are taken for another class",
        wrong,
        images=images,
    )


def _cells(predictions: LabelledPredictions, paths: Sequence[Path], positions: Sequence[int]) -> Iterator[_Cell]:
    crops = map_ahead(lambda position: _decode(paths[position]), positions)
    for position, crop in zip(positions, crops, strict=True):
        if crop is not None:
            true, predicted = (
                predictions.classes[predictions.labels[position]],
                predictions.classes[predictions.predicted[position]],
            )
            sure = tr("{percent:.0f} % sure: ", percent=100 * predictions.confidence[position])
            name = shown(paths[position].name)
            folder = shared_folder(true, predicted)
            before = tr("in {folder}/, true: ", folder=folder) if folder else tr("true: ")
            skipped = len(folder) + 1 if folder else 0
            texts = (_line("", name), _line(before, true[skipped:]), _line(sure, predicted[skipped:]))
            yield _Cell(crop, texts)


def _decode(path: Path) -> Crop | None:
    try:
        with path.open("rb") as file:
            return decode(file, [_TRANSFORM])[0]
    except (ImageError, OSError):
        return None


def _line(before: str, name: str) -> str:
    """Put the name last, since text that runs from right to left would be mixed up with what follows it."""
    return before + cut(name, _SIZE, _WIDTH - 0.15 - length(before, _SIZE))


def _sheet(title: str, cells: Sequence[_Cell]) -> Figure:
    """Draw a title, and below it the cells row by row at fixed positions, without automatic layout."""
    columns, rows = min(max(len(cells), 2), _ROW), -(-len(cells) // _ROW)
    top, cell_height = 0.5, _PICTURE + 3 * _LINE + 0.15
    width, height = columns * _WIDTH, top + rows * cell_height
    with drawing():
        figure = blank(width, height)
        figure.set_layout_engine("none")
        figure.text(0.5, 1 - 0.25 / height, title, ha="center", va="center", wrap=True)
        for number, cell in enumerate(cells):
            row, column = divmod(number, _ROW)
            left, upper = column * _WIDTH, top + row * cell_height
            picture = (left + (_WIDTH - _PICTURE) / 2, height - upper - _PICTURE, _PICTURE, _PICTURE)
            axes = figure.add_axes(_relative(picture, width, height))
            axes.imshow(cell.crop, interpolation="nearest")
            axes.set_axis_off()
            for line, (text, colour) in enumerate(zip(cell.texts, (GREY, GOOD, BAD), strict=True)):
                x, y = left + _WIDTH / 2, height - upper - _PICTURE - (line + 0.6) * _LINE
                figure.text(x / width, y / height, text, ha="center", va="center", fontsize=_SIZE, color=colour)
    return figure


def _relative(box: tuple[float, float, float, float], width: float, height: float) -> tuple[float, float, float, float]:
    return box[0] / width, box[1] / height, box[2] / width, box[3] / height
