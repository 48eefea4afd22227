"""The worst mistakes as pictures, on one sheet: what it is, what it was taken for, and how sure that was."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure

from models.errors import ImageError
from models.images import Crop, Transform, decode
from models.text.language import tr, trn
from trainer.data.dataset import shown
from trainer.data.threads import map_ahead
from trainer.measuring.measure import LabelledPredictions
from trainer.reports.canvas import BAD, GOOD, GREY, blank, cut, drawing, length

#: Pictures on a sheet, at most, and in a row of it.
MOST = 36
_ROW = 6
#: The side of a picture in pixels; the width of its place, the height of its picture and of its three lines, in inches.
_PIXELS = 170
_WIDTH, _PICTURE, _LINE = 2.1, 1.7, 0.17
_SIZE = 8

#: The middle of a picture, about what a backbone sees of it.
_TRANSFORM = Transform(resize=_PIXELS, crop=_PIXELS, interpolation="bicubic", mean=(0, 0, 0), std=(1, 1, 1))


@dataclass(frozen=True)
class _Shown:
    crop: Crop
    texts: tuple[str, str, str]


def contact_sheet(predictions: LabelledPredictions, paths: Sequence[Path]) -> Figure:
    """The mistakes that were surest of themselves. ``paths`` (n,) are the files of the images in ``predictions``.

    Files that cannot be read any more are left out.
    """
    wrong = np.flatnonzero(~predictions.right)
    worst = wrong[np.argsort(-predictions.confidence[wrong], kind="stable")]
    places = list(islice(_readable(predictions, paths, worst.tolist()), MOST))
    return _sheet(_title(len(wrong), len(predictions.labels), len(places)), places)


def _title(wrong: int, images: int, places: int) -> str:
    if not wrong:
        return tr("none of {images} images is taken for another class", images=images)
    if not places:
        return trn(
            "{count} of {images} images is taken for another class, and its file cannot be read any more",
            "{count} of {images} images are taken for another class, and no file of theirs can be read any more",
            wrong,
            images=images,
        )
    if places < wrong:
        return tr(
            "{count} of {images} images are taken for another class; the {places} surest of these mistakes",
            count=wrong,
            images=images,
            places=places,
        )
    return trn(
        "{count} of {images} images is taken for another class",
        "{count} of {images} images are taken for another class",
        wrong,
        images=images,
    )


def _readable(predictions: LabelledPredictions, paths: Sequence[Path], positions: Sequence[int]) -> Iterator[_Shown]:
    crops = map_ahead(lambda at: _decode(paths[at]), positions)
    for at, crop in zip(positions, crops, strict=True):
        if crop is not None:
            true, predicted = (
                predictions.classes[predictions.labels[at]],
                predictions.classes[predictions.predicted[at]],
            )
            sure = tr("{percent:.0f} % sure: ", percent=100 * predictions.confidence[at])
            yield _Shown(crop, (_line("", shown(paths[at].name)), _line(tr("true: "), true), _line(sure, predicted)))


def _decode(path: Path) -> Crop | None:
    try:
        with path.open("rb") as file:
            return decode(file, [_TRANSFORM])[0]
    except (ImageError, OSError):
        return None


def _line(before: str, name: str) -> str:
    """The name last, since what is written from right to left would be mixed up with what follows it."""
    return before + cut(name, _SIZE, _WIDTH - 0.15 - length(before, _SIZE))


def _sheet(title: str, places: Sequence[_Shown]) -> Figure:
    """A title, and below it the places row by row; everything stands where it is put, nothing is laid out."""
    columns, rows = min(max(len(places), 2), _ROW), -(-len(places) // _ROW)
    top, place = 0.5, _PICTURE + 3 * _LINE + 0.15
    width, height = columns * _WIDTH, top + rows * place
    with drawing():
        figure = blank(width, height)
        figure.set_layout_engine("none")
        figure.text(0.5, 1 - 0.25 / height, title, ha="center", va="center", wrap=True)
        for number, shown_ in enumerate(places):
            row, column = divmod(number, _ROW)
            left, upper = column * _WIDTH, top + row * place
            picture = (left + (_WIDTH - _PICTURE) / 2, height - upper - _PICTURE, _PICTURE, _PICTURE)
            axes = figure.add_axes(_relative(picture, width, height))
            axes.imshow(shown_.crop, interpolation="nearest")
            axes.set_axis_off()
            for line, (text, colour) in enumerate(zip(shown_.texts, (GREY, GOOD, BAD), strict=True)):
                x, y = left + _WIDTH / 2, height - upper - _PICTURE - (line + 0.6) * _LINE
                figure.text(x / width, y / height, text, ha="center", va="center", fontsize=_SIZE, color=colour)
    return figure


def _relative(box: tuple[float, float, float, float], width: float, height: float) -> tuple[float, float, float, float]:
    return box[0] / width, box[1] / height, box[2] / width, box[3] / height
