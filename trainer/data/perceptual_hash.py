"""What a picture looks like at a glance: its size, whether it moves, how plain it is, and marks to know it again by.

The marks are of the picture alone, whatever backbones look at it, so that near duplicates are the same for all of them.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from io import BytesIO

import numpy as np
import numpy.typing as npt

from models.images import Crop, Transform, read_header

_SIDE = 64
#: The whole picture, squeezed into a small square: what a look is made of.
GLANCE = Transform(
    resize=_SIDE, crop=_SIDE, interpolation="bilinear", mean=(0.0, 0.0, 0.0), std=(1.0, 1.0, 1.0), stretch=True
)

#: Raised when looks are made differently, so that cached ones are not mixed up.
VERSION = 1

_LUMA = np.array([0.299, 0.587, 0.114], np.float32)
_COARSE, _FINE = 8, 24
# Where the median of the low frequencies but the mean is; `numpy.median` takes ten times as long to find it.
_MIDDLE = (_COARSE * _COARSE - 1) // 2
_HEAD = struct.Struct("<II?fQ")


@dataclass(frozen=True, slots=True)
class Look:
    """The stored size in pixels, ``spread`` (the standard deviation of its brightness, 0..255), and three marks.

    ``bits`` is the perceptual hash of 64 bits: which of the 8 x 8 lowest frequencies of a cosine transform are above
    their median. ``colours`` are 8 x 8 means of the three channels. ``detail`` are the 24 x 24 lowest frequencies,
    but for the mean, as one signed byte each.
    """

    width: int
    height: int
    animated: bool
    spread: float
    bits: int
    colours: bytes
    detail: bytes

    def pack(self) -> bytes:
        """As bytes, for a cache."""
        head = _HEAD.pack(self.width, self.height, self.animated, self.spread, self.bits)
        return head + self.colours + self.detail

    @classmethod
    def unpack(cls, data: bytes) -> Look:
        """The look that was packed."""
        colours = _HEAD.size + 3 * _COARSE * _COARSE
        width, height, animated, spread, bits = _HEAD.unpack_from(data)
        return cls(width, height, animated, spread, bits, data[_HEAD.size : colours], data[colours:])


def _cosines() -> npt.NDArray[np.float32]:
    """The first rows of the orthonormal cosine transform (DCT-II)."""
    frequency, place = np.arange(_FINE)[:, None], np.arange(_SIDE)[None]
    rows = np.cos(np.pi * (2 * place + 1) * frequency / (2 * _SIDE)) * np.sqrt(2 / _SIDE)
    rows[0] /= np.sqrt(2)
    cosines: npt.NDArray[np.float32] = rows.astype(np.float32)
    return cosines


_COSINES = _cosines()
#: The mean of every eight values of 64, of whole numbers without any rounding.
_MEANS = np.kron(np.eye(_COARSE, dtype=np.float32), np.full((1, _SIDE // _COARSE), _COARSE / _SIDE, np.float32))


def look_at(data: bytes, glance: Crop) -> Look:
    """The look of a picture: ``data`` is its file, ``glance`` (64, 64, 3) what `GLANCE` makes of it."""
    header = read_header(BytesIO(data))
    grey = glance.astype(np.float32) @ _LUMA
    waves = _COSINES @ grey @ _COSINES.T
    low = waves[:_COARSE, :_COARSE].ravel()
    bits = np.packbits(low > np.partition(low[1:], _MIDDLE)[_MIDDLE])
    detail = waves.ravel()[1:]
    loudest = max(float(np.abs(detail).max()), 1e-6)
    return Look(
        width=header.width,
        height=header.height,
        animated=header.animated,
        spread=float(grey.std()),
        bits=int.from_bytes(bits.tobytes(), "big"),
        colours=_colours(glance).tobytes(),
        detail=(detail * (127 / loudest)).round().astype(np.int8).tobytes(),
    )


def _colours(glance: Crop) -> npt.NDArray[np.uint8]:
    """The mean colours (8, 8, 3) of its squares. By matrices: numpy's own mean takes six times as long."""
    rows = _MEANS @ glance.reshape(_SIDE, -1).astype(np.float32)
    means: npt.NDArray[np.uint8] = (_MEANS @ rows.reshape(_COARSE, _SIDE, 3)).round().astype(np.uint8)
    return means
