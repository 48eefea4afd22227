"""Perceptual hashes: the size of a picture, whether it is animated, how plain it is, and marks to recognise it by.

The marks do not depend on backbones, so that near duplicates are the same for all of them.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from io import BytesIO

import numpy as np
import numpy.typing as npt

from models.decoding.images import Crop, Transform, read_header

_SIDE = 64
#: The whole picture, squeezed into a small square, from which the hash is computed.
HASH_TRANSFORM = Transform(
    resize=_SIDE, crop=_SIDE, interpolation="bilinear", mean=(0.0, 0.0, 0.0), std=(1.0, 1.0, 1.0), stretch=True
)

#: Raise this when hashes are computed differently, so that cached ones are not mixed up.
VERSION = 1

_LUMA = np.array([0.299, 0.587, 0.114], np.float32)
_COARSE, _FINE = 8, 24
# The position of the median of the low frequencies without the mean; `numpy.median` takes ten times as long.
_MIDDLE = (_COARSE * _COARSE - 1) // 2
_HEAD = struct.Struct("<II?fQ")
#: The bytes of a packed hash.
PACKED_BYTES = _HEAD.size + 3 * _COARSE * _COARSE + _FINE * _FINE - 1


@dataclass(frozen=True, slots=True)
class PerceptualHash:
    """The size in pixels, ``spread`` (the standard deviation of brightness, 0..255), and three marks.

    ``bits`` is the perceptual hash of 64 bits: which of the 8 x 8 lowest frequencies of a cosine transform are above
    their median. ``colours`` holds 8 x 8 means of the three channels. ``detail`` holds the 24 x 24 lowest
    frequencies, except the mean, as one signed byte each.
    """

    width: int
    height: int
    animated: bool
    spread: float
    bits: int
    colours: bytes
    detail: bytes

    def pack(self) -> bytes:
        """Return the hash as bytes for the cache."""
        head = _HEAD.pack(self.width, self.height, self.animated, self.spread, self.bits)
        return head + self.colours + self.detail

    @classmethod
    def unpack(cls, data: bytes) -> PerceptualHash:
        """Make the hash that was packed."""
        colours = _HEAD.size + 3 * _COARSE * _COARSE
        width, height, animated, spread, bits = _HEAD.unpack_from(data)
        return cls(width, height, animated, spread, bits, data[_HEAD.size : colours], data[colours:])


def _cosines() -> npt.NDArray[np.float32]:
    """Return the first rows of the orthonormal cosine transform (DCT-II)."""
    frequency, place = np.arange(_FINE)[:, None], np.arange(_SIDE)[None]
    rows = np.cos(np.pi * (2 * place + 1) * frequency / (2 * _SIDE)) * np.sqrt(2 / _SIDE)
    rows[0] /= np.sqrt(2)
    cosines: npt.NDArray[np.float32] = rows.astype(np.float32)
    return cosines


_COSINES = _cosines()
#: The mean of every eight values of 64, exact for integers.
_MEANS = np.kron(np.eye(_COARSE, dtype=np.float32), np.full((1, _SIDE // _COARSE), _COARSE / _SIDE, np.float32))


def hash_image(data: bytes, square: Crop) -> PerceptualHash:
    """Hash a picture: ``data`` is its file, ``square`` (64, 64, 3) what `HASH_TRANSFORM` makes of it."""
    header = read_header(BytesIO(data))
    grey = square.astype(np.float32) @ _LUMA
    waves = _COSINES @ grey @ _COSINES.T
    low = waves[:_COARSE, :_COARSE].ravel()
    bits = np.packbits(low > np.partition(low[1:], _MIDDLE)[_MIDDLE])
    detail = waves.ravel()[1:]
    loudest = max(float(np.abs(detail).max()), 1e-6)
    return PerceptualHash(
        width=header.width,
        height=header.height,
        animated=header.animated,
        spread=float(grey.std()),
        bits=int.from_bytes(bits.tobytes(), "big"),
        colours=_colours(square).tobytes(),
        detail=(detail * (127 / loudest)).round().astype(np.int8).tobytes(),
    )


def _colours(square: Crop) -> npt.NDArray[np.uint8]:
    """Return the mean colours (8, 8, 3), by matrix products: NumPy's own mean takes six times as long."""
    rows = _MEANS @ square.reshape(_SIDE, -1).astype(np.float32)
    means: npt.NDArray[np.uint8] = (_MEANS @ rows.reshape(_COARSE, _SIDE, 3)).round().astype(np.uint8)
    return means
