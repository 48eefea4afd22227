"""Decode once: an image file becomes one small uint8 crop for each backbone that will look at it."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import BinaryIO, Literal

import numpy as np
import numpy.typing as npt

#: Raised whenever the same file would decode to other pixels, so that cached features and graphs are not mixed up.
DECODE_VERSION = 1

Crop = npt.NDArray[np.uint8]


@dataclass(frozen=True, kw_only=True)
class Transform:
    """How a backbone wants to see an image: shorter side to ``resize`` px, centre ``crop`` px square, normalised.

    ``mean`` and ``std`` are of RGB channels in 0..1; normalisation itself happens inside the model's graph.
    """

    resize: int
    crop: int
    interpolation: Literal["bilinear", "bicubic"]
    mean: tuple[float, float, float]
    std: tuple[float, float, float]

    @property
    def fingerprint(self) -> str:
        """16 hex digits that change when the pixels, or their normalisation, would."""
        text = json.dumps({"decode": DECODE_VERSION, **asdict(self)}, sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()[:16]


def decode(
    file: BinaryIO, transforms: Sequence[Transform], *, max_pixels: int = 200_000_000, reduce: bool = True
) -> list[Crop]:
    raise NotImplementedError
