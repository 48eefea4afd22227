"""Load batches for fine-tuning, lightly augmented: a random part of the picture, resized and perhaps mirrored."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from itertools import chain, islice

import numpy as np
import numpy.typing as npt
from PIL import Image

from models.decoding.images import Crop, Transform, decode
from models.errors import ImageError
from models.inference.runtime import cores
from trainer.data.dataset import Sample
from trainer.data.threads import map_ahead
from trainer.finetuning.ranks import ALONE, Rank

#: The area of the random part, as a share of the central square that serving crops from, and its aspect ratio.
_AREA = (0.4, 1.0)
_ASPECT = (3 / 4, 4 / 3)
_RESAMPLING = {"bilinear": Image.Resampling.BILINEAR, "bicubic": Image.Resampling.BICUBIC}


@dataclass(frozen=True)
class Batch:
    """The crops of n samples, one (n, side, side, 3) array for each part, and the positions (n,) of the samples.

    ``drawn`` are the positions of all that the batch was to have, in whichever process, readable or not.
    """

    crops: list[npt.NDArray[np.uint8]]
    rows: npt.NDArray[np.int64]
    drawn: npt.NDArray[np.int64]


def batches(
    samples: Sequence[Sample],
    transforms: Sequence[Transform],
    size: int,
    *,
    shuffle: tuple[int, int] | None = None,
    rank: Rank = ALONE,
) -> Iterator[Batch]:
    """Yield all samples in batches; with ``shuffle`` (a seed and an epoch) in random order and augmented.

    Several ranks draw the same batches, and each loads its share of every one: it may have none of the last. An image
    that can no longer be read is left out.
    """
    order = np.arange(len(samples))
    if shuffle is not None:
        np.random.default_rng(shuffle).shuffle(order)

    def load(row: int) -> tuple[int, list[Crop]]:
        random = None if shuffle is None else np.random.default_rng((*shuffle, row))
        try:
            return row, _crops(samples[row], transforms, random)
        except (ImageError, OSError):
            return row, []

    drawn = [order[start : start + size] for start in range(0, len(order), size)]
    shares = [rows[rank.number :: rank.count].tolist() for rows in drawn]
    with closing(map_ahead(load, chain.from_iterable(shares), rank.share_of(cores()))) as loading:
        for rows, share in zip(drawn, shares, strict=True):
            yield _stack([image for image in islice(loading, len(share)) if image[1]], rows)


def _stack(loaded: list[tuple[int, list[Crop]]], drawn: npt.NDArray[np.int64]) -> Batch:
    crops = [np.stack(part) for part in zip(*(crops for _, crops in loaded), strict=True)]
    return Batch(crops, np.array([row for row, _ in loaded], np.int64), drawn)


def _crops(sample: Sample, transforms: Sequence[Transform], random: np.random.Generator | None) -> list[Crop]:
    with sample.path.open("rb") as file:
        if random is None:
            return decode(file, transforms)
        squares = decode(file, [replace(transform, crop=transform.resize) for transform in transforms])
    left, top, width, height = _random_part(random)
    is_mirrored = random.random() < 0.5
    crops = []
    for square, transform in zip(squares, transforms, strict=True):
        side = len(square)
        box = (left * side, top * side, (left + width) * side, (top + height) * side)
        crop = Image.fromarray(square).resize(
            (transform.crop, transform.crop), _RESAMPLING[transform.interpolation], box=box
        )
        pixels = np.asarray(crop)
        crops.append(pixels[:, ::-1] if is_mirrored else pixels)
    return crops


def _random_part(random: np.random.Generator) -> tuple[float, float, float, float]:
    """Draw the left, top, width and height of a part of the unit square."""
    area = random.uniform(*_AREA)
    aspect = float(np.exp(random.uniform(*np.log(_ASPECT))))
    width, height = min(1.0, float(np.sqrt(area * aspect))), min(1.0, float(np.sqrt(area / aspect)))
    return random.uniform(0, 1 - width), random.uniform(0, 1 - height), width, height
