"""Every depth and colour space as the 8 bits that a person would see."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from PIL import Image

# Tags of TIFF.
_BITS_PER_SAMPLE, _PHOTOMETRIC = 258, 262

# How many bits a sensor may use of 16.
_DEPTHS = (10, 12, 14, 16)
# How many pixels tell the range that is in use.
_SAMPLE = 250_000
# What differs by fewer levels of 65,536 than this is noise, and nothing to be seen.
_FLAT = 64


def plain_pixels(image: Image.Image) -> Image.Image:
    """The same picture in a mode that may be resampled: L, RGB, or RGBa (colours multiplied by alpha)."""
    if image.mode.startswith("I") or image.mode == "F":
        image = _eight_bits(image)
    transparency = image.info.get("transparency")
    if isinstance(transparency, str):  # a comment of this name
        del image.info["transparency"]
    elif isinstance(transparency, tuple) and max(transparency) > 255:  # of 16-bit colours, whose high bytes we have
        image.info["transparency"] = tuple(value >> 8 for value in transparency)
    if image.format == "BMP" and image.mode == "RGBA" and image.getchannel("A").getextrema() == (0, 0):
        return image.convert("RGB")  # its writer left the alpha out, as many do
    if image.has_transparency_data:
        covered = image if image.mode == "RGBA" else image.convert("RGBA")
        return covered.convert("RGBa")
    if image.mode in ("L", "RGB"):
        return image
    return image.convert("RGB")


def _eight_bits(image: Image.Image) -> Image.Image:
    """Grey of 16 or 32 bits, or floating point, as L (as LA where one value of it stands for transparent).

    16 bits are scaled from the range that is in use. The others tell no range, so floating point within 0..1, and
    anything within 0..255, is taken as that, and what goes beyond is stretched from its lowest to its highest value.
    """
    values = np.asarray(image)
    tags = getattr(image, "tag_v2", {})
    if image.mode.startswith("I;16"):
        grey = _scaled(values, tags.get(_BITS_PER_SAMPLE, (16,))[0])
    else:
        grey = _stretched(values)
    if tags.get(_PHOTOMETRIC) == 0:  # white is zero, which Pillow heeds for 8 bits only
        grey = 255 - grey
    result = Image.fromarray(grey)
    if isinstance(transparent := image.info.get("transparency"), int):
        result.putalpha(Image.fromarray(np.where(values == transparent, np.uint8(0), np.uint8(255))))
    return result


def _scaled(values: npt.NDArray[np.uint16], bits: int) -> npt.NDArray[np.uint8]:
    """Values of so many bits as 8, from the range that they use.

    Sensors of 10, 12 and 14 bits write 16, and a thermal camera some hundred levels in the middle of them: black, or
    flat. So where the upper bits of 16 are not in use, the lower 10, 12 or 14 are the range; and where less than a
    quarter of that range is in use, it is what is between the darkest and the brightest. Of a picture that uses the
    whole range, or in which nothing is to be seen, not a bit is changed. One pixel in 10,000 may be broken.
    """
    low, high = _used(values)
    if bits < 16 or high - low < _FLAT:
        return _upper_byte(values, bits)
    used = next(depth for depth in _DEPTHS if high < 1 << depth)
    if high - low >= 1 << used >> 2:
        return _upper_byte(np.minimum(values, (1 << used) - 1), used)
    between = np.clip(values, low, high).astype(np.float32) - low
    grey: npt.NDArray[np.uint8] = np.rint(between * (255 / (high - low))).astype(np.uint8)
    return grey


def _upper_byte(values: npt.NDArray[np.uint16], bits: int) -> npt.NDArray[np.uint8]:
    grey: npt.NDArray[np.uint8] = (values >> (bits - 8)).astype(np.uint8)
    return grey


def _used(values: npt.NDArray[np.uint16]) -> tuple[int, int]:
    """The darkest and the brightest value, but for one pixel in 10,000; of a large picture, every so many pixels."""
    sample = values.ravel()[:: max(1, values.size // _SAMPLE)]
    rare = sample.size // 10_000
    ordered = np.partition(sample, (rare, sample.size - 1 - rare))
    return int(ordered[rare]), int(ordered[sample.size - 1 - rare])


def _stretched(values: npt.NDArray[np.generic]) -> npt.NDArray[np.uint8]:
    real = np.nan_to_num(values.astype(np.float32), posinf=0.0, neginf=0.0)
    low, high = float(real.min()), float(real.max())
    if low >= 0 and high <= 255:
        low, high = 0.0, (1.0 if values.dtype.kind == "f" and high <= 1 else 255.0)
    slope = 255 / ((high - low) or 1.0)
    with np.errstate(all="ignore"):
        grey: npt.NDArray[np.uint8] = np.clip(np.rint(real * slope - low * slope), 0, 255).astype(np.uint8)
    return grey
